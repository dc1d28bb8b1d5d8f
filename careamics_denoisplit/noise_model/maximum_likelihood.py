"""The fit itself: weights of a mixture that make observed pairs most probable."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32
from scipy.optimize import minimize, nnls
from torch import Tensor

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.noise_model.mixture import SignalRange, components, mixture_log_prob
from careamics_denoisplit.noise_model.model import GaussianMixtureNoiseModel
from careamics_denoisplit.threads import one_thread

VARIANCE_BINS: Final = 64
MAX_STEPS: Final = 150
"""Steps of the quasi-Newton method on the first pairs; it needs 10 to 60."""

PAIRS_FOR_START: Final = 30_000
"""Pairs that the fit starts with."""

PAIRS_AT_ONCE: Final = 15_000
"""Pairs whose graph is held in memory at once; it then fits into the cache of a processor."""

LAST_STEPS: Final = 20
"""Steps on all pairs, from the weights that the first ones gave."""

SETTLED: Final = 1e-7
"""Relative change of the likelihood in one step below which there is nothing left to gain."""

RESTRAINT: Final = 1e-3
"""Nats that a mixture loses when a coefficient of a width or a logit leaves its start by one."""

SMALLEST_PART: Final = 1e-3
"""Part of the mean variance that every polynomial coefficient starts with at least."""

Pixels = Float32[np.ndarray, "pairs"]


class VarianceCurve(NamedTuple):
    """Empirical variance of the noise in bins of the signal."""

    signal: npt.NDArray[np.float64]
    """Mean signal of each bin, in gray values."""
    variance: npt.NDArray[np.float64]
    """Mean squared deviation of the observation from the signal, in squared gray values."""
    counts: npt.NDArray[np.int64]
    """Number of pairs."""


def variance_curve(
    signal: Pixels, observation: Pixels, edges: npt.NDArray[np.float64] | None = None
) -> VarianceCurve:
    """Measure the variance of the noise in bins of the signal.

    Parameters
    ----------
    signal, observation : arrays of shape (n,)
        Pairs in gray values.
    edges : array, optional
        Increasing edges of the bins; empty bins are left out. If not given 64 bins with about
        equal counts, fewer where many pairs have one signal.
    """
    if edges is None:
        edges = np.unique(np.quantile(signal, np.linspace(0, 1, VARIANCE_BINS + 1)))
    square = (observation.astype(np.float64) - signal) ** 2
    place = np.clip(np.searchsorted(edges, signal, side="right") - 1, 0, max(len(edges) - 2, 0))
    count = np.bincount(place)
    filled = count > 0
    sums = np.bincount(place, weights=square), np.bincount(place, weights=signal)
    return VarianceCurve(
        sums[1][filled] / count[filled], sums[0][filled] / count[filled], count[filled]
    )


def fit_weights(
    signal: Pixels,
    observation: Pixels,
    *,
    n_gaussians: int,
    n_coefficients: int,
    min_variance: float,
) -> GaussianMixtureNoiseModel:
    """Fit a mixture by maximum likelihood (Eq. 4), in float64; nothing is drawn at random.

    Parameters
    ----------
    signal, observation : arrays of shape (n,)
        Pairs in gray values.
    n_gaussians, n_coefficients : int
        Size of the model.
    min_variance : float
        Floor of the variance, in squared gray values.

    Raises
    ------
    NoiseModelError
        If no finite weights are found.
    """
    low, high = float(signal.min()), float(signal.max())
    signal_range = SignalRange(_float64(low), _float64(high))
    floor = _float64(min_variance)
    s, x = torch.from_numpy(signal).double(), torch.from_numpy(observation).double()
    curve = variance_curve(signal, observation)
    scale = float(np.sqrt(np.average(curve.variance, weights=curve.counts)))
    start = _initial_weights(curve, (low, high), n_gaussians, n_coefficients)
    start[:n_gaussians] /= scale  # means in units of the noise, so that all steps are alike
    units = np.ones_like(start)
    units[:n_gaussians] = scale
    # Of several Gaussians one may be nearly absent somewhere, its width there is anybody's guess.
    pull = RESTRAINT if n_gaussians > 1 else 0.0

    def negative_log_likelihood(
        flat: npt.NDArray[np.float64], part: slice
    ) -> tuple[float, npt.NDArray[np.float64]]:
        weight = torch.from_numpy(flat.reshape(start.shape) * units).requires_grad_()
        count, nats = len(s[part]), 0.0
        for some_s, some_x in zip(
            torch.split(s[part], PAIRS_AT_ONCE), torch.split(x[part], PAIRS_AT_ONCE), strict=True
        ):
            mixture = components(weight, signal_range, floor, some_s)
            loss = -mixture_log_prob(mixture, some_x).sum() / count
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            nats += float(loss.detach())
        away = flat.reshape(start.shape) - start
        away[:n_gaussians] = 0
        gradient = np.asarray(weight.grad) * units + 2 * pull * away
        return nats + pull * float((away**2).sum()), gradient.ravel()

    # Most of the way on every n-th pair: the blocks come in random order.
    few = slice(None, None, max(1, len(s) // PAIRS_FOR_START))
    found = start.ravel()
    with one_thread():
        for part, steps in ((few, MAX_STEPS), (slice(None), LAST_STEPS)):
            found = minimize(
                negative_log_likelihood,
                found,
                args=(part,),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": steps, "ftol": SETTLED},
            ).x
    if not np.isfinite(found).all():
        raise NoiseModelError(
            f"No finite noise model of {n_gaussians} Gaussians with {n_coefficients} coefficients "
            "was found. Ask for fewer of both, or check the images for outliers."
        )
    weight = torch.from_numpy(found.reshape(start.shape) * units)
    return GaussianMixtureNoiseModel(weight.float(), low, high, min_variance)


def default_min_variance(curve: VarianceCurve) -> float:
    """Return a floor far below the noise found, in squared gray values."""
    positive = curve.variance[curve.variance > 0]
    smallest = float(np.finfo(np.float32).tiny)
    return max(0.05 * float(positive.min()), smallest) if positive.size else smallest


def _initial_weights(
    curve: VarianceCurve,
    ends: tuple[float, float],
    n_gaussians: int,
    n_coefficients: int,
) -> npt.NDArray[np.float64]:
    """Start at the least-squares polynomial of the variance, components apart in width."""
    variance = np.log(_variance_polynomial(curve, ends, n_coefficients))
    width = np.linspace(-1, 1, n_gaussians) if n_gaussians > 1 else np.zeros(1)
    scale = float(np.sqrt(np.average(curve.variance, weights=curve.counts)))
    weight = np.zeros((3 * n_gaussians, n_coefficients))
    # Slightly apart in position too: a skewed noise could not leave a symmetric start.
    weight[:n_gaussians, 0] = 0.1 * scale * width
    weight[n_gaussians : 2 * n_gaussians] = variance + width[:, None]
    weight[2 * n_gaussians :, 0] = -np.abs(width)
    return weight


def _variance_polynomial(
    curve: VarianceCurve, ends: tuple[float, float], n_coefficients: int
) -> npt.NDArray[np.float64]:
    position = (curve.signal - ends[0]) / (ends[1] - ends[0])
    powers = position[:, None] ** np.arange(n_coefficients)
    mean = float(np.average(curve.variance, weights=curve.counts))
    # A variance is known to about its own size over the root of the count.
    trust = np.sqrt(curve.counts) / np.maximum(curve.variance, 0.01 * mean)
    coefficients, _ = nnls(powers * trust[:, None], curve.variance * trust)
    found: npt.NDArray[np.float64] = np.maximum(coefficients, SMALLEST_PART * mean)
    return found


def _float64(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
