"""Noise models: how the observations of one channel scatter around its signal."""

from careamics_denoisplit.noise_model.model import (
    GaussianMixtureNoiseModel,
    NoiseModelInfo,
    Verdict,
)

__all__ = ["GaussianMixtureNoiseModel", "NoiseModelInfo", "Verdict"]
