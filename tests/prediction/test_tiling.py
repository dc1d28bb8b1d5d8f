"""Tiles cover every pixel, start on the network's grid, and give the image back."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.prediction import Tiling, whole_image

sizes = st.integers(1, 99)
overlaps = st.integers(0, 16)


@given(height=sizes, width=sizes, overlap=overlaps)
@settings(deadline=None, max_examples=60)
def test_stitching_undoes_cutting(height: int, width: int, overlap: int) -> None:
    image = torch.arange(height * width).reshape(1, 1, height, width)
    tiling = Tiling(tile=(32, 32), overlap=(overlap, overlap))

    assert torch.equal(tiling.stitch(tiling.cut(image), image.shape), image)


@given(height=sizes, width=sizes, overlap=overlaps, blend=st.integers(0, 40))
@settings(deadline=None, max_examples=60)
def test_stitching_undoes_cutting_to_the_bit_when_neighbours_are_mixed(
    height: int, width: int, overlap: int, blend: int
) -> None:
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(1))
    tiling = Tiling(tile=(48, 32), overlap=(overlap, overlap), blend=blend, multiple=16)

    assert torch.equal(tiling.stitch(tiling.cut(image), image.shape), image)


@given(height=sizes, width=sizes, overlap=overlaps)
@settings(deadline=None, max_examples=60)
def test_tiles_start_on_the_grid_and_share_at_least_the_overlap(
    height: int, width: int, overlap: int
) -> None:
    tiles = Tiling(tile=(32, 48), overlap=(overlap, overlap), multiple=16).plan((height, width))

    assert all(tile.y % 16 == 0 and tile.x % 16 == 0 for tile in tiles)
    assert {(tile.height, tile.width) for tile in tiles} == {
        (min(32, -(-height // 16) * 16), min(48, -(-width // 16) * 16))
    }
    columns = sorted({tile.x for tile in tiles})
    assert columns[0] == 0
    assert columns[-1] + tiles[0].width >= width
    for left, right in pairwise(columns):
        assert left + tiles[0].width - right >= overlap


def test_half_of_the_overlap_is_taken_from_either_tile() -> None:
    tiling = Tiling(tile=(16, 16), overlap=(0, 8), multiple=8)
    left, right = torch.zeros(16, 16), torch.ones(16, 16)

    stitched = tiling.stitch([left, right], (16, 24))

    assert torch.equal(stitched[:, :12], torch.zeros(16, 12))
    assert torch.equal(stitched[:, 12:], torch.ones(16, 12))


def test_neighbours_are_mixed_linearly_over_the_band() -> None:
    tiling = Tiling(tile=(16, 16), overlap=(0, 8), blend=4, multiple=8)

    stitched = tiling.stitch([torch.zeros(16, 16), torch.ones(16, 16)], (16, 24))

    assert stitched[0, 9:15].tolist() == [0, 0.125, 0.375, 0.625, 0.875, 1]


@given(size=st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_images_are_mirrored_up_to_the_next_multiple_at_the_far_edges(size: int) -> None:
    image = torch.arange(size * 2.0).reshape(size, 2)

    padded = Tiling(tile=(16, 16), multiple=16).pad(image)

    assert padded.shape == (-(-size // 16) * 16, 16)
    assert torch.equal(padded[:size, :2], image)
    if size > 1 and padded.shape[0] > size:
        assert torch.equal(padded[size], padded[size - 2])


def test_a_whole_image_is_one_tile() -> None:
    assert len(whole_image((1, 100, 33), multiple=16).plan((100, 33))) == 1


def test_tiles_are_enlarged_to_the_stride_of_a_network() -> None:
    tiling = Tiling(tile=(100, 30), overlap=(20, 20)).aligned(16)

    assert tiling.tile == (112, 48)
    assert tiling.multiple == 16


def test_tiles_that_do_not_advance_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="do not advance by 16 px"):
        Tiling(tile=(64, 64), overlap=(56, 0), multiple=16)


def test_tiles_off_the_grid_are_refused_with_the_next_fitting_size() -> None:
    with pytest.raises(ConfigurationError, match=r"multiples of 16 px.*Use \(64, 48\)"):
        Tiling(tile=(50, 48), multiple=16)


def test_a_negative_overlap_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"0 px or more.*overlap \(-1, 0\)"):
        Tiling(tile=(64, 64), overlap=(-1, 0))
