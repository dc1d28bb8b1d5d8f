"""Small pictures of large images: means of square bins of evenly spaced tiles.

At most 64 tiles of 1024 pixels are read of each channel, so that channels can be compared within
seconds and little memory, however large the images are.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float64

from careamics_denoisplit.data.binning import binned
from careamics_denoisplit.data.planes import Plane

TILE: Final = 1024
"""Side of a tile in pixels, a multiple of the side of a bin."""

MAX_TILES: Final = 64
"""Tiles that are read of each channel."""


class Place(NamedTuple):
    """A tile of one field."""

    field: int
    """Index of the plane in its channel."""
    y: int
    """First row."""
    x: int
    """First column."""
    height: int
    """Rows."""
    width: int
    """Columns."""


Small = list[Float64[np.ndarray, "_ _"]]
"""Means of the bins of each tile."""


def tile_places(shapes: Sequence[tuple[int, int]]) -> list[Place]:
    """Choose evenly spaced tiles of planes.

    Parameters
    ----------
    shapes : sequence of tuple of int
        Height and width of each plane in pixels.

    Returns
    -------
    list of Place
        At most 64, in order.
    """
    grids = [(-(-height // TILE), -(-width // TILE)) for height, width in shapes]
    ends = np.cumsum([rows * columns for rows, columns in grids])
    total = int(ends[-1]) if grids else 0
    chosen = np.linspace(0, total, min(total, MAX_TILES), endpoint=False).astype(int)
    places = []
    for number in chosen.tolist():
        field = int(np.searchsorted(ends, number, side="right"))
        rows, columns = grids[field]
        row, column = divmod(number - (int(ends[field]) - rows * columns), columns)
        y, x = row * TILE, column * TILE
        height, width = shapes[field]
        places.append(Place(field, y, x, min(TILE, height - y), min(TILE, width - x)))
    return places


def small_pictures(planes: Sequence[Plane], places: Sequence[Place]) -> Small:
    """Read tiles and take the means of their bins of 8 x 8 pixels.

    Parameters
    ----------
    planes : sequence of Plane
        Planes of one channel.
    places : sequence of Place
        What to read.
    """
    return [
        binned(planes[place.field].crop(place.y, place.x, place.height, place.width))
        for place in places
    ]


def correlation(first: Small, second: Small) -> float | None:
    """Return the correlation of all bins; None where one of both is constant or nothing is there.

    Parameters
    ----------
    first, second : list of numpy.ndarray
        Means of the same bins of two channels.
    """
    if not first or not second:
        return None
    a = np.concatenate([one.ravel() for one in first])
    b = np.concatenate([two.ravel() for two in second])
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else None


def structure(means: Small) -> float | None:
    """Return the correlation of neighbouring bins; near 0 there is nothing but noise.

    Parameters
    ----------
    means : list of numpy.ndarray
        Means of the bins of one channel.
    """
    large = [tile for tile in means if tile.shape[1] > 2]
    return correlation([p[:, :-1] for p in large], [p[:, 1:] for p in large])
