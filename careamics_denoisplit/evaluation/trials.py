"""Errors, predicted errors and warnings of a model on images that it was not trained for."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Real

from careamics_denoisplit import metrics
from careamics_denoisplit.calibration import estimator_name
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import DataError
from careamics_denoisplit.evaluation.changed_images import Changed, Field, Trial, trials_of
from careamics_denoisplit.evaluation.familiarity import CONSISTENCY, INPUT_RANGE, superposition_in
from careamics_denoisplit.evaluation.scenes import Scene, align_truth, aligned_truth, open_scenes
from careamics_denoisplit.evaluation.trust import mixture_noise_variance
from careamics_denoisplit.images import as_float32, check_pixels, read_images
from careamics_denoisplit.prediction import (
    CONSISTENT,
    Estimate,
    Monitors,
    Progress,
    Spread,
    Tiling,
    outside_training,
    predict_image,
)

Predict = Callable[[Real[np.ndarray, "y x"]], Estimate]

_PIXELS_FOR_MEDIANS = 2**18


def run_trials(
    trained: TrainedModel,
    *,
    truth: Any,
    mixture: Any = None,
    channels: Any = None,
    third: Any = None,
    n_samples: int = 16,
    spread: Spread = "samples",
    seed: int = 0,
    axes: str | None = None,
    align: bool | None = None,
    tiling: Tiling | None = None,
    batch: int = 1,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Change images in ways that a model was not trained for, and see what it says of them.

    Parameters
    ----------
    trained : TrainedModel
        Model with its calibrations.
    truth : mapping, array, path or list
        High-SNR images of each channel.
    mixture, channels : array, path, list, mapping or None
        Input images, or noisy channels, from which they are mixed.
    third : array, path, list or None
        Images of a structure that the model does not know, one after the other.
    n_samples, spread, seed
        The estimator, as in `predict_image`.
    axes, align
        As in `evaluate`.
    tiling, batch, device
        As in `predict_image`.
    progress : callable, optional
        Called with (finished, total) predictions.

    Returns
    -------
    dict
        Plain JSON types. Each of `trials` has a name, what was done, errors and predicted errors
        (also relative to the contrast of the true channels), the median of each warning map, the
        shares of pixels outside by each and by either; `skipped` says why there are none.

    Raises
    ------
    DataError
        If truth is missing or images do not fit together.
    """
    started = time.monotonic()
    scenes = open_scenes(
        trained.statistics,
        mixture=mixture,
        truth=truth,
        channels=channels,
        axes=axes,
        what="trials",
    )
    strangers = _planes_of(third)
    tallies = [Tally(trained, trial) for trial in trials_of(trained, has_third=bool(strangers))]
    tried = [tally for tally in tallies if not tally.trial.why_not]
    predict = partial(
        predict_image,
        trained,
        n_samples=n_samples,
        spread=spread,
        seed=seed,
        tiling=tiling,
        batch=batch,
        device=device,
    )
    estimator = estimator_name(spread, n_samples)
    for number, scene in enumerate(scenes):
        recorded = predict(scene.mixture)
        stranger = strangers[number % len(strangers)] if strangers else None
        field = _field(trained, scene, recorded, stranger, align, (seed, number))
        for done, tally in enumerate(tried):
            changed = tally.trial.change(field)
            same = np.array_equal(changed.mixture, scene.mixture)
            tally.add(changed, recorded if same else predict(changed.mixture), estimator)
            if progress is not None:
                progress(number * len(tried) + done + 1, len(scenes) * len(tried))
    return {
        "command": "trials",
        "seed": seed,
        "seconds": time.monotonic() - started,
        "samples": n_samples if spread == "samples" else 0,
        "spread": spread,
        "method": trained.calibrations.applied(estimator),
        "calibrated": trained.calibrations.applied(estimator) is not None,
        "images": list(scenes.names),
        "thresholds": {CONSISTENCY: list(CONSISTENT), INPUT_RANGE: 0.0},
        "trials": [tally.summary() for tally in tallies],
    }


