"""What tiles leave behind in a package's result, for several halos."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from careamics_denoisplit.errors import (
    ConfigurationError,
    DataError,
    DenoiSplitError,
    FaultError,
)
from careamics_denoisplit.prediction import SeamDifference
from careamics_denoisplit.tile_plans import TileSize, plan_tiles
from careamics_denoisplit_export.consumers.comparing import (
    Planes,
    expected_results,
    finite,
    seams,
    with_std,
)
from careamics_denoisplit_export.consumers.folders import Say
from careamics_denoisplit_export.consumers.reference import (
    Forward,
    channel_names,
    continued,
    declared_tile,
    reference_forward,
    tested_plane,
    write_weights,
)
from careamics_denoisplit_export.rules.findings import words_of
from careamics_denoisplit_export.rules.running import reason_not_to_run
from careamics_denoisplit_export.rules.subject import Subject

RIM = 64
"""Pixels at the border of an image that are left out: there tools pad, which makes no seams."""

_COMPARED = (0, 32)


class HaloSeams(NamedTuple):
    """What one halo leaves behind."""

    halo: int
    """Pixels that are cut from each side of a tile."""
    tiles: int
    """Tiles that the image then needs."""
    seams: SeamDifference
    """Tiles minus whole image, in units of the std, over all channels."""


@dataclass(frozen=True)
class HaloTrade:
    """What several halos cost, in tiles, and leave behind, in units of the std.

    Attributes
    ----------
    rows : tuple of HaloSeams
        From the smallest halo to the largest.
    channel : str
        Name of the channel that the maps show: the one that suffers most.
    maps : tuple of numpy.ndarray of shape (Y, X)
        Tiles minus whole image in units of the std, one for each row, without the rim.
    shape : tuple of int
        Height and width of the image in pixels, with its rim.
    side, halo : int
        Tile and halo that the package declares, in pixels.
    """

    rows: tuple[HaloSeams, ...]
    channel: str
    maps: tuple[Float[np.ndarray, "y x"], ...]
    shape: tuple[int, int]
    side: int
    halo: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return {
            "shape": list(self.shape),
            "tile": self.side,
            "halo": self.halo,
            "rim": RIM,
            "unit": "std",
            "halos": [
                {
                    "halo": row.halo,
                    "tiles": row.tiles,
                    **{name: finite(value) for name, value in row.seams._asdict().items()},
                }
                for row in self.rows
            ],
        }


def trade_of_package(
    subject: Subject,
    image: Float[np.ndarray, "y x"] | None = None,
    *,
    trust: bool = False,
    say: Say = lambda _: None,
) -> HaloTrade:
    """Compare the halo of a package with none, with 32 px and with twice as much.

    Parameters
    ----------
    subject : Subject
        The package.
    image : numpy.ndarray of shape (Y, X) or None
        Image in raw gray values; None continues the packaged test image by reflection.
    trust : bool
        Whether weights that could not be recognised may be run.
    say : callable
        Shows a line of progress.

    Raises
    ------
    ConfigurationError
        If the weights must not be run, or the package declares no fixed tile.
    DataError, FaultError
        As `halo_trade`.
    """
    reason = reason_not_to_run(subject, trust)
    if reason:
        raise ConfigurationError(f"Seams cannot be measured: {reason}.")
    try:
        side, halo = declared_tile(subject)
        given = continued(tested_plane(subject)) if image is None else image
        names = channel_names(subject)
    except DenoiSplitError:
        raise
    except Exception as error:
        # A stranger's rdf.yaml may hold anything.
        raise ConfigurationError(f"Seams cannot be measured: {words_of(error)}.") from error
    halos = sorted({*_COMPARED, halo, 2 * halo} - {h for h in (2 * halo,) if 2 * h >= side})
    height, width = given.shape
    listed = ", ".join(map(str, halos))
    say(f"predicting {height} x {width} px whole and in tiles with halos of {listed} px ...")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        forward = reference_forward(write_weights(subject, Path(folder)))
        return halo_trade(given, forward, names, halos, side, halo)


def halo_trade(
    image: Float[np.ndarray, "y x"],
    forward: Forward,
    names: Sequence[str],
    halos: Sequence[int],
    side: int,
    declared: int,
) -> HaloTrade:
    """Predict an image whole and in Fiji's tiles with several halos.

    Parameters
    ----------
    image : numpy.ndarray of shape (Y, X)
        Raw gray values; at least two rims and one pixel more than a tile at one side.
    forward : callable
        Runs the network on a list of images.
    names : sequence of str
        Names of the output channels; NAME_std or NAME_spread belongs to NAME.
    halos : sequence of int
        Halos in pixels.
    side, declared : int
        Tile and halo of the package, in pixels.

    Raises
    ------
    DataError
        If the image is so small that tiles have no seams, no channel has a std above 0, or a
        predicted value is not finite.
    FaultError
        If there is no memory for the whole image.
    """
    height, width = (int(size) for size in image.shape)
    if min(height, width) <= 2 * RIM or max(height, width) <= side:
        raise DataError(
            f"An image of {height} x {width} px has no seams within its rim of {RIM} px. Give one "
            f"of more than {side} px."
        )
    plans = {str(halo): plan_tiles("fiji", (height, width), halo, TileSize(side)) for halo in halos}
    inside = np.s_[:, RIM : height - RIM, RIM : width - RIM]
    whole = _whole(forward, image)[inside]
    tiled = {name: each[inside] for name, each in expected_results(plans, image, forward).items()}
    if not all(np.isfinite(each).all() for each in (whole, *tiled.values())):
        raise DataError("The network predicts values that are not finite, which have no seams.")
    found = {name: seams(each, whole, names) for name, each in tiled.items()}
    rows = tuple(
        HaloSeams(halo, plans[str(halo)].count, each)
        for halo in halos
        if (each := found[str(halo)]) is not None
    )
    if len(rows) < len(halos):
        raise DataError("Seams are measured in units of a std above 0, which no channel has.")
    mean, std = _worst(tiled[str(halos[0])], whole, names)
    maps = tuple((tiled[str(halo)][mean] - whole[mean]) / whole[std] for halo in halos)
    return HaloTrade(rows, names[mean], maps, (height, width), side, declared)


def _whole(forward: Forward, image: Float[np.ndarray, "_ _"]) -> Planes:
    try:
        (whole,) = forward([image])
    except FaultError as error:
        raise FaultError(
            f"The image of {image.shape[0]} x {image.shape[1]} px cannot be predicted at once: "
            f"{error} Give a smaller one."
        ) from error
    return whole


def _worst(tiled: Planes, whole: Planes, names: Sequence[str]) -> tuple[int, int]:
    """Return the places of mean and std of the channel with the largest seams."""

    def size(pair: tuple[int, int]) -> float:
        mean, std = pair
        return float(np.percentile(np.abs(tiled[mean] - whole[mean]) / whole[std], 99.9))

    return max(with_std(names), key=size)
