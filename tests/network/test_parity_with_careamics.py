"""Same weights, same noise, same numbers as the ladder VAE that careamics ships."""

import re

import pytest
import torch
from careamics.config.architectures import LVAEConfig
from careamics.models.model_factory import model_factory

from careamics_denoisplit.network import LadderVAE, TorchNoise

LATENTS = (12, 10, 8, 6)
FILTERS = 8

RENAMED = (
    (r"^first_bottom_up\.0\.", "stem."),
    (r"^first_bottom_up\.2\.res\.", "stem_res."),
    (r"^bottom_up_layers\.(\d+)\.net_downsized\.0\.pre_conv\.", r"down.\1.conv."),
    (r"^bottom_up_layers\.(\d+)\.net_downsized\.0\.res\.", r"down.\1.res."),
    (r"^top_down_layers\.(\d+)\.top_prior_params", r"levels.\1.prior"),
    (r"^top_down_layers\.(\d+)\.stochastic\.conv_in_p\.", r"levels.\1.to_p."),
    (r"^top_down_layers\.(\d+)\.stochastic\.conv_in_q\.", r"levels.\1.to_q."),
    (r"^top_down_layers\.(\d+)\.stochastic\.conv_out\.", r"levels.\1.from_z."),
    (r"^top_down_layers\.(\d+)\.merge\.layer\.0\.", r"levels.\1.merge.proj."),
    (r"^top_down_layers\.(\d+)\.merge\.layer\.1\.", r"levels.\1.merge.res."),
    (r"^top_down_layers\.(\d+)\.skip_connection_merger\.layer\.0\.", r"levels.\1.skip.proj."),
    (r"^top_down_layers\.(\d+)\.skip_connection_merger\.layer\.1\.", r"levels.\1.skip.res."),
    (r"^top_down_layers\.(\d+)\.deterministic_block\.0\.pre_conv\.", r"levels.\1.up.up."),
    (r"^top_down_layers\.(\d+)\.deterministic_block\.0\.res\.", r"levels.\1.up.res."),
    (r"^final_top_down\.0\.res\.", "final."),
    (r"^output_layer\.", "head."),
)


def rename_weights(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Translate careamics' state dict; `parameter_net` is its second copy of the head."""
    renamed = {}
    for key, tensor in published.items():
        if key.startswith("parameter_net."):
            continue
        for pattern, ours in RENAMED:
            new, hits = re.subn(pattern, ours, key)
            if hits:
                renamed[new] = tensor
                break
        else:
            pytest.fail(f"careamics has an unknown weight {key}")
    return renamed


def build_pair(
    size: int, gaussian: bool, analytic: bool = False, latents: tuple[int, ...] = LATENTS
) -> tuple[torch.nn.Module, LadderVAE]:
    torch.manual_seed(3)
    published = model_factory(
        LVAEConfig(
            architecture="LVAE",
            input_shape=(size, size),
            output_channels=2,
            predict_logvar="pixelwise" if gaussian else None,
            z_dims=list(latents),
            encoder_n_filters=FILTERS,
            decoder_n_filters=FILTERS,
            analytical_kl=analytic,
        )
    )
    for name, tensor in published.state_dict().items():
        if "running_mean" in name or "top_prior" in name:
            tensor.normal_(std=0.3)
        elif "running_var" in name:
            tensor.uniform_(0.5, 2.0)
    network = LadderVAE(
        output_channels=2,
        latent_channels=latents,
        filters=FILTERS,
        gaussian_head=gaussian,
        prior_size=(size, size),
        analytic_kl=analytic,
    )
    network.load_state_dict(rename_weights(published.state_dict()))
    return published, network


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("gaussian", [False, True], ids=["mean_head", "gaussian_head"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_parity_of_output_and_kl_with_careamics(size: int, gaussian: bool, training: bool) -> None:
    published, network = build_pair(size, gaussian)
    published.train(training)
    network.train(training)
    noisy = torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(5))

    torch.manual_seed(7)
    expected, details = published(noisy)
    torch.manual_seed(7)
    actual = network(noisy, TorchNoise())

    parameters = (
        actual.prediction
        if actual.log_variance is None
        else torch.cat((actual.prediction, actual.log_variance), dim=1)
    )
    torch.testing.assert_close(parameters, expected, rtol=0, atol=1e-6)
    for kl_map, kl in zip(actual.kl_maps, details["kl"], strict=True):
        torch.testing.assert_close(kl_map.sum((1, 2, 3)), kl, rtol=0, atol=1e-6)


def test_parity_of_the_closed_form_kl_with_careamics() -> None:
    published, network = build_pair(64, gaussian=False, analytic=True)
    noisy = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(5))

    torch.manual_seed(7)
    _, details = published.eval()(noisy)
    torch.manual_seed(7)
    actual = network.eval()(noisy, TorchNoise())

    for kl_map, kl in zip(actual.kl_maps, details["kl"], strict=True):
        torch.testing.assert_close(kl_map.sum((1, 2, 3)), kl, rtol=0, atol=1e-6)


def test_parity_with_five_levels_needs_the_scaled_posterior() -> None:
    published, network = build_pair(64, gaussian=False, latents=(6, 6, 6, 6, 6))
    noisy = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(5))

    torch.manual_seed(7)
    expected, _ = published.eval()(noisy)
    torch.manual_seed(7)
    actual = network.eval()(noisy, TorchNoise())

    torch.testing.assert_close(actual.prediction, expected, rtol=0, atol=1e-6)


def test_published_parameter_count() -> None:
    network = LadderVAE(prior_size=(128, 128))

    assert sum(p.numel() for p in network.parameters()) == 3_002_882