class Tally:
    """Figures of one trial over all images.

    Parameters
    ----------
    trained : TrainedModel
        Model that is tried.
    trial : Trial
        What is done to the images.
    """

    def __init__(self, trained: TrainedModel, trial: Trial) -> None:
        self.trial = trial
        self._trained = trained
        self._monitors = Monitors.of(trained)
        count = len(trained.channel_names)
        self._errors, self._predicted, self._contrast = (np.zeros(count) for _ in range(3))
        self._has_std = True
        self._psnr: list[list[float]] = []
        self._pixels = 0
        self._outside = {CONSISTENCY: 0, INPUT_RANGE: 0, "either": 0}
        self._sample: dict[str, list[np.ndarray]] = {name: [] for name in self._monitors.names}

    def add(self, changed: Changed, estimate: Estimate, estimator: str) -> None:
        """Add one image that was predicted."""
        mean, std = estimate.mean, estimate.spread
        if std is not None:
            calibrated = self._trained.calibrations.std(mean, std, estimator)
            std = std if calibrated is None else calibrated
        if changed.exchanged:
            mean, std = np.roll(mean, 1, axis=0), None if std is None else np.roll(std, 1, axis=0)
        size = changed.mixture.size
        self._pixels += size
        self._errors += np.square(mean.astype(np.float64) - changed.truth).sum(axis=(1, 2))
        self._contrast += size * changed.contrast
        self._has_std = self._has_std and std is not None
        if std is not None:
            self._predicted += np.square(std, dtype=np.float64).sum(axis=(1, 2))
        self._psnr.append(
            [metrics.psnr_range_invariant(*pair) for pair in zip(changed.truth, mean, strict=True)]
        )
        self._watch(changed.mixture, mean)

    def summary(self) -> dict[str, Any]:
        """Return the row of the table as plain JSON types; all figures are null where skipped."""
        names = self._trained.channel_names
        return {
            "name": self.trial.name,
            "what": self.trial.what,
            "skipped": self.trial.why_not or None,
            **(self._figures() if self._pixels else dict.fromkeys(_FIGURES)),
            "channels": [self._channel(k, name) for k, name in enumerate(names)],
        }

    def _figures(self) -> dict[str, Any]:
        ratios = self._errors / self._contrast
        predicted = self._predicted / self._contrast
        medians = {
            name: float(np.median(np.concatenate(parts))) for name, parts in self._sample.items()
        }
        shares = {name: count / self._pixels for name, count in self._outside.items()}
        knows = self._monitors.consistency is not None
        return {
            "psnr": metrics.finite_or_none(
                metrics.mean_defined([value for row in self._psnr for value in row])
            ),
            "rmse": float(np.sqrt(self._errors / self._pixels).mean()),
            "relative_error": math.sqrt(float(ratios.mean())),
            "predicted_relative_error": math.sqrt(float(predicted.mean()))
            if self._has_std
            else None,
            CONSISTENCY: medians.get(CONSISTENCY),
            f"{CONSISTENCY}_outside": shares[CONSISTENCY] if knows else None,
            INPUT_RANGE: medians.get(INPUT_RANGE),
            f"{INPUT_RANGE}_outside": shares[INPUT_RANGE],
            "outside": shares["either"],
        }

    def _channel(self, channel: int, name: str) -> dict[str, Any]:
        if not self._pixels:
            return {"name": name, **dict.fromkeys(_CHANNEL_FIGURES)}
        error, contrast = self._errors[channel], self._contrast[channel]
        predicted = self._predicted[channel] if self._has_std else math.nan
        values = (
            metrics.mean_defined([row[channel] for row in self._psnr]),
            math.sqrt(error / self._pixels),
            math.sqrt(predicted / self._pixels),
            math.sqrt(error / contrast),
            math.sqrt(predicted / contrast),
        )
        return {
            "name": name,
            **dict(zip(_CHANNEL_FIGURES, map(metrics.finite_or_none, values), strict=True)),
        }

    def _watch(self, mixture: Float[np.ndarray, "y x"], mean: Float[np.ndarray, "c y x"]) -> None:
        """Count what the warning maps say."""
        maps = dict(zip(self._monitors.names, self._monitors.maps(mixture, mean), strict=True))
        step = math.ceil(math.sqrt(mixture.size / _PIXELS_FOR_MEDIANS))
        for name, values in maps.items():
            self._sample[name].append(values[::step, ::step].ravel())
        consistency, input_range = maps.get(CONSISTENCY), maps[INPUT_RANGE]
        quiet = np.zeros_like(input_range)
        for name, outside in (
            (CONSISTENCY, outside_training(consistency, quiet)),
            (INPUT_RANGE, outside_training(None, input_range)),
            ("either", outside_training(consistency, input_range)),
        ):
            self._outside[name] += int(outside.sum())


_FIGURES = (
    "psnr",
    "rmse",
    "relative_error",
    "predicted_relative_error",
    CONSISTENCY,
    f"{CONSISTENCY}_outside",
    INPUT_RANGE,
    f"{INPUT_RANGE}_outside",
    "outside",
)
_CHANNEL_FIGURES = (
    "psnr",
    "rmse",
    "predicted_rmse",
    "relative_error",
    "predicted_relative_error",
)


def _field(
    trained: TrainedModel,
    scene: Scene,
    recorded: Estimate,
    third: Real[np.ndarray, "h w"] | None,
    align: bool | None,
    seed: tuple[int, ...],
) -> Field:
    """Bring the truth to the scale of the prediction, and find what the input consists of."""
    alignment = align_truth(
        scene, recorded.mean, align=align, recorded=trained.calibrations.alignment
    )
    truth = aligned_truth(scene, alignment)
    weights, offset = superposition_in(trained, scene.mixture, truth)
    signal = truth.astype(np.float32)
    variance = mixture_noise_variance(trained.noise_models, signal, weights)
    return Field(scene.mixture, truth, weights, offset, variance, third, seed)


def _planes_of(third: Any) -> list[Real[np.ndarray, "_ _"]]:
    """Read the images of a structure that the model does not know."""
    if third is None:
        return []
    images = read_images(third, name="third structure", channels=1)
    planes = []
    for image in images:
        check_pixels(image, image.name)
        values = as_float32(image.data, image.name)
        planes += list(values.reshape(-1, *values.shape[-2:]))
    if not planes:
        raise DataError("The third structure has no image. Give one, or leave it out.")
    return planes
