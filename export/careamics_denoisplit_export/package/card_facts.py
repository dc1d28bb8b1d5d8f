"""What the model card of a package names, collected from its plan as plain JSON types."""

from typing import Any

import torch

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.data import SAME_INPUT
from careamics_denoisplit.noise_model import noise_model_file
from careamics_denoisplit.prediction import CONSISTENT
from careamics_denoisplit_export import rdf
from careamics_denoisplit_export.card import input_in_words
from careamics_denoisplit_export.package.plan import Plan, exporter_version

_WARNINGS = {
    "consistency": "what the channels leave of the input, in units of its noise; near 1",
    "input_range": "distance of brightness and noise from their range in training; 0 inside",
}
_LIMITS = {"consistency": CONSISTENT, "input_range": (0.0, 0.0)}
_DISPLAYS = {"consistency": (0.0, 2.0), "input_range": (-1.0, 1.0)}
# Tables of ImageJ itself. Magenta and green are told apart by people who confuse red and green.
_COLOURS = ("Magenta", "Green", "Cyan", "Yellow", "Red", "Blue")
_WIDTH_COLOUR, _WARNING_COLOUR = "Fire", "Ice"
_SMALLEST_IN_FIJI = -(-rdf.TILE // 3)  # Fiji refuses tiles of more than three times the image


def card_facts(plan: Plan) -> dict[str, Any]:
    """Collect what the card's template names.

    Parameters
    ----------
    plan : Plan
        What is packaged, and how.
    """
    trained = plan.trained
    names = trained.channel_names
    calibrated = plan.calibration is not None
    return {
        "channel_names": list(names),
        "listed": " and ".join(names),
        **_input_facts(plan),
        **_output_facts(plan),
        "spread": plan.spread.kind,
        "spread_words": plan.spread.words,
        "spread_reason": plan.spread.reason,
        "n_samples": plan.spread.n_samples,
        "calibrated": calibrated,
        "method": plan.method if calibrated else "none",
        "distillation": _distillation(plan),
        "calibration_lines": _calibration_lines(plan),
        "fitted_on": list(plan.fitted.fitted_on.images) if plan.fitted else [],
        "halo": rdf.halo_of(trained.network.size_multiple),
        "tile": rdf.TILE,
        "size_multiple": trained.network.size_multiple,
        "smallest": _SMALLEST_IN_FIJI,
        **_training_facts(trained),
        "seed": plan.spread.seed,
        "input_id": rdf.INPUT_ID,
        "output_id": rdf.OUTPUT_ID,
        "folder": plan.recipe.identifier,
        "torch_version": torch.__version__.split("+")[0],
        "version": exporter_version(),
        "test_image": plan.image.origin,
    }


def _input_facts(plan: Plan) -> dict[str, Any]:
    """Say what comes in, in gray values of the user's images."""
    trained, given = plan.trained, plan.input
    statistics, listed = given.statistics(trained), " and ".join(trained.channel_names)
    levels = statistics.local_levels
    return {
        "input_rule": given.rule,
        "input_words": input_in_words(given.rule, listed),
        "training_words": input_in_words(trained.statistics.mixing, listed),
        "camera_offset": given.camera_offset,
        "input_map": None if given.mapped == SAME_INPUT else dict(given.mapped._asdict()),
        "gains": _gains(plan),
        "percentiles": dict(statistics.input_percentiles),
        "std": levels.std if levels else None,
        "has_levels": levels is not None,
        "input_mean": statistics.input_mean,
        "input_std": statistics.input_std,
        "targets": [
            list(each)
            for each in zip(
                trained.channel_names,
                statistics.target_means,
                statistics.target_stds,
                strict=True,
            )
        ],
    }


def _output_facts(plan: Plan) -> dict[str, Any]:
    """Say what comes out, and how programs show it."""
    names, warnings = plan.trained.channel_names, plan.monitors.names
    colours = [_COLOURS[i % len(_COLOURS)] for i in range(len(names))]
    return {
        "outputs": [list(each) for each in zip(plan.output_channels, _contents(plan), strict=True)],
        "luts": [*colours, *[_WIDTH_COLOUR] * len(names), *[_WARNING_COLOUR] * len(warnings)],
        "fixed_ranges": [[name, *_DISPLAYS[name]] for name in warnings],
        "limits": [
            {
                "name": name,
                "channel": plan.output_channels.index(name) + 1,
                "low": _LIMITS[name][0],
                "high": _LIMITS[name][1],
            }
            for name in warnings
        ],
        "warnings": list(warnings),
        "without_consistency": plan.monitors.why_not,
    }


def _training_facts(trained: TrainedModel) -> dict[str, Any]:
    """Say what was trained, and how."""
    config = trained.config
    algorithm, data = config.algorithm_config, config.data_config
    network, origin = algorithm.model, config.training_config.origin
    return {
        "origin": None if origin is None else origin.name,
        "algorithm": algorithm.algorithm,
        "filters": network.filters,
        "latent_channels": list(network.latent_channels),
        "parameters": sum(p.numel() for p in trained.network.parameters()),
        "optimizer": algorithm.optimizer.name,
        "learning_rate": float(algorithm.optimizer.parameters.get("lr", 0.0)),
        "schedule": algorithm.lr_scheduler.name,
        "epochs": config.training_config.trainer_params.get("max_epochs"),
        "patch": list(getattr(data.patching, "patch_size", ())),
        "batch": data.batch_size,
        "kl_weight": algorithm.kl_weight,
        "pairing": algorithm.pairing,
        "dimming": algorithm.dimming,
        "training_seed": algorithm.seed,
        "noise_models": [
            [
                noise_model_file(name),
                float(model.min_signal),
                float(model.max_signal),
                *(float(model.variance(s).sqrt()) for s in (model.min_signal, model.max_signal)),
            ]
            for name, model in zip(trained.channel_names, trained.noise_models, strict=False)
        ],
    }


def _distillation(plan: Plan) -> dict[str, Any] | None:
    """Say how the one-pass spread of the model compares with samples; None without one."""
    record = plan.trained.distillation
    if record is None:
        return None
    gates = [
        {
            "title": gate.title,
            "limit": gate.limit,
            "status": gate.status,
            "figures": {name: list(figures) for name, figures in gate.figures.items()},
        }
        for gate in record.gates
    ]
    return {"words": record.words(), "gates": gates}


def _gains(plan: Plan) -> str:
    """Name the gain of the camera: as a person wrote it, else as the noise models know it."""
    if plan.recipe.gain is not None:
        return plan.recipe.gain
    known = {model.info.gain for model in plan.trained.noise_models} - {None}
    return " and ".join(f"{gain:g}" for gain in sorted(filter(None, known))) or "not recorded"


def _contents(plan: Plan) -> list[str]:
    """Say in words what each output channel is."""
    names = plan.trained.channel_names
    words = [f"{name}, denoised" for name in names] + [
        f"spread of {name}, not calibrated"
        if plan.calibration is None
        else f"calibrated std of {name}"
        for name in names
    ]
    return [*words, *(_WARNINGS[name] for name in plan.monitors.names)]


def _calibration_lines(plan: Plan) -> list[str]:
    """Say for each channel how the calibration did on validation."""
    calibrations, name = plan.trained.calibrations, plan.spread.estimator
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
