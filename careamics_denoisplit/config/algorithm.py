"""Settings of the method: which system, its channels, its loss and how inputs are mixed."""

from typing import Annotated, Any, Literal

from bioimageio.spec.generic.v0_3 import CiteEntry, HttpUrl
from careamics.config.lightning.optimizer_configs import (
    LrSchedulerConfig,
    OptimizerConfig,
)
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import optim

from careamics_denoisplit.config.channels import channel_identifier, check_channel_names
from careamics_denoisplit.config.fields import (
    Flag,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Offsets,
    Texts,
)
from careamics_denoisplit.config.network import NetworkConfig
from careamics_denoisplit.config.parameters import check_parameters

AlgorithmName = Literal["denoisplit", "altered_musplit", "musplit", "hdn", "hdn_musplit"]
"""The five systems of the paper (Table 1)."""

Mixing = Literal["mean", "sum", "measured"]
"""How the input comes about: mean or sum of the channels, or an image of its own."""

ScheduleName = Literal["ReduceLROnPlateau", "StepLR", "CosineAnnealingLR"]
"""Schedules of the learning rate: those of careamics and half a cosine over all epochs."""

Probability = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]

GAUSSIAN_ALGORITHMS = frozenset({"altered_musplit", "musplit", "hdn_musplit"})
"""Systems whose likelihood is a Gaussian with a predicted log-variance."""

NOISE_MODEL_ALGORITHMS = frozenset({"denoisplit", "hdn"})
"""Systems whose likelihood is a noise model per channel (Eq. 4)."""

_FRIENDLY = {
    "denoisplit": "denoiSplit",
    "altered_musplit": "Altered muSplit",
    "musplit": "muSplit",
    "hdn": "HDN",
    "hdn_musplit": "HDN + muSplit",
}
_PAPER = (
    "Ashesh, A. and Jug, F. denoiSplit: a method for joint microscopy image splitting and "
    "unsupervised denoising. European Conference on Computer Vision, 2024."
)
_PAPER_URL = "https://arxiv.org/abs/2403.11854"


class ClosedOptimizerConfig(OptimizerConfig):
    """Optimiser as in careamics; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class ClosedLrSchedulerConfig(LrSchedulerConfig):
    """Learning-rate schedule as in careamics, or a cosine; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    name: ScheduleName = "ReduceLROnPlateau"  # type: ignore[assignment]  # one more than careamics
    """Name of a schedule of torch; it is stepped once an epoch."""


def _paper_optimizer() -> ClosedOptimizerConfig:
    return ClosedOptimizerConfig(name="Adamax", parameters={"lr": 1e-3, "weight_decay": 0.0})


def _paper_schedule() -> ClosedLrSchedulerConfig:
    return ClosedLrSchedulerConfig(
        name="ReduceLROnPlateau",
        parameters={"factor": 0.5, "patience": 30, "min_lr": 1e-12},
    )


