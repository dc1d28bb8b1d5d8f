"""Streamed scores of standard deviations against plain computations over sorted pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid

from careamics_denoisplit.calibration import UncertaintyScores, gaussian_log_likelihood


def scored(std: np.ndarray, error: np.ndarray) -> UncertaintyScores:
    """Scores of one set of pixels."""
    scores = UncertaintyScores()
    scores.add(std, error)
    return scores


def honest_pixels(seed: int, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations and errors that were drawn from them."""
    random = np.random.default_rng(seed)
    std = random.gamma(3.0, 10.0, n) + 1.0
    return std, std * random.normal(size=n)


def test_equal_count_bins_match_those_of_sorted_pixels() -> None:
    std, error = honest_pixels(1)
    order = np.argsort(std)

    bins = scored(std, error).bins()

    for part, found in zip(np.array_split(order, 20), bins, strict=True):
        assert found.count == len(part)
        assert found.rmv == pytest.approx(np.sqrt(np.mean(std[part] ** 2)), rel=5e-3)
        assert found.rmse == pytest.approx(np.sqrt(np.mean(error[part] ** 2)), rel=2e-2)


def test_equal_width_bins_match_those_of_numpy() -> None:
    std, error = honest_pixels(2)
    counts, _ = np.histogram(std, bins=20)

    bins = scored(std, error).bins_equal_width()

    assert np.abs(np.array([b.count for b in bins]) - counts).max() <= 0.01 * std.size
    assert sum(b.count for b in bins) == std.size
    assert all((b.rmv is None) == (b.count == 0) for b in bins)


def test_the_sparsification_area_matches_that_of_sorted_pixels() -> None:
    std, error = honest_pixels(3)

    def curve(key: np.ndarray) -> np.ndarray:
        squared = np.cumsum(error[np.argsort(key)] ** 2)
        kept = np.round(std.size * (1 - np.arange(100) / 100)).astype(int)
        return np.sqrt(squared[kept - 1] / kept) / np.sqrt(np.mean(error**2))

    expected = trapezoid(curve(std) - curve(np.abs(error)), np.arange(100) / 100)

    assert scored(std, error).ause == pytest.approx(expected, abs=2e-3)


def test_the_true_error_is_the_perfect_ranking() -> None:
    _, error = honest_pixels(4)

    assert scored(np.abs(error) + 1e-9, error).ause == pytest.approx(0.0, abs=1e-3)


def test_honest_standard_deviations_score_as_calibrated() -> None:
    scores = scored(*honest_pixels(5, 200_000))

    assert scores.coverage_90 == pytest.approx(0.9, abs=0.005)
    assert scores.ence < 0.03
    assert scores.relative_error < 0.03


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_wrong_factor_worsens_likelihood_and_calibration_but_not_the_ranking(
    factor: float,
) -> None:
    std, error = honest_pixels(6)
    right, wrong = scored(std, error), scored(factor * std, error)

    assert wrong.nll > right.nll + 0.3
    assert wrong.ence > 0.5
    assert (wrong.coverage_90 > 0.97) == (factor > 1)
    assert wrong.ause == pytest.approx(right.ause, abs=2e-3)


def test_a_constant_standard_deviation_ranks_nothing() -> None:
    _, error = honest_pixels(7)
    scores = scored(np.full(error.shape, 33.0), error)

    sparsification = scores.sparsification()

    np.testing.assert_allclose(sparsification.curve, 1.0, atol=1e-9)
    assert sparsification.oracle[-1] < 0.01
    assert {round(b.rmse, 9) for b in scores.bins()} == {round(scores.rmse, 9)}


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), cut=st.integers(1, 499))
def test_scores_do_not_depend_on_how_pixels_are_batched(seed: int, cut: int) -> None:
    std, error = honest_pixels(seed, 500)
    streamed = UncertaintyScores()
    streamed.add(std[:cut], error[:cut])
    streamed.add(std[cut:], error[cut:])
    at_once = scored(std, error)

    assert streamed.nll == pytest.approx(at_once.nll, rel=1e-12)
    assert streamed.ause == pytest.approx(at_once.ause, abs=1e-12)
    assert [b.count for b in streamed.bins()] == [b.count for b in at_once.bins()]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), scale=st.floats(1e-6, 1e6))
def test_relative_scores_do_not_depend_on_the_unit(seed: int, scale: float) -> None:
    std, error = honest_pixels(seed, 3000)
    one, other = scored(std, error), scored(scale * std, scale * error)

    assert other.ause == pytest.approx(one.ause, abs=5e-3)
    assert other.ence == pytest.approx(one.ence, abs=2e-2)
    assert other.coverage_90 == one.coverage_90
    assert other.nll == pytest.approx(one.nll + math.log(scale), abs=1e-6)


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    found = gaussian_log_likelihood(np.array([4.0]), np.array([1.0]))

    assert found[0] == pytest.approx(-0.5 * (0.25 + math.log(2 * math.pi * 4.0)))


def test_no_pixels_have_no_scores() -> None:
    scores = UncertaintyScores()

    assert all(math.isnan(v) for v in (scores.rmse, scores.nll, scores.ause, scores.ence))
    assert [b.count for b in scores.bins()] == [0] * 20
    assert [b.rmv for b in scores.bins_equal_width()] == [None] * 20


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf])
def test_a_standard_deviation_that_is_not_positive_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        scored(np.array([1.0, std]), np.array([1.0, 1.0]))


def test_std_and_error_of_unequal_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and error \(2,\)"):
        scored(np.ones(3), np.ones(2))
