"""Scores where the structures are not equally bright: the same fields in other proportions."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from careamics_denoisplit import metrics
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.data import Statistics, mix
from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.evaluation.calibrating import share_of
from careamics_denoisplit.evaluation.scenes import Scene, align_truth, aligned_truth, open_scenes
from careamics_denoisplit.prediction import Progress, Spread, Tiling, predict_image

Ratio = tuple[int | float, ...]

_STRENGTHS = (4.0, 2.0)


def usual_ratios(n_channels: int) -> tuple[Ratio, ...]:
    """Return proportions of the channels: equal, and each channel 2 and 4 times the others.

    Parameters
    ----------
    n_channels : int
        Number of channels C; for two of them the proportions run from 1:4 to 4:1.
    """
    equal = (1.0,) * n_channels
    raised = {
        channel: [(*equal[:channel], strength, *equal[channel + 1 :]) for strength in _STRENGTHS]
        for channel in range(n_channels)
    }
    first, *others = raised.values()
    dimmed = [ratio for ratios in reversed(others) for ratio in ratios]
    return (*dimmed, equal, *reversed(first))


def evaluate_ratios(
    trained: TrainedModel,
    *,
    truth: Any,
    channels: Any,
    ratios: Sequence[Ratio] | None = None,
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
    """Superimpose the noisy channels in several proportions, and score what is split from them.

    The light of each channel, noise included, is multiplied by its share; the shares have the mean
    1, so that the mixture stays about as bright as the training's. Only PSNR and leakage are
    scored, which do not depend on the scale of a channel.

    Parameters
    ----------
    trained : TrainedModel
        The model.
    truth, channels : mapping, array, path or list
        High-SNR and noisy images of each channel.
    ratios : sequence of tuples of C float, optional
        Relative brightness of the channels; by default `usual_ratios`.
    n_samples, spread, seed
        The estimator, as in `predict_image`.
    axes, align
        As in `evaluate`.
    tiling, batch, device
        As in `predict_image`.
    progress : callable, optional
        Called with (finished, total) passes.

    Returns
    -------
    dict
        Plain JSON types: `rows` with one entry for each proportion.

    Raises
    ------
    ConfigurationError
        If a proportion does not name one positive number for each channel.
    DataError
        If the model was trained on measured mixtures, or images do not fit together.
    """
    started = time.monotonic()
    names, statistics = trained.channel_names, trained.statistics
    wanted = tuple(usual_ratios(len(names)) if ratios is None else ratios)
    _require_ratios(wanted, len(names))
    if statistics.mixing == "measured":
        raise DataError(
            "The model was trained on measured mixtures, whose proportions cannot be changed "
            "afterwards. Measure mixtures of other proportions and score these."
        )
    scenes = open_scenes(statistics, truth=truth, channels=channels, axes=axes)
    images: list[list[dict[str, Any]]] = [[] for _ in wanted]
    for place, recorded in enumerate(scenes):
        scene = _aligned(recorded, align)
        for number, ratio in enumerate(wanted):
            mixture, mixed_truth = _superimposed(scene, ratio, statistics)
            mean = predict_image(
                trained,
                mixture,
                n_samples=n_samples,
                spread=spread,
                seed=seed,
                tiling=tiling,
                batch=batch,
                device=device,
                progress=share_of(
                    progress, place * len(wanted) + number, len(wanted) * len(scenes)
                ),
            ).mean
            images[number].append(_scored(scene, mean, mixture, mixed_truth))
    rows = [
        {"ratio": list(ratio), **_summary(names, scored), "images": scored}
        for ratio, scored in zip(wanted, images, strict=True)
    ]
    return {
        "command": "ratios",
        "seed": seed,
        "seconds": time.monotonic() - started,
        "samples": n_samples if spread == "samples" else 0,
        "spread": spread,
        "rows": rows,
    }


def _require_ratios(ratios: Sequence[Ratio], n_channels: int) -> None:
    for ratio in ratios:
        if len(ratio) != n_channels or not all(0 < share < np.inf for share in ratio):
            raise ConfigurationError(
                f"Proportions name one positive number for each of {n_channels} channels, got "
                f"{tuple(ratio)}."
            )


def _aligned(scene: Scene, align: bool | None) -> Scene:
    """Bring the truth to the scale of the noisy channels, as its mixture needs it."""
    found = align_truth(scene, scene.truth, align=align)
    truth = aligned_truth(scene, found).astype(np.float32)
    return Scene(scene.name, scene.mixture, truth, scene.channels)


def _superimposed(
    scene: Scene, ratio: Ratio, statistics: Statistics
) -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]]:
    """Mix noisy and true channels in a proportion, by the rule of the training."""
    shares = np.asarray(ratio, dtype=np.float64) * len(ratio) / sum(ratio)
    rule = "sum" if statistics.mixing == "sum" else "mean"
    return (
        mix(np.asarray(scene.channels), rule, shares, statistics.camera_offsets),
        mix(scene.truth, rule, shares, statistics.camera_offsets),
    )


def _scored(
    scene: Scene,
    mean: Float[np.ndarray, "c y x"],
    mixture: Float[np.ndarray, "y x"],
    mixed_truth: Float[np.ndarray, "y x"],
) -> dict[str, Any]:
    pairs = list(zip(scene.truth, mean, strict=True))
    scores: dict[str, Iterable[float]] = {
        "psnr": [metrics.psnr_range_invariant(t, m) for t, m in pairs],
        "leakage": metrics.leakage(mean, scene.truth),
        "leakage_mixture": metrics.mixture_leakage(mixture, scene.truth),
        "noise_free_mixture": [metrics.psnr_range_invariant(t, mixed_truth) for t, _ in pairs],
    }
    return {"name": scene.name} | {
        key: [metrics.finite_or_none(float(each)) for each in values]
        for key, values in scores.items()
    }


def _summary(names: Sequence[str], images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean over the images, for each channel."""
    keys = [key for key in images[0] if key != "name"]
    return {
        "channels": [
            {"name": name, **{key: _mean([each[key][k] for each in images]) for key in keys}}
            for k, name in enumerate(names)
        ]
    }


def _mean(values: Sequence[float | None]) -> float | None:
    return metrics.finite_or_none(
        metrics.mean_defined([each for each in values if each is not None])
    )
