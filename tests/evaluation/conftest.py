"""A small untrained model and images with truth, for evaluation and report."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.config import create_advanced_denoisplit_config
from careamics_denoisplit.data import Statistics
from careamics_denoisplit.evaluation import calibrate
from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelInfo

CHANNELS = ("er", "actin")
NOISE = 20.0


class Images(NamedTuple):
    """Fields of view (S, C, Y, X) in gray values."""

    truth: dict[str, np.ndarray]
    noisy: dict[str, np.ndarray]

    @property
    def mixture(self) -> np.ndarray:
        """Mean of the noisy channels (S, Y, X)."""
        return np.mean(list(self.noisy.values()), axis=0, dtype=np.float32)


@pytest.fixture
def images() -> Images:
    """Two fields of 72 x 64 px."""
    return make_images()


@pytest.fixture(scope="session")
def calibrated(trained: TrainedModel) -> TrainedModel:
    """The model with calibrations of 10 and of 8 samples, scalar and joint."""
    images = make_images()
    fitted = calibrate(
        trained, truth=images.truth, channels=images.noisy, n_samples=10, method="joint"
    )
    return dataclasses.replace(trained, calibrations=fitted)


def make_images() -> Images:
    """Draw the fields; the same each time."""
    random = np.random.default_rng(5)
    truth, noisy = {}, {}
    for name, width in zip(CHANNELS, (2.0, 4.0), strict=True):
        clean = gaussian_filter(random.normal(size=(2, 72, 64)), width, axes=(-2, -1))
        truth[name] = (100.0 + 40.0 * clean / clean.std()).astype(np.float32)
        noise = random.normal(0.0, NOISE, clean.shape)
        noisy[name] = (truth[name] + noise).astype(np.float32)
    return Images(truth, noisy)


@pytest.fixture(scope="session")
def trained(make_statistics: Callable[..., Statistics]) -> TrainedModel:
    """An untrained model of 8 filters with everything a training leaves behind."""
    config = create_advanced_denoisplit_config(
        "small",
        CHANNELS,
        patch_size=32,
        model_params={"filters": 8, "latent_channels": (4, 4), "stem_stride": 1},
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = LadderVAE(**config.algorithm_config.model.model_dump()).eval()
    variance = float(np.log(NOISE**2))
    weight = torch.tensor([[0.0, 0.0], [variance, -30.0], [0.0, 0.0]])
    models = tuple(
        GaussianMixtureNoiseModel(
            weight, 0.0, 300.0, 1.0, NoiseModelInfo(channel=name, verdict="pass")
        )
        for name in CHANNELS
    )
    statistics = make_statistics(100.0, 40.0)
    return TrainedModel(network, config, statistics, models)
