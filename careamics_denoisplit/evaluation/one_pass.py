"""The gates of the one-pass spread that need truth, read from calibrations of the same images."""

from dataclasses import replace

from careamics_denoisplit.calibration import (
    CalibrationSet,
    EstimatorCalibration,
    MethodScores,
    estimator_name,
)
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.distillation import SAMPLES, Gate

NLL_TOLERANCE = 0.02
"""Nats per pixel by which a likelihood may be worse and still count as not worse."""

AUSE_TOLERANCE = 0.01
"""The same for the area under the sparsification error curve, in units of the RMSE."""

_OWN = "one pass"
_SAMPLES = f"{SAMPLES} samples"
_INTENSITY = "intensity only"
_SCORES = {"nll": ("calibrated NLL", NLL_TOLERANCE), "ause": ("AUSE", AUSE_TOLERANCE)}


def truth_gates(calibrations: CalibrationSet) -> tuple[Gate, ...]:
    """Compare the calibrated one-pass spread with calibrated samples and with intensity only.

    Each in the method that is applied. Not measured where one of them is not calibrated, or both
    were calibrated on different images.

    Parameters
    ----------
    calibrations : CalibrationSet
        Calibrations of the model, with their scores on the images they were fitted on.

    Returns
    -------
    tuple of Gate
        NLL and AUSE beside samples, and beside the table of error against intensity; where
        samples are no better than their table either, that is noted.
    """
    once = calibrations.estimators.get(estimator_name("distilled", 0))
    samples = calibrations.estimators.get(estimator_name("samples", SAMPLES))
    if once is not None and samples is not None and not once.fitted_on.same_data(samples.fitted_on):
        samples = None
    applied = calibrations.applied(estimator_name("distilled", 0)) or "scalar"
    applied_to_samples = calibrations.applied(estimator_name("samples", SAMPLES)) or "scalar"
    own, names = _scores(once, applied), calibrations.channel_names
    of_samples = _scores(samples, applied_to_samples)
    against_intensity = _gates(names, own, _scores(once, "intensity_only"), "intensity", _INTENSITY)
    the_same_of_samples = _gates(
        names, of_samples, _scores(samples, "intensity_only"), "intensity", _INTENSITY
    )
    return (
        *_gates(names, own, of_samples, "samples", _SAMPLES),
        *(
            gate.model_copy(update={"samples_fail": _fail_alike(gate, other)})
            for gate, other in zip(against_intensity, the_same_of_samples, strict=True)
        ),
    )


def judged_by_truth(trained: TrainedModel) -> TrainedModel:
    """Return the model with its truth gates read anew, where it has a judged one-pass spread."""
    if trained.distillation is None or not trained.distillation.gates:
        return trained
    fresh = truth_gates(trained.calibrations)
    names = {gate.name for gate in fresh}
    kept = tuple(gate for gate in trained.distillation.gates if gate.name not in names)
    return replace(
        trained,
        distillation=trained.distillation.model_copy(update={"gates": (*kept, *fresh)}),
    )


def _scores(fitted: EstimatorCalibration | None, method: str) -> tuple[MethodScores, ...]:
    return () if fitted is None else fitted.scores.get(method, ())


def _gates(
    names: tuple[str, ...],
    own: tuple[MethodScores, ...],
    other: tuple[MethodScores, ...],
    suffix: str,
    words: str,
) -> list[Gate]:
    """Compare both scores of all channels."""
    gates = []
    for score, (title, tolerance) in _SCORES.items():
        gate = Gate(
            name=f"{score}_against_{suffix}",
            title=f"{title} of the one pass and of {words}, with truth",
            limit=f"at most {tolerance} above",
            status="not measured",
            columns=(_OWN, words),
        )
        pairs = [(getattr(a, score), getattr(b, score)) for a, b in zip(own, other, strict=False)]
        if pairs and all(None not in pair for pair in pairs):
            gate = gate.model_copy(update={"figures": dict(zip(names, pairs, strict=True))})
            status = "failed" if _failing(gate) else "passed"
            gate = gate.model_copy(update={"status": status})
        gates.append(gate)
    return gates


def _failing(gate: Gate) -> set[str]:
    """Channels whose score is worse than the other's."""
    _, tolerance = _SCORES[gate.name.partition("_")[0]]
    return {name for name, (mine, theirs) in gate.figures.items() if mine > theirs + tolerance}


def _fail_alike(gate: Gate, of_samples: Gate) -> bool:
    """Whether samples fail in every channel in which the one pass does."""
    failing = _failing(gate)
    return bool(failing) and failing <= _failing(of_samples)
