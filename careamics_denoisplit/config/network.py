"""Settings of the network: the keyword arguments of `LadderVAE`."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from careamics_denoisplit.config.fields import (
    Count,
    Counts,
    Flag,
    Fraction,
    list_to_tuple,
    refuse_truth,
)


class NetworkConfig(BaseModel):
    """Keyword arguments of `LadderVAE`, one field for each.

    The class also answers the questions that careamics asks of a model configuration
    (`is_3D`, `get_num_input_channels`, `get_num_output_channels`, `uses_batch_norm`).

    Raises
    ------
    pydantic.ValidationError
        If a value has the wrong type or range, or an unknown keyword is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output_channels: Count = 2
    """Number of separated channels C."""
    latent_channels: Counts = (128, 128, 128, 128)
    """Latent channels per level, finest first; each level halves height and width."""
    filters: Count = 64
    """Feature maps of every convolution."""
    blocks_per_level: Count = 1
    """Residual blocks per level and direction."""
    dropout: Fraction = 0.1
    """Probability of dropping a feature map during training."""
    gaussian_head: Flag = False
    """Predict a log-variance per channel and pixel beside the mean (Altered muSplit, muSplit)."""
    prior_size: Annotated[tuple[Count, Count] | None, BeforeValidator(list_to_tuple), Field()] = (
        None
    )
    """Height and width in pixels of the training crops for which the prior of the top level is
    learned, as published; None learns one that is constant in space and fits every size."""
    stem_stride: Annotated[Literal[1, 2], BeforeValidator(refuse_truth)] = 1
    """Stride of the first convolution; 2 makes the network about four times faster and coarser."""
    exponential: Literal["stable", "plain"] = "stable"
    """How log-variances of the latents become variances: linear above zero, or plainly exp."""
    analytic_kl: Flag = False
    """Integrate the divergence instead of estimating it from the drawn sample."""

    @property
    def size_multiple(self) -> int:
        """Image sides that are multiples of this many pixels need no padding."""
        return int(2 ** len(self.latent_channels)) * self.stem_stride

    @model_validator(mode="after")
    def limit_depth(self) -> "NetworkConfig":
        """Refuse more levels than an image of 2^12 pixels can be halved.

        Raises
        ------
        ValueError
            If there are more than 12 levels.
        """
        if len(self.latent_channels) > 12:
            raise ValueError(
                f"`latent_channels` has {len(self.latent_channels)} levels; each level halves "
                "the image, so at most 12 are accepted. Give fewer levels."
            )
        return self

    def is_3D(self) -> bool:
        """Tell careamics that the network works on planes (Y, X)."""
        return False

    def get_num_input_channels(self) -> int:
        """Tell careamics that the input is one superimposed image."""
        return 1

    def get_num_output_channels(self) -> int:
        """Tell careamics the number of separated channels."""
        return self.output_channels

    def uses_batch_norm(self) -> bool:
        """Tell careamics that residual blocks contain batch normalisation."""
        return True
