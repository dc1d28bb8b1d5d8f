"""Brightness, noise and contrast around each pixel, by which unfamiliar images are noticed.

Training measures them, prediction and packages compare them. Written with operators that every
engine of a package has, and with constants in buffers, which follow the image to its device.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

WINDOW = 7.0
"""Standard deviation in pixels of the Gaussian window that counts as surroundings."""

FINE = 1.5
"""Standard deviation in pixels of the Gaussian that leaves structure and takes most of the noise,
so that what it leaves can be compared with the surroundings."""


class LocalMean(nn.Module):
    """Gaussian mean of the surroundings; at the border, of that part which lies in the image.

    Parameters
    ----------
    sigma : float
        Standard deviation of the window in pixels; it ends at three of them.
    """

    window: Tensor

    def __init__(self, sigma: float = WINDOW) -> None:
        super().__init__()
        self.radius = math.ceil(3 * sigma)
        steps = torch.arange(-self.radius, self.radius + 1, dtype=torch.float64)
        weights = (-0.5 * (steps / sigma) ** 2).exp()
        self.register_buffer("window", (weights / weights.sum()).to(torch.float32)[None, None])

    def forward(self, maps: Float[Tensor, "b 1 y x"]) -> Float[Tensor, "b 1 y x"]:
        """Return the mean around each pixel.

        Parameters
        ----------
        maps : torch.Tensor of shape (B, 1, Y, X)
            Any finite values, from 1 x 1 pixel.
        """
        row, column = maps[:1, :, :1, :] * 0 + 1, maps[:1, :, :, :1] * 0 + 1
        blurred = self._along_y(self._along_x(maps))
        return blurred / self._along_x(row) / self._along_y(column)

    def _along_x(self, maps: Float[Tensor, "b 1 y x"]) -> Float[Tensor, "b 1 y x"]:
        return nn.functional.conv2d(maps, self.window[:, :, None, :], padding=(0, self.radius))

    def _along_y(self, maps: Float[Tensor, "b 1 y x"]) -> Float[Tensor, "b 1 y x"]:
        return nn.functional.conv2d(maps, self.window[:, :, :, None], padding=(self.radius, 0))


class Roughness(nn.Module):
    """How far each pixel departs from its neighbours: the noise, little of the structure.

    The mask is the difference of two Laplacians (Immerkaer, Computer Vision and Image
    Understanding 64, 1996), scaled so that independent Gaussian noise has its standard deviation
    as the mean of this map.
    """

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, -2.0, 1.0])
        scale = math.sqrt(math.pi / 2) / 6
        self.register_buffer("mask", (line[:, None] * line)[None, None] * scale)

    def forward(self, image: Float[Tensor, "1 1 y x"]) -> Float[Tensor, "1 1 y x"]:
        """Return the magnitude at each pixel, in the unit of the image.

        Parameters
        ----------
        image : torch.Tensor of shape (1, 1, Y, X)
            Gray values, from 1 x 1 pixel; the outermost pixels are repeated.
        """
        difference = nn.functional.conv2d(
            nn.functional.pad(image, (1, 1, 1, 1), mode="replicate"), self.mask
        )
        return torch.maximum(difference, -difference)


class Surroundings(nn.Module):
    """Local brightness, noise and contrast: Gaussian means of gray value, roughness and structure.

    Structure is how far the slightly smoothed image departs from its local mean. A bright place
    without structure is what an offset leaves, and what blur does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.local, self.fine, self.roughness = LocalMean(), LocalMean(FINE), Roughness()

    def forward(
        self,
        image: Float[Tensor, "1 1 y x"],
        most_rough: Float[Tensor, "1 1 1 1"] | None = None,
    ) -> tuple[Float[Tensor, "1 1 y x"], Float[Tensor, "1 1 y x"], Float[Tensor, "1 1 y x"]]:
        """Return the three maps in the unit of the image.

        Parameters
        ----------
        image : torch.Tensor of shape (1, 1, Y, X)
            Gray values, from 1 x 1 pixel.
        most_rough : torch.Tensor of shape (1, 1, 1, 1), optional
            What the roughness of one pixel counts at most.
        """
        rough = self.roughness(image)
        if most_rough is not None:
            rough = torch.minimum(rough, most_rough)
        # One map at a time: engines take several times as long for two.
        brightness, noise = self.local(image), self.local(rough)
        departure = self.fine(image) - brightness
        contrast = self.local(torch.maximum(departure, -departure))
        return brightness, noise, contrast
