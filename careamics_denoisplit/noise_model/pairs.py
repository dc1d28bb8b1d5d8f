"""Pairs of signal and observation, sampled from images that need not fit into memory.

The images are read in slabs of rows, never whole, and small blocks are cut out of each slab.
Blocks rather than single pixels, because the correlation between neighbours is measured too.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float32

from careamics_denoisplit.errors import NoiseModelError

BLOCK = 8
"""Height and width of a block, in pixels."""

SLAB_BYTES = 8 * 2**20
"""Largest slab that is read at once, in bytes of float32."""

MAX_SLABS = 128
"""Slabs read per set of images; of larger data evenly spaced ones."""


@runtime_checkable
class LazyArray(Protocol):
    """What can be cut into slabs: numpy arrays and memory maps, zarr, dask, xarray."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes; the last two are y and x."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Return a part."""
        ...


Pixels: TypeAlias = LazyArray | Path | str
"""One array of images (..., Y, X), or a file or folder of them."""

PixelSource: TypeAlias = Pixels | Sequence[Pixels]
"""Images of one channel; sizes may differ within a sequence."""


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Corresponding blocks of signal and observation, in gray values."""

    signal: Float32[np.ndarray, "n y x"]
    """Signal of each block."""
    observation: Float32[np.ndarray, "n y x"]
    """Observation of each block."""
    left_out: Bool[np.ndarray, "n y x"] | None = None
    """Pixels that say nothing about the noise, because their signal is not known."""

    @property
    def n_pairs(self) -> int:
        """Number of pixel pairs that are used."""
        return self.signal.size - (0 if self.left_out is None else int(self.left_out.sum()))

    def pixels(self) -> tuple[Float32[np.ndarray, "pairs"], Float32[np.ndarray, "pairs"]]:
        """Return the pairs that are used without their places: signals and observations."""
        if self.left_out is None:
            return self.signal.ravel(), self.observation.ravel()
        return self.signal[~self.left_out], self.observation[~self.left_out]

    def split(self, share: float, seed: int) -> tuple["Blocks", "Blocks"]:
        """Divide at random into blocks to fit on and a share of blocks held out."""
        order = np.random.default_rng([seed, 1]).permutation(len(self.signal))
        first = max(1, round(len(order) * (1 - share)))
        return tuple(  # type: ignore[return-value]  # a generator has no length to check
            Blocks(
                self.signal[part],
                self.observation[part],
                None if self.left_out is None else self.left_out[part],
            )
            for part in (order[:first], order[first:])
        )


