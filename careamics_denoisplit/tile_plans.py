"""How Fiji, QuPath, ilastik and bioimageio.core cut an image for a packaged network.

Pure arithmetic, one axis at a time: which pixels every tile shows, and which of its pixels are
kept. It was written down from the tools' sources and reproduces the tiles that were measured in
them.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Int, Shaped

from careamics_denoisplit.errors import ConfigurationError

Tool = Literal["fiji", "qupath", "qupath-script", "ilastik", "core"]
"""Whose tiles: `qupath` is its dialog, which knows no halo; `qupath-script` the script with one."""

TOOLS: tuple[Tool, ...] = get_args(Tool)

MAX_FIJI_PIXELS = 4096 * 4096 * 3
"""Pixels of a tile above which Fiji looks for a smaller one for ever."""

_SMALLEST_HALO = 32
"""Pixels at each side of a tile that our packages let tools discard."""
_USUAL_SIDE = 512
"""Side in pixels that QuPath and ilastik aim at."""
_CORE_STEPS = 10
"""Steps that bioimageio.core adds to the smallest tile."""


@dataclass(frozen=True)
class TileSize:
    """What a package declares for the height and the width of its input.

    Attributes
    ----------
    smallest : int
        Side in pixels, or the smallest one where `step` is not 0.
    step : int
        Pixels by which larger sides differ; 0 is a fixed size.
    """

    smallest: int = 512
    step: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that no tile has."""
        if self.smallest < 1 or self.step < 0:
            raise ConfigurationError(
                f"A tile needs 1 px or more and a step of 0 px or more, got {self.smallest} and "
                f"{self.step}."
            )


class Window(NamedTuple):
    """One tile along one axis."""

    source: Int[np.ndarray, " side"]
    """Pixel of the image that each pixel of the tile shows; repeated where the tile is padded."""
    kept: slice
    """Part of the tile that is kept."""
    target: slice
    """Where that part lies in the image; a later tile replaces what an earlier one left."""


@dataclass(frozen=True)
class ToolPlan:
    """The tiles that a tool makes of one image.

    Attributes
    ----------
    tool : str
        One of `TOOLS`.
    shape : tuple of int
        Height and width of the image in pixels.
    side : int
        Height and width of the tiles in pixels; for Fiji and packages without a fixed size the
        height alone.
    rows, columns : tuple of Window
        Tiles along either axis; every row meets every column.
    """

    tool: Tool
    shape: tuple[int, int]
    side: int
    rows: tuple[Window, ...]
    columns: tuple[Window, ...]

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.rows) * len(self.columns)

    def __str__(self) -> str:
        """Say side and number of the tiles."""
        return f"{self.side} x {self.count}"

    def cut(self, image: Shaped[np.ndarray, "y x"]) -> Iterator[Shaped[np.ndarray, "side1 side2"]]:
        """Yield the tiles, row by row, padded as the tool pads them.

        Parameters
        ----------
        image : numpy.ndarray of shape (Y, X)
            Image of the planned shape.
        """
        for row in self.rows:
            for column in self.columns:
                yield image[np.ix_(row.source, column.source)]

    def stitch(
        self, tiles: Iterable[Shaped[np.ndarray, "c side1 side2"]]
    ) -> Shaped[np.ndarray, "c y x"]:
        """Put the kept parts of the tiles together.

        Parameters
        ----------
        tiles : iterable of numpy.ndarray of shape (C, side, side)
            What a network made of the tiles, in the order of `cut`.

        Returns
        -------
        numpy.ndarray of shape (C, Y, X)
            The result as the tool shows it.
        """
        joined: np.ndarray | None = None
        pieces = iter(tiles)
        for row in self.rows:
            for column in self.columns:
                piece = next(pieces)
                if joined is None:
                    joined = np.empty((len(piece), *self.shape), piece.dtype)
                joined[:, row.target, column.target] = piece[:, row.kept, column.kept]
        if joined is None:
            raise ConfigurationError("There is no tile to put together: the image is empty.")
        return joined


def package_halo(size_multiple: int) -> int:
    """Return the halo of our packages: 32 px, or more where the network's stride asks for it.

    Parameters
    ----------
    size_multiple : int
        Stride of the network in pixels; twice the halo is a multiple of it.
    """
    return math.lcm(2 * _SMALLEST_HALO, size_multiple) // 2


def plan_tiles(
    tool: Tool, shape: tuple[int, int], halo: int, size: TileSize | None = None
) -> ToolPlan:
    """Plan the tiles that a tool makes of an image.

    Parameters
    ----------
    tool : str
        One of `TOOLS`.
    shape : tuple of int
        Height and width of the image in pixels.
    halo : int
        Pixels that the package declares as halo at each side of its output.
    size : TileSize or None
        What the package declares for its input; None is the fixed 512 px of our packages.

    Returns
    -------
    ToolPlan
        Every tile, with its padding.

    Raises
    ------
    ConfigurationError
        If the tool refuses such an image or would never end; the message says which images it
        takes.
    """
    if min(shape) < 1 or halo < 0:
        raise ConfigurationError(
            f"A plan needs height and width of 1 px or more and a halo of 0 px or more, got "
            f"{shape} and {halo}."
        )
    size = size or TileSize()
    axes = [_AXES[tool](length, size, halo) for length in shape]
    height, width = (len(axis[0].source) for axis in axes)
    if tool == "fiji" and height * width > MAX_FIJI_PIXELS and size.step:
        raise ConfigurationError(
            f"Fiji hangs: one tile of {height} x {width} px is above {MAX_FIJI_PIXELS} px. Give "
            "the package a fixed tile size."
        )
    return ToolPlan(tool, shape, height, axes[0], axes[1])


