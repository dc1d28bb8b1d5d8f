"""Two maps that warn where an image is not what the network was trained for.

The same modules run in `predict` and inside packages: operators that every engine has, constants
in buffers, any image size. A clean map does not prove a right split.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from careamics_denoisplit.data.local_levels import LocalMean, Roughness

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
    """Signed distance of local brightness and local noise from their range in training.

    0 inside; 1 where one of them lies a whole width of its range above, -1 where it lies one
    below. Of both distances the larger counts. Single pixels, such as hot ones, count for little.
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(2, 1, 1, 1))
        self.register_buffer("high", torch.ones(2, 1, 1, 1))
        self.local = LocalMean()
        self.roughness = Roughness()

    def forward(self, raw: Float[Tensor, "1 1 y x"]) -> Float[Tensor, "1 1 y x"]:
        """Return the map in widths of the training range.

        Parameters
        ----------
        raw : torch.Tensor of shape (1, 1, Y, X)
            The input, gray values.
        """
        width = self.high - self.low
        lowest, highest = self.low[:1] - OUTLIER * width[:1], self.high[:1] + OUTLIER * width[:1]
        brightness = torch.minimum(torch.maximum(raw, lowest), highest)
        roughness = torch.minimum(self.roughness(raw), OUTLIER * self.high[1:])
        levels = self.local(torch.cat((brightness, roughness)))
        above = largest((levels - self.high) / width)
        below = largest((self.low - levels) / width)
        is_above = (above >= below).to(raw.dtype)
        return above.clamp(min=0) * is_above - below.clamp(min=0) * (1 - is_above)


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


def largest(pair: Float[Tensor, "2 1 y x"]) -> Float[Tensor, "1 1 y x"]:
    """Return the larger of two maps at each pixel."""
    return torch.maximum(pair[:1], pair[1:])
