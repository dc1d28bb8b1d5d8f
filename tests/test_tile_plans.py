"""The tiles that other tools make of an image."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.tile_plans import (
    TOOLS,
    TileSize,
    Tool,
    plan_tiles,
    wrong_tile,
)

F512 = TileSize(512)
SIDES = (200, 512, 1000, 2048, 8000)
HANG, ERROR = "hang", "error"

# Side and number of the tiles of an image of 200, 512, 1000, 2048 and 8000 px: what was measured
# in the tools, or follows from formulas that were.
MEASURED: dict[tuple[TileSize, int, Tool], tuple[str, ...]] = {
    (F512, 32, "fiji"): ("512 x 1", "512 x 4", "512 x 9", "512 x 25", "512 x 324"),
    (F512, 32, "qupath"): ("512 x 1", "512 x 1", "512 x 4", "512 x 16", "512 x 256"),
    (F512, 32, "qupath-script"): ("512 x 1", "512 x 4", "512 x 9", "512 x 25", "512 x 324"),
    (F512, 32, "ilastik"): ("512 x 1", "512 x 4", "512 x 9", "512 x 25", "512 x 324"),
    (F512, 32, "core"): (ERROR, "512 x 4", "512 x 9", "512 x 25", "512 x 324"),
    (TileSize(128, 128), 32, "fiji"): ("256 x 4", "512 x 4", "1024 x 4", "2048 x 4", HANG),
    (TileSize(128, 128), 32, "qupath"): (
        "512 x 1",
        "512 x 1",
        "512 x 4",
        "512 x 16",
        "512 x 256",
    ),
    (TileSize(128, 128), 32, "ilastik"): (
        "512 x 1",
        "512 x 4",
        "512 x 9",
        "512 x 25",
        "512 x 324",
    ),
    (TileSize(128, 128), 32, "core"): (ERROR, ERROR, ERROR, "1408 x 4", "1408 x 36"),
    (TileSize(128, 32), 32, "fiji"): ("256 x 4", "576 x 1", "1056 x 4", "2112 x 1", HANG),
    (TileSize(128, 32), 32, "qupath"): (
        "512 x 1",
        "512 x 1",
        "512 x 4",
        "512 x 16",
        "512 x 256",
    ),
    (TileSize(128, 32), 32, "ilastik"): (
        "512 x 1",
        "512 x 4",
        "512 x 9",
        "512 x 25",
        "512 x 324",
    ),
    (TileSize(128, 32), 32, "core"): (ERROR, "448 x 4", "448 x 9", "448 x 36", "448 x 441"),
    (TileSize(64, 64), 0, "fiji"): ("192 x 4", "512 x 1", "960 x 4", "2048 x 1", HANG),
    (TileSize(64, 64), 0, "qupath"): ("512 x 1", "512 x 1", "512 x 4", "512 x 16", "512 x 256"),
    (TileSize(64, 64), 0, "ilastik"): ("512 x 1", "512 x 1", "512 x 4", "512 x 16", "512 x 256"),
    (TileSize(64, 64), 0, "core"): (ERROR, ERROR, "704 x 4", "704 x 9", "704 x 144"),
    (TileSize(256), 32, "fiji"): ("256 x 4", "256 x 9", "256 x 36", "256 x 121", "256 x 1764"),
    (TileSize(256), 32, "ilastik"): ("256 x 4", "256 x 9", "256 x 36", "256 x 121", "256 x 1764"),
    (TileSize(256), 32, "core"): (ERROR, "256 x 9", "256 x 36", "256 x 121", "256 x 1764"),
    (TileSize(256), 32, "qupath"): ("512 x 1", "512 x 1", "512 x 4", "512 x 16", "512 x 256"),
}


def planned(tool: Tool, side: int, halo: int, size: TileSize) -> str:
    """Side and number of tiles as a reader of the table sees them."""
    try:
        plan = plan_tiles(tool, (side, side), halo, size)
    except ConfigurationError as error:
        return HANG if "hangs" in str(error) else ERROR
    return str(plan)


@pytest.mark.parametrize(("case", "expected"), MEASURED.items(), ids=str)
def test_the_measured_table_is_reproduced(
    case: tuple[TileSize, int, Tool], expected: tuple[str, ...]
) -> None:
    size, halo, tool = case

    assert tuple(planned(tool, side, halo, size) for side in SIDES) == expected


def test_qupath_feeds_a_small_fixed_network_the_wrong_tile() -> None:
    assert wrong_tile("qupath", TileSize(256))
    assert not wrong_tile("qupath", F512)
    assert not any(wrong_tile(tool, TileSize(256)) for tool in TOOLS if tool != "qupath")


@settings(deadline=None, max_examples=30)
@given(
    tool=st.sampled_from(TOOLS),
    height=st.integers(171, 1600),
    width=st.integers(512, 700),
    halo=st.integers(0, 150),
)
def test_what_a_tool_cuts_it_puts_together_again(
    tool: Tool, height: int, width: int, halo: int
) -> None:
    if tool == "core":
        height += 341
    image = np.arange(height * width, dtype=np.int32).reshape(height, width)
    plan = plan_tiles(tool, (height, width), halo)

    joined = plan.stitch(tile[None] for tile in plan.cut(image))

    assert np.array_equal(joined[0], image)


@settings(deadline=None, max_examples=30)
@given(
    tool=st.sampled_from(TOOLS),
    length=st.integers(512, 3000),
    halo=st.integers(0, 200),
)
def test_tiles_have_one_size_and_show_pixels_of_the_image(
    tool: Tool, length: int, halo: int
) -> None:
    plan = plan_tiles(tool, (length, 512), halo)

    for window in plan.rows:
        assert len(window.source) == plan.side == 512
        assert window.source.min() >= 0
        assert window.source.max() < length
        assert window.kept.stop - window.kept.start == window.target.stop - window.target.start


@settings(deadline=None, max_examples=30)
@given(
    tool=st.sampled_from([tool for tool in TOOLS if tool != "qupath"]),
    length=st.integers(512, 3000),
    halo=st.integers(0, 200),
)
def test_a_halo_of_neighbouring_pixels_surrounds_what_is_kept(
    tool: Tool, length: int, halo: int
) -> None:
    for window in plan_tiles(tool, (length, 512), halo).rows:
        low = max(0, window.target.start - halo)
        high = min(length, window.target.stop + halo)
        first = window.kept.start - (window.target.start - low)

        assert np.array_equal(window.source[first : first + high - low], np.arange(low, high))


def test_each_tool_pads_in_its_own_way() -> None:
    """The first three pixels beyond the image's left border."""
    beyond = {tool: plan_tiles(tool, (1000, 1000), 3).rows[0].source[:4].tolist() for tool in TOOLS}

    assert beyond == {
        "fiji": [2, 1, 0, 0],
        "qupath": [0, 1, 2, 3],
        "qupath-script": [0, 0, 0, 0],
        "ilastik": [3, 2, 1, 0],
        "core": [2, 1, 0, 0],
    }


