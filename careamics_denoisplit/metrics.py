"""Scores of predicted channels against the truth, and of predictors that do not split.

Every function takes plain arrays, changes none of them and reads no file. Images are (Y, X),
stacks of channels (C, Y, X); units are whatever the arrays hold (gray values or photons) unless
said otherwise. A score that is not defined, such as the PSNR of a constant truth, is NaN or None.
"""

import contextlib
import io
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float64, Real
from microssim import MicroSSIM
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

Plane: TypeAlias = Real[np.ndarray, "y x"]
Stack: TypeAlias = Real[np.ndarray, "c y x"]
Planes: TypeAlias = Sequence[Real[np.ndarray, "_ _"]]  # images of one list may differ in size

BLUR_WIDTHS = tuple(float(width) for width in np.arange(1.0, 8.01, 0.5))
"""Standard deviations, in pixels, among which the blur of the references is chosen."""

MS_SSIM_SMALLEST_SIDE = 176
"""Smallest image side, in pixels, on which five scales of an 11 px window fit."""

MICRO_SSIM_SMALLEST_SIDE = 11
"""Smallest image side, in pixels, that holds the Gaussian window of MicroSSIM."""

PERMUTATION_MARGIN = 3.0
"""Gain in dB above which another order of the channels is reported as the likelier one."""


class AffineMap(NamedTuple):
    """The map `scale * x + offset` between two intensity scales."""

    scale: float
    offset: float

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Map intensities; the input array is left as it is."""
        return self.scale * np.asarray(values, dtype=np.float64) + self.offset


class Permutation(NamedTuple):
    """The order of the predicted channels that fits the truths better than the given one."""

    order: tuple[int, ...]
    """`order[k]` is the predicted channel that fits truth `k` best."""
    gain: float
    """Mean range-invariant PSNR won by it, in dB."""


def psnr_range_invariant(truth: Plane, prediction: Plane) -> float:
    """Peak signal-to-noise ratio after the best scale and offset of the prediction, in dB.

    Both images lose their mean, the prediction is scaled by least squares, and the range is
    that of the truth, `max - min`. Affine changes of the prediction leave the value as it is.

    Parameters
    ----------
    truth : numpy.ndarray of shape (Y, X)
        Reference image.
    prediction : numpy.ndarray of shape (Y, X)
        Image to score.

    Returns
    -------
    float
        dB; infinite for an exact prediction, NaN where the truth is constant.
    """
    reference = _centred(truth)
    value = _centred(prediction)
    extent = float(np.ptp(reference))
    if extent == 0.0:
        return math.nan
    energy = float(np.vdot(value, value))
    scale = float(np.vdot(reference, value)) / energy if energy > 0.0 else 0.0
    return _decibel(extent, reference - scale * value)


def psnr_plain(truth: Plane, prediction: Plane) -> float:
    """Peak signal-to-noise ratio of the intensities as they are, in dB.

    The range is `max - min` of the truth. NaN where the truth is constant, infinite for an
    exact prediction.
    """
    reference = np.asarray(truth, dtype=np.float64)
    extent = float(np.ptp(reference))
    if extent == 0.0:
        return math.nan
    return _decibel(extent, reference - prediction)


def root_mean_square_error(truth: Plane, prediction: Plane) -> float:
    """Root of the mean squared difference, in the units of the images."""
    return _rms(np.asarray(truth, dtype=np.float64) - prediction)


def affine_map(source: np.ndarray, target: np.ndarray) -> AffineMap:
    """Fit `scale * source + offset` to the target by least squares over all pixels.

    `scale = cov(source, target) / var(source)` and `offset = mean(target) - scale *
    mean(source)`. A constant source gives scale 0 and the target's mean.
    """
    centred = _centred(source)
    energy = float(np.vdot(centred, centred))
    scale = float(np.vdot(centred, _centred(target))) / energy if energy > 0.0 else 0.0
    offset = float(np.mean(target, dtype=np.float64) - scale * np.mean(source, dtype=np.float64))
    return AffineMap(scale, offset)


def standardise(image: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Shift and scale an image to mean 0 and standard deviation 1; a constant becomes zero."""
    centred = _centred(image)
    spread = _rms(centred)
    if spread > 0.0:
        centred /= spread
    return centred


def standardise_together(images: Planes) -> list[Real[np.ndarray, "_ _"]]:
    """Bring all images of one channel to common mean 0 and standard deviation 1."""
    pixels = np.concatenate([np.ravel(image) for image in images]).astype(np.float64)
    mean, spread = float(pixels.mean()), float(pixels.std())
    return [(image - mean) / (spread or 1.0) for image in images]


