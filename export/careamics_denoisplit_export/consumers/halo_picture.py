"""The picture of what tiles leave behind: one panel for each halo, one scale for all."""

import io
import math
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from careamics_denoisplit_export.consumers.halos import RIM, HaloTrade

INK: Final = "#1b2a3a"

_PANEL = 3.6
"""Side of a panel in inches."""
_GAP = 0.15
_TOP = 0.95
"""Inches above the panels, for their titles."""
_RIGHT = 0.95
"""Inches beside the panels, for the colour bar."""
_DPI = 150
_SHOWN = 540
"""Largest side of a shown map in pixels."""
_COLOURS = "RdBu_r"


def draw_halo_trade(trade: HaloTrade, panels: int = 3) -> bytes:
    """Draw the difference between tiles and whole image, amplified, for several halos.

    All panels share the scale of the first one, at whose 99.9th percentile it ends. Where a map is
    shrunk the strongest pixel of each block is shown, so that thin seams stay.

    Parameters
    ----------
    trade : HaloTrade
        What was measured.
    panels : int
        Number of halos to show, from the smallest on.

    Returns
    -------
    bytes
        A PNG.
    """
    shown = list(zip(trade.rows, trade.maps, strict=True))[:panels]
    limit = _rounded(float(np.percentile(np.abs(shown[0][1]), 99.9)))
    height, width = trade.maps[0].shape
    tall = _PANEL * height / width
    wide = len(shown) * (_PANEL + _GAP)
    figure = Figure(figsize=(wide + _RIGHT, tall + _TOP + _GAP), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    across, up = figure.get_size_inches()
    figure.subplots_adjust(
        left=_GAP / across,
        right=wide / across,
        top=1 - _TOP / up,
        bottom=_GAP / up,
        wspace=_GAP / _PANEL,
    )
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for each, (row, difference) in zip(axes, shown, strict=True):
        picture = each.imshow(
            strongest(difference, math.ceil(max(difference.shape) / _SHOWN)),
            cmap=_COLOURS,
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
        )
        each.set_xticks([])
        each.set_yticks([])
        declared = " (this package)" if row.halo == trade.halo else ""
        each.set_title(
            f"halo {row.halo} px{declared}, {row.tiles} tiles\n"
            f"median {row.seams.median:.2g}, 99.9 % {row.seams.p999:.2g}, "
            f"maximum {row.seams.maximum:.2g}",
            fontsize=8.5,
            color=INK,
            loc="left",
            linespacing=1.4,
        )
        for spine in each.spines.values():
            spine.set_color(INK)
            spine.set_linewidth(0.6)
    box = axes[-1].get_position()
    place = ((wide + _GAP) / across, box.y0, 0.14 / across, box.height)
    bar = figure.colorbar(picture, cax=figure.add_axes(place), extend="both")
    bar.set_label(f"{_plain(trade.channel)}: tiles - whole image, in std", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7.5, colors=INK, length=2)
    figure.text(
        _GAP / across,
        1 - 0.25 / up,
        f"What tiles of {trade.side} px leave behind ({trade.shape[0]} x {trade.shape[1]} px, "
        f"without a rim of {RIM} px)",
        fontsize=11,
        color=INK,
        weight="bold",
        va="center",
    )
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def strongest(image: Float[np.ndarray, "_ _"], factor: int) -> Float[np.ndarray, "_ _"]:
    """Shrink an image to the value of largest magnitude in each block.

    Parameters
    ----------
    image : numpy.ndarray of shape (Y, X)
        Values of either sign.
    factor : int
        Side of a block in pixels; the last blocks may be smaller.
    """
    padding = [(0, -size % factor) for size in image.shape]
    height, width = (size + more for size, (_, more) in zip(image.shape, padding, strict=True))
    blocks = np.pad(image, padding).reshape(height // factor, factor, width // factor, factor)
    flat = blocks.transpose(0, 2, 1, 3).reshape(height // factor, width // factor, -1)
    where = np.abs(flat).argmax(axis=-1)[..., None]
    shrunk: np.ndarray = np.take_along_axis(flat, where, axis=-1)[..., 0]
    return shrunk


def _rounded(value: float) -> float:
    """Round up to one digit; a scale that ends at 0 would show nothing."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value / unit) * unit


def _plain(text: str) -> str:
    """Keep matplotlib from reading dollar signs of a name as mathematics."""
    return text.replace("$", r"\$")
