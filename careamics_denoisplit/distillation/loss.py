"""The objective of the spread head: single posterior samples teach mean and spread."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from careamics_denoisplit.network import SpreadOutput


class SpreadTerms(NamedTuple):
    """Mean over pixels, channels and samples, in nats; without the constant of the Gaussian."""

    total: Float[Tensor, ""]
    """What is minimised: the sum of the other two."""
    spread: Float[Tensor, ""]
    """Negative log-likelihood of the samples; only the spread learns from it."""
    mean: Float[Tensor, ""]
    """Squared error of the corrected mean in units of the spread, halved; only the mean learns."""


def spread_loss(
    prediction: Float[Tensor, "b c y x"],
    said: SpreadOutput,
    samples: Float[Tensor, "s b c y x"],
) -> SpreadTerms:
    """Score what a head says of single posterior samples.

    `(y - mu)^2 / (2 sigma^2) + log sigma` with the mean held fixed is smallest where sigma is the
    standard deviation of the samples around it; the squared error with the spread held fixed is
    smallest where mu is their mean, the MMSE estimate.

    Parameters
    ----------
    prediction : torch.Tensor of shape (B, C, Y, X)
        Pass with posterior-mean latents, normalised.
    said : SpreadOutput
        What the head says, normalised.
    samples : torch.Tensor of shape (S, B, C, Y, X)
        Posterior samples, normalised.
    """
    mean = prediction + said.mean_correction
    precision = (-2 * said.log_std).exp()
    spread = (0.5 * (samples - mean.detach()).square() * precision + said.log_std).mean()
    error = (0.5 * (samples - mean).square() * precision.detach()).mean()
    return SpreadTerms(spread + error, spread, error)
