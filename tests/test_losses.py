"""The objectives, term by term, against sums written out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from careamics_denoisplit.errors import ConfigurationError, NonFiniteError
from careamics_denoisplit.likelihood import GaussianLikelihood, NoiseModelLikelihood
from careamics_denoisplit.losses import (
    LOSSES,
    LossTerms,
    collapsed_levels,
    denoisplit_loss,
    level_kl,
    loss_for,
    musplit_loss,
    require_finite,
)
from careamics_denoisplit.network import LadderOutput, LadderVAE, TorchNoise
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel

LEVELS = ((4, 8, 8), (4, 4, 4), (4, 2, 2))
FEW = settings(max_examples=20, deadline=None, derandomize=True)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded_output(batch: int = 3, channels: int = 2, *, gaussian: bool = False) -> LadderOutput:
    shape = (batch, channels, 16, 16)
    return LadderOutput(
        prediction=seeded(*shape, seed=1).requires_grad_(),
        kl_maps=tuple(seeded(batch, *level, seed=2).abs() for level in LEVELS),
        log_variance=seeded(*shape, seed=3) if gaussian else None,
        largest_log_variances=tuple(torch.zeros(()) for _ in LEVELS),
    )


def noise_models(channels: int = 2) -> NoiseModelLikelihood:
    models = [
        GaussianMixtureNoiseModel(
            torch.tensor([[0.0, 0.0], [4.0 + channel, 6.0], [0.0, 0.0]]), 0.0, 1000.0, 0.1
        )
        for channel in range(channels)
    ]
    return NoiseModelLikelihood(models, [300.0] * channels, [100.0] * channels)


def test_the_denoisplit_divergence_is_the_plain_sum_over_levels_per_pixel() -> None:
    output, target = seeded_output(), seeded(3, 2, 16, 16)

    terms = denoisplit_loss(output, target, noise_models(), kl_weight=1.0, free_bits=0.0)

    expected = [kl_map.sum() / 3 / 256 for kl_map in output.kl_maps]
    torch.testing.assert_close(terms.kl_scaled_per_level, torch.stack(expected))
    torch.testing.assert_close(terms.divergence, torch.stack(expected).sum())


def test_the_musplit_divergence_is_the_mean_over_levels_per_latent() -> None:
    output, target = seeded_output(gaussian=True), seeded(3, 2, 16, 16)

    terms = musplit_loss(output, target, GaussianLikelihood())

    torch.testing.assert_close(
        terms.divergence, torch.stack([kl_map.mean() for kl_map in output.kl_maps]).mean()
    )


def test_relative_weights_of_the_two_divergences_are_those_of_the_paper() -> None:
    """L Z / 4^(i + 1) = 128, 32, 8, 2 for four levels of 128 latents and 128 pixels."""
    maps = tuple(torch.ones(1, 128, 64 >> level, 64 >> level) for level in range(4))
    zeros = torch.zeros(1, 2, 128, 128)
    output = LadderOutput(zeros, maps, zeros, tuple(torch.zeros(()) for _ in maps))

    plain = denoisplit_loss(output, zeros, GaussianLikelihood())
    averaged = musplit_loss(output, zeros, GaussianLikelihood())

    ratio = plain.kl_scaled_per_level / averaged.kl_scaled_per_level
    torch.testing.assert_close(ratio, torch.tensor([128.0, 32.0, 8.0, 2.0]))


def test_free_bits_bound_the_summed_divergence_of_each_sample_not_their_mean() -> None:
    maps = (torch.tensor([0.25, 7.0]).reshape(2, 1, 1, 1),)
    zeros = torch.zeros(2, 1, 1, 1)
    output = LadderOutput(zeros, maps, zeros, (torch.zeros(()),))

    terms = denoisplit_loss(output, zeros, GaussianLikelihood(), free_bits=1.0)

    assert terms.kl_scaled_per_level.item() == pytest.approx((1.0 + 7.0) / 2)
    assert terms.kl_per_level.item() == pytest.approx((0.25 + 7.0) / 2)


def test_a_level_below_its_free_bits_receives_no_gradient() -> None:
    kl_map = torch.full((1, 1, 2, 2), 0.1, requires_grad=True)
    zeros = torch.zeros(1, 1, 4, 4)
    output = LadderOutput(zeros, (kl_map,), zeros, (torch.zeros(()),))

    denoisplit_loss(output, zeros, GaussianLikelihood(), free_bits=1.0).total.backward()

    assert kl_map.grad is not None
    assert not kl_map.grad.any()


def test_a_negative_estimate_of_one_sample_is_kept_without_free_bits() -> None:
    maps = (torch.full((1, 2, 2, 2), -0.5),)
    zeros = torch.zeros(1, 1, 4, 4)
    output = LadderOutput(zeros, maps, zeros, (torch.zeros(()),))

    assert musplit_loss(output, zeros, GaussianLikelihood()).divergence.item() == -0.5


def test_the_reconstruction_is_averaged_over_samples_channels_and_pixels() -> None:
    output, target, likelihood = seeded_output(), seeded(3, 2, 16, 16), noise_models()

    terms = denoisplit_loss(output, target, likelihood)

    nats = -likelihood.log_prob(target, output)
    torch.testing.assert_close(terms.reconstruction, nats.mean())
    torch.testing.assert_close(terms.reconstruction_per_channel, nats.mean(dim=(0, 2, 3)))


def test_against_the_bound_per_pixel_the_divergence_weighs_as_much_as_there_are_channels() -> None:
    output, target, likelihood = seeded_output(), seeded(3, 2, 16, 16), noise_models()

    terms = denoisplit_loss(output, target, likelihood, free_bits=0.0)

    negative_bound = -likelihood.log_prob(target, output).sum() / 3 + terms.kl_per_level.sum()
    beta = (2 * terms.total - negative_bound / 256) / (terms.kl_per_level.sum() / 256) + 1
    assert beta.item() == pytest.approx(2.0, rel=1e-4)


@FEW
@given(weight=st.floats(0, 10), free_bits=st.floats(0, 500))
def test_the_total_is_reconstruction_plus_the_weighted_divergence(
    weight: float, free_bits: float
) -> None:
    output, target = seeded_output(), seeded(3, 2, 16, 16)

    terms = denoisplit_loss(output, target, noise_models(), kl_weight=weight, free_bits=free_bits)

    torch.testing.assert_close(terms.total, terms.reconstruction + weight * terms.divergence)
    torch.testing.assert_close(terms.divergence, terms.kl_scaled_per_level.sum())
    assert (terms.kl_scaled_per_level * 256 >= free_bits - 1e-3).all()


@FEW
@given(seed=st.integers(0, 100), loss=st.sampled_from([denoisplit_loss, musplit_loss]))
def test_swapping_channels_swaps_their_terms_and_nothing_else(seed: int, loss: object) -> None:
    assert callable(loss)
    output, target = seeded_output(gaussian=True), seeded(3, 2, 16, 16, seed=seed)
    assert output.log_variance is not None
    swapped = output._replace(
        prediction=output.prediction.flip(1), log_variance=output.log_variance.flip(1)
    )

    first = loss(output, target, GaussianLikelihood())
    second = loss(swapped, target.flip(1), GaussianLikelihood())

    torch.testing.assert_close(
        first.reconstruction_per_channel, second.reconstruction_per_channel.flip(0)
    )
    torch.testing.assert_close(first.total, second.total)


def test_empty_samples_count_as_zero_and_stay_in_the_divisor() -> None:
    output, target = seeded_output(), seeded(3, 2, 16, 16)
    likelihood = noise_models()
    empty = torch.tensor([False, True, False])

    terms = denoisplit_loss(output, target, likelihood, empty=empty)

    nats = -likelihood.log_prob(target, output)
    torch.testing.assert_close(terms.reconstruction, (nats[0].mean() + nats[2].mean()) / 3)


def test_hdn_is_the_same_objective_with_one_channel() -> None:
    output, target = seeded_output(channels=1), seeded(3, 1, 16, 16)

    terms = loss_for("hdn")(output, target, noise_models(1), kl_weight=1.0, free_bits=1.0)

    assert loss_for("hdn") is denoisplit_loss
    assert terms.reconstruction_per_channel.shape == (1,)


@pytest.mark.parametrize(
    ("algorithm", "loss"),
    [
        ("denoisplit", denoisplit_loss),
        ("altered_musplit", denoisplit_loss),
        ("hdn", denoisplit_loss),
        ("musplit", musplit_loss),
        ("hdn_musplit", musplit_loss),
    ],
)
def test_each_system_has_its_objective(algorithm: str, loss: object) -> None:
    assert loss_for(algorithm) is loss


def test_c1_an_unknown_system_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match=r"'denoysplit'.*denoisplit, altered_musplit"):
        loss_for("denoysplit")
    assert len(LOSSES) == 5


@pytest.mark.parametrize("algorithm", ["denoisplit", "altered_musplit", "musplit", "hdn"])
def test_every_objective_reaches_every_weight_of_the_network(algorithm: str) -> None:
    gaussian = algorithm in {"altered_musplit", "musplit"}
    channels = 1 if algorithm == "hdn" else 2
    torch.manual_seed(0)
    network = LadderVAE(
        output_channels=channels, latent_channels=(4, 4), filters=8, gaussian_head=gaussian
    )
    output = network(seeded(2, 1, 32, 32), TorchNoise())
    likelihood = GaussianLikelihood() if gaussian else noise_models(channels)

    terms = loss_for(algorithm)(output, seeded(2, channels, 32, 32), likelihood)
    terms.total.backward()

    require_finite(terms, step=0)
    without = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


def test_half_precision_divergences_are_summed_in_float32() -> None:
    kl_map = torch.full((1, 128, 64, 64), 1.0, dtype=torch.float16)

    assert level_kl(kl_map).item() == 128 * 64 * 64


def test_detached_terms_keep_numbers_and_lose_the_graph() -> None:
    terms = denoisplit_loss(seeded_output(), seeded(3, 2, 16, 16), noise_models())

    assert terms.total.requires_grad
    assert not any(term.requires_grad for term in terms.detached())
    assert terms.detached().total.item() == terms.total.item()


def test_collapsed_levels_are_listed_from_the_finest() -> None:
    terms = denoisplit_loss(seeded_output(), seeded(3, 2, 16, 16), noise_models())

    assert collapsed_levels(terms) == ()
    assert collapsed_levels(terms._replace(kl_per_level=torch.tensor([0.2, 80.0, -0.1]))) == (0, 2)


def finite_terms() -> LossTerms:
    return denoisplit_loss(seeded_output(), seeded(3, 2, 16, 16), noise_models()).detached()


def test_finite_terms_pass() -> None:
    require_finite(finite_terms(), step=3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_e1_a_reconstruction_that_is_not_finite_stops_naming_channel_and_step(
    value: float,
) -> None:
    terms = finite_terms()
    terms = terms._replace(
        reconstruction_per_channel=torch.tensor([1.0, value]), total=torch.tensor(math.nan)
    )

    with pytest.raises(
        NonFiniteError, match=rf"step 37: the reconstruction of channel actin is {value}"
    ):
        require_finite(terms, 37, ("er", "actin"))


def test_e1_a_divergence_that_is_not_finite_stops_naming_its_level() -> None:
    terms = finite_terms()._replace(kl_per_level=torch.tensor([1.0, 2.0, math.nan]))

    with pytest.raises(NonFiniteError, match="the KL divergence of level 2 is nan"):
        require_finite(terms, 0)


def test_e1_an_infinitely_negative_divergence_is_not_hidden_by_the_free_bits() -> None:
    output = seeded_output(batch=1)
    maps = (torch.full_like(output.kl_maps[0], -math.inf), *output.kl_maps[1:])

    terms = denoisplit_loss(output._replace(kl_maps=maps), seeded(1, 2, 16, 16), noise_models())

    assert torch.isfinite(terms.total)
    with pytest.raises(NonFiniteError, match="the KL divergence of level 0 is -inf"):
        require_finite(terms, 0)


def test_e1_a_poisoned_batch_is_not_trained_on_with_the_divergence_alone() -> None:
    """careamics replaces such a reconstruction by zero."""
    target = seeded(3, 2, 16, 16)
    target[1, 1, 5, 5] = math.nan

    terms = denoisplit_loss(seeded_output(), target, noise_models())

    assert terms.total.isnan()
    with pytest.raises(NonFiniteError, match="channel number 1 is nan"):
        require_finite(terms, 12)


def test_e1_a_total_that_overflows_alone_is_named() -> None:
    with pytest.raises(NonFiniteError, match="the total loss is inf"):
        require_finite(finite_terms()._replace(total=torch.tensor(math.inf)), 1)
