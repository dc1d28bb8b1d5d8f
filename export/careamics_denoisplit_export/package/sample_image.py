"""The raw image that a package is tested with."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from careamics_denoisplit.data import Statistics
from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import as_float32, check_pixels, read_images
from careamics_denoisplit_export.rdf import TILE

_MADE_UP = tuple((seed, lift) for lift in (0, 25, 50) for seed in (0, 1))
_SMOOTHNESS = 6.0


@dataclass(frozen=True)
class SampleImage:
    """A raw image of the size of one tile, and where it comes from.

    Attributes
    ----------
    raw : numpy.ndarray of shape (512, 512)
        Gray values, float32.
    origin : str
        One phrase for the card.
    given : tuple of slice
        Rows and columns that are no reflections of others.
    """

    raw: Float32[np.ndarray, "y x"]
    origin: str
    given: tuple[slice, slice] = (slice(None), slice(None))

    @property
    def tensor(self) -> Float32[np.ndarray, "1 1 y x"]:
        """The image as the network takes it, shape (1, 1, Y, X)."""
        return self.raw[None, None]


def sample_image(source: Any, statistics: Statistics) -> SampleImage:
    """Take the middle of a given image, or make one up from the statistics.

    Parameters
    ----------
    source : array-like or pathlib.Path or str or None
        Gray values of shape (Y, X) with leading axes of length one, or an image file whose first
        plane and channel count. None makes an image with the training input's histogram.
    statistics : Statistics
        Those of the training data.

    Raises
    ------
    DataError
        If the image is not one plane, or holds NaN or infinite pixels.
    """
    if source is None:
        return next(made_up_images(statistics))
    if isinstance(source, str | Path):
        image, name = read_images(source, name="test image")[0].data, Path(source).name
        plane = image[(0,) * (image.ndim - 2)].values
    else:
        plane, name = _plane_of(source), "given image"
    check_pixels(plane, "test image")
    pixels = as_float32(plane, "test image")
    height, width = pixels.shape
    origin = f"{name}, {height} x {width} px"
    if min(height, width) < TILE:
        return SampleImage(
            _padded(pixels),
            f"{origin}, padded by reflection to {TILE} x {TILE} px",
            (_middle(height), _middle(width)),
        )
    top, left = (height - TILE) // 2, (width - TILE) // 2
    cut = np.ascontiguousarray(pixels[top : top + TILE, left : left + TILE])
    return SampleImage(cut, origin if height == width == TILE else f"{origin}, the middle of it")


def made_up_images(statistics: Statistics) -> Iterator[SampleImage]:
    """Make up images with the training input's histogram, later ones without its darkest part.

    A prediction near zero is not reproduced by other engines; one of these images may avoid it.

    Parameters
    ----------
    statistics : Statistics
        Those of the training data.
    """
    for seed, lift in _MADE_UP:
        above = f" from the {lift}th on" if lift else ""
        yield SampleImage(
            _made_up(statistics, seed, lift),
            f"made up from the percentiles of the training input{above}, since none was given",
        )


def _plane_of(source: Any) -> np.ndarray:
    array = np.asarray(source)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.size == 0:
        raise DataError(
            f"The test image must be one plane (Y, X), got shape {np.shape(source)}. "
            "Give one image of one channel."
        )
    return array


def _padded(pixels: Float32[np.ndarray, "y x"]) -> Float32[np.ndarray, "y x"]:
    """Reflect up to one tile per axis; what is larger is cut in the middle."""
    for axis, size in enumerate(pixels.shape):
        missing = max(0, TILE - size)
        width = [(0, 0), (0, 0)]
        width[axis] = (missing // 2, missing - missing // 2)
        # A single line has nothing to be reflected at.
        pixels = np.pad(pixels, width, mode="reflect" if size > 1 else "edge")
        start = (pixels.shape[axis] - TILE) // 2
        pixels = np.take(pixels, np.arange(start, start + TILE), axis=axis)
    return np.ascontiguousarray(pixels)


def _middle(size: int) -> slice:
    """Where an axis lies within the tile to which it was padded or cut."""
    start = max(0, TILE - size) // 2
    return slice(start, start + min(size, TILE))


def _made_up(statistics: Statistics, seed: int, lift: float) -> Float32[np.ndarray, "y x"]:
    """Smooth noise whose values follow the percentiles of the training input from `lift` on."""
    white = np.random.default_rng(seed).standard_normal((TILE, TILE))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    smooth = np.fft.irfft2(np.fft.rfft2(white) * np.exp(-_SMOOTHNESS * TILE / 64 * frequency))
    ranks = lift + smooth.ravel().argsort().argsort() / smooth.size * (100 - lift)
    known: Float[np.ndarray, "2 n"] = np.array(
        sorted((float(key), value) for key, value in statistics.input_percentiles.items())
    ).T
    values: np.ndarray = np.interp(ranks, *known).reshape(smooth.shape)
    return values.astype(np.float32)
