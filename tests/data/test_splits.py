"""Splits that cannot leak."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.data import (
    ImageView,
    Plane,
    planes_of,
    refuse_leak,
    split_by_frame,
    split_by_rows,
)
from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import read_images

RNG = np.random.default_rng(0)
DATA = RNG.integers(0, 4000, (4, 100, 80), dtype=np.uint16)


def planes(array: np.ndarray) -> tuple[Plane, ...]:
    """All planes of an array (S, Y, X)."""
    return tuple(
        plane
        for image in read_images(array, axes="SYX")
        for plane in planes_of(ImageView(image, in_memory=True), 0)
    )


def pixels(plane: Plane) -> np.ndarray:
    """All pixels of a plane."""
    return np.concatenate(list(plane.blocks()))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(fraction=st.floats(0.01, 0.5), gap=st.integers(1, 33))
def test_rows_of_both_parts_are_separated_by_a_gap(fraction: float, gap: int) -> None:
    split = split_by_rows((planes(DATA),), fraction, gap)
    for upper, lower in zip(split.training[0], split.validation[0], strict=True):
        assert upper.rows is not None
        assert lower.rows is not None
        assert upper.rows[0] == 0
        assert lower.rows[0] - upper.rows[1] == gap
        assert lower.rows[1] == 100
        assert min(upper.shape[0], lower.shape[0]) >= gap


def test_a_part_of_a_plane_reads_its_own_rows() -> None:
    split = split_by_rows((planes(DATA),), 0.3, 20)

    np.testing.assert_array_equal(pixels(split.training[0][1]), DATA[1, :50])
    np.testing.assert_array_equal(pixels(split.validation[0][1]), DATA[1, 70:])


def test_a_plane_too_low_for_a_gap_is_refused() -> None:
    with pytest.raises(DataError, match=r"100 rows; a split by rows .* at least 102"):
        split_by_rows((planes(DATA),), 0.1, 34)


@pytest.mark.parametrize(("fraction", "held"), [(0.1, 1), (0.25, 1), (0.5, 2)])
def test_the_last_frames_are_set_aside(fraction: float, held: int) -> None:
    split = split_by_frame((planes(DATA),), fraction)

    assert len(split.validation[0]) == held
    assert len(split.training[0]) == 4 - held
    np.testing.assert_array_equal(pixels(split.validation[0][-1]), DATA[3])


def test_a_single_frame_cannot_be_split_by_frames() -> None:
    with pytest.raises(DataError, match="at least 2"):
        split_by_frame((planes(DATA[:1]),), 0.1)


def test_a_split_does_not_leak() -> None:
    everything = (planes(DATA),)
    for split in (split_by_frame(everything, 0.5), split_by_rows(everything, 0.3, 20)):
        refuse_leak(split.training, split.validation)


@pytest.mark.parametrize(
    "held",
    [
        DATA[2:3],
        DATA[1:2, 20:90, 5:75],
        np.pad(DATA[3:4], ((0, 0), (30, 7), (0, 9)), mode="reflect"),
        np.roll(DATA[1:2], 10, axis=1),
    ],
    ids=["equal", "part", "whole", "shifted"],
)
def test_validation_data_that_contain_training_data_are_refused(held: np.ndarray) -> None:
    with pytest.raises(DataError, match="Validation data equal training data"):
        refuse_leak((planes(DATA),), (planes(held),))


def test_flat_regions_are_no_leak() -> None:
    training, held = np.zeros((1, 60, 60)), np.zeros((1, 50, 50))
    training[0, 0, 0], held[0, 0, 0] = 1, 2

    refuse_leak((planes(training),), (planes(held),))


def test_all_frames_of_channels_of_unequal_number_are_used() -> None:
    split = split_by_frame((planes(DATA), planes(DATA[:3])), 0.3)

    assert [len(part) for part in split.training] == [3, 2]
    assert [len(part) for part in split.validation] == [1, 1]


def test_a_dark_background_does_not_slow_the_search_for_a_leak() -> None:
    rng = np.random.default_rng(3)
    dark = np.zeros((2, 256, 256), dtype=np.uint16)
    dark[:, 122:134] = rng.integers(0, 4000, (2, 12, 256))
    known, held = planes(dark)
    calls: list[int] = []

    class Counted:
        data_shape, source = known.stack.data_shape, "known"

        def extract_patch(self, *key: Any) -> np.ndarray:
            calls.append(1)
            return known.stack.extract_patch(*key)

    refuse_leak(((known._replace(stack=Counted()),),), ((held,),))

    assert len(calls) < 10
