"""How well a predicted standard deviation describes the errors, streamed over images.

Positive floats keep their order when their bits are read as integers. That gives a histogram
which needs no range beforehand and resolves every value to 0.2 %: from it follow bins of equal
count, sparsification curves and the areas between them, with a memory that does not grow.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Real
from scipy.integrate import trapezoid

N_BINS = 20
"""Number of bins of the calibration curves and of the intensity-only table."""

COVERAGE_90 = 1.6448536269514722
"""Half width of the central 90 % interval of a normal distribution, in standard deviations."""

_KEY_SHIFT = 14
_N_KEYS = 2 ** (31 - _KEY_SHIFT)


@dataclass(frozen=True)
class Bin:
    """Pixels with about the same predicted standard deviation (Sec. 4.4)."""

    rmv: float | None
    """Root mean variance: predicted, gray values (Eq. 7); None in an empty bin."""
    rmse: float | None
    """Root mean squared error: observed, gray values (Eq. 8); None in an empty bin."""
    count: int
    """Number of pixels."""


class Sparsification(NamedTuple):
    """Error that remains when the most uncertain pixels are left out."""

    fraction: Float64[np.ndarray, "n"]
    """Share of pixels that is left out."""
    curve: Float64[np.ndarray, "n"]
    """RMSE of the rest, relative to that of all pixels, the highest predicted std out first."""
    oracle: Float64[np.ndarray, "n"]
    """The same with the largest error out first: the lowest possible curve."""

    @property
    def area(self) -> float:
        """Area between the curves (AUSE); 0 is a perfect ranking of the pixels."""
        return float(trapezoid(self.curve - self.oracle, self.fraction))


class _Ranked:
    """Sums over pixels, in the order of a non-negative key of each pixel."""

    def __init__(self, n_values: int) -> None:
        self._counts = np.zeros(_N_KEYS, dtype=np.int64)
        self._sums = np.zeros((n_values, _N_KEYS))

    def add(self, key: np.ndarray, *values: np.ndarray) -> None:
        index = np.ascontiguousarray(key, dtype=np.float32).view(np.uint32) >> _KEY_SHIFT
        self._counts += np.bincount(index, minlength=_N_KEYS)
        for total, value in zip(self._sums, values, strict=True):
            total += np.bincount(index, weights=value, minlength=_N_KEYS)

    def occupied(self) -> tuple[Int64[np.ndarray, "n"], Float64[np.ndarray, "v n"]]:
        """Return counts and sums of the keys that occurred, in ascending order."""
        present = np.flatnonzero(self._counts)
        return self._counts[present], self._sums[:, present]

    def cumulative(self, counts: Float64[np.ndarray, "n"], value: int) -> Float64[np.ndarray, "n"]:
        """Sum of a value over the `counts` pixels with the lowest keys."""
        n, sums = self.occupied()
        reached = np.concatenate([[0], np.cumsum(n)])
        summed: np.ndarray = np.interp(
            counts, reached, np.concatenate([[0.0], np.cumsum(sums[value])])
        )
        return summed


class UncertaintyScores:
    """Scores of one predicted standard deviation in one channel, over any number of images.

    Add the pixels of each image, then read the scores. NaN where no pixel was added.
    """

    def __init__(self) -> None:
        self.n_pixels = 0
        self._squared_error = 0.0
        self._log_likelihood = 0.0
        self._covered = 0
        self._by_std = _Ranked(2)
        self._by_error = _Ranked(1)

    def add(self, std: Real[np.ndarray, "..."], error: Real[np.ndarray, "..."]) -> None:
        """Add pixels: predicted standard deviation (> 0) and error, both in gray values.

        Raises
        ------
        ValueError
            If the shapes differ or a standard deviation is not a positive number.
        """
        if std.shape != error.shape:
            raise ValueError(f"Std {std.shape} and error {error.shape} differ in shape.")
        sigma = np.asarray(std, dtype=np.float64).ravel()
        squared = np.square(error, dtype=np.float64).ravel()
        if not np.all(sigma > 0.0) or not np.all(np.isfinite(sigma)):
            raise ValueError("Standard deviations must be positive and finite: apply a floor.")
        variance = np.square(sigma)
        self.n_pixels += sigma.size
        self._squared_error += float(squared.sum())
        self._log_likelihood += float(gaussian_log_likelihood(variance, squared).sum())
        self._covered += int(np.count_nonzero(squared <= COVERAGE_90**2 * variance))
        self._by_std.add(sigma, variance, squared)
        self._by_error.add(np.sqrt(squared), squared)

    @property
    def rmse(self) -> float:
        """Root mean squared error over all pixels, gray values."""
        return math.sqrt(self._squared_error / self.n_pixels) if self.n_pixels else math.nan

    @property
    def nll(self) -> float:
        """Mean negative Gaussian log-likelihood of the errors, nats per pixel."""
        return -self._log_likelihood / self.n_pixels if self.n_pixels else math.nan

    @property
    def coverage_90(self) -> float:
        """Share of pixels whose truth lies in the central 90 % interval; ideal is 0.9."""
        return self._covered / self.n_pixels if self.n_pixels else math.nan

    def bins(self, n_bins: int = N_BINS) -> tuple[Bin, ...]:
        """Bins with equal numbers of pixels, from the lowest to the highest predicted std."""
        edges = np.round(np.linspace(0, self.n_pixels, n_bins + 1))
        sums = (np.diff(self._by_std.cumulative(edges, value)) for value in (0, 1))
        return _as_bins(np.diff(edges), *sums)

    def bins_equal_width(self, n_bins: int = N_BINS) -> tuple[Bin, ...]:
        """Bins of equal width between the lowest and the highest predicted std."""
        counts, (variance, squared) = self._by_std.occupied()
        if not counts.size:
            return _as_bins(*np.zeros((3, n_bins)))
        sigma = np.sqrt(variance / counts)
        width = (sigma[-1] - sigma[0]) / n_bins
        index = np.zeros(sigma.size, dtype=np.intp)
        if width > 0.0:
            index = np.minimum(((sigma - sigma[0]) / width).astype(np.intp), n_bins - 1)
        return _as_bins(
            *(np.bincount(index, weights=w, minlength=n_bins) for w in (counts, variance, squared))
        )

    @property
    def relative_error(self) -> float:
        """Mean over equal-count bins of |RMSE - RMV|, divided by the RMSE of all pixels."""
        gaps = [abs(b.rmse - b.rmv) for b in self.bins() if b.rmse is not None and b.rmv]
        return float(np.mean(gaps)) / self.rmse if gaps and self.rmse > 0.0 else math.nan

    @property
    def ence(self) -> float:
        """Expected normalised calibration error: mean over bins of |RMV - RMSE| / RMV."""
        gaps = [abs(b.rmse - b.rmv) / b.rmv for b in self.bins() if b.rmse is not None and b.rmv]
        return float(np.mean(gaps)) if gaps else math.nan

    def sparsification(self, n_steps: int = 100) -> Sparsification:
        """RMSE of the remaining pixels while the most uncertain ones are left out."""
        fraction = np.arange(n_steps) / n_steps
        if not self.rmse > 0.0:
            return Sparsification(fraction, *np.full((2, n_steps), math.nan))
        remaining = self.n_pixels * (1.0 - fraction)
        curves = (
            np.sqrt(np.maximum(ranked.cumulative(remaining, value), 0.0) / remaining) / self.rmse
            for ranked, value in ((self._by_std, 1), (self._by_error, 0))
        )
        return Sparsification(fraction, *curves)

    @property
    def ause(self) -> float:
        """Area between the sparsification curve and its oracle, in units of the total RMSE."""
        return self.sparsification().area


def gaussian_log_likelihood(
    variance: Float64[np.ndarray, "..."], squared_error: Float64[np.ndarray, "..."]
) -> Float64[np.ndarray, "..."]:
    """Log density of errors under normal distributions of mean zero, in nats per pixel."""
    density: np.ndarray = -0.5 * (squared_error / variance + np.log(variance * (2.0 * math.pi)))
    return density


def _as_bins(counts: np.ndarray, variance: np.ndarray, squared: np.ndarray) -> tuple[Bin, ...]:
    return tuple(
        Bin(math.sqrt(max(v, 0.0) / n), math.sqrt(max(s, 0.0) / n), round(n))
        if n > 0
        else Bin(None, None, 0)
        for n, v, s in zip(counts.tolist(), variance.tolist(), squared.tolist(), strict=True)
    )
