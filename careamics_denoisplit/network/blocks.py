"""Building blocks of the ladder VAE: residual block, gate, merge and resampling."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Gate(nn.Module):
    """Multiply features by a learned gate between 0 and 1.

    Parameters
    ----------
    filters : int
        Feature channels, in and out.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(filters, 2 * filters, kernel_size=1)

    def forward(self, x: Float[Tensor, "b f y x"]) -> Float[Tensor, "b f y x"]:
        """Gate the features."""
        signal, gate = self.conv(x).chunk(2, dim=1)
        return nn.functional.elu(signal) * torch.sigmoid(gate)


class ResidualBlock(nn.Module):
    """Add two rounds of normalise, activate, convolve, drop to the input.

    Parameters
    ----------
    filters : int
        Feature channels, in and out.
    dropout : float
        Probability of dropping a feature map during training.
    gated : bool
        Whether a `Gate` follows the two rounds.
    """

    def __init__(self, filters: int, dropout: float, gated: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [
                nn.BatchNorm2d(filters),
                nn.ELU(),
                nn.Conv2d(filters, filters, kernel_size=3, padding=1),
                nn.Dropout2d(dropout),
            ]
        if gated:
            layers.append(Gate(filters))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "b f y x"]) -> Float[Tensor, "b f y x"]:
        """Add the block's output to its input."""
        residual: Tensor = self.block(x)
        return residual + x


class Merge(nn.Module):
    """Join two feature tensors of one size.

    Parameters
    ----------
    filters : int
        Feature channels of either input and of the output.
    dropout : float
        Probability of dropping a feature map during training.
    """

    def __init__(self, filters: int, dropout: float) -> None:
        super().__init__()
        self.proj = nn.Conv2d(2 * filters, filters, kernel_size=1)
        self.res = ResidualBlock(filters, dropout)

    def forward(
        self, first: Float[Tensor, "b f y x"], second: Float[Tensor, "b f y x"]
    ) -> Float[Tensor, "b f y x"]:
        """Join `first` and `second`; their order matters."""
        joined: Tensor = self.res(self.proj(torch.cat((first, second), dim=1)))
        return joined


class Downsample(nn.Module):
    """Halve height and width, then refine.

    Parameters
    ----------
    filters : int
        Feature channels, in and out.
    dropout : float
        Probability of dropping a feature map during training.
    blocks : int
        Residual blocks after the strided convolution.
    """

    def __init__(self, filters: int, dropout: float, blocks: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(filters, filters, kernel_size=3, stride=2, padding=1)
        self.res = residual_blocks(filters, dropout, blocks)

    def forward(self, x: Float[Tensor, "b f y x"]) -> Float[Tensor, "b f half_y half_x"]:
        """Return features of half the size."""
        halved: Tensor = self.res(self.conv(x))
        return halved


class Upsample(nn.Module):
    """Double height and width, then refine.

    Parameters
    ----------
    filters : int
        Feature channels, in and out.
    dropout : float
        Probability of dropping a feature map during training.
    blocks : int
        Residual blocks after the transposed convolution.
    """

    def __init__(self, filters: int, dropout: float, blocks: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(
            filters, filters, kernel_size=3, stride=2, padding=1, output_padding=1
        )
        self.res = residual_blocks(filters, dropout, blocks)

    def forward(self, x: Float[Tensor, "b f y x"]) -> Float[Tensor, "b f double_y double_x"]:
        """Return features of twice the size."""
        doubled: Tensor = self.res(self.up(x))
        return doubled


def residual_blocks(filters: int, dropout: float, blocks: int) -> nn.Module:
    """Stack gated residual blocks; one block is returned as it is."""
    stack = [ResidualBlock(filters, dropout) for _ in range(blocks)]
    return stack[0] if blocks == 1 else nn.Sequential(*stack)