def test_fiji_and_core_move_the_last_tile_back_into_the_image() -> None:
    for tool in ("fiji", "core"):
        last = plan_tiles(tool, (2048, 2048), 32).rows[-1]
        assert last.target == slice(1600, 2048)
        assert last.source[:480].tolist() == list(range(1568, 2048))


def test_ilastik_extends_the_last_block_evenly() -> None:
    last = plan_tiles("ilastik", (2048, 2048), 32).rows[-1]

    assert last.target == slice(1792, 2048)
    assert last.kept == slice(128, 384)
    assert last.source[:384].tolist() == list(range(1664, 2048))
    assert last.source[384:].tolist() == list(range(2046, 1918, -1))


def test_qupath_centres_a_small_last_tile_and_mirrors_it() -> None:
    last = plan_tiles("qupath", (1000, 1000), 32).rows[-1]

    assert last.target == slice(512, 1000)
    assert last.kept == slice(12, 500)
    assert last.source[:13].tolist() == [*range(523, 511, -1), 512]


@pytest.mark.parametrize("length", [171, 200, 447, 448, 449, 480, 511])
def test_fiji_centres_an_image_that_is_smaller_than_its_tile(length: int) -> None:
    rows = plan_tiles("fiji", (length, 512), 32).rows

    assert {len(row.source) for row in rows} == {512}
    assert rows[0].target.start == 0
    assert rows[-1].target.stop == length


@pytest.mark.parametrize(
    ("tool", "shape", "halo", "size", "message"),
    [
        ("fiji", (170, 512), 32, F512, "171 px for tiles of 512 px, got 170 px"),
        ("core", (512, 511), 32, F512, "no image below its block of 512 px, got 511 px"),
        ("ilastik", (600, 600), 256, F512, "a halo below 256 px"),
        ("qupath-script", (600, 600), 300, F512, "QuPath keeps nothing"),
        ("fiji", (600, 600), 0, TileSize(100, 64), "Let the step divide the smallest size"),
        ("fiji", (0, 600), 0, F512, "1 px or more"),
        ("fiji", (600, 600), -1, F512, "0 px or more"),
    ],
)
def test_an_image_that_a_tool_refuses_is_refused(
    tool: Tool, shape: tuple[int, int], halo: int, size: TileSize, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan_tiles(tool, shape, halo, size)


def test_a_tile_without_pixels_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="1 px or more"):
        TileSize(0)


def test_all_tools_of_the_command_line_are_planned() -> None:
    assert set(TOOLS) == set(get_args(Tool)) >= {"fiji", "qupath", "ilastik", "core"}
