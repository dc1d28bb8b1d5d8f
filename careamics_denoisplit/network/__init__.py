"""The variational splitting encoder-decoder (VSE) and how its latents are drawn."""

from careamics_denoisplit.network.ladder_vae import Features, LadderOutput, LadderVAE
from careamics_denoisplit.network.noise import (
    CounterNoise,
    GivenNoise,
    Noise,
    PosteriorMean,
    TorchNoise,
)

__all__ = [
    "CounterNoise",
    "Features",
    "GivenNoise",
    "LadderOutput",
    "LadderVAE",
    "Noise",
    "PosteriorMean",
    "TorchNoise",
]
