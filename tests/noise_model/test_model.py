"""The mixture: a density, free of dead zones, equal to the one careamics computes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from careamics.config import GaussianMixtureNMConfig
from careamics.models.lvae.noise_models import GaussianMixtureNoiseModel as PublishedNoiseModel
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelInfo

FEW = settings(max_examples=25, deadline=None, derandomize=True)


def seeded_model(
    seed: int = 0,
    gaussians: int = 3,
    coefficients: int = 2,
    low: float = -50.0,
    high: float = 950.0,
) -> GaussianMixtureNoiseModel:
    """A model with means, variances and weights that all depend on the signal."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3 * gaussians, coefficients, generator=generator)
    weight[:gaussians] *= 15
    weight[gaussians : 2 * gaussians] += 6
    return GaussianMixtureNoiseModel(weight, low, high, 4.0)


@FEW
@given(
    seed=st.integers(0, 1000),
    gaussians=st.integers(1, 4),
    coefficients=st.integers(1, 4),
    position=st.floats(-2, 3),
)
def test_the_density_of_every_signal_integrates_to_one(
    seed: int, gaussians: int, coefficients: int, position: float
) -> None:
    model = seeded_model(seed, gaussians, coefficients).double()
    signal = torch.tensor(-50 + 1000 * position, dtype=torch.float64)
    reach = 12 * model.std(signal) + 200
    observation = torch.linspace(-1, 1, 40001, dtype=torch.float64) * reach + signal

    density = model.log_prob(observation, signal.expand_as(observation)).exp()

    torch.testing.assert_close(torch.trapezoid(density, observation).item(), 1.0, rtol=0, atol=1e-6)


@FEW
@given(seed=st.integers(0, 1000), gaussians=st.integers(1, 4), position=st.floats(0, 1))
def test_mean_and_variance_are_those_of_the_density(
    seed: int, gaussians: int, position: float
) -> None:
    model = seeded_model(seed, gaussians).double()
    signal = torch.tensor(-50 + 1000 * position, dtype=torch.float64)
    observation = torch.linspace(-1, 1, 40001, dtype=torch.float64) * 800 + signal
    density = model.log_prob(observation, signal.expand_as(observation)).exp()

    mean = torch.trapezoid(density * observation, observation)
    variance = torch.trapezoid(density * (observation - mean) ** 2, observation)

    torch.testing.assert_close(mean, signal, rtol=0, atol=1e-4)
    torch.testing.assert_close(variance, model.variance(signal), rtol=1e-5, atol=0)


@FEW
@given(
    observation=st.floats(-20_000, 65_535, width=32),
    signal=st.floats(-20_000, 65_535, width=32),
    gaussians=st.integers(1, 3),
)
def test_d5_no_pixel_far_from_its_signal_is_without_gradient(
    observation: float, signal: float, gaussians: int
) -> None:
    """Beyond the range, where the width is constant, it points to the observation as well."""
    model = seeded_model(gaussians=gaussians)
    furthest = 6 * float(model.std(torch.linspace(-50, 950, 50)).max())
    if abs(observation - signal) < furthest:
        return
    moving = torch.tensor([signal], requires_grad=True)

    model.log_prob(torch.tensor([observation]), moving).sum().backward()

    assert moving.grad is not None
    assert torch.isfinite(moving.grad).all()
    assert abs(moving.grad.item()) > 1e-6
    if not -50 <= signal <= 950:
        assert torch.sign(moving.grad).item() == np.sign(observation - signal)


def test_d5_the_dead_zone_of_the_published_model_is_gone() -> None:
    """There log(1e-10) = -23.03 with a gradient of exactly zero."""
    model = seeded_model()
    signal = torch.tensor([-20_000.0], requires_grad=True)

    log_prob = model.log_prob(torch.tensor([5_000.0]), signal)
    log_prob.sum().backward()

    assert log_prob.item() < -1000
    assert signal.grad is not None
    assert signal.grad.item() > 0.1


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e9])
def test_e2_intensities_of_any_scale_have_finite_likelihoods_and_gradients(scale: float) -> None:
    weight = torch.tensor([[0.0, 0.0], [-4.0, -3.0], [0.0, 0.0]])
    weight[1] += 2 * np.log(scale)
    model = GaussianMixtureNoiseModel(weight, -scale, scale, 1e-6 * scale**2)
    observation = torch.linspace(-100 * scale, 100 * scale, 1001)
    signal = observation.flip(0).requires_grad_()

    log_prob = model.log_prob(observation, signal)
    log_prob.sum().backward()

    assert torch.isfinite(log_prob).all()
    assert signal.grad is not None
    assert torch.isfinite(signal.grad).all()


@pytest.mark.parametrize("outside", [-1e4, -51.0, 951.0, 1e6])
def test_beyond_the_range_the_noise_is_that_at_its_end(outside: float) -> None:
    model = seeded_model(coefficients=3)
    end = torch.tensor(-50.0 if outside < -50 else 950.0)

    torch.testing.assert_close(model.std(torch.tensor(outside)), model.std(end), rtol=1e-3, atol=0)