class DenoiSplitAlgorithm(BaseModel):
    """Everything about the method that is neither data nor the length of training.

    Raises
    ------
    pydantic.ValidationError
        If a value has the wrong type or range, if counts of channels disagree, or if settings
        contradict each other.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    algorithm: AlgorithmName = "denoisplit"
    """Which of the five systems is trained."""
    channel_names: Texts
    """Identifier of each channel, in the order of the outputs."""
    channel_labels: Texts = Field(default_factory=lambda given: given["channel_names"])
    """What people call each channel; used in pictures, cards and OME metadata."""
    model: NetworkConfig = NetworkConfig()
    """Settings of the network."""
    kl_weight: NonNegative = 1.0
    """Weight of the divergence in the loss (Eq. 5)."""
    free_bits: NonNegative = 1.0
    """Divergence per level and image, in nats, below which it is not reduced further."""
    optimizer: ClosedOptimizerConfig = Field(default_factory=_paper_optimizer)
    """Optimiser of torch and its parameters."""
    lr_scheduler: ClosedLrSchedulerConfig = Field(default_factory=_paper_schedule)
    """Schedule of the learning rate and its parameters."""
    mixing: Mixing = "mean"
    """How the input relates to the channels."""
    mixing_jitter: Fraction = 0.0
    """Half width j of the random mixing weights: 1 + u with u uniform in (-j, j), rescaled so
    that the weights of one input keep their sum."""
    dimming: Fraction = 0.0
    """Largest share of its light that a channel of a training input loses: in half of the inputs,
    each channel on its own, with the noise that its noise model gives to a dimmer signal. For
    images in which a structure is fainter than in the training images. The level without light is
    `camera_offset`, or the darkest signal of the noise model."""
    camera_offset: Offsets | None = None
    """Gray value of a pixel without light, of every channel or of each: subtracted before channels
    are mixed, and added once (the mean of all) afterwards, as one camera does. With None the sum of
    C images holds C offsets."""
    pairing: Literal["aligned", "independent"] | Probability = "aligned"
    """Whether the crops of one input come from one place of one field ("aligned"), from places
    drawn for each channel on its own ("independent"), or the probability of the latter."""
    augment: Flag = False
    """Flip and rotate each crop into one of its 8 orientations at random."""
    seed: NonNegativeInt = 0
    """Seed from which every random draw of training is derived."""

    @model_validator(mode="before")
    @classmethod
    def derive_identifiers(cls, values: Any) -> Any:
        """Derive identifiers from the names that were typed, keep these as labels."""
        if not isinstance(values, dict) or "channel_names" not in values:
            return values
        names = values["channel_names"]
        if isinstance(names, str) or not isinstance(names, list | tuple):
            raise ValueError(
                f"`channel_names` must be a list of names, got {names!r}. "
                'Write for example ["er", "actin"].'
            )
        labels = values.get("channel_labels")
        return {
            **values,
            "channel_names": tuple(channel_identifier(name) for name in names),
            "channel_labels": tuple(names) if labels is None else labels,
        }

    @field_validator("optimizer")
    @classmethod
    def check_learning_rate(cls, optimizer: ClosedOptimizerConfig) -> ClosedOptimizerConfig:
        """Refuse a learning rate that is not a positive finite number."""
        check_parameters(getattr(optim, optimizer.name), optimizer.parameters, positive=("lr",))
        return optimizer

    @field_validator("lr_scheduler")
    @classmethod
    def check_schedule(cls, schedule: ClosedLrSchedulerConfig) -> ClosedLrSchedulerConfig:
        """Refuse parameters of the schedule that are not finite numbers."""
        check_parameters(
            getattr(optim.lr_scheduler, schedule.name),
            schedule.parameters,
            positive=("factor", "gamma", "step_size", "T_max"),
        )
        return schedule

    @model_validator(mode="after")
    def check_channels(self) -> "DenoiSplitAlgorithm":
        """Refuse names that collide and counts that disagree."""
        check_channel_names(self.channel_names)
        count = len(self.channel_names)
        if count != self.model.output_channels:
            raise ValueError(
                f"{count} channel names {self.channel_names} but `model.output_channels` is "
                f"{self.model.output_channels}. Make the two counts equal."
            )
        if len(self.channel_labels) != count:
            raise ValueError(
                f"{count} channel names {self.channel_names} but {len(self.channel_labels)} "
                f"labels {self.channel_labels}. Give one label for each name, or none."
            )
        if self.algorithm == "hdn" and count != 1:
            raise ValueError(
                f"HDN denoises one channel, got {count}: {self.channel_names}. Train one HDN "
                'for each channel, or choose algorithm "denoisplit".'
            )
        if self.algorithm != "hdn" and count < 2:
            raise ValueError(
                f"{_FRIENDLY[self.algorithm]} separates at least 2 channels, got {count}: "
                f'{self.channel_names}. Name the others, or choose algorithm "hdn".'
            )
        return self

    @model_validator(mode="after")
    def check_likelihood(self) -> "DenoiSplitAlgorithm":
        """Refuse an output layer that does not belong to the system."""
        gaussian = self.algorithm in GAUSSIAN_ALGORITHMS
        if gaussian != self.model.gaussian_head:
            raise ValueError(
                f"{_FRIENDLY[self.algorithm]} needs `model.gaussian_head: {str(gaussian).lower()}`"
                f", got {str(self.model.gaussian_head).lower()}."
            )
        return self

    @model_validator(mode="after")
    def check_mixing(self) -> "DenoiSplitAlgorithm":
        """Refuse random mixing of an input that was measured, and dimming without noise models."""
        changed = self.mixing_jitter or self.dimming or self.pairing != "aligned"
        if self.mixing == "measured" and changed:
            raise ValueError(
                f"A measured mixture cannot be mixed anew: `mixing_jitter` is "
                f"{self.mixing_jitter}, `dimming` {self.dimming} and `pairing` is "
                f"{self.pairing!r}. "
                'Set them to 0, 0 and "aligned", or `mixing` to "mean" or "sum".'
            )
        if self.dimming and not self.needs_noise_models:
            raise ValueError(
                f"`dimming` is {self.dimming}, but {_FRIENDLY[self.algorithm]} has no noise "
                "models, which tell the noise of a dimmer channel. Set it to 0, or choose "
                'algorithm "denoisplit".'
            )
        return self

    @model_validator(mode="after")
    def check_camera_offset(self) -> "DenoiSplitAlgorithm":
        """Refuse an offset where nothing is mixed, or another number of them than of channels."""
        if self.camera_offset is None:
            return self
        if self.mixing == "measured":
            raise ValueError(
                "`camera_offset` has no effect on a measured mixture, which holds one offset "
                'already. Set it to null, or `mixing` to "mean" or "sum".'
            )
        offsets = self.camera_offset
        if isinstance(offsets, tuple) and len(offsets) != len(self.channel_names):
            raise ValueError(
                f"{len(offsets)} values of `camera_offset` for {len(self.channel_names)} channels "
                f"{self.channel_names}. Give one number for all, or one for each."
            )
        return self

    @property
    def channel_offsets(self) -> tuple[float, ...] | None:
        """Camera offset of each channel in gray values; None if none is to be removed."""
        if self.camera_offset is None or isinstance(self.camera_offset, tuple):
            return self.camera_offset
        return (self.camera_offset,) * len(self.channel_names)

    @property
    def independent_probability(self) -> float:
        """Probability that the crops of one input are drawn from independent places."""
        if isinstance(self.pairing, str):
            return float(self.pairing == "independent")
        return self.pairing

    @property
    def needs_noise_models(self) -> bool:
        """Whether the likelihood needs one noise model for each channel."""
        return self.algorithm in NOISE_MODEL_ALGORITHMS

    def uses_batch_norm(self) -> bool:
        """Tell careamics whether the network contains batch normalisation."""
        return self.model.uses_batch_norm()

    def get_num_input_channels(self) -> int:
        """Tell careamics the number of input channels."""
        return self.model.get_num_input_channels()

    def get_algorithm_friendly_name(self) -> str:
        """Return the name of the system as the paper writes it."""
        return _FRIENDLY[self.algorithm]

    def get_algorithm_description(self) -> str:
        """Describe in a sentence what the trained model does."""
        channels = ", ".join(self.channel_labels)
        return (
            f"{_FRIENDLY[self.algorithm]}: a hierarchical variational autoencoder that predicts "
            f"the denoised channels {channels} from one superimposed noisy image."
        )

    def get_algorithm_citations(self) -> list[CiteEntry]:
        """Return the publication of the method."""
        return [CiteEntry(text=_PAPER, url=HttpUrl(_PAPER_URL))]

    def get_algorithm_references(self) -> str:
        """Return the publication of the method as text."""
        return f"{_PAPER} {_PAPER_URL}"

    def get_algorithm_keywords(self) -> list[str]:
        """Return search words for model collections."""
        return ["splitting", "denoising", "uncertainty", "2D", "CAREamics", "pytorch"]

    @classmethod
    def is_supervised(cls) -> bool:
        """Tell careamics that training needs targets."""
        return True
