"""The head that reads mean and spread of samples from one pass."""

import pytest
import torch

from careamics_denoisplit.network import LadderVAE, PosteriorMean, SpreadHead, head_for
from careamics_denoisplit.network.spread_head import LARGEST_LOG_STD, SMALLEST_LOG_STD


def network(stem_stride: int, **settings: object) -> LadderVAE:
    torch.manual_seed(0)
    small = {"latent_channels": (4, 4), "filters": 4, "stem_stride": stem_stride}
    return LadderVAE(**{**small, **settings}).eval()


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (13, 18), (32, 24)])
def test_the_head_fits_any_image_size(stem_stride: int, size: tuple[int, int]) -> None:
    net = network(stem_stride, output_channels=3)
    features = net.encode(torch.randn(2, 1, *size))
    said = SpreadHead(3, 4, 5, stem_stride)(net.decode_mean(features).features, features.size)

    assert said.log_std.shape == said.mean_correction.shape == (2, 3, *size)


@pytest.mark.parametrize("gaussian_head", [False, True])
def test_the_mean_pass_predicts_what_decoding_with_posterior_means_does(
    gaussian_head: bool,
) -> None:
    net = network(1, gaussian_head=gaussian_head)
    features = net.encode(torch.randn(1, 1, 21, 16))

    once = net.decode_mean(features)

    expected = net.decode(features, PosteriorMean(), compute_kl=False).prediction
    assert torch.equal(once.prediction, expected)


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_a_fresh_head_corrects_nothing_and_starts_from_given_spreads(stem_stride: int) -> None:
    head = SpreadHead(2, 4, 5, stem_stride)
    features = torch.randn(1, 4, 8, 8)
    size = (8 * stem_stride, 8 * stem_stride)

    assert torch.equal(head(features, size).log_std, torch.zeros(1, 2, *size))
    head.start_from(torch.tensor([-1.0, -2.0]))
    said = head(features, size)

    assert torch.equal(said.mean_correction, torch.zeros(1, 2, *size))
    assert torch.equal(said.log_std[:, 0], torch.full((1, *size), -1.0))
    assert torch.equal(said.log_std[:, 1], torch.full((1, *size), -2.0))


def test_log_std_is_bounded_so_that_a_spread_is_positive_and_finite() -> None:
    head = SpreadHead(2, 4, 5)
    head.start_from(torch.tensor([-1e6, 1e6]))

    said = head(torch.randn(1, 4, 8, 8), (8, 8))

    assert said.log_std[:, 0].unique().item() == SMALLEST_LOG_STD
    assert said.log_std[:, 1].unique().item() == LARGEST_LOG_STD
    assert (said.log_std.exp() > 0).all()


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_the_surroundings_are_averaged_over_8_pixels_where_the_network_has_as_many(
    stem_stride: int, levels: int
) -> None:
    net = network(stem_stride, latent_channels=(4,) * levels)
    head = head_for(net, 5)
    features = net.encode(torch.randn(1, 1, 17, 9))

    said = head(net.decode_mean(features).features, features.size)

    assert said.log_std.shape == (1, 2, 17, 9)
    averaged = head.context[0].kernel_size * stem_stride
    assert averaged == min(8, stem_stride * 2**levels)


def test_the_spread_of_a_pixel_depends_on_what_lies_around_it() -> None:
    torch.manual_seed(0)
    head = SpreadHead(2, 4, 5, context_scale=4)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    features = torch.randn(1, 4, 64, 64)
    elsewhere = features.clone()
    elsewhere[..., 40:44, 32] += 3

    changed = (head(features, (64, 64)).log_std - head(elsewhere, (64, 64)).log_std)[0, 0].abs()

    reach = (changed > 0).nonzero()[:, 0]
    assert reach.min() < 32, "two convolutions alone would reach 2 pixels"
    assert reach.max() < 60
