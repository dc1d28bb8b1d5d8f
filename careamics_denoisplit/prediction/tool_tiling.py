"""The tiles of Fiji, QuPath, ilastik or bioimageio.core in place of our own."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.prediction.tiling import Tile, Tiling
from careamics_denoisplit.tile_plans import TileSize, Tool, ToolPlan, plan_tiles


@dataclass(frozen=True)
class ToolTiling(Tiling):
    """Cuts an image as a tool does that runs a package; made by `tool_tiling`.

    A tool tells the network no position: the noise of posterior samples starts anew in every
    tile, as it does in the package.

    Attributes
    ----------
    tool : str
        One of `tile_plans.TOOLS`.
    halo : int
        Pixels that the package declares as halo.
    """

    tool: Tool = "fiji"
    halo: int = 0

    def __post_init__(self) -> None:
        """Leave the checks to the plan of each image."""

    def aligned(self, multiple: int) -> "ToolTiling":
        """Return the tiling as it is, if the network can halve its tiles often enough.

        Parameters
        ----------
        multiple : int
            Number of pixels that one position of the coarsest latent level covers.

        Raises
        ------
        ConfigurationError
            If the tiles are no multiples of it.
        """
        if self.tile[0] % multiple:
            raise ConfigurationError(
                f"The tiles of packages have {self.tile[0]} px, which this network cannot halve: "
                f"it needs multiples of {multiple} px. Predict with other tiles."
            )
        return self

    def plan(self, shape: Sequence[int]) -> list[Tile]:
        """List the tiles of an image (..., Y, X): each begins where its noise does, at 0.

        Raises
        ------
        ConfigurationError
            If the tool refuses an image of this shape.
        """
        return [Tile(0, 0, *self.tile)] * self._planned(shape).count

    def cut(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the tiles of an image (..., Y, X), padded as the tool pads them."""
        plan = self._planned(image.shape)
        for row in plan.rows:
            rows = image.index_select(-2, torch.from_numpy(row.source).to(image.device))
            for column in plan.columns:
                source = torch.from_numpy(column.source).to(image.device)
                yield rows.index_select(-1, source)

    def stitch(self, tiles: Iterable[Tensor], shape: Sequence[int]) -> Tensor:
        """Put the kept parts of the tiles (..., y, x) together to an image (..., Y, X)."""
        plan = self._planned(shape)
        pieces = iter(tiles)
        first = next(pieces)
        joined = first.new_empty((*first.shape[:-2], *plan.shape))
        piece: Tensor | None = first
        for row in plan.rows:
            for column in plan.columns:
                piece = next(pieces) if piece is None else piece
                joined[..., row.target, column.target] = piece[..., row.kept, column.kept]
                piece = None
        return joined

    def _planned(self, shape: Sequence[int]) -> ToolPlan:
        height, width = shape[-2:]
        return plan_tiles(self.tool, (height, width), self.halo, TileSize(self.tile[0]))


def tool_tiling(tool: Tool, halo: int, side: int = 512) -> ToolTiling:
    """Return the tiles that a tool makes for a package.

    Parameters
    ----------
    tool : str
        One of `tile_plans.TOOLS`.
    halo : int
        Pixels that the package declares as halo; QuPath's dialog does not read it.
    side : int
        Height and width that the package declares for its input, in pixels.
    """
    overlap = 0 if tool == "qupath" else 2 * halo
    # Whole tiles are the multiple: where memory runs out there are no smaller ones to go on with.
    return ToolTiling((side, side), (overlap, overlap), multiple=side, tool=tool, halo=halo)
