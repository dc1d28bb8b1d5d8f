"""The one-pass spread: a small head that reads it from the decoder's last features."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from careamics_denoisplit.network.ladder_vae import LadderVAE, crop_centrally

SMALLEST_LOG_STD = -10.0
"""Spreads are never below exp(-10) of a channel's standard deviation, so they can be divided by."""

LARGEST_LOG_STD = 10.0
"""Spreads are never above exp(10) of a channel's standard deviation, so they stay finite."""

_CONTEXT_PIXELS = 8
"""Pixels of the image over which the surroundings are averaged, where the network has so many."""


class SpreadOutput(NamedTuple):
    """What one pass says about many posterior samples, normalised by the targets' statistics."""

    mean_correction: Float[Tensor, "b c y x"]
    """Mean of the samples minus the pass with posterior-mean latents."""
    log_std: Float[Tensor, "b c y x"]
    """Natural logarithm of the samples' standard deviation."""


class SpreadHead(nn.Module):
    """Predict mean and spread of posterior samples from one pass with posterior-mean latents.

    It is fitted after training, from single samples, while the network stays as it is. The mean
    is corrected in units of the spread: measured on a trained network, both came closer to 200
    samples than with a correction in units of the data. A coarse look at the surroundings tells
    places where a whole structure may belong to either channel, which a few pixels do not. A
    fresh head corrects nothing and predicts a spread of 1.

    Parameters
    ----------
    output_channels : int
        Channels C of the network.
    filters : int
        Feature channels of the network.
    width : int
        Feature channels of the head.
    stem_stride : int
        That of the network: 2 lets the head interleave 2 x 2 pixels, too.
    context_scale : int
        Features are averaged over squares of this side for the look at the surroundings; height
        and width of the features must be multiples of it.
    """

    def __init__(
        self,
        output_channels: int = 2,
        filters: int = 64,
        width: int = 64,
        stem_stride: int = 1,
        context_scale: int = 4,
    ) -> None:
        super().__init__()
        self.output_channels = output_channels
        self.stem_stride = stem_stride
        planes = 2 * output_channels * stem_stride**2
        self.narrow = nn.Conv2d(filters, width, kernel_size=1)
        self.look = nn.Conv2d(width, width, kernel_size=3, padding=1)
        gathered = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.context = nn.Sequential(
            nn.AvgPool2d(context_scale),
            nn.Conv2d(filters, width, kernel_size=3, padding=1),
            nn.ELU(),
            gathered,
            nn.Upsample(scale_factor=context_scale, mode="bilinear"),
        )
        self.out = nn.Conv2d(width, planes, kernel_size=3, padding=1)
        for parameter in (*gathered.parameters(), *self.out.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, features: Float[Tensor, "b f _ _"], size: tuple[int, int]) -> SpreadOutput:
        """Predict the correction of the mean and the log standard deviation.

        Parameters
        ----------
        features : torch.Tensor of shape (B, F, y, x)
            `MeanPass.features` of `LadderVAE.decode_mean`.
        size : tuple of int
            Height and width of the image in pixels, `Features.size`.

        Returns
        -------
        SpreadOutput
            Both of shape (B, C, Y, X), in normalised units.
        """
        seen = nn.functional.elu(self.narrow(features) + self.context(features))
        seen = nn.functional.elu(self.look(seen))
        planes = nn.functional.pixel_shuffle(self.out(seen), self.stem_stride)
        shift, log_std = crop_centrally(planes, size).chunk(2, dim=1)
        log_std = log_std.clamp(SMALLEST_LOG_STD, LARGEST_LOG_STD)
        # The fit of the mean leaves the spread alone; packages hold no operator for that.
        width = log_std.detach() if log_std.requires_grad else log_std
        return SpreadOutput(shift * width.exp(), log_std)

    @torch.no_grad()
    def start_from(self, log_std: Float[Tensor, " c"]) -> None:
        """Let every pixel begin with the spread of its channel.

        Parameters
        ----------
        log_std : torch.Tensor of shape (C,)
            Log standard deviation of each channel's samples, normalised.
        """
        bias = torch.cat((torch.zeros_like(log_std), log_std))
        self.get_parameter("out.bias").copy_(bias.repeat_interleave(self.stem_stride**2))


def head_for(network: LadderVAE, width: int) -> SpreadHead:
    """Build a fresh head of the sizes that a network needs.

    Parameters
    ----------
    network : LadderVAE
        The network whose last features the head will read.
    width : int
        Feature channels of the head.
    """
    scale = min(_CONTEXT_PIXELS, network.size_multiple) // network.stem_stride
    return SpreadHead(
        network.output_channels, network.stem.out_channels, width, network.stem_stride, scale
    )
