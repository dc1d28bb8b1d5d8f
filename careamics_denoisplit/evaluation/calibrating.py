"""Calibrate a trained model on validation images with truth."""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from careamics_denoisplit import metrics
from careamics_denoisplit.calibration import (
    MAX_PIXELS,
    METHODS,
    BlurWidths,
    CalibrationSet,
    FittedOn,
    JointCalibration,
    Method,
    PixelSample,
    TruthAlignment,
    estimator_name,
    fit_estimator,
    require_enough_samples,
)
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.evaluation.scenes import (
    Scene,
    Scenes,
    align_truth,
    aligned_truth,
    open_scenes,
)
from careamics_denoisplit.prediction import Progress, Spread, Tiling, predict_image
from careamics_denoisplit.prediction.decoding import spread_head_of
from careamics_denoisplit.prediction.estimate import require_spread

PACKAGE_SAMPLES = 8
"""Posterior samples that packages draw in their graph."""

MAX_BLUR_SCENES = 8
"""Scenes on which the blur widths of the references are chosen at most."""


def calibrate(
    trained: TrainedModel,
    *,
    truth: Any,
    mixture: Any = None,
    channels: Any = None,
    n_samples: int = 16,
    spread: Spread = "samples",
    method: str = "scalar",
    seed: int = 0,
    axes: str | None = None,
    align: bool | None = None,
    tiling: Tiling | None = None,
    batch: int = 1,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> CalibrationSet:
    """Fit factors, the joint function and the references on validation images with truth.

    One pass of `n_samples` posterior samples serves two estimators: that of all samples, and
    that of the first 8, which packages use. The one-pass spread is an estimator of its own.

    Calibrations of other estimators are kept. So is an earlier joint function of the same
    estimator where "scalar" is fitted on the same images; one of other images is dropped with a
    warning, since two methods can be compared on the same images only.

    Parameters
    ----------
    trained : TrainedModel
        Model to calibrate.
    truth : mapping, array, path or list
        High-SNR images of each channel; another gain and offset are aligned, and that is recorded.
    mixture, channels : array, path, list, mapping or None
        Input images, and noisy channels, from which the input is mixed where it is not given.
    n_samples : int
        Posterior samples, 4 or more.
    spread : {"samples", "distilled"}
        Estimator; "distilled" is the one-pass spread, which draws no samples.
    method : {"scalar", "joint"}
        "joint" fits the joint function beside the factors. The method is applied from now on:
        see `CalibrationSet.applied`.
    seed : int
        Seed of the posterior noise, of the drawn pixels and of the joint fit.
    axes : str, optional
        Axes of channels and truth; inferred by default.
    align : bool, optional
        Whether the truth's gain and offset are fitted; by default where they differ.
    tiling, batch, device
        As in `predict_image`.
    progress : callable, optional
        Called with (finished, total) passes over all images.

    Returns
    -------
    CalibrationSet
        To be stored with the model.

    Raises
    ------
    ConfigurationError
        If there are too few samples, the method is unknown, or the model has no such spread.
    DataError
        If truth is missing or images do not fit together.
    """
    chosen = require_method(method)
    counts = _counts(trained, spread, n_samples)
    scenes = open_scenes(
        trained.statistics,
        mixture=mixture,
        truth=truth,
        channels=channels,
        axes=axes,
        what="calibration",
    )
    pixels: dict[int, list[PixelSample]] = {count: [] for count in counts}
    first: tuple[TruthAlignment, ...] = ()
    hashes: list[str] = []
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
            snapshots=counts[:-1],
            progress=share_of(progress, number, len(scenes)),
        )
        alignment = align_truth(scene, estimate.mean, align=align)
        first = first or alignment
        aligned = aligned_truth(scene, alignment)
        hashes.append(hash_of(scene))
        for count in counts:
            part = estimate if count == counts[-1] else estimate.snapshots[count]
            # The same pixels for both estimators: their factors differ by the samples alone.
            random = np.random.default_rng([seed, number])
            quota = MAX_PIXELS // len(scenes)
            pixels[count].append(
                PixelSample.draw(part.mean, np.asarray(part.spread), aligned, quota, random)
            )
    samples = {
        estimator_name(spread, count): PixelSample.join(parts) for count, parts in pixels.items()
    }
    data = FittedOn(images=scenes.names, sha256=tuple(hashes), seed=seed)
    kept = {} if chosen == "joint" else _kept_joints(trained.calibrations, tuple(samples), data)
    fitted = {
        name: fit_estimator(
            sample, joint=chosen == "joint", seed=seed, kept=kept.get(name), fitted_on=data
        )
        for name, sample in samples.items()
    }
    return CalibrationSet(
        channel_names=trained.channel_names,
        estimators={**trained.calibrations.estimators, **fitted},
        method=chosen,
        alignment=first,
        blur=choose_blur(scenes),
    )


