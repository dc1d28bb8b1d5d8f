"""What the model card of a package names, collected from its plan."""

from typing import Any

import torch

from careamics_denoisplit.calibration import estimator_name
from careamics_denoisplit.data import SAME_INPUT
from careamics_denoisplit.noise_model import noise_model_file
from careamics_denoisplit_export import rdf
from careamics_denoisplit_export.card import input_in_words
from careamics_denoisplit_export.package.plan import Plan, exporter_version

_WARNINGS = {
    "consistency": "what the channels leave of the input, in units of its noise; near 1",
    "input_range": "distance of brightness and noise from their range in training; 0 inside",
}


def card_facts(plan: Plan) -> dict[str, Any]:
    """Collect what the card's template names.

    Parameters
    ----------
    plan : Plan
        What is packaged, and how.
    """
    trained, names = plan.trained, plan.trained.channel_names
    statistics = plan.input.statistics(trained)
    listed = " and ".join(names)
    training = trained.statistics.mixing
    return {
        "recipe": plan.recipe,
        "listed": listed,
        "channel_names": names,
        "statistics": statistics,
        "input": plan.input,
        "input_words": input_in_words(plan.input.rule, listed),
        "training_words": input_in_words(training, listed),
        "is_mapped": plan.input.mapped != SAME_INPUT,
        "gains": _gains(plan),
        "outputs": list(zip(plan.output_channels, _contents(plan), strict=True)),
        "warnings": plan.monitors.names,
        "without_consistency": plan.monitors.why_not,
        "calibrated": plan.calibration is not None,
        "method": plan.method,
        "n_samples": plan.n_samples,
        "calibration_lines": _calibration_lines(plan),
        "fitted_on": plan.fitted.fitted_on.images if plan.fitted else (),
        "halo": rdf.halo_of(trained.network.size_multiple),
        "tile": rdf.TILE,
        "size_multiple": trained.network.size_multiple,
        "settings": plan.settings,
        "parameters": f"{sum(p.numel() for p in trained.network.parameters()):,}",
        "algorithm": trained.config.algorithm_config.algorithm,
        "targets": list(zip(names, statistics.target_means, statistics.target_stds, strict=True)),
        "noise_models": [noise_model_file(name) for name in names] if trained.noise_models else [],
        "input_id": rdf.INPUT_ID,
        "torch_version": torch.__version__.split("+")[0],
        "version": exporter_version(),
        "test_image": plan.image.origin,
    }


def _gains(plan: Plan) -> str:
    """Name the gain of the camera: as a person wrote it, else as the noise models know it."""
    if plan.recipe.gain is not None:
        return plan.recipe.gain
    known = {model.info.gain for model in plan.trained.noise_models} - {None}
    return " and ".join(f"{gain:g}" for gain in sorted(filter(None, known))) or "not recorded"


def _contents(plan: Plan) -> list[str]:
    """Say in words what each output channel is."""
    width = "spread, not calibrated" if plan.calibration is None else "calibrated std"
    names = plan.trained.channel_names
    words = [f"{name}, denoised" for name in names] + [f"{width} of {name}" for name in names]
    return [*words, *(_WARNINGS[name] for name in plan.monitors.names)]


def _calibration_lines(plan: Plan) -> list[str]:
    """Say for each channel how the calibration did on validation."""
    calibrations, name = plan.trained.calibrations, estimator_name("samples", plan.n_samples)
    fitted = plan.fitted
    if fitted is None or plan.method not in fitted.scores:
        return []
    lines = []
    for index, channel in enumerate(plan.trained.channel_names):
        scores = fitted.scores[plan.method][index]
        verdict = (
            "better than a table of error against intensity"
            if calibrations.well_calibrated(name, plan.method, index)
            else "**no better than a table of error against intensity**"
        )
        lines.append(
            f"{channel}: {scores.coverage_90 * 100:.0f} % of the validation pixels within the "
            f"90 % interval; {verdict}."
        )
    return lines
