"""Whether a tool shows the numbers that it should, and what its tiles leave behind."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.prediction import SeamDifference, seam_difference
from careamics_denoisplit.tile_plans import ToolPlan

ABSOLUTE = 1.5e-4
RELATIVE = 1e-4
"""The strictest bound that a check of the model zoo applies: |a - e| <= ABSOLUTE + RELATIVE |e|."""

Planes = Float[np.ndarray, "_ _ _"]
"""Output channels of a package, (C, Y, X)."""
Tiles = list[Float[np.ndarray, "_ _"]]


class Difference(NamedTuple):
    """How far a result is from what was expected."""

    largest: float
    """Largest |a - e| of all pixels and channels, in gray values; infinite if incomparable."""
    problem: str
    """What is wrong, empty where every pixel is within the bound."""


def difference(actual: Planes, expected: Planes) -> Difference:
    """Compare a result with the expected one, pixel by pixel.

    Parameters
    ----------
    actual, expected : numpy.ndarray of shape (C, Y, X)
        What the tool returned and what it should have.
    """
    if actual.shape != expected.shape:
        return Difference(np.inf, f"its shape is {actual.shape}, not {expected.shape}")
    if not np.isfinite(actual).all():
        return Difference(np.inf, f"{int((~np.isfinite(actual)).sum())} values are not finite")
    if not np.isfinite(expected).all():
        count = int((~np.isfinite(expected)).sum())
        return Difference(np.inf, f"{count} of the expected values are not finite")
    with np.errstate(over="ignore"):  # the largest numbers of either sign
        distance = np.abs(actual - expected)
    beyond = distance > ABSOLUTE + RELATIVE * np.abs(expected)
    largest = float(distance.max())
    if not beyond.any():
        return Difference(largest, "")
    channel, y, x = (int(each[0]) for each in np.nonzero(beyond))
    return Difference(
        largest,
        f"{int(beyond.sum())} of {beyond.size} values differ, by up to {largest:.3g} gray values; "
        f"the first in channel {channel} at (y={y}, x={x})",
    )


def finite(value: float) -> float | None:
    """Return a number, or None where it is NaN or infinite, which JSON cannot hold."""
    return float(value) if np.isfinite(value) else None


def expected_results(
    plans: Mapping[str, ToolPlan],
    image: Float[np.ndarray, "_ _"],
    forward: Callable[[Tiles], Sequence[Planes]],
) -> dict[str, Planes]:
    """Predict an image with the tile plans of several tools; equal tiles are computed once.

    Parameters
    ----------
    plans : mapping of str to ToolPlan
        Tiles by tool.
    image : numpy.ndarray of shape (Y, X)
        Raw gray values.
    forward : callable
        Runs the network on a list of tiles.

    Returns
    -------
    dict of str to numpy.ndarray of shape (C, Y, X)
        Results by tool.
    """
    order = {name: [tile.tobytes() for tile in plan.cut(image)] for name, plan in plans.items()}
    tiles = {
        key: tile
        for name, plan in plans.items()
        for key, tile in zip(order[name], plan.cut(image), strict=True)
    }
    computed = dict(zip(tiles, forward(list(tiles.values())), strict=True))
    return {name: plan.stitch(computed[key] for key in order[name]) for name, plan in plans.items()}


def seams(tiled: Planes, whole: Planes, names: Sequence[str]) -> SeamDifference | None:
    """Compare a tiled result with that of the whole image, in units of the std channel.

    Parameters
    ----------
    tiled, whole : numpy.ndarray of shape (C, Y, X)
        The same image predicted in the tool's tiles and at once.
    names : sequence of str
        Names of the output channels; NAME_std or NAME_spread belongs to NAME.

    Returns
    -------
    SeamDifference or None
        Over all channels that have a std; None where none has a positive one.
    """
    pairs = with_std(names)
    if not pairs or max(map(max, pairs)) >= len(tiled):  # or more names than channels
        return None
    means, stds = (list(each) for each in zip(*pairs, strict=True))
    try:
        # Seams of what is not finite are not finite either.
        with np.errstate(invalid="ignore", over="ignore"):
            return seam_difference(tiled[means], whole[means], whole[stds])
    except DataError:
        return None


def with_std(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places of each channel and of its std, where it has one.

    Parameters
    ----------
    names : sequence of str
        Names of the output channels; NAME_std or NAME_spread belongs to NAME.
    """
    places = {name: number for number, name in enumerate(names)}
    return [
        (number, places[f"{name}{end}"])
        for name, number in places.items()
        for end in ("_std", "_spread")
        if f"{name}{end}" in places
    ]
