"""Cut an image into overlapping tiles and put the pieces together again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from careamics_denoisplit.errors import ConfigurationError


class Tile(NamedTuple):
    """Position and size of one tile, in pixels of the image."""

    y: int
    x: int
    height: int
    width: int

    def __str__(self) -> str:
        """Name the region as people read it in a message."""
        return f"y {self.y}-{self.y + self.height}, x {self.x}-{self.x + self.width}"


class Seam(NamedTuple):
    """Where one tile hands over to the next along an axis, in pixels of the image.

    Before `start` the earlier tile counts, from `stop` on the later one; in between the two are
    mixed linearly.
    """

    start: int
    stop: int


class AxisPlan(NamedTuple):
    """Tiles along one axis: where they start, how long they are, where they hand over."""

    length: int
    starts: tuple[int, ...]
    seams: tuple[Seam, ...]


@dataclass(frozen=True)
class Tiling:
    """How an image is cut: overlapping tiles of one size that cover every pixel.

    The image is first mirrored at its bottom and right edge up to a whole `multiple`. Tiles start
    at multiples of it, so a network that halves the image sees the same grid in every tile, and
    noise that is drawn by position is the same where tiles overlap. Tiles are spread evenly: no
    pair of neighbours shares fewer than `overlap` pixels.

    Attributes
    ----------
    tile : tuple of int
        Height and width of a tile in pixels, multiples of `multiple`.
    overlap : tuple of int
        Least number of pixels (y, x) that neighbouring tiles share. Half of it is cropped from
        either tile.
    blend : int
        Width in pixels of the band, in the middle of the overlap, over which neighbours are mixed
        linearly; 0 crops only. Where two tiles agree, mixing does not change a bit.
    multiple : int
        Tiles start at, and are as long as, multiples of this number of pixels.
    """

    tile: tuple[int, int]
    overlap: tuple[int, int] = (0, 0)
    blend: int = 0
    multiple: int = 1

    def __post_init__(self) -> None:
        """Refuse tiles that cannot cover an image."""
        if self.multiple < 1 or self.blend < 0 or min(self.overlap) < 0:
            raise ConfigurationError(
                "The overlap and the blended band of tiles must be 0 px or more and their "
                f"multiple 1 or more, got overlap {self.overlap}, blend {self.blend}, "
                f"multiple {self.multiple}."
            )
        if any(size < 1 or size % self.multiple for size in self.tile):
            fitting = tuple(_round_up(max(size, 1), self.multiple) for size in self.tile)
            raise ConfigurationError(
                f"Height and width of a tile must be multiples of {self.multiple} px, got "
                f"{self.tile}. Use {fitting}."
            )
        for size, shared in zip(self.tile, self.overlap, strict=True):
            if size - shared < self.multiple:
                raise ConfigurationError(
                    f"Tiles of {self.tile} px with an overlap of {self.overlap} px do not advance "
                    f"by {self.multiple} px. Make the tile larger or the overlap smaller."
                )

    def aligned(self, multiple: int) -> "Tiling":
        """Return the tiling with tiles enlarged to whole multiples of a network's stride.

        Parameters
        ----------
        multiple : int
            Number of pixels that one position of the coarsest latent level covers.

        Returns
        -------
        Tiling
            Tiles that start at multiples of `multiple` and share at least the same overlap.
        """
        height, width = (
            _round_up(max(size, shared + multiple), multiple)
            for size, shared in zip(self.tile, self.overlap, strict=True)
        )
        return replace(self, tile=(height, width), multiple=multiple)

    def plan(self, shape: Sequence[int]) -> list[Tile]:
        """List the tiles of an image, row by row.

        Parameters
        ----------
        shape : sequence of int
            Shape of the image; the last two entries are its height and width in pixels.

        Returns
        -------
        list of Tile
            All of one size. The last ones may reach past the image, up to the next multiple.
        """
        rows, columns = self._axes(shape)
        return [
            Tile(y, x, rows.length, columns.length) for y in rows.starts for x in columns.starts
        ]

    def pad(self, image: Tensor) -> Tensor:
        """Mirror an image (..., Y, X) at its bottom and right edge up to whole multiples."""
        for dim in (-2, -1):
            size = image.shape[dim]
            padded = _round_up(size, self.multiple)
            if padded != size:
                image = image.index_select(dim, _mirrored(size, padded).to(image.device))
        return image

    def cut(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the tiles of an image (..., Y, X) in the order of `plan`, without copying it."""
        padded = self.pad(image)
        for tile in self.plan(image.shape):
            yield padded[..., tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]

    def stitch(self, tiles: Iterable[Tensor], shape: Sequence[int]) -> Tensor:
        """Put tiles together; the inverse of `cut`.

        Parameters
        ----------
        tiles : iterable of torch.Tensor of shape (..., y, x)
            Tiles in the order of `plan`. They are taken one by one, and at most one row of them
            is held, so a generator may compute them on the way.
        shape : sequence of int
            Shape of the image; the last two entries are its height and width in pixels.

        Returns
        -------
        torch.Tensor of shape (..., Y, X)
            The image; leading dimensions, dtype and device are those of the tiles.
        """
        rows, columns = self._axes(shape)
        pieces = iter(tiles)
        strips = (_join(pieces, columns, shape[-1], dim=-1) for _ in rows.starts)
        return _join(strips, rows, shape[-2], dim=-2)

    def _axes(self, shape: Sequence[int]) -> tuple[AxisPlan, AxisPlan]:
        rows, columns = (
            _plan_axis(size, tile, shared, self.blend, self.multiple)
            for size, tile, shared in zip(shape[-2:], self.tile, self.overlap, strict=True)
        )
        return rows, columns


