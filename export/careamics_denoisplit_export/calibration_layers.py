"""Calibrated standard deviations as layers of the graph: one factor each, or a small network.

They compute what `careamics_denoisplit.calibration` computes, with operators that every engine has.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ScalarStd(nn.Module):
    """Raise the spread of each channel to its floor and multiply it by its factor.

    Parameters
    ----------
    channels : int
        Number of channels C. Fresh factors are 1 and floors 0: the spread as it is.
    """

    floors: Tensor
    factors: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("floors", torch.zeros(channels))
        self.register_buffer("factors", torch.ones(channels))

    def forward(
        self, means: Float[Tensor, "1 c y x"], spreads: Float[Tensor, "1 c y x"]
    ) -> Float[Tensor, "1 c y x"]:
        """Return calibrated standard deviations, gray values; `means` do not enter."""
        del means
        return torch.maximum(spreads, per_channel(self.floors)) * per_channel(self.factors)


class JointStd(nn.Module):
    """Compute standard deviations from all intensities and log spreads, pixel by pixel.

    Parameters
    ----------
    channels : int
        Number of channels C.
    hidden_units : int
        Width of the hidden layer.
    """

    floors: Tensor
    low: Tensor
    high: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    output_weight: Tensor
    output_bias: Tensor

    def __init__(self, channels: int, hidden_units: int) -> None:
        super().__init__()
        self.register_buffer("floors", torch.zeros(channels))
        self.register_buffer("low", torch.zeros(2 * channels))
        self.register_buffer("high", torch.ones(2 * channels))
        self.register_buffer("hidden_weight", torch.zeros(hidden_units, 2 * channels))
        self.register_buffer("hidden_bias", torch.zeros(hidden_units))
        self.register_buffer("output_weight", torch.zeros(channels, hidden_units))
        self.register_buffer("output_bias", torch.zeros(channels))

    def forward(
        self, means: Float[Tensor, "1 c y x"], spreads: Float[Tensor, "1 c y x"]
    ) -> Float[Tensor, "1 c y x"]:
        """Return calibrated standard deviations in gray values."""
        raised = torch.maximum(spreads, per_channel(self.floors))
        inputs = torch.cat((means, raised.log()), dim=1)
        high = per_channel(self.high)
        inside = torch.minimum(torch.maximum(inputs, per_channel(self.low)), high)
        hidden = torch.tanh(pointwise(inside, self.hidden_weight, self.hidden_bias))
        log_std = pointwise(hidden, self.output_weight, self.output_bias)
        # Spreads beyond the fitted range raise the result in proportion.
        beyond = (inputs - high).clamp(min=0).chunk(2, dim=1)[1]
        return (log_std + beyond).exp()


def per_channel(values: Float[Tensor, " c"]) -> Float[Tensor, "1 c 1 1"]:
    """Shape one value per channel for images."""
    return values[None, :, None, None]


def pointwise(
    x: Float[Tensor, "1 i y x"], weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"]
) -> Float[Tensor, "1 o y x"]:
    """Apply a linear layer at every pixel."""
    return nn.functional.conv2d(x, weight[:, :, None, None], bias)
