"""The network at any size, with any number of outputs, drawn in any way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.network import GivenNoise, LadderVAE, PosteriorMean, TorchNoise
from careamics_denoisplit.network.latent import analytic_kl, sampled_kl, split_gaussian

SMALL = {"latent_channels": (4, 4), "filters": 4}


def network(**settings: object) -> LadderVAE:
    torch.manual_seed(0)
    return LadderVAE(**{**SMALL, **settings}).eval()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(height=st.integers(1, 40), width=st.integers(1, 40), stride=st.sampled_from([1, 2]))
def test_a7_a8_any_image_size_gives_that_size(height: int, width: int, stride: int) -> None:
    output = network(stem_stride=stride)(torch.randn(1, 1, height, width), TorchNoise())

    assert output.prediction.shape == (1, 2, height, width)
    assert torch.isfinite(output.prediction).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("levels", [1, 3, 6])
def test_any_number_of_channels_and_levels(channels: int, levels: int) -> None:
    net = network(output_channels=channels, latent_channels=(3,) * levels)

    output = net(torch.randn(2, 1, 64, 64), TorchNoise())

    assert output.prediction.shape == (2, channels, 64, 64)
    assert len(output.kl_maps) == levels


def test_the_gaussian_head_adds_a_log_variance() -> None:
    output = network(gaussian_head=True)(torch.randn(1, 1, 16, 16), PosteriorMean())

    assert output.log_variance is not None
    assert output.log_variance.shape == output.prediction.shape


def test_encoding_once_equals_the_whole_pass() -> None:
    net, x = network(), torch.randn(2, 1, 24, 20)

    twice = net.decode(net.encode(x), PosteriorMean(), compute_kl=False)

    assert torch.equal(twice.prediction, net(x, PosteriorMean()).prediction)
    assert twice.kl_maps == ()


def test_zero_noise_is_the_posterior_mean() -> None:
    net, x = network(), torch.randn(1, 1, 16, 16)
    zeros = GivenNoise([torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 4, 4)])

    assert torch.equal(net(x, zeros).prediction, net(x, PosteriorMean()).prediction)


def test_a_prior_learned_for_one_size_refuses_the_kl_at_another() -> None:
    net = network(prior_size=(32, 32))

    with pytest.raises(ValueError, match=r"learned for latents of \(8, 8\) pixels, got \(4, 4\)"):
        net(torch.randn(1, 1, 16, 16), TorchNoise())


def test_a_prior_learned_for_one_size_still_predicts_at_another() -> None:
    output = network(prior_size=(32, 32))(torch.randn(1, 1, 16, 16), TorchNoise(), compute_kl=False)

    assert output.prediction.shape == (1, 2, 16, 16)


def test_a_padded_image_equals_the_image_padded_by_hand() -> None:
    net, x = network(), torch.randn(1, 1, 15, 17)
    padded = torch.nn.functional.pad(x, (1, 2, 0, 1))

    by_hand = net(padded, PosteriorMean()).prediction

    inside = net(x, PosteriorMean()).prediction[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, by_hand[..., 1:14, 2:17], rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(scale=st.floats(0.1, 30), seed=st.integers(0, 1000))
def test_the_closed_form_kl_is_never_negative(scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, p = (
        split_gaussian(scale * torch.randn(1, 8, 4, 4, generator=generator), "stable")
        for _ in range(2)
    )

    assert analytic_kl(q, p).min() > -1e-4


def test_the_sampled_kl_has_the_closed_form_as_its_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    q, p = (
        split_gaussian(torch.randn(1, 8, 1, 1, generator=generator), "stable") for _ in range(2)
    )
    draws = q.mean + q.std * torch.randn(200_000, 4, 1, 1, generator=generator)

    estimate = sampled_kl(draws, q, p).mean(0, keepdim=True)

    torch.testing.assert_close(estimate, analytic_kl(q, p), rtol=0.02, atol=0.02)


def test_e2_a_huge_log_variance_stays_bounded() -> None:
    gaussian = split_gaussian(torch.full((1, 4, 2, 2), 1e4), "stable")

    assert (gaussian.std**2).max().item() == pytest.approx(21, abs=1e-3)
