"""The variational splitting encoder-decoder (VSE) and how its latents are drawn."""

from careamics_denoisplit.network.ladder_vae import (
    Features,
    LadderOutput,
    LadderVAE,
    MeanPass,
)
from careamics_denoisplit.network.noise import (
    CounterNoise,
    GivenNoise,
    Noise,
    PosteriorMean,
    TorchNoise,
)
from careamics_denoisplit.network.spread_head import SpreadHead, SpreadOutput, head_for

__all__ = [
    "CounterNoise",
    "Features",
    "GivenNoise",
    "LadderOutput",
    "LadderVAE",
    "MeanPass",
    "Noise",
    "PosteriorMean",
    "SpreadHead",
    "SpreadOutput",
    "TorchNoise",
    "head_for",
]
