"""Two maps that warn where an image is not what the network was trained for.

The same modules run in `predict` and inside packages: operators that every engine has, constants
in buffers, any image size. A clean map does not prove a right split.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from careamics_denoisplit.data.local_levels import LocalMean, Surroundings

OUTLIER = 8.0
"""What one pixel counts at most: brightness as many widths outside the training range, roughness
as many times that of the roughest surroundings of training."""


class NoiseVariance(nn.Module):
    """Variance of a noise model at each signal: that of `GaussianMixtureNoiseModel`.

    The buffers are those of the noise model, so its state dict fits.

    Parameters
    ----------
    gaussians, coefficients : int
        Size G and number P of coefficients of the mixture.
    """

    weight: Tensor
    min_signal: Tensor
    max_signal: Tensor
    min_sigma: Tensor

    def __init__(self, gaussians: int, coefficients: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(3 * gaussians, coefficients))
        self.register_buffer("min_signal", torch.zeros(()))
        self.register_buffer("max_signal", torch.ones(()))
        self.register_buffer("min_sigma", torch.ones(()))

    def forward(self, signal: Float[Tensor, "1 1 y x"]) -> Float[Tensor, "1 1 y x"]:
        """Return the variance in squared gray values.

        Parameters
        ----------
        signal : torch.Tensor of shape (1, 1, Y, X)
            Noise-free gray values of the channel.
        """
        position = ((signal - self.min_signal) / (self.max_signal - self.min_signal)).clamp(0, 1)
        means, variances, logits = self.weight.chunk(3)
        shares = share_of_each(horner(logits, position))
        offsets = horner(means, position)
        centre = sum_over(shares * offsets)
        spread = torch.maximum(horner(variances.exp(), position), self.min_sigma)
        return sum_over(shares * (spread + (offsets - centre) * (offsets - centre)))


class Consistency(nn.Module):
    """Local root mean square of what the channels leave of the input, in units of its noise.

    1 where the input is the superposition of the predicted channels and of noise as the noise
    models know it. Larger where something remains or the noise is stronger, smaller where the
    noise is weaker, for instance in an image that was denoised before.

    Parameters
    ----------
    mixtures : sequence of (int, int)
        Gaussians and coefficients of the noise model of each channel.
    """

    weights: Tensor
    offset: Tensor

    def __init__(self, mixtures: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.mixtures = tuple(mixtures)
        self.register_buffer("weights", torch.ones(len(mixtures)))
        self.register_buffer("offset", torch.zeros(()))
        self.noise = nn.ModuleList(NoiseVariance(*sizes) for sizes in mixtures)
        self.local = LocalMean()

    def forward(
        self, raw: Float[Tensor, "1 1 y x"], means: Float[Tensor, "1 c y x"]
    ) -> Float[Tensor, "1 1 y x"]:
        """Return the map; no unit, never negative.

        Parameters
        ----------
        raw : torch.Tensor of shape (1, 1, Y, X)
            The input, gray values.
        means : torch.Tensor of shape (1, C, Y, X)
            Predicted channels, gray values.
        """
        rest = raw - self.offset
        variance = rest * 0
        for channel, noise in enumerate(self.noise):
            mean, weight = means[:, channel : channel + 1], self.weights[channel]
            rest = rest - weight * mean
            variance = variance + weight * weight * noise(mean)
        mean_square: Tensor = self.local(rest * rest / variance)
        return mean_square.sqrt()


class InputRange(nn.Module):
    """Signed distance of local brightness, noise and contrast from their range in training.

    0 inside; 1 where one of them lies a whole width of its range above, -1 where it lies one
    below. Of all distances the largest counts. Noise and contrast are compared with those that
    went with the same brightness in training. Single pixels, such as hot ones, count for little.

    Parameters
    ----------
    steps : int
        Number K of brightnesses at which the ranges of noise and contrast are known.
    """

    low: Tensor
    high: Tensor
    most_rough: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("low", torch.zeros(1, 1, 1, 1))
        self.register_buffer("high", torch.ones(1, 1, 1, 1))
        self.register_buffer("most_rough", torch.ones(1, 1, 1, 1))
        self.surroundings = Surroundings()
        self.limits = Interpolated(4, steps)

    def forward(self, raw: Float[Tensor, "1 1 y x"]) -> Float[Tensor, "1 1 y x"]:
        """Return the map in widths of the training range.

        Parameters
        ----------
        raw : torch.Tensor of shape (1, 1, Y, X)
            The input, gray values.
        """
        width = self.high - self.low
        lowest, highest = self.low - OUTLIER * width, self.high + OUTLIER * width
        clipped = torch.minimum(torch.maximum(raw, lowest), highest)
        brightness, noise, contrast = self.surroundings(clipped, OUTLIER * self.most_rough)
        low_noise, high_noise, low_contrast, high_contrast = self.limits(brightness).chunk(4, dim=1)
        above: Tensor = brightness * 0
        below = above
        for level, least, most in (
            (brightness, self.low, self.high),
            (noise, low_noise, high_noise),
            (contrast, low_contrast, high_contrast),
        ):
            above = torch.maximum(above, (level - most) / (most - least))
            below = torch.maximum(below, (least - level) / (most - least))
        is_above = (above >= below).to(raw.dtype)
        return above * is_above - below * (1 - is_above)


class Interpolated(nn.Module):
    """Values between known ones, linear in one variable; beyond the known ones the nearest.

    Parameters
    ----------
    values : int
        Number R of values.
    steps : int
        Number K of places where they are known, at least two.
    """

    start: Tensor
    span: Tensor
    slope: Tensor
    first: Tensor

    def __init__(self, values: int, steps: int) -> None:
        super().__init__()
        self.register_buffer("start", torch.zeros(1, steps - 1, 1, 1))
        self.register_buffer("span", torch.ones(1, steps - 1, 1, 1))
        self.register_buffer("slope", torch.zeros(values, steps - 1, 1, 1))
        self.register_buffer("first", torch.zeros(values))

    def set_points(
        self, places: Float[Tensor, " k"], values: Float[Tensor, "r k"]
    ) -> "Interpolated":
        """Set the known places, ascending, and the values there."""
        span = places.diff()
        self.start.copy_(places[:-1][None, :, None, None])
        self.span.copy_(span[None, :, None, None])
        self.slope.copy_((values.diff(dim=1) / span)[..., None, None])
        self.first.copy_(values[:, 0])
        return self

    def forward(self, variable: Float[Tensor, "1 1 y x"]) -> Float[Tensor, "1 r y x"]:
        """Return the values (1, R, Y, X) at each pixel.

        Parameters
        ----------
        variable : torch.Tensor of shape (1, 1, Y, X)
            Where they are wanted.
        """
        along = torch.minimum((variable - self.start).clamp(min=0), self.span)
        return nn.functional.conv2d(along, self.slope, self.first)


def horner(
    coefficients: Float[Tensor, "g p"], position: Float[Tensor, "1 1 y x"]
) -> Float[Tensor, "1 g y x"]:
    """Evaluate one polynomial per row at each pixel, lowest power first."""
    columns = coefficients[None, :, :, None, None]
    value = columns[:, :, -1] + 0 * position
    for power in range(coefficients.shape[1] - 2, -1, -1):
        value = value * position + columns[:, :, power]
    return value


def share_of_each(logits: Float[Tensor, "1 g y x"]) -> Float[Tensor, "1 g y x"]:
    """Return the softmax over the components."""
    top = logits[:, :1]
    for component in range(1, logits.shape[1]):
        top = torch.maximum(top, logits[:, component : component + 1])
    weights = (logits - top).exp()
    return weights / sum_over(weights)


def sum_over(parts: Float[Tensor, "1 g y x"]) -> Float[Tensor, "1 1 y x"]:
    """Add up the components at each pixel."""
    total = parts[:, :1]
    for component in range(1, parts.shape[1]):
        total = total + parts[:, component : component + 1]
    return total