def _counts(trained: TrainedModel, spread: Spread, n_samples: int) -> list[int]:
    """Return the numbers of samples to calibrate, in order; 0 is the one pass.

    Raises
    ------
    ConfigurationError
        If there is nothing to calibrate, or there are too few samples.
    """
    require_spread(spread)
    if spread == "none":
        raise ConfigurationError(
            "The pass with posterior means has no std to calibrate. Take the spread 'samples' or "
            "'distilled'."
        )
    if spread == "distilled":
        spread_head_of(trained)
        return [0]
    try:
        require_enough_samples(n_samples)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return sorted({PACKAGE_SAMPLES, n_samples} if n_samples > PACKAGE_SAMPLES else {n_samples})


def require_method(name: str) -> Method:
    """Return the method of this name.

    Raises
    ------
    ConfigurationError
        If there is no such method.
    """
    for method in METHODS:
        if name == method:
            return method
    raise ConfigurationError(f'`method` must be "scalar" or "joint", got {name!r}.')


def choose_blur(scenes: Scenes) -> BlurWidths:
    """Choose the blur of the predictors that do not split, on the first 8 scenes at most."""
    used = [scenes.read(index) for index in range(min(len(scenes), MAX_BLUR_SCENES))]
    count = len(used[0].truth)

    def widths(images: Callable[[Scene, int], np.ndarray]) -> tuple[float, ...]:
        return tuple(
            metrics.best_blur([images(s, k) for s in used], [s.truth[k] for s in used])
            for k in range(count)
        )

    own = None
    if scenes.has_channels:
        own = widths(lambda scene, channel: np.asarray(scene.channels)[channel])
    return BlurWidths(mixture=widths(lambda scene, channel: scene.mixture), own_channel=own)


def hash_of(scene: Scene) -> str:
    """Return a hash (SHA-256) of an input and its truth, as they were read.

    The truth is taken before it is aligned: how it is may depend on the prediction.
    """
    found = hashlib.sha256(str(scene.truth.shape).encode())
    for part in (scene.mixture, scene.truth):
        found.update(np.ascontiguousarray(part, dtype=np.float32).data)
    return found.hexdigest()


def share_of(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Report the passes of one image as a part of those of all images."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, count * total)


def _kept_joints(
    known: CalibrationSet, names: tuple[str, ...], data: FittedOn
) -> Mapping[str, JointCalibration]:
    """Find the joint functions that belong to the same images; warn of those that do not."""
    kept, dropped = {}, []
    for name in names:
        earlier = known.estimators.get(name)
        if earlier is None or earlier.joint is None:
            continue
        if earlier.fitted_on.same_data(data):
            kept[name] = earlier.joint
        else:
            dropped.append(f"{name} ({', '.join(earlier.fitted_on.images) or 'images unknown'})")
    if dropped:
        warnings.warn(
            "The joint calibration was dropped, it was fitted on other images than these: "
            f"{'; '.join(dropped)}. Calibrate with the method joint to fit it anew.",
            UserWarning,
            stacklevel=3,
        )
    return kept
