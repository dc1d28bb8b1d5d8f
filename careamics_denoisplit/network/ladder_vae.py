"""The variational splitting encoder-decoder: a hierarchical VAE with one output per structure."""

import math
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from careamics_denoisplit.network.blocks import Downsample, ResidualBlock, residual_blocks
from careamics_denoisplit.network.latent import LatentLevel
from careamics_denoisplit.network.noise import Noise, PosteriorMean

LEVELS_WITHOUT_POSTERIOR_SCALE = 4


class LadderOutput(NamedTuple):
    """Normalised denoised channels with what the losses need.

    `kl_maps` are in nats, finest level first, and empty where they were not asked for;
    `log_variance` belongs to the Gaussian head only; `largest_log_variances` is the largest log
    variance of each level's posterior, finest first, for monitoring.
    """

    prediction: Float[Tensor, "b c y x"]
    kl_maps: tuple[Float[Tensor, "b _ _ _"], ...]
    log_variance: Float[Tensor, "b c y x"] | None
    largest_log_variances: tuple[Float[Tensor, ""], ...]


class MeanPass(NamedTuple):
    """Result of the one pass with posterior-mean latents.

    `prediction` is normalised; `features` are the decoder's last ones, at the resolution of the
    stem and not cropped, which a `SpreadHead` reads.
    """

    prediction: Float[Tensor, "b c y x"]
    features: Float[Tensor, "b f _ _"]


class Features(NamedTuple):
    """Bottom-up features, finest first, and the image size (Y, X) to crop to."""

    levels: tuple[Float[Tensor, "b f _ _"], ...]
    size: tuple[int, int]


class _Descent(NamedTuple):
    """The decoder's last features, and what its levels computed on the way, finest first."""

    features: Float[Tensor, "b f _ _"]
    kl_maps: tuple[Float[Tensor, "b _ _ _"], ...]
    largest_log_variances: tuple[Float[Tensor, ""], ...]