def as_arrays(source: PixelSource) -> list[LazyArray]:
    """Return the images of a source as arrays that are read lazily where the reader can.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    if isinstance(source, (str, Path)):
        from careamics_denoisplit.images import read_images  # readers are slow to import

        # Settings of the camera travel with the pixels; a file of one channel is an image, as an
        # array without that axis is.
        return [
            image.data.squeeze("channel").assign_attrs(image.acquisition)
            if image.data.sizes["channel"] == 1
            else image.data.assign_attrs(image.acquisition)
            for image in read_images(source)
        ]
    if isinstance(source, Sequence):
        return [array for part in source for array in as_arrays(part)]
    if not isinstance(source, LazyArray):
        raise NoiseModelError(
            f"Images must be arrays or paths, got {type(source).__name__}. Give numpy or xarray "
            "arrays, files, or a list of these."
        )
    if isinstance(source, np.ma.MaskedArray) and np.ma.is_masked(source):
        masked = int(np.ma.getmaskarray(source).sum())
        raise NoiseModelError(
            f"The images have {masked} masked pixels, whose values mean nothing. Crop them away."
        )
    return [source]


def require_one_order(signal: PixelSource, observation: PixelSource) -> None:
    """Refuse files that would be paired with another file than their namesake.

    Raises
    ------
    NoiseModelError
        Naming the first file, its partner and its namesake.
    """
    from careamics_denoisplit.images import find_misplaced  # readers are slow to import

    misplaced = find_misplaced(_file_names(signal), _file_names(observation))
    if misplaced is not None:
        raise NoiseModelError(
            f"{misplaced.words()}. Give one signal image for each observation, in the same order."
        )


def _file_names(source: PixelSource) -> list[str]:
    """Paths of all files of a source; arrays have none and leave an empty name."""
    if isinstance(source, (str, Path)):
        from careamics_denoisplit.images.folders import expand

        return [str(path) for path in expand(source)]
    if isinstance(source, Sequence):
        return [name for part in source for name in _file_names(part)]
    return [""]


def sample_blocks(
    signal: PixelSource, observation: PixelSource, *, max_pairs: int, seed: int
) -> Blocks:
    """Draw corresponding blocks of pixels from two sets of images.

    Memory is bounded by a few slabs plus the blocks, whatever the size of the images. Of data
    larger than `MAX_SLABS` slabs only evenly spaced slabs are read.

    Parameters
    ----------
    signal, observation : PixelSource
        Images (..., Y, X) of the same shapes, in gray values.
    max_pairs : int
        Largest number of pixel pairs.
    seed : int
        Of the choice of blocks.

    Raises
    ------
    NoiseModelError
        If the shapes differ, an image is smaller than a block, or a pixel that was read is
        NaN or infinite.
    """
    if seed < 0:
        raise NoiseModelError(f"A seed must be 0 or a positive number, got {seed}.")
    pairs = list(zip_images(as_arrays(signal), as_arrays(observation)))
    slabs = _plan(pairs)
    per_slab = max(1, max_pairs // (BLOCK * BLOCK * len(slabs)))
    rng = np.random.default_rng([seed, 0])
    drawn = [
        _blocks_of(
            _read(pairs[slab.image][0], slab, "signal"),
            _read(pairs[slab.image][1], slab, "observation"),
            per_slab,
            rng,
        )
        for slab in slabs
    ]
    return Blocks(
        np.concatenate([blocks.signal for blocks in drawn]),
        np.concatenate([blocks.observation for blocks in drawn]),
    )


def zip_images(
    signals: Sequence[LazyArray], observations: Sequence[LazyArray]
) -> Iterator[tuple[LazyArray, LazyArray]]:
    """Pair images by their order and refuse those that do not fit.

    Raises
    ------
    NoiseModelError
        If counts or shapes differ, or an image is smaller than a block.
    """
    shapes = [tuple(array.shape) for array in signals], [tuple(a.shape) for a in observations]
    if len(shapes[0]) != len(shapes[1]):
        raise NoiseModelError(
            f"Signal and observation must have equally many images, got {len(shapes[0])} and "
            f"{len(shapes[1])}. Give one signal image for each observation, in the same order."
        )
    if shapes[0] != shapes[1]:
        raise NoiseModelError(
            f"Signal and observation must have equal shapes, got {_listed(shapes[0])} and "
            f"{_listed(shapes[1])}. Give one signal image for each observation, in the same order."
        )
    if not shapes[0]:
        raise NoiseModelError("A noise model needs at least one pair of images, got none.")
    for shape in shapes[0]:
        if len(shape) < 2 or min(shape[-2:]) < BLOCK or 0 in shape:
            raise NoiseModelError(
                f"Images to fit a noise model on must have at least {BLOCK} x {BLOCK} pixels in "
                f"their last two axes, got the shape {shape}. Give whole images."
            )
    yield from zip(signals, observations, strict=True)


@dataclasses.dataclass(frozen=True)
class _Slab:
    """Rows of one plane of one image."""

    image: int
    plane: tuple[int, ...]
    start: int
    stop: int


def _plan(pairs: Sequence[tuple[LazyArray, LazyArray]]) -> list[_Slab]:
    counts = [_slab_count(signal.shape) for signal, _ in pairs]
    total = sum(counts)
    chosen = np.linspace(0, total, min(total, MAX_SLABS), endpoint=False).astype(int)
    ends = np.cumsum(counts)
    images = np.searchsorted(ends, chosen, side="right")
    return [
        _slab(int(image), int(number - (ends[image] - counts[image])), pairs[image][0].shape)
        for image, number in zip(images, chosen, strict=True)
    ]


def _rows_per_slab(shape: tuple[int, ...]) -> int:
    return max(BLOCK, min(shape[-2], SLAB_BYTES // (4 * shape[-1])))


def _slabs_per_plane(shape: tuple[int, ...]) -> int:
    return max(1, shape[-2] // _rows_per_slab(shape))


def _slab_count(shape: tuple[int, ...]) -> int:
    return math.prod(shape[:-2]) * _slabs_per_plane(shape)


def _slab(image: int, number: int, shape: tuple[int, ...]) -> _Slab:
    plane, part = divmod(number, _slabs_per_plane(shape))
    rows = _rows_per_slab(shape)
    index = tuple(int(axis) for axis in np.unravel_index(plane, shape[:-2] or (1,)))
    return _Slab(image, index[: len(shape) - 2], part * rows, (part + 1) * rows)


def _read(array: LazyArray, slab: _Slab, what: str) -> npt.NDArray[np.float32]:
    part = np.asarray(array[(*slab.plane, slice(slab.start, slab.stop))])
    if part.dtype.kind not in "iufb":
        raise NoiseModelError(
            f"The {what} must hold real numbers, got {part.dtype}. Convert the images first."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is reported as infinite
        values = part.astype(np.float32, copy=False)
    wrong = ~np.isfinite(values)
    if wrong.any():
        y, x = (int(index[0]) for index in np.nonzero(wrong))
        raise NoiseModelError(
            f"The {what} must be finite, got {int(wrong.sum())} NaN or infinite pixels in image "
            f"{slab.image}, the first at (y, x) = ({slab.start + y}, {x}). Remove these images "
            "or pixels."
        )
    return values


def _blocks_of(
    signal: npt.NDArray[np.float32],
    observation: npt.NDArray[np.float32],
    count: int,
    rng: np.random.Generator,
) -> Blocks:
    rows, columns = (size // BLOCK for size in signal.shape)
    # Places without repetition: a block that is drawn twice could be fitted on and held out.
    count = min(count, rows * columns)
    places = rng.choice(rows * columns, size=count, replace=False)
    y = BLOCK * (places // columns) + int(rng.integers(signal.shape[0] % BLOCK + 1))
    x = BLOCK * (places % columns) + int(rng.integers(signal.shape[1] % BLOCK + 1))
    inside = np.arange(BLOCK)
    index = (y[:, None, None] + inside[:, None], x[:, None, None] + inside)
    return Blocks(signal[index], observation[index])


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(str(shape) for shape in shapes[:5]) + (", ..." if len(shapes) > 5 else "")
