"""What tiles leave behind for several halos, with a network whose seams are known."""

import io

import numpy as np
import pytest
from PIL import Image

from careamics_denoisplit.errors import ConfigurationError, DataError, FaultError
from careamics_denoisplit_export.consumers.comparing import Planes, Tiles
from careamics_denoisplit_export.consumers.halo_picture import draw_halo_trade, strongest
from careamics_denoisplit_export.consumers.halos import (
    RIM,
    HaloTrade,
    halo_trade,
    trade_of_package,
)
from careamics_denoisplit_export.rules.subject import Subject

NAMES = ("er", "actin", "er_std", "actin_std", "input_range")
REACH = 40
"""Pixels over which the network below sees the end of a tile."""


def marked(images: Tiles) -> list[Planes]:
    """Stand in for a network: the image, and 8 more in a frame of 40 px for the second channel."""
    results = []
    for image in images:
        frame = np.ones_like(image)
        frame[REACH:-REACH, REACH:-REACH] = 0
        std = np.full_like(image, 4)
        results.append(np.stack([image, image + 8 * frame, std, std, 0 * image]))
    return results


@pytest.fixture(scope="module")
def trade() -> HaloTrade:
    image = np.random.default_rng(0).integers(50, 150, (600, 900)).astype(np.float32)
    return halo_trade(image, marked, NAMES, (0, 32, 64), 512, 32)


def test_a_halo_larger_than_what_the_network_sees_leaves_nothing(trade: HaloTrade) -> None:
    none, small, large = (row.seams for row in trade.rows)

    assert none.maximum == small.maximum == 2.0  # 8 gray values, std 4
    assert large.maximum == 0.0
    assert none.median == small.median == 0.0
    shares = [float((each != 0).mean()) for each in trade.maps]
    assert shares[0] > 3 * shares[1] > shares[2] == 0.0


def test_tiles_and_the_channel_that_suffers_are_named(trade: HaloTrade) -> None:
    assert [row.tiles for row in trade.rows] == [4, 6, 6]
    assert trade.channel == "actin"
    assert trade.to_dict()["halos"][1] == {
        "halo": 32,
        "tiles": 6,
        "median": 0.0,
        "p999": 2.0,
        "maximum": 2.0,
    }


def test_the_rim_of_the_image_is_left_out(trade: HaloTrade) -> None:
    """There tools pad, and the whole image meets the same end."""
    assert {each.shape for each in trade.maps} == {(600 - 2 * RIM, 900 - 2 * RIM)}
    assert trade.to_dict()["rim"] == RIM


@pytest.mark.parametrize("shape", [(512, 512), (128, 900)])
def test_an_image_without_seams_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="more than 512 px"):
        halo_trade(np.ones(shape, np.float32), marked, NAMES, (0, 32), 512, 32)


def test_channels_without_a_std_are_refused() -> None:
    image = np.ones((600, 600), np.float32)

    with pytest.raises(DataError, match="std above 0"):
        halo_trade(image, lambda tiles: [0 * each for each in marked(tiles)], NAMES, (0,), 512, 32)
    with pytest.raises(DataError, match="std above 0"):
        halo_trade(image, marked, ("a", "b", "c", "d", "e"), (0,), 512, 32)


def test_values_that_are_not_finite_have_no_seams() -> None:
    image = np.ones((600, 600), np.float32)

    with pytest.raises(DataError, match="not finite"):
        halo_trade(image, lambda ts: [np.nan * each for each in marked(ts)], NAMES, (0,), 512, 32)


def test_an_image_too_large_for_the_memory_is_named() -> None:
    def full(_: Tiles) -> list[Planes]:
        raise FaultError("it failed: no memory")

    with pytest.raises(FaultError, match=r"600 x 700 px cannot be .*smaller"):
        halo_trade(np.ones((600, 700), np.float32), full, NAMES, (0,), 512, 32)


def test_g5_weights_that_could_not_be_recognised_are_not_run() -> None:
    strange = Subject({}, {"inputs": [{}], "outputs": [{}], "weights": {}}, "0")

    with pytest.raises(ConfigurationError, match="Seams cannot be measured"):
        trade_of_package(strange)


def test_the_picture_has_a_panel_for_each_halo(trade: HaloTrade) -> None:
    picture = Image.open(io.BytesIO(draw_halo_trade(trade)))

    assert picture.size[0] > 3 * 500
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    red = (pixels[:, 0] > 90) & (pixels[:, 1] < 40) & (pixels[:, 2] < 60)
    assert red.any()  # tiles are brighter at their ends


@pytest.mark.parametrize("factor", [1, 3, 7])
def test_shrinking_keeps_the_strongest_pixel_of_either_sign(factor: int) -> None:
    image = np.random.default_rng(1).normal(0, 1, (20, 29)).astype(np.float32)
    image[13, 17] = -50

    shrunk = strongest(image, factor)

    assert shrunk.shape == (-(-20 // factor), -(-29 // factor))
    assert shrunk[13 // factor, 17 // factor] == -50
    assert set(shrunk.ravel()) <= set(image.ravel())
