"""One level of the latent hierarchy: prior, posterior, draw and KL map (Eq. 2)."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from careamics_denoisplit.network.blocks import Merge, Upsample
from careamics_denoisplit.network.noise import Noise

LARGEST_LOG_VARIANCE = 20.0
SMALLEST_VARIANCE = 1e-6


class Gaussian(NamedTuple):
    """Diagonal normal distribution of one latent level, each (B, Z, Y, X)."""

    mean: Float[Tensor, "..."]
    std: Float[Tensor, "..."]


class LevelOutput(NamedTuple):
    """Features for the next finer level, KL map in nats, largest posterior log variance."""

    features: Float[Tensor, "b f _ _"]
    kl_map: Float[Tensor, "b z y x"] | None
    largest_log_variance: Float[Tensor, ""]


def split_gaussian(
    parameters: Float[Tensor, "b _ y x"], exponential: Literal["stable", "plain"]
) -> Gaussian:
    """Read mean and standard deviation from the two halves of a convolution's output.

    Parameters
    ----------
    parameters : torch.Tensor of shape (B, 2Z, Y, X)
        Means first, then log variances.
    exponential : {"stable", "plain"}
        `stable` grows linearly above zero, `exp(l)` for l <= 0 and `1 + l` for l > 0, with l
        clipped at 20; `plain` is the exponential without a bound.
    """
    mean, log_variance = parameters.chunk(2, dim=1)
    if exponential == "plain":
        return Gaussian(mean, (log_variance.exp() + SMALLEST_VARIANCE).sqrt())
    log_variance = log_variance.clamp(max=LARGEST_LOG_VARIANCE)
    variance = log_variance.clamp(max=0).exp() + log_variance.clamp(min=0)
    return Gaussian(mean, (variance + SMALLEST_VARIANCE).sqrt())


def sampled_kl(
    latent: Float[Tensor, "b z y x"], posterior: Gaussian, prior: Gaussian
) -> Float[Tensor, "b z y x"]:
    """Estimate the KL divergence of each latent element from one draw, in nats."""
    return normal_log_density(latent, posterior) - normal_log_density(latent, prior)


def analytic_kl(posterior: Gaussian, prior: Gaussian) -> Float[Tensor, "b z y x"]:
    """KL divergence of each latent element in closed form, in nats."""
    ratio = (posterior.std / prior.std) ** 2
    distance = ((posterior.mean - prior.mean) / prior.std) ** 2
    return 0.5 * (ratio + distance - 1 - ratio.log())


def normal_log_density(
    value: Float[Tensor, "b z y x"], distribution: Gaussian
) -> Float[Tensor, "b z y x"]:
    """Log density of a diagonal normal distribution, in nats."""
    squared = (value - distribution.mean) ** 2 / (2 * distribution.std**2)
    return -squared - distribution.std.log() - math.log(math.sqrt(2 * math.pi))


class LatentLevel(nn.Module):
    """One step of the top-down path: draw the latent, add it, double the size.

    Parameters
    ----------
    filters : int
        Feature channels.
    latent_channels : int
        Channels Z of this level's latent.
    dropout : float
        Probability of dropping a feature map during training.
    blocks : int
        Residual blocks after the upsampling.
    top_prior_size : tuple of int or None
        Height and width of the learned prior of the top level, (1, 1) for one that is constant
        in space; None for every other level, whose prior is computed from the level above.
    exponential : {"stable", "plain"}
        How variances are computed, see `split_gaussian`.
    closed_form_kl : bool
        Whether the KL map is the closed form instead of the estimate from one draw.
    posterior_scale : float
        Factor on the posterior's input features.
    """

    def __init__(
        self,
        filters: int,
        latent_channels: int,
        dropout: float,
        *,
        blocks: int,
        top_prior_size: tuple[int, int] | None,
        exponential: Literal["stable", "plain"],
        closed_form_kl: bool,
        posterior_scale: float,
    ) -> None:
        super().__init__()
        self.is_top = top_prior_size is not None
        self.exponential = exponential
        self.closed_form_kl = closed_form_kl
        self.posterior_scale = posterior_scale
        if top_prior_size is not None:
            self.prior = nn.Parameter(torch.zeros(1, 2 * latent_channels, *top_prior_size))
        else:
            self.to_p = nn.Conv2d(filters, 2 * latent_channels, kernel_size=3, padding=1)
            self.merge = Merge(filters, dropout)
            self.skip = Merge(filters, dropout)
        self.to_q = nn.Conv2d(filters, 2 * latent_channels, kernel_size=3, padding=1)
        self.from_z = nn.Conv2d(latent_channels, filters, kernel_size=3, padding=1)
        self.up = Upsample(filters, dropout, blocks)

    def forward(
        self,
        bottom_up: Float[Tensor, "b f y x"],
        above: Float[Tensor, "b f y x"] | None,
        noise: Noise,
        level: int,
        compute_kl: bool,
    ) -> LevelOutput:
        """Draw this level's latent and pass its features on.

        Parameters
        ----------
        bottom_up : torch.Tensor of shape (B, F, Y, X)
            The encoder's features of this level.
        above : torch.Tensor of shape (B, F, Y, X) or None
            Output of the coarser level; None at the top.
        noise : Noise
            How the latent is drawn.
        level : int
            Number of this level, 0 the finest; handed to `noise`.
        compute_kl : bool
            Whether to compute the KL map; without it the prior is not evaluated.

        Returns
        -------
        LevelOutput
            Features of twice the size, KL map, largest posterior log variance.
        """
        features = bottom_up if above is None else self.merge(bottom_up, above)
        posterior = split_gaussian(self.to_q(features * self.posterior_scale), self.exponential)
        latent = posterior.mean + posterior.std * noise(level, posterior.mean)
        kl_map = self._kl_map(latent, posterior, above) if compute_kl else None
        x = self.from_z(latent)
        if above is not None:
            x = self.skip(x, above)
        return LevelOutput(self.up(x), kl_map, 2 * posterior.std.detach().amax().log())

    def _kl_map(
        self,
        latent: Float[Tensor, "b z y x"],
        posterior: Gaussian,
        above: Float[Tensor, "b f y x"] | None,
    ) -> Float[Tensor, "b z y x"]:
        parameters = self._top_prior(latent) if above is None else self.to_p(above)
        prior = split_gaussian(parameters, self.exponential)
        if self.closed_form_kl:
            return analytic_kl(posterior, prior)
        return sampled_kl(latent, posterior, prior)

    def _top_prior(self, latent: Float[Tensor, "b z y x"]) -> Float[Tensor, "_ _ _ _"]:
        learned, needed = tuple(self.prior.shape[-2:]), tuple(latent.shape[-2:])
        if learned not in {needed, (1, 1)}:
            raise ValueError(
                f"The top prior was learned for latents of {learned} pixels, got {needed}. "
                "Pass `compute_kl=False` to predict at this size, or build the network with "
                "`prior_size=None`, a prior that is constant in space."
            )
        return self.prior
