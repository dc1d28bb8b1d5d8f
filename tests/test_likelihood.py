"""Likelihoods: raw gray values of the right channel, and a bounded Gaussian."""

import math

import pytest
import torch
from torch import Tensor

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.likelihood import GaussianLikelihood, Likelihood, NoiseModelLikelihood
from careamics_denoisplit.network import LadderOutput
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel

MEANS, STDS = (300.0, 5000.0), (40.0, 900.0)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def predicted(prediction: Tensor, log_variance: Tensor | None = None) -> LadderOutput:
    return LadderOutput(prediction, (), log_variance, ())


def two_models() -> list[GaussianMixtureNoiseModel]:
    return [
        GaussianMixtureNoiseModel(
            torch.tensor([[0.0, 0.0], [level, level + 1], [0.0, 0.0]]), -100.0, high, 0.1
        )
        for level, high in ((3.0, 1000.0), (9.0, 20_000.0))
    ]


def test_both_kinds_satisfy_the_protocol() -> None:
    assert isinstance(GaussianLikelihood(), Likelihood)
    assert isinstance(NoiseModelLikelihood(two_models(), MEANS, STDS), Likelihood)


def test_each_channel_is_mapped_back_with_its_own_statistics_and_noise_model() -> None:
    models = two_models()
    likelihood = NoiseModelLikelihood(models, MEANS, STDS)
    target, prediction = seeded(2, 2, 5, 7), seeded(2, 2, 5, 7, seed=1)

    actual = likelihood.log_prob(target, predicted(prediction))

    for channel, (model, mean, std) in enumerate(zip(models, MEANS, STDS, strict=True)):
        expected = model.log_prob(
            target[:, channel] * std + mean, prediction[:, channel] * std + mean
        )
        torch.testing.assert_close(actual[:, channel], expected, rtol=0, atol=0)


def test_permuting_channels_permutes_the_likelihoods() -> None:
    target, prediction = seeded(2, 2, 5, 7), seeded(2, 2, 5, 7, seed=1)
    forward = NoiseModelLikelihood(two_models(), MEANS, STDS)
    backward = NoiseModelLikelihood(two_models()[::-1], MEANS[::-1], STDS[::-1])

    first = forward.log_prob(target, predicted(prediction))
    second = backward.log_prob(target.flip(1), predicted(prediction.flip(1)))

    assert torch.equal(first, second.flip(1))


def test_half_precision_predictions_are_compared_in_float32() -> None:
    likelihood = NoiseModelLikelihood(two_models(), MEANS, STDS)
    target = seeded(1, 2, 4, 4)

    log_prob = likelihood.log_prob(target, predicted(target.bfloat16()))

    assert log_prob.dtype == torch.float32
    assert torch.isfinite(log_prob).all()


def test_only_samples_that_are_zero_everywhere_are_empty() -> None:
    likelihood = NoiseModelLikelihood(two_models(), MEANS, STDS)
    zero = -torch.tensor(MEANS) / torch.tensor(STDS)
    target = zero.reshape(1, 2, 1, 1).repeat(3, 1, 4, 4)
    target[1, 1, 2, 2] += 0.01
    target[2] += 1

    assert likelihood.empty_samples(target).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("models", "means", "stds"),
    [(1, MEANS, STDS), (2, MEANS[:1], STDS), (2, MEANS, (*STDS, 1.0))],
)
def test_c3_counts_that_disagree_are_refused(
    models: int, means: tuple[float, ...], stds: tuple[float, ...]
) -> None:
    with pytest.raises(ConfigurationError, match=rf"got {models}, {len(means)} and {len(stds)}"):
        NoiseModelLikelihood(two_models()[:models], means, stds)


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf])
def test_a2_a_standard_deviation_that_cannot_be_one_is_refused(std: float) -> None:
    with pytest.raises(ConfigurationError, match="finite and above 0"):
        NoiseModelLikelihood(two_models(), MEANS, (1.0, std))


def test_statistics_are_no_part_of_the_state_dict() -> None:
    likelihood = NoiseModelLikelihood(two_models(), MEANS, STDS)

    assert not {"means", "stds"} & set(likelihood.state_dict())


def test_the_gaussian_equals_that_of_torch_on_normalised_values() -> None:
    target, mean, log_variance = (seeded(2, 2, 6, 6, seed=seed) for seed in range(3))

    actual = GaussianLikelihood().log_prob(target, predicted(mean, log_variance))

    expected = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(target)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_the_log_variance_is_bounded_below() -> None:
    zero = torch.zeros(1, 1, 2, 2)

    sharp, bound = (
        GaussianLikelihood(-5.0).log_prob(zero + 1, predicted(zero, zero + value))
        for value in (-40.0, -5.0)
    )

    assert torch.equal(sharp, bound)
    assert bound[0, 0, 0, 0].item() == pytest.approx(
        -0.5 * (math.exp(5) - 5 + math.log(2 * math.pi)), rel=1e-6
    )


@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_e2_extreme_log_variances_stay_finite_with_finite_gradients(value: float) -> None:
    zero = torch.zeros(1, 1, 2, 2)
    log_variance = torch.full_like(zero, value).requires_grad_()
    mean = (zero + 3).requires_grad_()

    log_prob = GaussianLikelihood().log_prob(zero, predicted(mean, log_variance))
    log_prob.sum().backward()

    assert torch.isfinite(log_prob).all()
    assert mean.grad is not None
    assert torch.isfinite(mean.grad).all()


def test_a_network_without_a_head_for_the_variance_is_refused() -> None:
    zero = torch.zeros(1, 1, 2, 2)

    with pytest.raises(ConfigurationError, match="gaussian_head=True"):
        GaussianLikelihood().log_prob(zero, predicted(zero))
