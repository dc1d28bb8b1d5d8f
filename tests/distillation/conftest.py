"""A small network whose samples differ, and mixtures to fit its spread on."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from careamics_denoisplit.config.distillation import DistillationConfig
from careamics_denoisplit.data import Field, ImageView, Statistics, planes_of
from careamics_denoisplit.distillation import Mixture
from careamics_denoisplit.images import read_images
from careamics_denoisplit.network import LadderVAE, SpreadHead, TorchNoise

CHANNELS = ("er", "actin")
SETTINGS = DistillationConfig(
    width=8,
    steps=60,
    patch_size=32,
    batch_size=4,
    learning_rate=0.02,
    steps_per_validation=20,
    reference_samples=64,
    reference_pixels=64 * 64,
)


@dataclass(frozen=True)
class Trained:
    """What prediction needs of a model."""

    network: LadderVAE
    statistics: Statistics
    spread_head: SpreadHead | None = None


@pytest.fixture(scope="session")
def trained() -> Trained:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = LadderVAE(latent_channels=(4, 4), filters=8, stem_stride=2)
        for _ in range(5):
            network(torch.randn(4, 1, 32, 32), TorchNoise())
    statistics = Statistics(
        input_mean=100.0,
        input_std=20.0,
        target_means=(90.0, 110.0),
        target_stds=(15.0, 25.0),
        channel_names=CHANNELS,
        mixing="mean",
        input_percentiles={"50": 100.0},
        n_pixels=4096,
    )
    return Trained(network.eval(), statistics)


@pytest.fixture(scope="session")
def mixtures(trained: Trained) -> tuple[Mixture, ...]:
    """Four images, brighter on the right, so that their spread differs from place to place."""
    random = np.random.default_rng(1)
    ramp = np.linspace(60, 160, 64, dtype=np.float32)
    images = ramp + random.normal(0, 15, (4, 64, 64)).astype(np.float32)
    opened = read_images(images, axes="SYX", name="unlabelled", channels=1)
    return tuple(
        Mixture(Field((), plane), trained.statistics)
        for image in opened
        for plane in planes_of(ImageView(image, in_memory=True), 0)
    )


@pytest.fixture(scope="session")
def settings() -> DistillationConfig:
    return SETTINGS