def hagen_normalise(truth: Plane) -> Float64[np.ndarray, "y x"]:
    """Map the 3rd and 99.8th percentile of an image to 0 and 1.

    The normalisation under which the paper scores the real-noise data of Hagen et al.
    (supplement S.2); the prediction is then brought to it with `affine_map`. A truth whose two
    percentiles agree becomes zero.
    """
    low, high = np.percentile(truth, (3.0, 99.8))
    extent = high - low
    centred = np.asarray(truth, dtype=np.float64) - low
    return centred * (1.0 / extent) if extent > 0.0 else np.zeros_like(centred)


def ms_ssim(truths: Planes, predictions: Planes) -> float | None:
    """Multi-scale structural similarity of one channel over all its images.

    torchmetrics with its defaults: five scales, Gaussian window of 11 px, negative similarities
    clipped to zero, mean over images. The data range is `max - min` over all truths. Nothing is
    normalised here: scale both sides first, by `standardise` of the truth and the training
    statistics for the prediction (the paper), by `hagen_normalise` and `affine_map` (the
    paper's real-noise data), or by `range_matched` (careamics).

    Returns
    -------
    float or None
        None where an image has a side below 176 px, on which five scales do not fit, or where
        the truth is constant.
    """
    _require_pairs(truths, predictions)
    if any(min(truth.shape) < MS_SSIM_SMALLEST_SIDE for truth in truths):
        return None
    extent = max(float(np.max(t)) for t in truths) - min(float(np.min(t)) for t in truths)
    if extent == 0.0:
        return None
    scores = [
        multiscale_structural_similarity_index_measure(
            _as_batch(prediction), _as_batch(truth), data_range=extent
        ).item()
        for truth, prediction in zip(truths, predictions, strict=True)
    ]
    return float(np.mean(scores))


