"""Planes of images that are read in parts, behind careamics' `ImageStack` interface."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import Image

_BLOCK_PIXELS = 2**22
_BAND_PIXELS = 2**25


@runtime_checkable
class PatchSource(Protocol):
    """The part of careamics' `ImageStack` that patches need; each of its stacks is one."""

    data_shape: Sequence[int]
    """Shape (S, C, Y, X) or (S, C, Z, Y, X)."""
    source: Any
    """Where the data come from."""

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> np.ndarray:
        """Read a patch (C, Y, X) or (C, Z, Y, X) in gray values."""


class ImageView:
    """An `Image` behind careamics' `ImageStack` interface; times and depths become samples.

    Parameters
    ----------
    image : Image
        Image with the dimensions (channel, y, x), and time and z before them where present.
    in_memory : bool
        Whether the pixels are read now, in their own type, or patch by patch.
    """

    def __init__(self, image: Image, in_memory: bool) -> None:
        leading = [str(dim) for dim in image.data.dims if dim not in ("channel", "y", "x")]
        ordered = image.data.variable.transpose(*leading, "channel", "y", "x")
        self.source: Any = image.name
        self.acquisition = dict(image.acquisition)
        self.chunk_rows = None if in_memory or image.chunk is None else image.chunk[0]
        self._leading = tuple(int(image.data.sizes[dim]) for dim in leading)
        self.data_shape: Sequence[int] = (
            math.prod(self._leading),
            image.n_channels,
            *image.height_width,
        )
        self.data_dtype = image.data.dtype
        self._array = np.asarray(ordered.values) if in_memory else None
        self._lazy = None if in_memory else ordered

    @property
    def original_data_shape(self) -> Sequence[int]:
        """Shape (S, C, Y, X)."""
        return self.data_shape

    @property
    def original_axes(self) -> str:
        """Axes of the data."""
        return "SCYX"

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> Float32[np.ndarray, "c y x"]:
        """Read a patch (C, Y, X) that lies within the plane, as float32."""
        place = tuple(int(i) for i in np.unravel_index(sample_idx, self._leading or (1,)))
        (y, x), (height, width) = coords, patch_size
        rows, columns = slice(y, y + height), slice(x, x + width)
        wanted = range(self.data_shape[1]) if channels is None else channels
        return np.stack(
            [self._read((*place[: len(self._leading)], c, rows, columns)) for c in wanted]
        )

    def _read(self, key: tuple[int | slice, ...]) -> Float32[np.ndarray, "y x"]:
        if self._array is not None:
            return self._array[key].astype(np.float32)
        if self._lazy is None:
            raise DataError(f"{self.source} was closed.")
        return np.asarray(self._lazy[key].values).astype(np.float32)


class Plane(NamedTuple):
    """One channel of one plane of an image."""

    stack: PatchSource
    """Image that the plane belongs to."""
    sample: int
    """Index along S, where frames of a stack lie."""
    channel: int
    """Index along C."""
    depth: int | None = None
    """Index along Z, where the image has one."""
    rows: tuple[int, int] | None = None
    """First row and row after the last one, where only a part of the plane is used."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.stack.data_shape[-2:]
        first, last = self.rows or (0, height)
        return last - first, width

    def crop(self, y: int, x: int, height: int, width: int) -> Float32[np.ndarray, "_ _"]:
        """Read a part of the plane.

        Parameters
        ----------
        y, x : int
            Upper left corner in pixels.
        height, width : int
            Size in pixels; the part must lie within the plane.

        Returns
        -------
        numpy.ndarray of shape (Y, X)
            Gray values.
        """
        y += self.rows[0] if self.rows else 0
        depth = () if self.depth is None else (self.depth,)
        patch = self.stack.extract_patch(
            self.sample,
            [self.channel],
            (*depth, y, x),
            (*(1 for _ in depth), height, width),
        )
        part: Float32[np.ndarray, "_ _"] = np.asarray(patch, dtype=np.float32).reshape(
            height, width
        )
        return part

    def blocks(self) -> Iterator[Float32[np.ndarray, "_ _"]]:
        """Read the whole plane in bands of at most 4 million pixels.

        Where the source stores higher tiles, up to 32 million pixels are read at once and handed
        out in the same bands, so that a tile is not decoded again for each of them.
        """
        height, width = self.shape
        step = max(1, _BLOCK_PIXELS // max(width, 1))
        stored = getattr(self.stack, "chunk_rows", None)
        band = None
        if stored is not None and stored > step:
            band = _Band(self, max(step, min(stored, _BAND_PIXELS // width)))
        for y in range(0, height, step):
            count = min(step, height - y)
            yield self.crop(y, 0, count, width) if band is None else band.take(y, count)

    @property
    def name(self) -> str:
        """Where the plane lies, for messages."""
        depth = "" if self.depth is None else f", z {self.depth}"
        return f"{self.stack.source}, sample {self.sample}{depth}"


class _Band:
    """Some rows of a plane that were read together, aligned with the rows of its tiles."""

    def __init__(self, plane: Plane, rows: int) -> None:
        self.plane, self.rows = plane, rows
        self.offset = plane.rows[0] if plane.rows else 0
        self.number = -1
        self.first = 0
        self.values: Float32[np.ndarray, "_ _"] = np.empty((0, 0), np.float32)

    def take(self, y: int, count: int) -> Float32[np.ndarray, "_ _"]:
        """Hand out rows; they are asked for in order."""
        parts = []
        while count:
            self._read((y + self.offset) // self.rows)
            inside = y - self.first
            parts.append(self.values[inside : inside + count])
            y, count = y + len(parts[-1]), count - len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read(self, number: int) -> None:
        if number == self.number:
            return
        height, width = self.plane.shape
        self.first = max(number * self.rows - self.offset, 0)
        end = min((number + 1) * self.rows - self.offset, height)
        self.values = self.plane.crop(self.first, 0, end - self.first, width)
        self.number = number


def planes_of(stack: PatchSource, channel: int) -> tuple[Plane, ...]:
    """List all planes of one channel of an image.

    Parameters
    ----------
    stack : PatchSource
        Image of shape (S, C, Y, X) or (S, C, Z, Y, X).
    channel : int
        Index along C.

    Raises
    ------
    DataError
        If the image has no such channel.
    """
    samples, channels, *depths = stack.data_shape[:-2]
    if not 0 <= channel < channels:
        raise DataError(
            f"{stack.source} has {channels} channels (shape {tuple(stack.data_shape)}); there is "
            f"no channel number {channel}."
        )
    places = [None] if not depths else list(range(depths[0]))
    return tuple(
        Plane(stack, sample, channel, depth) for sample in range(samples) for depth in places
    )
