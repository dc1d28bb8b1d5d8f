"""Figures of a noise model on held-out pairs."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from careamics_denoisplit.noise_model.clipping import clipping_limits
from careamics_denoisplit.noise_model.maximum_likelihood import VarianceCurve, variance_curve
from careamics_denoisplit.noise_model.model import GaussianMixtureNoiseModel
from careamics_denoisplit.noise_model.pairs import Blocks
from careamics_denoisplit.noise_model.report import Autocorrelation, SigmaPoint, Uniformity

PIT_BINS: Final = 20
CURVE_BINS: Final = 15
"""Bins of equal count, and again of equal width, so that rare bright pixels show too."""
CURVE_PAIRS: Final = 50
"""Pairs that a bin needs; the standard deviation is then known to 10 %."""
SIGNAL_GROUPS: Final = 5
FAR: Final = range(4, 8)
"""Distances in pixels at which camera noise shares nothing; what still does is no noise."""


def mean_nll(model: GaussianMixtureNoiseModel, pairs: Blocks) -> float:
    """Return the mean negative log-likelihood of pairs, in nats per pixel."""
    signal, observation = pairs.pixels()
    return -float(_evaluate(model.log_prob, observation, signal).mean(dtype=np.float64))


def constant_width_nll(fitted_on: Blocks, pairs: Blocks) -> float:
    """Return the same for a Gaussian of one width, fitted on other pairs."""
    deviation, fitted = (
        observation.astype(np.float64) - signal
        for signal, observation in (pairs.pixels(), fitted_on.pixels())
    )
    variance = max(float((fitted**2).mean()), float(np.finfo(np.float32).tiny))
    return float(0.5 * (np.log(2 * np.pi * variance) + (deviation**2).mean() / variance))


def uniformity(model: GaussianMixtureNoiseModel, pairs: Blocks) -> Uniformity:
    """Compare the probability integral transform of pairs with the uniform distribution.

    Parameters
    ----------
    model : GaussianMixtureNoiseModel
        The model.
    pairs : Blocks
        Held-out pairs; rounding must have been undone, else the transform has steps.
    """
    signal, observation = pairs.pixels()
    transform = _evaluate(model.cdf, observation, signal)
    groups = np.array_split(transform[np.argsort(signal, kind="stable")], SIGNAL_GROUPS)
    counts, _ = np.histogram(transform, bins=PIT_BINS, range=(0, 1))
    ordered = np.sort(transform.astype(np.float64))
    ideal = (np.arange(ordered.size) + 0.5) / ordered.size
    return Uniformity(
        histogram=tuple((counts / transform.size).tolist()),
        kolmogorov_smirnov=_distance_to_uniform(transform),
        wasserstein=float(np.abs(ordered - ideal).mean()),
        worst_by_signal=max(_distance_to_uniform(group) for group in groups),
    )


def sigma_curve(model: GaussianMixtureNoiseModel, pairs: Blocks) -> tuple[SigmaPoint, ...]:
    """Return the width of the noise in bins of the signal, found and by the model."""
    signal, observation = pairs.pixels()
    fine = variance_curve(signal, observation, curve_edges(signal))
    seen = fine.counts >= CURVE_PAIRS
    curve = VarianceCurve(fine.signal[seen], fine.variance[seen], fine.counts[seen])
    centres = curve.signal.astype(np.float32)
    by_model = _evaluate(lambda s, _: model.std(s), centres, centres)
    return tuple(
        SigmaPoint(
            signal=float(s), empirical_std=float(np.sqrt(v)), model_std=float(m), count=int(n)
        )
        for s, v, m, n in zip(curve.signal, curve.variance, by_model, curve.counts, strict=True)
    )


def curve_edges(signal: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return edges between which the noise is drawn: some of equal count, some of equal width."""
    even = np.linspace(float(signal.min()), float(signal.max()), CURVE_BINS + 1)
    edges: npt.NDArray[np.float64] = np.unique(
        np.concatenate([even, np.quantile(signal, np.linspace(0, 1, CURVE_BINS + 1))])
    )
    return edges


def share_outside(pairs: Blocks, limits: tuple[float, float]) -> float:
    """Return the share of observations outside a range of gray values."""
    _, observation = pairs.pixels()
    outside = (observation < limits[0]) | (observation > limits[1])
    return float(outside.mean())


def clipped_share(observation: npt.NDArray[np.float32]) -> float:
    """Return the share of observations at a gray value where pixels were clipped."""
    low, high = clipping_limits(observation)
    return float(((observation <= low) | (observation >= high)).mean())


def autocorrelation(model: GaussianMixtureNoiseModel, pairs: Blocks) -> Autocorrelation:
    """Return the correlation of the standardised noise between neighbouring pixels.

    Where signal and observation differ by more than gain and offset (background, focus, shading),
    deviations are alike over many pixels without any noise being so. Such slow deviations show at
    distances of 4 to 7 pixels, in every direction; they are told apart and taken away.
    """
    std = _evaluate(lambda s, _: model.std(s), pairs.signal, pairs.signal)
    noise = ((pairs.observation - pairs.signal) / std).astype(np.float64)
    used = np.ones(noise.shape) if pairs.left_out is None else (~pairs.left_out).astype(np.float64)
    noise = (noise - (noise * used).sum() / used.sum()) * used
    variance = _shared(noise, used, 0, 0)
    if variance <= 0:
        return Autocorrelation(x=0.0, y=0.0, diagonal=0.0)
    along_x = float(np.mean([_shared(noise, used, 0, far) for far in FAR]))
    along_y = float(np.mean([_shared(noise, used, far, 0) for far in FAR]))
    slow = min(max(min(along_x, along_y), 0.0), 0.99 * variance)
    x, y, diagonal = (
        (_shared(noise, used, *step) - slow) / (variance - slow)
        for step in ((0, 1), (1, 0), (1, 1))
    )
    return Autocorrelation(x=x, y=y, diagonal=diagonal, slow=slow / variance)


def _shared(
    noise: npt.NDArray[np.float64], used: npt.NDArray[np.float64], rows: int, columns: int
) -> float:
    """Mean product of the noise of two pixels at a distance, over pairs that are both used."""
    height, width = noise.shape[1:]
    here = np.s_[:, : height - rows, : width - columns]
    there = np.s_[:, rows:, columns:]
    count = float((used[here] * used[there]).sum())
    return float((noise[here] * noise[there]).sum()) / count if count else 0.0


def _evaluate(
    function: Callable[[Tensor, Tensor], Tensor],
    first: npt.NDArray[np.float32],
    second: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        values: npt.NDArray[np.float32] = function(
            torch.from_numpy(np.ascontiguousarray(first)),
            torch.from_numpy(np.ascontiguousarray(second)),
        ).numpy()
    return values


def _distance_to_uniform(transform: npt.NDArray[np.float32]) -> float:
    ordered = np.sort(transform.astype(np.float64))
    steps = np.arange(ordered.size + 1) / ordered.size
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))