class LadderVAE(nn.Module):
    """Split one noisy image into denoised channels (Ashesh and Jug, section 4).

    Parameters
    ----------
    output_channels : int
        Structures to separate.
    latent_channels : tuple of int
        Latent channels per level, finest first; each level halves height and width.
    filters : int
        Feature channels everywhere else.
    blocks_per_level : int
        Residual blocks per level, on the way up and on the way down.
    dropout : float
        Probability of dropping a feature map during training.
    gaussian_head : bool
        Whether the head also predicts a log variance per pixel and channel.
    prior_size : tuple of int or None
        Height and width in pixels of the training patch that the top prior is learned for, as
        published; None learns one prior that is constant in space and fits every size.
    stem_stride : {1, 2}
        2 computes everything at half the resolution and lets the head interleave 2 x 2 pixels:
        about four times faster.
    exponential : {"stable", "plain"}
        How latent variances are computed.
    analytic_kl : bool
        Whether KL maps are closed forms instead of estimates from one draw.
    """

    def __init__(
        self,
        output_channels: int = 2,
        latent_channels: tuple[int, ...] = (128, 128, 128, 128),
        filters: int = 64,
        blocks_per_level: int = 1,
        dropout: float = 0.1,
        gaussian_head: bool = False,
        prior_size: tuple[int, int] | None = None,
        stem_stride: Literal[1, 2] = 1,
        exponential: Literal["stable", "plain"] = "stable",
        analytic_kl: bool = False,
    ) -> None:
        super().__init__()
        levels = len(latent_channels)
        self.levels_count = levels
        self.output_channels = output_channels
        self.gaussian_head = gaussian_head
        self.size_multiple = stem_stride * 2**levels
        self.stem_stride = stem_stride

        self.stem = nn.Conv2d(1, filters, kernel_size=3, stride=stem_stride, padding=1)
        self.stem_res = ResidualBlock(filters, dropout, gated=False)
        self.down = nn.ModuleList(
            Downsample(filters, dropout, blocks_per_level) for _ in range(levels)
        )
        self.levels = nn.ModuleList(
            LatentLevel(
                filters,
                channels,
                dropout,
                blocks=blocks_per_level,
                top_prior_size=self._top_prior_size(prior_size) if level == levels - 1 else None,
                exponential=exponential,
                closed_form_kl=analytic_kl,
                posterior_scale=posterior_scale(level, levels, exponential),
            )
            for level, channels in enumerate(latent_channels)
        )
        self.final = residual_blocks(filters, dropout, blocks_per_level)
        head_channels = output_channels * (2 if gaussian_head else 1)
        self.head = nn.Conv2d(filters, head_channels * stem_stride**2, kernel_size=3, padding=1)

    def forward(
        self, x: Float[Tensor, "b 1 y x"], noise: Noise, compute_kl: bool = True
    ) -> LadderOutput:
        """Split one noisy image into its denoised channels.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, Y, X)
            Normalised mixture of any size.
        noise : Noise
            How the latents are drawn.
        compute_kl : bool
            Whether to compute the KL maps, which only training needs.

        Returns
        -------
        LadderOutput
            Prediction of shape (B, C, Y, X), normalised by the targets' statistics.
        """
        return self.decode(self.encode(x), noise, compute_kl)

    def encode(self, x: Float[Tensor, "b 1 y x"]) -> Features:
        """Compute the bottom-up features, which do not depend on the draws.

        Parameters
        ----------
        x : torch.Tensor of shape (B, 1, Y, X)
            Normalised mixture; padded centrally with zeros to multiples of `size_multiple`.
        """
        height, width = x.shape[-2:]
        features = self.stem_res(nn.functional.elu(self.stem(pad_centrally(x, self.size_multiple))))
        levels = []
        for down in self.down:
            features = down(features)
            levels.append(features)
        return Features(tuple(levels), (height, width))

    def decode(self, features: Features, noise: Noise, compute_kl: bool = True) -> LadderOutput:
        """Draw the latents from the top down and predict the channels.

        Parameters
        ----------
        features : Features
            Result of `encode`.
        noise : Noise
            How the latents are drawn.
        compute_kl : bool
            Whether to compute the KL maps.
        """
        last = self._descend(features, noise, compute_kl)
        parameters = self._apply_head(last.features, features.size)
        if not self.gaussian_head:
            return LadderOutput(parameters, last.kl_maps, None, last.largest_log_variances)
        prediction, log_variance = parameters.chunk(2, dim=1)
        return LadderOutput(prediction, last.kl_maps, log_variance, last.largest_log_variances)

    def decode_mean(self, features: Features) -> MeanPass:
        """Predict the channels with the mean of every posterior, and keep the last features.

        Parameters
        ----------
        features : Features
            Result of `encode`.

        Returns
        -------
        MeanPass
            The prediction is that of `decode` with `PosteriorMean`.
        """
        last = self._descend(features, PosteriorMean(), compute_kl=False).features
        parameters = self._apply_head(last, features.size)
        return MeanPass(parameters[:, : self.output_channels], last)

    def _descend(self, features: Features, noise: Noise, compute_kl: bool) -> _Descent:
        """Draw the latents from the top down."""
        above: Tensor | None = None
        kl_maps: list[Tensor] = []
        largest: list[Tensor] = []
        for level in reversed(range(self.levels_count)):
            out = self.levels[level](features.levels[level], above, noise, level, compute_kl)
            above = out.features
            largest.insert(0, out.largest_log_variance)
            if out.kl_map is not None:
                kl_maps.insert(0, out.kl_map)
        return _Descent(self.final(above), tuple(kl_maps), tuple(largest))

    def _apply_head(
        self, x: Float[Tensor, "b f _ _"], size: tuple[int, int]
    ) -> Float[Tensor, "b _ _ _"]:
        if self.stem_stride == 1:  # cropping first makes the head see zeros at the border
            cropped: Tensor = self.head(crop_centrally(x, size))
            return cropped
        return crop_centrally(nn.functional.pixel_shuffle(self.head(x), self.stem_stride), size)

    def _top_prior_size(self, patch: tuple[int, int] | None) -> tuple[int, int]:
        if patch is None:
            return (1, 1)
        height, width = (math.ceil(size / self.size_multiple) for size in patch)
        return (height, width)


def posterior_scale(level: int, levels: int, exponential: Literal["stable", "plain"]) -> float:
    """Return the factor on a posterior's input features: 1 up to four levels.

    Deeper hierarchies with the stable exponential scale by sqrt(2 (1 + level)), as published.
    """
    if levels <= LEVELS_WITHOUT_POSTERIOR_SCALE or exponential == "plain":
        return 1.0
    return math.sqrt(2 * (1 + level))


def pad_centrally(x: Float[Tensor, "b c _ _"], multiple: int) -> Float[Tensor, "b c _ _"]:
    """Pad height and width with zeros to multiples, the odd pixel at the end."""
    height, width = x.shape[-2:]
    extra_y, extra_x = -height % multiple, -width % multiple
    if not (extra_y or extra_x):
        return x
    top, left = extra_y // 2, extra_x // 2
    return nn.functional.pad(x, (left, extra_x - left, top, extra_y - top))


def crop_centrally(x: Float[Tensor, "b c _ _"], size: tuple[int, int]) -> Float[Tensor, "b c _ _"]:
    """Undo `pad_centrally`."""
    height, width = x.shape[-2:]
    if (height, width) == size:
        return x
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return x[..., top : top + size[0], left : left + size[1]]
