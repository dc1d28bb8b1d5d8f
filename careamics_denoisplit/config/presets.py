"""Presets: the paper's setting, a quicker one for a GPU, and one for a laptop.

========  ===================================================================================
preset    what it costs
========  ===================================================================================
paper     the published setting: 3.0 million parameters, batches of 32 crops of 128 pixels, at
          most 400 epochs (about 27,000 steps on the paper's data), half precision; needs a GPU
fast      the same network with a stem of stride 2 and half the filters, for a first answer on
          a GPU
laptop    2.3 million parameters, stem of stride 2, 1800 steps of 4 crops of 192 pixels: ten
          minutes on two cores whose processor multiplies bfloat16 matrices (0.33 s a step),
          about twenty on others; more epochs give better splits. The divergence has the weight
          1/C of the evidence lower bound, which splits better than the published 1
========  ===================================================================================
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

PresetName = Literal["paper", "fast", "laptop"]
"""Names of the presets."""


class Preset(NamedTuple):
    """Numbers that a preset sets; everything else follows from the algorithm."""

    latent_channels: tuple[int, ...]
    """Latent channels per level, finest first."""
    filters: int
    """Feature maps of every convolution."""
    dropout: float
    """Probability of dropping a feature map."""
    stem_stride: Literal[1, 2]
    """Stride of the first convolution."""
    spatial_prior: bool
    """Whether the prior of the top level is learned for each latent pixel of the patch."""
    patch: int
    """Side of the training crops in pixels."""
    batch: int
    """Crops per step."""
    learning_rate: float
    """First learning rate of Adamax."""
    plateau_patience: int | None
    """Epochs without improvement before the learning rate is halved; None lets it follow half a
    cosine down to a hundredth over all epochs, the better schedule where their number is fixed."""
    epochs: int
    """Largest number of epochs."""
    stopping_patience: int | None
    """Epochs without improvement before training stops; None trains all epochs."""
    bound: bool
    """Whether the divergence weighs as much as in the evidence lower bound (Eq. 2): 1/C, since the
    reconstruction is averaged over C channels. The published weight is 1."""
    augment: bool
    """Flips and rotations."""
    clip_norm: float
    """Largest norm of the gradient."""
    precision: str
    """Precision of Lightning's trainer."""
    max_hours: float | None
    """Hours after which training stops."""
    patches_per_epoch: int | None
    """Crops in one epoch; None follows the size of the data."""


PRESETS: Mapping[PresetName, Preset] = MappingProxyType(
    {
        "paper": Preset(
            latent_channels=(128, 128, 128, 128),
            filters=64,
            dropout=0.1,
            stem_stride=1,
            spatial_prior=True,
            patch=128,
            batch=32,
            learning_rate=1e-3,
            plateau_patience=30,
            epochs=400,
            stopping_patience=200,
            bound=False,
            augment=False,
            clip_norm=0.5,
            precision="16-mixed",
            max_hours=None,
            patches_per_epoch=None,
        ),
        "fast": Preset(
            latent_channels=(64, 64, 64, 64),
            filters=32,
            dropout=0.1,
            stem_stride=2,
            spatial_prior=False,
            patch=128,
            batch=16,
            learning_rate=2e-3,
            plateau_patience=15,
            epochs=200,
            stopping_patience=100,
            bound=False,
            augment=True,
            clip_norm=0.5,
            precision="32-true",
            max_hours=None,
            patches_per_epoch=None,
        ),
        "laptop": Preset(
            latent_channels=(64, 64, 64, 64),
            filters=64,
            dropout=0.0,
            stem_stride=2,
            spatial_prior=False,
            patch=192,
            batch=4,
            learning_rate=3e-3,
            plateau_patience=None,
            epochs=18,
            stopping_patience=None,
            bound=True,
            augment=True,
            clip_norm=0.5,
            precision="auto",
            max_hours=None,
            patches_per_epoch=400,
        ),
    }
)
"""The three presets."""
