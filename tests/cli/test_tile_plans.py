"""The option --tile-plan of `denoisplit predict`."""

from typing import get_args, get_type_hints

import pytest

from careamics_denoisplit.cli.predict import predict
from careamics_denoisplit.cli.prediction_job import TileOptions
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.prediction.tool_tiling import tool_tiling
from careamics_denoisplit.tile_plans import TOOLS, Tool


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_is_given_its_tiles_and_the_halo_of_packages(tool: Tool) -> None:
    options = TileOptions(plan=tool)

    assert options.tiling((700, 700), 32) == tool_tiling(tool, 32)
    assert options.tiling((700, 700), 128) == tool_tiling(tool, 64)


def test_the_command_knows_every_plan() -> None:
    known = get_args(get_type_hints(predict)["tile_plan"])

    assert set(known) == {"auto", "whole", *TOOLS}


def test_a_plan_takes_no_other_tiles() -> None:
    with pytest.raises(ConfigurationError, match="--tile-plan core takes no --tile"):
        TileOptions(plan="core", tile="256").tiling((700, 700), 32)


def test_an_image_that_the_tool_refuses_is_refused_before_work() -> None:
    with pytest.raises(ConfigurationError, match="no image below its block of 512 px"):
        TileOptions(plan="core").tiling((700, 400), 32)
