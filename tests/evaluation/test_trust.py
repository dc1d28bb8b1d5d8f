"""Trust in a prediction, from what is known without truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.evaluation.trust import (
    fitted_superposition,
    mixture_noise_variance,
    regions,
    relative_error,
    trust_in,
)
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel


def channels(seed: int = 1) -> np.ndarray:
    """Two smooth channels of 96 x 96 px, gray values."""
    noise = np.random.default_rng(seed).normal(size=(2, 96, 96))
    smooth = gaussian_filter(noise, 3.0, axes=(-2, -1))
    return 100.0 + 40.0 * smooth / smooth.std()


def trusted(mean: np.ndarray, mixture: np.ndarray, std: float, noise: float = 10.0) -> float:
    """Trust in a prediction of constant std."""
    variance = np.full(mixture.shape, noise**2)
    return trust_in(mixture, mean, np.full(mean.shape, std), mean.mean(axis=0), variance).score


def noisy_mixture(mean: np.ndarray, noise: float = 10.0) -> np.ndarray:
    """The input that belongs to a prediction."""
    return mean.mean(axis=0) + np.random.default_rng(2).normal(0.0, noise, mean.shape[1:])


def test_a_right_and_certain_prediction_is_trusted() -> None:
    mean = channels()

    assert trusted(mean, noisy_mixture(mean), std=1.0) > 0.98


def test_trust_falls_with_the_uncertainty() -> None:
    mean = channels()
    scores = [trusted(mean, noisy_mixture(mean), std) for std in (1.0, 20.0, 80.0)]

    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.3


def test_trust_falls_when_the_input_holds_a_structure_that_is_not_predicted() -> None:
    mean = channels()
    mixture = noisy_mixture(mean)
    foreign = mixture.copy()
    foreign[40:60, 40:60] += 200.0

    assert trusted(mean, foreign, 1.0) < trusted(mean, mixture, 1.0) - 0.2


def test_noise_alone_does_not_cost_trust() -> None:
    mean = channels()

    assert trusted(mean, noisy_mixture(mean, 60.0), 1.0, noise=60.0) > 0.9


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(1e-3, 1e3), offset=st.floats(0.0, 1e3))
def test_trust_does_not_depend_on_the_unit(scale: float, offset: float) -> None:
    mean = channels()
    mixture = noisy_mixture(mean)

    changed = trusted(
        scale * mean + offset, scale * mixture + offset, scale * 20.0, noise=scale * 10.0
    )

    assert changed == pytest.approx(trusted(mean, mixture, 20.0), rel=1e-6)


def test_without_std_only_the_residual_counts() -> None:
    mean = channels()

    trust = trust_in(mean.mean(axis=0), mean, None, mean.mean(axis=0), None)

    assert trust.relative_variance is None
    assert trust.score == pytest.approx(1.0)


def test_a_constant_prediction_keeps_trust_finite() -> None:
    flat = np.full((2, 32, 32), 7.0)

    trust = trust_in(flat[0], flat, np.ones_like(flat), flat[0], None)

    assert 0.0 <= trust.score < 0.01


def test_gains_of_a_measured_mixture_are_fitted() -> None:
    mean = channels()
    mixture = 0.8 * mean[0] + 0.3 * mean[1] + 12.0

    gains, offset = fitted_superposition(mean, mixture)

    assert gains == pytest.approx([0.8, 0.3], rel=1e-6)
    assert offset == pytest.approx(12.0, rel=1e-6)


def test_noise_of_the_input_is_that_of_its_channels(
    trained_models: tuple[GaussianMixtureNoiseModel, ...],
) -> None:
    mean = np.full((2, 4, 4), 50.0, dtype=np.float32)

    variance = mixture_noise_variance(trained_models, mean, np.array([0.5, 0.5]))

    np.testing.assert_allclose(variance, 0.5 * 20.0**2, rtol=1e-5)
    assert mixture_noise_variance((), mean, np.array([0.5, 0.5])) is None


@pytest.fixture
def trained_models(trained: object) -> tuple[GaussianMixtureNoiseModel, ...]:
    """Noise models of constant std 20."""
    return trained.noise_models


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_regions_cover_every_pixel_once(height: int, width: int) -> None:
    covered = np.zeros((height, width), dtype=int)

    found = list(regions((height, width)))
    for rows, columns in found:
        covered[rows, columns] += 1

    assert np.all(covered == 1)
    assert len(found) <= 16


def test_the_relative_error_is_one_for_a_prediction_of_the_mean() -> None:
    truth = channels()
    mean = np.broadcast_to(truth.mean(axis=(1, 2), keepdims=True), truth.shape)

    assert relative_error(mean, truth) == pytest.approx(1.0)
    assert relative_error(truth, truth) == 0.0
