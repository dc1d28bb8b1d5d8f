"""The gates of the one-pass spread that need truth, read from calibrations of the same images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    beside_table = _compared(names, own, _scores(once, "intensity_only"))
    samples_beside_table = _compared(names, of_samples, _scores(samples, "intensity_only"))
    return (
        *(each.gate("samples", _SAMPLES) for each in _compared(names, own, of_samples)),
        *(
            each.gate("intensity", _INTENSITY, samples_fail=each.fails_like(other))
            for each, other in zip(beside_table, samples_beside_table, strict=True)
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


@dataclass(frozen=True)
class _Compared:
    """One score of two estimators on the same pixels, by channel; empty where one lacks it."""

    score: str
    figures: Mapping[str, tuple[float, float]]

    @property
    def failing(self) -> set[str]:
        """Channels in which the first is worse."""
        _, tolerance = _SCORES[self.score]
        return {name for name, (mine, theirs) in self.figures.items() if mine > theirs + tolerance}

    def fails_like(self, other: "_Compared") -> bool:
        """Whether the other fails in every channel in which this one does."""
        return bool(self.failing) and self.failing <= other.failing

    def gate(self, suffix: str, words: str, *, samples_fail: bool = False) -> Gate:
        """Write it as a gate."""
        title, tolerance = _SCORES[self.score]
        return Gate(
            name=f"{self.score}_against_{suffix}",
            title=f"{title} of the one pass and of {words}, with truth",
            limit=f"at most {tolerance} above",
            status=("failed" if self.failing else "passed") if self.figures else "not measured",
            columns=(_OWN, words),
            figures=dict(self.figures),
            samples_fail=samples_fail,
        )


def _compared(
    names: tuple[str, ...], own: tuple[MethodScores, ...], other: tuple[MethodScores, ...]
) -> list[_Compared]:
    """Compare both scores of all channels."""
    found = []
    for score in _SCORES:
        pairs = [(getattr(a, score), getattr(b, score)) for a, b in zip(own, other, strict=False)]
        measured = bool(pairs) and all(None not in pair for pair in pairs)
        found.append(_Compared(score, dict(zip(names, pairs, strict=True)) if measured else {}))
    return found
