"""Score a trained model on images with truth."""

import math
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Real

from careamics_denoisplit.calibration import BlurWidths, CalibrationSet, Method, estimator_name
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.evaluation.calibrating import (
    choose_blur,
    hash_of,
    require_method,
    share_of,
)
from careamics_denoisplit.evaluation.scenes import (
    Scene,
    Scenes,
    align_truth,
    aligned_truth,
    open_scenes,
)
from careamics_denoisplit.evaluation.tally import Tally
from careamics_denoisplit.evaluation.uncertainty import UncertaintyReport
from careamics_denoisplit.prediction import Estimate, Progress, Spread, Tiling, predict_image
from careamics_denoisplit.prediction.decoding import spread_head_of


class Example(NamedTuple):
    """One image that was scored, to be looked at."""

    name: str
    """Name of the image."""
    channel_names: tuple[str, ...]
    """Name of each channel."""
    mixture: Real[np.ndarray, "y x"]
    """The input, gray values."""
    mean: Real[np.ndarray, "c y x"]
    """Predicted channels, gray values."""
    std: Real[np.ndarray, "c y x"] | None
    """Their standard deviation, gray values; None for the pass with posterior means."""
    calibrated: bool
    """Whether `std` is calibrated; else it is the spread of the samples."""
    truth: Real[np.ndarray, "c y x"]
    """True channels on the scale of the prediction, gray values."""
    pixel_size: tuple[float, float] | None = None
    """Height and width of a pixel in micrometers, where known."""


def evaluate(
    trained: TrainedModel,
    mixture: Any = None,
    truth: Any = None,
    channels: Any = None,
    *,
    n_samples: int = 16,
    spread: Spread = "samples",
    method: str | None = None,
    seed: int = 0,
    axes: str | None = None,
    align: bool | None = None,
    tiling: Tiling | None = None,
    batch: int = 1,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    show: Callable[[Example], object] | None = None,
) -> dict[str, Any]:
    """Predict images with truth and score channels, uncertainty and trust.

    Parameters
    ----------
    trained : TrainedModel
        Model with its calibrations.
    mixture : array, path, list or None
        Superimposed images; None mixes the noisy channels.
    truth : mapping, array, path or list
        High-SNR images of each channel.
    channels : mapping, array, path, list or None
        Noisy channels; they serve the practical upper bound and the alignment of the truth.
    n_samples : int
        Posterior samples.
    spread : {"samples", "distilled", "none"}
        Estimator; "distilled" is the one-pass spread, "none" scores the pass with posterior means,
        which has no std.
    method : {"scalar", "joint"}, optional
        Calibration that is scored; by default the one that is applied (`CalibrationSet.applied`).
    seed : int
        Seed of the posterior noise.
    axes : str, optional
        Axes of channels and truth; inferred by default.
    align : bool, optional
        Whether gain and offset of the truth are fitted; by default where they differ.
    tiling, batch, device
        As in `predict_image`.
    progress : callable, optional
        Called with (finished, total) passes over all images.
    show : callable, optional
        Called once, when all images are scored, with the first of them.

    Returns
    -------
    dict
        Plain JSON types; figures that are not defined are None.

    Raises
    ------
    ConfigurationError
        If the method is unknown, or was not fitted for this estimator, or the model has no such
        spread.
    DataError
        If truth is missing or images do not fit together.
    """
    started = time.monotonic()
    estimator = estimator_name(spread, n_samples)
    chosen = _scored_method(trained.calibrations, estimator, method)
    if spread == "distilled":
        spread_head_of(trained)
    scenes = open_scenes(
        trained.statistics, mixture=mixture, truth=truth, channels=channels, axes=axes
    )
    fitted = trained.calibrations.estimators.get(estimator)
    blur, chosen_on = _blur_of(scenes, trained.calibrations.blur)
    tally = Tally(trained, UncertaintyReport(len(trained.channel_names), fitted), blur)
    example: Example | None = None
    n_known = 0
    for number, scene in enumerate(scenes):
        estimate = predict_image(
            trained,
            scene.mixture,
            n_samples=n_samples,
            spread=spread,
            seed=seed,
            tiling=tiling,
            batch=batch,
            device=device,
            progress=share_of(progress, number, len(scenes)),
        )
        alignment = align_truth(
            scene, estimate.mean, align=align, recorded=trained.calibrations.alignment
        )
        truth = aligned_truth(scene, alignment)
        tally.add(scene, estimate, truth, alignment, chosen)
        if fitted is not None:
            n_known += hash_of(scene) in fitted.fitted_on.sha256
        if example is None:
            example = example_of(trained, scene, estimate, truth, estimator, chosen)._replace(
                pixel_size=scenes.pixel_size
            )
    scores = {
        "version": _version(),
        "command": "evaluate",
        "seed": seed,
        "seconds": time.monotonic() - started,
        "samples": n_samples if spread == "samples" else 0,
        "spread": spread,
        **tally.summary(chosen),
        "blur": {**blur.model_dump(), "chosen_on": chosen_on},
    }
    scores["warnings"] = [*scenes.warnings, *scores["warnings"], *_not_new(n_known, len(scenes))]
    if show is not None and example is not None:
        show(example)
    plain: dict[str, Any] = _finite(scores)
    return plain


