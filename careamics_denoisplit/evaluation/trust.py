"""How far a prediction can be trusted, from what is known without truth.

Two signs are added, each relative to the contrast of the prediction. The first is the calibrated
variance: what the posterior leaves open. The second is the part of the input that the predicted
channels, mixed again, do not explain beyond the noise: it shows structures, intensities or
optics that the network has not been trained on. An error that moves signal from one channel to
the other leaves no residual; only the variance can tell it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Real
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.data import Moments
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel

SMOOTHING = 2.0
"""Blur of the residual in pixels; it leaves structure and removes most of the noise."""

REGION = 64
"""Smallest side, in pixels, of the regions that stand for images where these are few."""

_REGIONS_PER_SIDE = 4


class Trust(NamedTuple):
    """Trust in one prediction, and what it rests on."""

    score: float
    """Between 0 and 1: 1 / (1 + relative_variance + relative_residual)."""
    relative_variance: float | None
    """Mean variance / variance of the predicted image, mean over channels; None without std."""
    relative_residual: float
    """Unexplained variance of the smoothed input / variance of the predicted mixture."""


class Region(NamedTuple):
    """A part of an image."""

    rows: slice
    columns: slice


def trust_in(
    mixture: Real[np.ndarray, "y x"],
    mean: Real[np.ndarray, "c y x"],
    std: Real[np.ndarray, "c y x"] | None,
    remixed: Real[np.ndarray, "y x"],
    noise_variance: Real[np.ndarray, "y x"] | None,
) -> Trust:
    """Score one image or region.

    Parameters
    ----------
    mixture : numpy.ndarray of shape (Y, X)
        The input, gray values.
    mean : numpy.ndarray of shape (C, Y, X)
        Predicted channels, gray values.
    std : numpy.ndarray of shape (C, Y, X) or None
        Their standard deviation, gray values.
    remixed : numpy.ndarray of shape (Y, X)
        The predicted channels, mixed as the input was.
    noise_variance : numpy.ndarray of shape (Y, X) or None
        Variance of the input's noise by the noise models, squared gray values.
    """
    sums = TrustSums(len(mean))
    sums.add(mixture, mean, std, remixed, noise_variance)
    return sums.result()


class TrustSums:
    """What trust rests on, added up over parts of one image or stack.

    Parameters
    ----------
    n_channels : int
        Number of channels C.
    """

    def __init__(self, n_channels: int) -> None:
        self._means = [Moments() for _ in range(n_channels)]
        self._remixed = Moments()
        self._squared_stds = np.zeros(n_channels)
        self._n_stds = 0
        self._unexplained = 0.0

    def add(
        self,
        mixture: Real[np.ndarray, "y x"],
        mean: Real[np.ndarray, "c y x"],
        std: Real[np.ndarray, "c y x"] | None,
        remixed: Real[np.ndarray, "y x"],
        noise_variance: Real[np.ndarray, "y x"] | None,
        rows: slice = slice(None),
    ) -> None:
        """Add a part, or those rows of it that have their surroundings beside them.

        Parameters
        ----------
        mixture, mean, std, remixed, noise_variance
            As in `trust_in`.
        rows : slice
            Rows that count.
        """
        smooth = gaussian_filter(mixture.astype(np.float64) - remixed, SMOOTHING)[rows]
        self._unexplained += float(np.sum(np.square(smooth)))
        if noise_variance is not None:
            # Sum of the squared weights of a Gaussian blur in two dimensions.
            left = float(np.sum(noise_variance[rows])) / (4.0 * math.pi * SMOOTHING**2)
            self._unexplained -= left
        self._remixed.add(remixed[rows])
        for channel, moments in enumerate(self._means):
            moments.add(mean[channel, rows])
        if std is not None:
            self._squared_stds += np.square(std[:, rows], dtype=np.float64).sum(axis=(1, 2))
            self._n_stds += smooth.size

    def result(self) -> Trust:
        """Return the trust in everything that was added."""
        variance = None
        if self._n_stds:
            ratios = [
                _ratio(float(squares) / self._n_stds, moments.std**2)
                for squares, moments in zip(self._squared_stds, self._means, strict=True)
            ]
            variance = float(np.mean(ratios))
        unexplained = max(self._unexplained, 0.0) / self._remixed.count
        residual = _ratio(unexplained, self._remixed.std**2)
        return Trust(1.0 / (1.0 + (variance or 0.0) + residual), variance, residual)


def fitted_superposition(
    mean: Real[np.ndarray, "c y x"], mixture: Real[np.ndarray, "y x"]
) -> tuple[Float64[np.ndarray, "c"], float]:
    """Fit the weight of each predicted channel in a measured mixture (C,), and the offset."""
    rows = np.concatenate([mean.reshape(len(mean), -1), np.ones((1, mixture.size))])
    rows = rows.astype(np.float64)
    solution = np.linalg.lstsq(rows @ rows.T, rows @ mixture.ravel().astype(np.float64), rcond=None)
    *gains, offset = solution[0]
    return np.array(gains), float(offset)


def mixture_noise_variance(
    noise_models: Sequence[GaussianMixtureNoiseModel],
    mean: Real[np.ndarray, "c y x"],
    gains: Float64[np.ndarray, "c"],
) -> Float64[np.ndarray, "y x"] | None:
    """Variance of the input's noise at the predicted signal; None without noise models."""
    if not noise_models:
        return None
    total = np.zeros(mean.shape[1:])
    with torch.no_grad():
        for model, signal, gain in zip(noise_models, mean, gains, strict=True):
            variance = model.variance(torch.from_numpy(np.ascontiguousarray(signal)))
            total += gain**2 * variance.numpy().astype(np.float64)
    return total


def regions(shape: tuple[int, int]) -> Iterator[Region]:
    """Cut an image into at most 4 x 4 regions of 64 pixels or more; a small one stays whole."""
    edges = [
        np.linspace(0, side, min(_REGIONS_PER_SIDE, max(1, side // REGION)) + 1).astype(int)
        for side in shape
    ]
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            yield Region(slice(int(top), int(bottom)), slice(int(left), int(right)))


def relative_error(mean: Real[np.ndarray, "c y x"], truth: Real[np.ndarray, "c y x"]) -> float:
    """Root of mean squared error / variance of the truth, mean over channels: the true error."""
    ratios = [
        _ratio(float(np.mean(np.square(m.astype(np.float64) - t))), float(np.var(t)))
        for m, t in zip(mean, truth, strict=True)
    ]
    return math.sqrt(float(np.mean(ratios)))


def _ratio(value: float, reference: float) -> float:
    """Quotient that stays finite for constant images."""
    return value / max(reference, 1e-12 * max(value, 1e-300))
