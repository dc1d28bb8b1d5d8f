"""Superimposing channels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from careamics_denoisplit.data import MixtureFitter, mix, mixing_weights
from careamics_denoisplit.errors import DataError

DTYPES = (np.uint8, np.uint16, np.int32, np.float32)


@pytest.mark.parametrize("rule", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a4_whole_numbers_do_not_wrap_around(dtype: type, rule: str) -> None:
    top = np.iinfo(dtype).max
    channels = np.stack([np.full((2, 3), top, dtype), np.full((2, 3), top - 1, dtype)])

    mixture = mix(channels, rule)

    assert mixture.dtype == np.float32
    assert mixture[0, 0] == (2 * top - 1) / (2 if rule == "mean" else 1)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    channels=hnp.arrays(np.uint16, st.tuples(st.integers(1, 5), st.just(4), st.just(3))),
    rule=st.sampled_from(["mean", "sum"]),
)
def test_a4_mixing_equals_the_reference_in_double_precision(
    channels: np.ndarray, rule: str
) -> None:
    reference = channels.astype(np.float64)
    reference = reference.mean(axis=0) if rule == "mean" else reference.sum(axis=0)

    np.testing.assert_allclose(mix(channels, rule), reference, rtol=2**-23)


def test_mixing_leaves_its_argument_alone() -> None:
    channels = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    channels.flags.writeable = False

    np.testing.assert_array_equal(mix(channels, "sum"), channels[0] + channels[1])


def test_weights_multiply_channels() -> None:
    channels = np.ones((2, 2, 2), np.float32)

    mixture = mix(channels, "mean", np.array([1.5, 0.5], np.float32))
    np.testing.assert_array_equal(mixture, np.ones((2, 2)))
    assert mix(channels, "sum", np.array([2.0, 1.0], np.float32))[0, 0] == 3.0


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(DataError, match="got 'measured'"):
        mix(np.ones((2, 2, 2), np.float32), "measured")


@settings(deadline=None, max_examples=60, derandomize=True)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 5), jitter=st.floats(0, 0.99))
def test_weights_are_positive_and_keep_their_sum(seed: int, count: int, jitter: float) -> None:
    weights = mixing_weights(np.random.default_rng(seed), count, jitter)

    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(count, rel=1e-5)


def test_without_jitter_all_weights_are_one() -> None:
    np.testing.assert_array_equal(mixing_weights(np.random.default_rng(0), 3, 0.0), np.ones(3))


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    gains=st.lists(st.floats(0.1, 3.0), min_size=2, max_size=3),
    offset=st.floats(-500, 500),
    seed=st.integers(0, 1000),
)
def test_gains_and_offset_of_a_mixture_are_found(
    gains: list[float], offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    channels = rng.normal(1000, 100, (len(gains), 40, 30))
    mixture = np.tensordot(gains, channels, axes=1) + offset
    fitter = MixtureFitter(len(gains))
    fitter.add(channels[:, :25], mixture[:25])
    fitter.add(channels[:, 25:], mixture[25:])
    fit = fitter.fit()

    np.testing.assert_allclose(fit.gains, gains, rtol=1e-4)
    assert fit.offset == pytest.approx(offset, abs=0.5)
    assert fit.explained > 0.999


@pytest.mark.parametrize(
    ("gains", "rule"),
    [
        ((1.0, 1.0), "sum"),
        ((0.5, 0.5), "mean"),
        ((0.9, 1.1), "sum"),
        ((1.0, 0.3), "measured"),
    ],
)
def test_the_rule_of_a_mixture_is_told_from_its_gains(gains: tuple[float, ...], rule: str) -> None:
    channels = np.random.default_rng(0).normal(0, 1, (2, 50, 50))
    fitter = MixtureFitter(2)
    fitter.add(channels, np.tensordot(gains, channels, axes=1))

    assert fitter.fit().rule == rule


def test_the_deviation_from_sum_and_mean_ignores_the_offset() -> None:
    channels = np.random.default_rng(0).normal(0, 1, (2, 50, 50))
    fitter = MixtureFitter(2)
    fitter.add(channels, channels.sum(axis=0) + 77)
    fit = fitter.fit()

    half = channels.sum(axis=0) / 2
    assert fit.deviation["sum"] == pytest.approx(0, abs=1e-5)
    assert fit.deviation["mean"] == pytest.approx(half.std(), rel=1e-3)


def test_a_comparison_without_pixels_is_an_error() -> None:
    with pytest.raises(DataError, match="No pixel"):
        MixtureFitter(2).fit()


def lit(offsets: tuple[float, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Light of channels (C, Y, X), and what cameras with these offsets make of it."""
    light = np.random.default_rng(seed).gamma(2, 50, (len(offsets), 40, 40)).astype(np.float32)
    return light, light + np.asarray(offsets, np.float32)[:, None, None]


def test_a_sum_holds_the_offset_of_the_camera_once_where_it_is_known() -> None:
    light, channels = lit((100.0, 100.0, 100.0))

    np.testing.assert_allclose(mix(channels, "sum"), light.sum(axis=0) + 300, rtol=1e-5)
    once = mix(channels, "sum", offsets=(100.0,) * 3)
    np.testing.assert_allclose(once, light.sum(axis=0) + 100, rtol=1e-5)


def test_offsets_of_each_channel_leave_their_mean() -> None:
    light, channels = lit((80.0, 120.0))

    for rule, expected in (("sum", light.sum(axis=0)), ("mean", light.mean(axis=0))):
        mixture = mix(channels, rule, offsets=(80.0, 120.0))
        np.testing.assert_allclose(mixture, expected + 100, rtol=1e-5)


def test_weights_leave_the_offset_alone() -> None:
    light, channels = lit((80.0, 120.0))
    weights = np.array([1.5, 0.5], np.float32)

    mixture = mix(channels, "sum", weights, (80.0, 120.0))

    np.testing.assert_allclose(mixture, 1.5 * light[0] + 0.5 * light[1] + 100, rtol=1e-5)


@pytest.mark.parametrize("count", [2, 3])
def test_the_camera_offset_is_told_from_a_measured_sum(count: int) -> None:
    light, channels = lit((200.0,) * count)
    fitter = MixtureFitter(count)
    fitter.add(channels, light.sum(axis=0) + 200)

    assert fitter.fit().camera_offset == pytest.approx(200, rel=1e-4)


def test_a_mean_tells_no_camera_offset() -> None:
    _, channels = lit((200.0, 200.0))
    fitter = MixtureFitter(2)
    fitter.add(channels, channels.mean(axis=0) + 7)

    assert fitter.fit().camera_offset is None
    assert fitter.fit().constant["mean"] == pytest.approx(7, rel=1e-3)
