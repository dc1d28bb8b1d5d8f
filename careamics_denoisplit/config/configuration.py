"""The whole configuration: careamics' `Configuration` with the algorithm of denoiSplit."""

from typing import Any, Final, Literal

from careamics.config.configuration import Configuration
from pydantic import ConfigDict, Field, model_validator

from careamics_denoisplit.config.algorithm import DenoiSplitAlgorithm
from careamics_denoisplit.config.data import DenoiSplitDataConfig
from careamics_denoisplit.config.distillation import DistillationConfig
from careamics_denoisplit.config.training import DenoiSplitTrainingConfig

FORMAT_VERSION: Final = 1
"""Version of the configuration files that this release writes."""


class DenoiSplitConfiguration(
    Configuration  # type: ignore[type-arg]  # careamics' type variable admits its own three only
):
    """Configuration of one experiment, usable wherever careamics takes a `Configuration`.

    The algorithm is frozen. careamics itself writes into the other parts (trainer parameters,
    resolved statistics), so these are assignable and checked on assignment.

    Raises
    ------
    pydantic.ValidationError
        If a part is wrong by itself, or if parts contradict each other.
    """

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )

    format_version: Literal[1] = FORMAT_VERSION
    """Version of the format of this file."""
    algorithm_config: DenoiSplitAlgorithm
    """What is trained."""
    data_config: DenoiSplitDataConfig = Field(default_factory=DenoiSplitDataConfig)
    """What it is trained on."""
    training_config: DenoiSplitTrainingConfig = Field(default_factory=DenoiSplitTrainingConfig)
    """How long it is trained."""
    distillation_config: DistillationConfig = DistillationConfig()
    """How the one-pass spread is fitted afterwards, by `denoisplit distil`."""

    @model_validator(mode="after")
    def validate_patch_against_model(self) -> "DenoiSplitConfiguration":
        """Refuse a patch that is smaller than what one latent pixel of the top level sees."""
        network = self.algorithm_config.model
        patch = self.data_config.patch_size
        if patch < network.size_multiple:
            raise ValueError(
                f"`patch_size` is {patch} pixels, but {len(network.latent_channels)} levels "
                f"halve the image to nothing below {network.size_multiple} pixels. "
                "Enlarge the patch or use fewer levels."
            )
        if network.prior_size not in (None, (patch, patch)):
            raise ValueError(
                f"`model.prior_size` is {network.prior_size}, but crops have ({patch}, {patch}) "
                "pixels. Make them equal, or set the former to null."
            )
        return self

    @model_validator(mode="after")
    def validate_channels_against_inputs(self) -> "DenoiSplitConfiguration":
        """Refuse a choice of channels whose number is not that of the outputs."""
        chosen = self.data_config.channels
        names = self.algorithm_config.channel_names
        if chosen is not None and len(chosen) != len(names):
            raise ValueError(
                f"`data_config.channels` selects {len(chosen)} channels {list(chosen)}, but "
                f"{len(names)} are named: {list(names)}. Make the two counts equal."
            )
        return self

    @model_validator(mode="after")
    def validate_norm_against_channels(self) -> "DenoiSplitConfiguration":
        """Refuse statistics whose number is not that of the channels."""
        self.data_config.normalization.validate_size(
            self.algorithm_config.model.get_num_input_channels(),
            self.algorithm_config.model.get_num_output_channels(),
        )
        return self

    @model_validator(mode="after")
    def warn_batch_norm(self) -> "DenoiSplitConfiguration":
        """Accept batches below 8: the presets were measured with them."""
        return self

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Identifier of each channel, in the order of the outputs."""
        return self.algorithm_config.channel_names

    @property
    def seed(self) -> int:
        """Seed from which every random draw is derived."""
        return self.algorithm_config.seed

    def to_plain(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types, for files and checkpoints."""
        return self.model_dump(mode="json")
