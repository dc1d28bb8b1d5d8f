"""What `denoisplit data check` reports."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ImageFinding(_Report):
    """How one image was understood."""

    name: str
    """File or array."""
    role: str
    """What it was given as."""
    shape: tuple[int, ...]
    """Shape in the order of `dims`."""
    dims: tuple[str, ...]
    """Names of the dimensions."""
    axes: str
    """Axes of the source as they were understood."""
    axes_guessed: bool
    """Whether neither the user nor the source named the axes."""
    dtype: str
    """Type of the pixels."""
    channel_names: tuple[str, ...] | None
    """Names that the file carries."""
    pixel_size: tuple[float, float] | None
    """Height and width of a pixel in micrometers."""


class ChannelFinding(_Report):
    """What the pixels of one channel say."""

    name: str
    """Name of the channel, or `mixture`."""
    minimum: float
    """Smallest gray value."""
    maximum: float
    """Largest gray value."""
    mean: float
    """Mean gray value."""
    std: float
    """Standard deviation in gray values."""
    saturated_fraction: float
    """Share of pixels at the largest value that camera or type can hold."""
    structure: float | None
    """Correlation of neighbouring means of 8 x 8 pixels; near 0 there is nothing but noise."""
    n_pixels: int
    """Number of pixels."""


class CorrelationFinding(_Report):
    """How alike two images of the same fields are."""

    first: str
    """One channel."""
    second: str
    """The other channel."""
    correlation: float
    """Correlation of the means of 8 x 8 pixels."""


class MixtureFinding(_Report):
    """How a measured mixture depends on its channels."""

    gains: dict[str, float]
    """Factor of each channel: 1 for a sum, 1/C for a mean."""
    offset: float
    """Constant part in gray values."""
    explained: float
    """Share of the variance that the channels explain."""
    rule: Literal["mean", "sum", "measured"]
    """The rule that the gains come closest to."""
    camera_offset: float | None
    """Camera offset that every image holds if the mixture is a sum and holds it once, in gray
    values; negative if the mixture holds more light than the channels."""
    rms_from_sum: float
    """Root mean square of mixture minus sum, in gray values, offset removed."""
    rms_from_mean: float
    """Root mean square of mixture minus mean, in gray values, offset removed."""


class DataReport(_Report):
    """Everything that `denoisplit data check` found."""

    images: tuple[ImageFinding, ...] = ()
    """Every image."""
    channels: tuple[ChannelFinding, ...] = ()
    """Every channel, and the mixture."""
    correlations: tuple[CorrelationFinding, ...] = ()
    """Every pair of channels, and every channel with its truth."""
    mixture: MixtureFinding | None = None
    """The mixture, where it was measured."""
    problems: tuple[str, ...] = ()
    """What must be mended before training."""
    warnings: tuple[str, ...] = ()
    """What should be looked at."""

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return not self.problems