def whole_image(shape: Sequence[int], multiple: int) -> Tiling:
    """Return the tiling with a single tile that holds the whole image (..., Y, X)."""
    height, width = (_round_up(size, multiple) for size in shape[-2:])
    return Tiling(tile=(height, width), multiple=multiple)


def _plan_axis(size: int, tile: int, overlap: int, blend: int, multiple: int) -> AxisPlan:
    """Spread the fewest tiles evenly along one axis of `size` pixels."""
    padded = _round_up(size, multiple)
    length = min(tile, padded)
    steps = (length - overlap) // multiple
    gap = (padded - length) // multiple
    count = 1 if gap == 0 else -(-gap // steps) + 1
    starts = tuple(multiple * (gap * i // max(count - 1, 1)) for i in range(count))
    seams = tuple(_seam(start, previous + length, blend) for previous, start in pairwise(starts))
    return AxisPlan(length, starts, seams)


def _seam(start: int, stop: int, blend: int) -> Seam:
    """Lay the blended band into the middle of an overlap."""
    width = min(blend, stop - start)
    first = start + (stop - start) // 2 - width // 2
    return Seam(first, first + width)


def _join(pieces: Iterator[Tensor], axis: AxisPlan, size: int, dim: int) -> Tensor:
    """Lay the next pieces side by side along one axis, up to `size` pixels."""
    first = next(pieces)
    shape = list(first.shape)
    shape[dim] = size
    joined = first.new_empty(shape)
    _paste(joined, first, 0, None, dim)
    for start, seam in zip(axis.starts[1:], axis.seams, strict=True):
        _paste(joined, next(pieces), start, seam, dim)
    return joined


def _paste(image: Tensor, piece: Tensor, start: int, seam: Seam | None, dim: int) -> None:
    """Write a piece into the image along one axis, mixing it with what is there at the seam."""
    stop = min(start + piece.shape[dim], image.shape[dim])
    if seam is None:
        image.narrow(dim, start, stop - start).copy_(piece.narrow(dim, 0, stop - start))
        return
    first, last = min(seam.start, stop), min(seam.stop, stop)
    if last > first:
        band = image.narrow(dim, first, last - first)
        ramp = (torch.arange(last - first, device=image.device) + 0.5) / (seam.stop - seam.start)
        weight = ramp.to(image.dtype).reshape((-1, 1) if dim == -2 else (-1,))
        band.copy_(torch.lerp(band, piece.narrow(dim, first - start, last - first), weight))
    image.narrow(dim, last, stop - last).copy_(piece.narrow(dim, last - start, stop - last))


def _mirrored(size: int, padded: int) -> Tensor:
    """Return the indices that continue an axis of `size` pixels by repeated reflection."""
    period = max(2 * (size - 1), 1)
    position = torch.arange(padded) % period
    return torch.where(position < size, position, period - position)


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