def range_matched(truth: Plane, prediction: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Centre both images and scale the prediction by least squares, as careamics does."""
    reference = _centred(truth)
    value = _centred(prediction)
    return reference, affine_map(value, reference).scale * value


def micro_ssim(truths: Planes, predictions: Planes) -> float | None:
    """MicroSSIM of one channel: offsets, range and scale fitted once over all its images.

    Backgrounds are the 3rd percentiles of truth and prediction; the scale of the prediction is
    the one with the highest mean similarity. Fit over all images, then mean of their scores,
    as careamics computes it.

    Returns
    -------
    float or None
        None where an image has a side below 11 px or where the truths are constant.
    """
    _require_pairs(truths, predictions)
    references = [np.asarray(truth, dtype=np.float64) for truth in truths]
    values = [np.asarray(prediction, dtype=np.float64) for prediction in predictions]
    if any(min(image.shape) < MICRO_SSIM_SMALLEST_SIDE for image in references):
        return None
    if max(image.max() for image in references) == min(image.min() for image in references):
        return None
    similarity = MicroSSIM()
    with contextlib.redirect_stderr(io.StringIO()):  # it draws a progress bar of its own
        similarity.fit(references, values)
    scores = [similarity.score(r, v) for r, v in zip(references, values, strict=True)]
    return float(np.mean(scores))


def leakage(prediction: Stack, truth: Stack) -> Float64[np.ndarray, "c"]:
    """How much of the other channels shows in each predicted channel, between 0 and 1.

    Each standardised prediction is explained by all standardised truths with least squares;
    leakage = sum of the other coefficients' magnitudes / sum of all magnitudes. 0 is a clean
    split. A prediction that no truth explains gives NaN.
    """
    coefficients = np.abs(_split_coefficients(prediction, truth))
    total = coefficients.sum(axis=1)
    other = total - np.diagonal(coefficients)
    share: np.ndarray = np.full_like(total, np.nan)
    np.divide(other, total, out=share, where=total > 0.0)
    return share


def mixture_leakage(mixture: Plane, truth: Stack) -> Float64[np.ndarray, "c"]:
    """Leakage of the unsplit mixture, taken as the prediction of every channel."""
    return leakage(np.broadcast_to(mixture, truth.shape), truth)


def channel_correlation(channels: Stack) -> float | None:
    """Pearson correlation of the channels, the mean over pairs where there are more than two.

    None for a single channel; a constant channel counts as uncorrelated.
    """
    if len(channels) < 2:
        return None
    correlation = _correlations(channels, channels)
    pairs = itertools.combinations(range(len(channels)), 2)
    return float(np.mean([correlation[first, second] for first, second in pairs]))


def blur(image: Plane, width: float) -> Float64[np.ndarray, "y x"]:
    """Gaussian blur of standard deviation `width` pixels, with mirrored borders."""
    blurred: np.ndarray = gaussian_filter(np.asarray(image, dtype=np.float64), width)
    return blurred


def best_blur(images: Planes, truths: Planes, widths: Sequence[float] = BLUR_WIDTHS) -> float:
    """Choose the blur width, in pixels, with the highest mean range-invariant PSNR.

    Parameters
    ----------
    images : sequence of numpy.ndarray of shape (Y, X)
        Noisy images of a validation set: mixtures, or one channel's own noisy images.
    truths : sequence of numpy.ndarray of shape (Y, X)
        Truth of the channel, one for each image.
    widths : sequence of float
        Candidate standard deviations in pixels.
    """
    _require_pairs(truths, images)

    def score(width: float) -> float:
        values = [
            psnr_range_invariant(t, blur(i, width)) for i, t in zip(images, truths, strict=True)
        ]
        return mean_defined(values, default=-math.inf)

    return max(widths, key=score)


def noise_free_mixture(truth: Stack) -> Float64[np.ndarray, "y x"]:
    """Mean of the true channels: what a perfect denoiser that does not split would give."""
    return np.asarray(np.mean(truth, axis=0, dtype=np.float64))


def psnr_matrix(prediction: Stack, truth: Stack) -> Float64[np.ndarray, "c c"]:
    """Range-invariant PSNR in dB of every predicted channel (columns) for every truth (rows)."""
    return np.array([[psnr_range_invariant(t, p) for p in prediction] for t in truth])


def better_permutation(
    psnr: Float64[np.ndarray, "c c"], margin: float = PERMUTATION_MARGIN
) -> Permutation | None:
    """Find an order of the predicted channels that fits the truths better than the given one.

    Parameters
    ----------
    psnr : numpy.ndarray of shape (C, C)
        Result of `psnr_matrix`, or its mean over images.
    margin : float
        Smallest mean gain, in dB, that is reported.

    Returns
    -------
    Permutation or None
        None where the given order is the best, or as good within the margin.
    """
    finite = np.clip(np.nan_to_num(psnr, nan=0.0), -1e3, 1e3)
    rows, order = linear_sum_assignment(finite, maximize=True)
    gain = float(np.mean(finite[rows, order] - np.diagonal(finite)))
    if gain <= margin:
        return None
    return Permutation(tuple(int(index) for index in order), gain)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None below three pairs or where one side is constant."""
    pairs = [pair for pair in zip(first, second, strict=True) if all(map(math.isfinite, pair))]
    if len(pairs) < 3:
        return None
    ranks = np.stack([rankdata(side) for side in zip(*pairs, strict=True)])
    if np.any(np.ptp(ranks, axis=1) == 0.0):
        return None
    return float(_correlations(ranks[:1], ranks[1:])[0, 0])


def mean_defined(values: Sequence[float], default: float = math.nan) -> float:
    """Mean of the values that are not NaN, or `default` where there is none."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else default


def finite_or_none(value: float) -> float | None:
    """Return a figure as JSON has it: None where it is not defined."""
    return value if math.isfinite(value) else None


def _centred(image: np.ndarray) -> np.ndarray:
    values = np.asarray(image, dtype=np.float64)
    # Subtracting one pixel first keeps the digits of a small contrast on a large offset, and
    # makes a constant image exactly zero.
    values = values - values.flat[0]
    centred: np.ndarray = values - values.mean()
    return centred


def _rms(values: np.ndarray) -> float:
    return math.sqrt(float(np.mean(np.square(values, dtype=np.float64))))


def _decibel(extent: float, residual: np.ndarray) -> float:
    error = _rms(residual)
    return 20.0 * math.log10(extent / error) if error > 0.0 else math.inf


def _as_batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(image, dtype=np.float32))[None, None]


def _require_pairs(truths: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> None:
    shapes, other_shapes = [t.shape for t in truths], [o.shape for o in others]
    if not shapes or shapes != other_shapes:
        raise ValueError(
            f"Each image needs one truth of its own shape, got images {other_shapes} "
            f"and truths {shapes}."
        )


def _correlations(first: np.ndarray, second: np.ndarray) -> Float64[np.ndarray, "a b"]:
    rows = np.stack([standardise(image).ravel() for image in first])
    columns = np.stack([standardise(image).ravel() for image in second])
    correlations: np.ndarray = rows @ columns.T / rows.shape[1]
    return correlations


def _split_coefficients(prediction: Stack, truth: Stack) -> Float64[np.ndarray, "c c"]:
    """Least-squares weights of the standardised truths (columns) in each prediction (rows)."""
    gram = _correlations(truth, truth)
    mixed = _correlations(truth, prediction)
    coefficients: np.ndarray = np.linalg.lstsq(gram, mixed, rcond=None)[0].T
    return coefficients
