"""The tiles of other tools in our own prediction."""

import numpy as np
import pytest
import torch

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.prediction.memory import halved
from careamics_denoisplit.prediction.tiling import Tile
from careamics_denoisplit.prediction.tool_tiling import tool_tiling
from careamics_denoisplit.tile_plans import TOOLS, Tool, package_halo, plan_tiles

SHAPE = (700, 1000)


@pytest.mark.parametrize("tool", TOOLS)
def test_tensors_are_cut_and_put_together_as_planned(tool: Tool) -> None:
    image = np.random.default_rng(1).random(SHAPE, np.float32)
    plan = plan_tiles(tool, SHAPE, 32)
    tiling = tool_tiling(tool, 32)

    tiles = list(tiling.cut(torch.from_numpy(image)))
    result = tiling.stitch((tile[None] * 2 for tile in tiles), SHAPE)

    assert len(tiles) == len(tiling.plan(SHAPE)) == plan.count
    for tile, expected in zip(tiles, plan.cut(image), strict=True):
        np.testing.assert_array_equal(tile.numpy(), expected)
    np.testing.assert_array_equal(result[0].numpy(), 2 * image)


@pytest.mark.parametrize("tool", TOOLS)
def test_noise_starts_anew_in_every_tile(tool: Tool) -> None:
    assert set(tool_tiling(tool, 32).plan(SHAPE)) == {Tile(0, 0, 512, 512)}


def test_tiles_of_a_tool_are_never_made_smaller() -> None:
    assert halved(tool_tiling("core", 32), SHAPE) is None


def test_a_network_that_cannot_halve_the_tiles_is_refused() -> None:
    tiling = tool_tiling("fiji", 32)

    assert tiling.aligned(64) is tiling
    with pytest.raises(ConfigurationError, match="multiples of 96 px"):
        tiling.aligned(96)


def test_the_overlap_is_told() -> None:
    assert {tool: tool_tiling(tool, 48).overlap[0] for tool in TOOLS} == {
        "fiji": 96,
        "qupath": 0,
        "qupath-script": 96,
        "ilastik": 96,
        "core": 96,
    }


@pytest.mark.parametrize(("multiple", "halo"), [(8, 32), (32, 32), (64, 32), (96, 96), (128, 64)])
def test_twice_the_halo_of_a_package_is_a_multiple_of_the_stride(multiple: int, halo: int) -> None:
    assert package_halo(multiple) == halo
