"""From noise models to what dimming a channel needs to know."""

from collections.abc import Sequence

import torch

from careamics_denoisplit.config import DenoiSplitConfiguration
from careamics_denoisplit.data import Light
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel

_SIGNALS = 256


@torch.no_grad()
def lights_of(
    noise_models: Sequence[GaussianMixtureNoiseModel], config: DenoiSplitConfiguration
) -> tuple[Light, ...]:
    """Return dark level and noise of each channel.

    Parameters
    ----------
    noise_models : sequence of C GaussianMixtureNoiseModel
        They know the variance of the noise within their range of signals.
    config : DenoiSplitConfiguration
        Its `camera_offset` is the dark level; without one it is the darkest signal of each model.
    """
    offsets = config.algorithm_config.channel_offsets
    lights = []
    for index, model in enumerate(noise_models):
        low, high = model.signal_range
        signals = torch.linspace(low, high, _SIGNALS, dtype=torch.float64)
        variances = model.variance(signals.to(model.weight)).double()
        dark = low if offsets is None else offsets[index]
        lights.append(Light(dark, signals.numpy(), variances.cpu().numpy()))
    return tuple(lights)