def test_below_the_range_the_model_does_not_become_sharp() -> None:
    """An extrapolated line would reach the floor of the variance."""
    weight = torch.tensor([[0.0, 0.0], [2.0, 8.0], [0.0, 0.0]])
    model = GaussianMixtureNoiseModel(weight, 100.0, 1000.0, 0.125)

    assert model.variance(torch.tensor(-500.0)).item() == pytest.approx(np.exp(2), rel=1e-5)


def test_min_sigma_bounds_the_variance_not_the_standard_deviation() -> None:
    model = GaussianMixtureNoiseModel(torch.full((3, 2), -30.0), 0.0, 1.0, 125.0)

    assert model.variance(torch.tensor(0.5)).item() == pytest.approx(125.0)
    assert model.std(torch.tensor(0.5)).item() == pytest.approx(125.0**0.5)


def test_half_precision_is_computed_in_float32() -> None:
    model = seeded_model()
    signal = torch.linspace(0, 900, 64)

    half = model.log_prob(signal.half(), signal.half())

    assert half.dtype == torch.float32
    torch.testing.assert_close(half, model.log_prob(signal, signal.half().float()), rtol=0, atol=1)


def test_the_cumulative_distribution_is_the_integral_of_the_density() -> None:
    model = seeded_model().double()
    observation = torch.linspace(-800, 1500, 20001, dtype=torch.float64)
    signal = torch.full_like(observation, 333.0)

    density = model.log_prob(observation, signal).exp()
    integral = torch.cumulative_trapezoid(density, observation)

    torch.testing.assert_close(integral, model.cdf(observation, signal)[1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(200_000,), (4, 50_000), (2, 2, 250, 200)])
def test_samples_have_the_mean_and_width_of_the_model_in_any_shape(shape: tuple[int, ...]) -> None:
    model = seeded_model()
    signal = torch.full(shape, 400.0)

    drawn = model.sample(signal, torch.Generator().manual_seed(1))

    assert drawn.shape == shape
    assert drawn.mean().item() == pytest.approx(400.0, abs=0.3)
    assert drawn.std().item() == pytest.approx(model.std(signal).mean().item(), rel=0.02)


def test_samples_depend_on_the_generator_alone() -> None:
    model, signal = seeded_model(), torch.zeros(100)

    first, second = (model.sample(signal, torch.Generator().manual_seed(5)) for _ in range(2))

    assert torch.equal(first, second)


@pytest.mark.parametrize(("gaussians", "coefficients"), [(1, 2), (3, 2), (6, 4)])
def test_the_likelihood_equals_that_of_careamics_inside_the_range(
    gaussians: int, coefficients: int, tmp_path: Path
) -> None:
    ours = seeded_model(3, gaussians, coefficients)
    path = tmp_path / "noise_model_ch0.npz"
    ours.save(path)
    published = PublishedNoiseModel(GaussianMixtureNMConfig(path=path))
    signal = torch.linspace(-50, 950, 101).repeat(21).reshape(1, 1, 21, 101)
    deviation = torch.linspace(-3, 3, 21)[:, None] * ours.std(signal[0, 0])
    observation = signal + deviation

    expected = published.likelihood(observation, signal)
    actual = ours.log_prob(observation, signal).exp()

    # careamics adds 1e-10 to the likelihood and works in float32 outside the log domain.
    torch.testing.assert_close(actual, expected, rtol=2e-5, atol=1.1e-10)


def test_one_gaussian_is_a_plain_normal_distribution() -> None:
    weight = torch.tensor([[7.0, -3.0], [3.0, 5.0], [1.0, 2.0]])
    model = GaussianMixtureNoiseModel(weight, 0.0, 100.0, 0.1)
    signal, observation = torch.tensor([0.0, 50.0, 100.0]), torch.tensor([3.0, 40.0, 130.0])
    std = (np.exp(3) + np.exp(5) * signal / 100).sqrt()

    expected = torch.distributions.Normal(signal, std).log_prob(observation)

    torch.testing.assert_close(model.log_prob(observation, signal), expected, rtol=1e-6, atol=1e-6)


def test_no_parameter_is_trained_by_accident() -> None:
    assert list(seeded_model().parameters()) == []


def test_the_observation_range_of_a_foreign_file_follows_from_its_noise() -> None:
    model = seeded_model(gaussians=1)
    low, high = model.observation_range

    assert low == pytest.approx(-50 - 4 * model.std(torch.tensor(-50.0)).item(), rel=1e-5)
    assert high == pytest.approx(950 + 4 * model.std(torch.tensor(950.0)).item(), rel=1e-5)


def test_the_stored_observation_range_is_preferred() -> None:
    model = seeded_model().with_info(NoiseModelInfo(observation_range=(-1.0, 2.0)))

    assert model.observation_range == (-1.0, 2.0)
