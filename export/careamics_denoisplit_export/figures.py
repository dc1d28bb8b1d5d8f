"""Measured figures for model cards, taken from the JSON that the commands write."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import read_json

_CHANNEL = ("name", "psnr", "ms_ssim", "leakage", "leakage_mixture", "references")
_CALIBRATION = ("factor", "nll_after", "ause", "relative_error", "coverage_90")
_REFERENCES = ("intensity_only", "constant")
_IMAGE = ("name", "psnr", "leakage", "noise_free_mixture")


def load_figures(paths: Iterable[Path]) -> dict[str, Any]:
    """Read what `evaluate`, `trials` and the making of models wrote with `--json`.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        Files; of two of one kind the later counts.

    Returns
    -------
    dict
        Figures by topic, as `Card.measured` holds them.

    Raises
    ------
    ConfigurationError
        If a file holds no figures that a card shows.
    """
    figures: dict[str, Any] = {}
    for path in paths:
        try:
            figures |= measured_figures(read_json(Path(path), error=ConfigurationError))
        except (AttributeError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path} holds no figures for a model card: it lacks {error}. Give what "
                "`denoisplit evaluate` or `trials` wrote with --json."
            ) from error
    return figures


def measured_figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """Take what a card shows out of the result of one command.

    Parameters
    ----------
    result : mapping
        Result of `evaluate`, `evaluate_ratios`, `run_trials` or `check --seams`.

    Returns
    -------
    dict
        Figures by topic.

    Raises
    ------
    KeyError
        If the result is of another kind, or of another version.
    """
    command = result["command"]
    if command == "evaluate":
        return {"evaluation": _evaluation(result)}
    if command == "ratios":
        rows = [{"ratio": row["ratio"], "channels": row["channels"]} for row in result["rows"]]
        return {"ratios": {"words": _estimator(result), "rows": rows}}
    if command == "trials":
        return {"trials": list(result["trials"])}
    if command == "check":
        return {"seams": dict(result["seams"])}
    raise KeyError("a command that measures")


def _evaluation(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "words": _estimator(result),
        "channels": [
            {key: channel[key] for key in _CHANNEL}
            | {"calibration": _calibration(channel["calibration"])}
            for channel in result["channels"]
        ],
        "images": [{key: image[key] for key in _IMAGE} for image in result["images"]],
    }


def _calibration(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not found or not found["calibrated"]:
        return None
    return {key: found[key] for key in _CALIBRATION} | {
        key: {"nll": found[key]["nll"]} for key in _REFERENCES
    }


def _estimator(result: Mapping[str, Any]) -> str:
    return estimator_in_words(result["spread"], result["samples"])


def estimator_in_words(spread: str, n_samples: int) -> str:
    """Name what was predicted with.

    Parameters
    ----------
    spread : {"samples", "distilled", "none"}
        Where mean and spread come from.
    n_samples : int
        Posterior samples, where there are any.
    """
    if spread == "samples":
        return f"mean and spread of {n_samples} posterior samples"
    if spread == "distilled":
        return "one pass with the fitted spread head"
    return "one pass with posterior means"