def wrong_tile(tool: Tool, size: TileSize) -> bool:
    """Whether a tool feeds a network of fixed size tiles of another size.

    Parameters
    ----------
    tool : str
        One of `TOOLS`.
    size : TileSize
        What the package declares for its input.
    """
    return tool == "qupath" and size.step == 0 and _qupath_side(size) != size.smallest


def _fiji(length: int, size: TileSize, halo: int) -> tuple[Window, ...]:
    """Tiles of JDLL 0.6.1: the last one moved back into the image, the border mirrored."""
    side = _fiji_side(length, size, halo)
    if side > 3 * length:
        raise ConfigurationError(
            f"Fiji takes no image with a side below a third of the tile: {-(-side // 3)} px for "
            f"tiles of {side} px, got {length} px."
        )
    if size.step and (side - size.smallest) % size.step:
        raise ConfigurationError(
            f"Fiji refuses its own tile of {side} px, which is not {size.smallest} px and a "
            f"multiple of {size.step} px. Let the step divide the smallest size."
        )
    inner = _inner(side, halo, "Fiji")
    before = max(halo, -(-(side - length) // 2))
    after = max(halo, side - length - before)
    kept = side - before - after
    starts = [min(kept * i, length - kept) for i in range(-(-length // inner))]
    mirrored = np.pad(np.arange(length), (before, max(after, side)), mode="symmetric")
    return tuple(
        Window(
            mirrored[start : start + side],
            slice(before, before + kept),
            slice(start, start + kept),
        )
        for start in starts
    )


def _fiji_side(length: int, size: TileSize, halo: int) -> int:
    if not size.step:
        return size.smallest
    side = (length + 2 * halo) // size.step * size.step
    if side > 3 * length and side - size.step >= size.smallest:
        side -= size.step
    covering = -(-length // size.step) * size.step
    return covering if side > 3 * length and covering >= size.smallest else side


def _qupath(length: int, size: TileSize, halo: int) -> tuple[Window, ...]:
    """Tiles of QuPath's dialog: no halo, whatever the package declares."""
    del halo
    return _qupath_tiles(length, _qupath_side(size), 0)


def _qupath_script(length: int, size: TileSize, halo: int) -> tuple[Window, ...]:
    """Tiles of a script that asks QuPath for an explicit padding."""
    return _qupath_tiles(length, _qupath_side(size), halo)


def _qupath_side(size: TileSize) -> int:
    smallest = size.smallest
    if smallest >= _USUAL_SIDE:
        return smallest
    return smallest + (_USUAL_SIDE - smallest) // smallest * smallest


def _qupath_tiles(length: int, side: int, halo: int) -> tuple[Window, ...]:
    """Cut tiles from the left; beyond the image the last pixel repeats, a small tile is centred."""
    inner = _inner(side, halo, "QuPath")
    windows = []
    for start in range(0, length, inner):
        stop = min(start + inner, length)
        region = _padded(start - halo, stop + halo, length, "edge")
        missing = side - len(region)
        source = np.pad(region, (missing // 2, missing - missing // 2), mode="symmetric")
        first = missing // 2 + halo
        windows.append(Window(source, slice(first, first + stop - start), slice(start, stop)))
    return tuple(windows)


def _ilastik(length: int, size: TileSize, halo: int) -> tuple[Window, ...]:
    """Blocks of ilastik: the last one clipped, then extended evenly to a whole tile."""
    steps = max(0, -(-(_USUAL_SIDE - size.smallest) // size.step)) if size.step else 0
    side = size.smallest + steps * size.step
    inner = _inner(side, halo, "ilastik")
    windows = []
    for start in range(0, length, inner):
        stop = min(start + inner, length)
        missing = side - (stop - start) - 2 * halo
        first = start - halo - -(-missing // 2)
        source = _padded(first, first + side, length, "reflect")
        windows.append(
            Window(source, slice(start - first, stop - first), slice(start, stop)),
        )
    return tuple(windows)


def _core(length: int, size: TileSize, halo: int) -> tuple[Window, ...]:
    """Blocks of bioimageio.core from 0.10.4 on: the last one moved back into the image."""
    side = size.smallest + _CORE_STEPS * size.step
    inner = _inner(side, halo, "bioimageio.core")
    if length < side:
        raise ConfigurationError(
            f"bioimageio.core cuts no image below its block of {side} px, got {length} px. Predict "
            "such an image whole."
        )
    starts = [min(start, length - inner) for start in range(0, length, inner)]
    return tuple(
        Window(
            _padded(start - halo, start + inner + halo, length, "symmetric"),
            slice(halo, halo + inner),
            slice(start, start + inner),
        )
        for start in starts
    )


def _inner(side: int, halo: int, tool: str) -> int:
    """Pixels of a tile that are kept."""
    if 2 * halo >= side:
        raise ConfigurationError(
            f"{tool} keeps nothing of tiles of {side} px with a halo of {halo} px. Declare a halo "
            f"below {-(-side // 2)} px."
        )
    return side - 2 * halo


def _padded(
    start: int, stop: int, length: int, mode: Literal["edge", "reflect", "symmetric"]
) -> Int[np.ndarray, " _"]:
    """Return the pixels of a range; what lies beyond the image is padded from the part inside."""
    first, last = max(start, 0), min(stop, length)
    return np.pad(np.arange(first, last), (first - start, stop - last), mode=mode)


_AXES: dict[str, Callable[[int, TileSize, int], tuple[Window, ...]]] = {
    "fiji": _fiji,
    "qupath": _qupath,
    "qupath-script": _qupath_script,
    "ilastik": _ilastik,
    "core": _core,
}
