"""Means and standard deviations of the training data."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from careamics_denoisplit.data import Moments, Statistics, compute_statistics
from careamics_denoisplit.errors import DataError

NAMES = ("er", "actin")


def planes(seed: int, scale: float = 100.0, offset: float = 1000.0) -> list[np.ndarray]:
    """Two planes of one channel."""
    rng = np.random.default_rng(seed)
    return [rng.normal(offset, scale, (20, 30)).astype(np.float32) for _ in range(2)]


def test_the_input_gets_the_pooled_statistics_of_all_channels() -> None:
    channels = [planes(0, 100, 1000), planes(1, 300, 2000)]
    pooled = np.concatenate([p.ravel() for c in channels for p in c]).astype(np.float64)
    statistics = compute_statistics(channels, NAMES)

    assert statistics.input_mean == pytest.approx(pooled.mean(), rel=1e-12)
    assert statistics.input_std == pytest.approx(pooled.std(), rel=1e-12)
    for index, channel in enumerate(channels):
        own = np.stack(channel).astype(np.float64)
        assert statistics.target_means[index] == pytest.approx(own.mean(), rel=1e-12)
        assert statistics.target_stds[index] == pytest.approx(own.std(), rel=1e-12)


def test_the_normalised_mixture_varies_less_than_one() -> None:
    channels = [planes(0), planes(1)]
    statistics = compute_statistics(channels, NAMES)
    mixture = (channels[0][0] + channels[1][0]) / 2

    assert statistics.normalise_input(mixture).std() == pytest.approx(np.sqrt(0.5), rel=0.1)


def test_sum_and_mean_give_the_same_normalised_input() -> None:
    channels = [planes(0), planes(1)]
    total = channels[0][0] + channels[1][0]
    mean = compute_statistics(channels, NAMES, mixing="mean").normalise_input(total / 2)
    summed = compute_statistics(channels, NAMES, mixing="sum").normalise_input(total)

    np.testing.assert_allclose(mean, summed, atol=1e-4)


def test_a_measured_mixture_gets_its_own_statistics() -> None:
    mixture = planes(7, 50, 5000)
    statistics = compute_statistics(
        [planes(0), planes(1)], NAMES, mixing="measured", mixture=mixture
    )
    own = np.stack(mixture).astype(np.float64)

    assert statistics.input_mean == pytest.approx(own.mean(), rel=1e-12)
    assert statistics.input_std == pytest.approx(own.std(), rel=1e-12)
    assert statistics.input_percentiles["50"] == pytest.approx(np.median(own), rel=1e-6)
    assert statistics.n_pixels == own.size


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    order=st.permutations([0, 1, 2]),
    scales=st.lists(st.floats(0.01, 100), min_size=3, max_size=3),
    offsets=st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3),
)
def test_permuting_and_rescaling_channels_permutes_and_rescales_statistics(
    order: list[int], scales: list[float], offsets: list[float]
) -> None:
    names = ("a", "b", "c")
    channels = [[p.astype(np.float64) for p in planes(seed)] for seed in range(3)]
    before = compute_statistics(channels, names)
    after = compute_statistics(
        [[p * scales[i] + offsets[i] for p in channels[i]] for i in order],
        [names[i] for i in order],
    )

    expected = [before.target_means[i] * scales[i] + offsets[i] for i in order]
    np.testing.assert_allclose(after.target_means, expected, rtol=1e-9, atol=1e-6)
    expected = [before.target_stds[i] * scales[i] for i in order]
    np.testing.assert_allclose(after.target_stds, expected, rtol=1e-9)
    assert after.channel_names == tuple(names[i] for i in order)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(cuts=st.lists(st.integers(1, 99), min_size=0, max_size=6), offset=st.floats(-1e6, 1e6))
def test_moments_do_not_depend_on_blocks(cuts: list[int], offset: float) -> None:
    values = np.random.default_rng(0).normal(offset, 3.0, 100)
    moments = Moments()
    for block in np.split(values, sorted(cuts)):
        moments.add(block)

    assert moments.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-9)
    assert moments.std == pytest.approx(values.std(), rel=1e-9)


def test_large_offsets_lose_no_precision() -> None:
    values = 1e8 + np.tile([0.0, 1.0], 500_000)
    moments = Moments()
    for block in np.split(values, 1000):
        moments.add(block)

    assert moments.std == pytest.approx(0.5, rel=1e-9)


def test_percentiles_are_those_of_the_mixture() -> None:
    channels = [planes(0), planes(1)]
    mixture = np.stack(channels).mean(axis=0)
    found = compute_statistics(channels, NAMES).input_percentiles

    assert list(found) == ["0.1", "1", "5", "50", "95", "99", "99.9"]
    for key, value in found.items():
        assert value == pytest.approx(np.percentile(mixture, float(key)), rel=1e-5)


def test_percentiles_of_many_pixels_come_from_evenly_spaced_ones() -> None:
    ramp = [
        np.arange(row * 4096, (row + 512) * 4096, dtype=np.float64).reshape(512, 4096)
        for row in range(0, 2560, 512)
    ]
    found = compute_statistics([ramp], ("er",), n_pixels=2560 * 4096).input_percentiles

    assert found["50"] == pytest.approx(2560 * 2048, rel=1e-3)
    assert found["99.9"] == pytest.approx(2560 * 4096 * 0.999, rel=1e-3)


def test_channels_of_different_number_are_measured_completely() -> None:
    short, long = planes(0), [*planes(1), *planes(2)]
    statistics = compute_statistics([short, long], NAMES)

    assert statistics.target_means[1] == pytest.approx(np.stack(long).mean(dtype=np.float64))


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_normalising_and_back_changes_nothing(kind: Any) -> None:
    statistics = compute_statistics([planes(0), planes(1, 7, 3)], NAMES)
    raw = kind(np.random.default_rng(5).normal(900, 50, (4, 2, 6, 5)).astype(np.float32))
    back = statistics.denormalise(statistics.normalise_target(raw))

    assert back.dtype == raw.dtype
    np.testing.assert_allclose(np.asarray(back), np.asarray(raw), rtol=1e-5)


def test_each_channel_uses_its_own_statistics() -> None:
    statistics = compute_statistics([planes(0, 10, 100), planes(1, 1000, 50000)], NAMES)
    raw = np.stack([planes(0, 10, 100)[0], planes(1, 1000, 50000)[0]])

    normalised = statistics.normalise_target(raw)
    np.testing.assert_allclose(normalised.mean(axis=(1, 2)), 0, atol=0.2)
    np.testing.assert_allclose(normalised.std(axis=(1, 2)), 1, atol=0.1)
    np.testing.assert_allclose(
        statistics.denormalise_std(np.ones((2, 1, 1))).ravel(), statistics.target_stds
    )


def test_whole_numbers_are_normalised_in_single_precision() -> None:
    statistics = compute_statistics([planes(0), planes(1)], NAMES)

    assert statistics.normalise_input(np.array([[7]], np.uint16)).dtype == np.float32
    assert statistics.normalise_target(np.ones((2, 1, 1), np.uint16)).dtype == np.float32


def test_another_number_of_channels_is_refused() -> None:
    statistics = compute_statistics([planes(0), planes(1)], NAMES)
    with pytest.raises(DataError, match=r"Expected 2 channels .*got shape \(3, 4, 4\)"):
        statistics.denormalise(np.zeros((3, 4, 4)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a1_a_pixel_that_is_not_finite_is_refused(value: float) -> None:
    bad = planes(0)
    bad[1][3, 4] = value
    with pytest.raises(DataError, match=r"channel 'actin' has 1 pixels .*block 1.*\(3, 4\)"):
        compute_statistics([planes(1), bad], NAMES)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a2_a_constant_channel_is_named(value: float) -> None:
    with pytest.raises(DataError, match=f"channel 'actin' is constant: every pixel is {value:g}"):
        compute_statistics([planes(0), [np.full((4, 4), value)]], NAMES)


def test_a2_a_constant_mixture_is_refused() -> None:
    with pytest.raises(DataError, match="mixture is constant"):
        compute_statistics(
            [planes(0), planes(1)], NAMES, mixing="measured", mixture=[np.ones((4, 4))]
        )


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        ([planes(0)], {}, "1 channels were given, but 2 named"),
        ([planes(0), []], {}, "channel 'actin' has no pixels"),
        ([planes(0), planes(1)], {"mixing": "measured"}, "a mixture was not given"),
        ([planes(0), planes(1)], {"mixture": planes(0)}, "a mixture was given"),
    ],
)
def test_what_contradicts_itself_is_refused(
    channels: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        compute_statistics(channels, NAMES, **options)


def test_statistics_come_back_from_json() -> None:
    statistics = compute_statistics([planes(0), planes(1)], NAMES)

    assert Statistics.model_validate_json(statistics.model_dump_json()) == statistics


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": 2},
        {"input_std": 0.0},
        {"input_mean": float("nan")},
        {"target_stds": (1.0, -1.0)},
        {"target_means": (1.0,)},
        {"unknown": 1},
    ],
)
def test_statistics_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    values = compute_statistics([planes(0), planes(1)], NAMES).model_dump()
    with pytest.raises(ValidationError):
        Statistics.model_validate(values | changes)