def _scored_method(calibrations: CalibrationSet, estimator: str, method: str | None) -> Method:
    """Return the method that was asked for, else the one that is applied.

    Raises
    ------
    ConfigurationError
        If the method that was asked for is unknown, or not fitted for the estimator.
    """
    if method is None:
        return calibrations.applied(estimator) or calibrations.method
    chosen = require_method(method)
    if estimator == "none":
        raise ConfigurationError(
            f"The pass with posterior means has no std to calibrate, so that the method {chosen} "
            "cannot be scored. Leave out the method, or take samples."
        )
    if calibrations.get(estimator, chosen) is None:
        raise ConfigurationError(
            f"The {chosen} calibration was not fitted for {estimator} (fitted: "
            f"{calibrations.words()}). Calibrate with this method and number of samples first, "
            "or leave out the method to score the one that is applied."
        )
    return chosen


def _blur_of(scenes: Scenes, known: BlurWidths | None) -> tuple[BlurWidths, str]:
    """Return the blur widths of the references, and what they were chosen on."""
    if known is None:
        return choose_blur(scenes), "the images that are scored"
    if not scenes.has_channels or known.own_channel is not None:
        return known, "validation"
    own = choose_blur(scenes).own_channel
    return (
        known.model_copy(update={"own_channel": own}),
        "validation; for the own channel the images that are scored",
    )


def example_of(
    trained: TrainedModel,
    scene: Scene,
    estimate: Estimate,
    truth: Real[np.ndarray, "c y x"],
    estimator: str,
    method: Method | None = None,
) -> Example:
    """Put one predicted image beside its truth, with the std that is calibrated where one is.

    Parameters
    ----------
    trained : TrainedModel
        Model with its calibrations.
    scene : Scene
        The image.
    estimate : Estimate
        What was predicted, gray values.
    truth : numpy.ndarray of shape (C, Y, X)
        True channels on the scale of the prediction, gray values.
    estimator : str
        Name from `estimator_name`.
    method : {"scalar", "joint"}, optional
        Calibration; by default the one that is applied.
    """
    std = estimate.spread
    calibrated = None
    if std is not None:
        calibrated = trained.calibrations.std(estimate.mean, std, estimator, method)
    return Example(
        name=scene.name,
        channel_names=trained.channel_names,
        mixture=scene.mixture,
        mean=estimate.mean,
        std=std if calibrated is None else calibrated,
        calibrated=calibrated is not None,
        truth=truth,
    )


def _not_new(n_known: int, n_images: int) -> list[str]:
    """Say that the uncertainty is scored on images that it was fitted on."""
    if not n_known:
        return []
    return [
        f"{n_known} of {n_images} images are those of the calibration: their scores of the "
        "standard deviation are better than on new images. Score on other fields where you have "
        "them."
    ]


def _finite(value: Any) -> Any:
    """Return plain JSON types; what is not a finite number becomes None."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _version() -> str:
    try:
        return version("careamics-denoisplit")
    except PackageNotFoundError:
        return "unknown"
