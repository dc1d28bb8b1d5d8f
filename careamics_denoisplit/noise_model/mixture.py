"""Arithmetic of the Gaussian mixture whose parameters are polynomials of the signal.

Everything stays in the log domain: the density of a pixel far from its signal underflows,
its logarithm does not, and a gradient that is exactly zero would leave such a pixel wrong.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)
"""Logarithm of two pi, the constant of every Gaussian log density."""


class Components(NamedTuple):
    """Gaussians at each pixel; a leading axis G counts the components."""

    log_weight: Float[Tensor, "g *pixels"]
    """Logarithm of the mixing weights, which add up to one."""
    mean: Float[Tensor, "g *pixels"]
    """Means in gray values; their weighted average is the signal."""
    variance: Float[Tensor, "g *pixels"]
    """Variances in squared gray values, never below the floor."""


class SignalRange(NamedTuple):
    """Interval of signals in which the polynomials were fitted, in gray values."""

    low: Float[Tensor, ""]
    """Smallest signal."""
    high: Float[Tensor, ""]
    """Largest signal."""

    def position(self, signal: Float[Tensor, "*pixels"]) -> Float[Tensor, "*pixels"]:
        """Return where a signal lies, 0 at the lower and 1 at the upper end, held there beyond.

        Polynomials are never extrapolated: below the range the variance would shrink to its
        floor, which makes the model extremely sharp just where it knows nothing.
        """
        return ((signal - self.low) / (self.high - self.low)).clamp(0, 1)


def polynomial(
    coefficients: Float[Tensor, "g p"], position: Float[Tensor, "*pixels"]
) -> Float[Tensor, "g *pixels"]:
    """Evaluate one polynomial per row, lowest power first, by Horner's rule."""
    columns = coefficients.reshape(*coefficients.shape, *(1 for _ in position.shape)).unbind(1)
    value = columns[-1].expand(-1, *position.shape)
    for column in reversed(columns[:-1]):
        value = value * position + column
    return value


def components(
    weight: Float[Tensor, "rows p"],
    signal_range: SignalRange,
    min_variance: Float[Tensor, ""],
    signal: Float[Tensor, "*pixels"],
) -> Components:
    """Return the Gaussians that describe an observation of each signal.

    Parameters
    ----------
    weight : torch.Tensor of shape (3 G, P)
        Polynomial coefficients: G rows of means, G of logarithmic variance coefficients and
        G of mixing logits.
    signal_range : SignalRange
        Interval that the polynomials are scaled to and held constant beyond, in gray values.
    min_variance : torch.Tensor of shape ()
        Floor of the variances, in squared gray values.
    signal : torch.Tensor of any shape
        Noise-free intensities in gray values.
    """
    mean_rows, variance_rows, logit_rows = weight.chunk(3)
    position = signal_range.position(signal)
    variance = polynomial(variance_rows.exp(), position).clamp(min=min_variance)
    if mean_rows.shape[0] == 1:  # the only mean is the signal: two thirds of the work saved
        return Components(torch.zeros_like(variance), signal.unsqueeze(0), variance)
    log_weight = polynomial(logit_rows, position).log_softmax(dim=0)
    offset = polynomial(mean_rows, position)
    centre = (log_weight.exp() * offset).sum(dim=0)
    return Components(log_weight, offset - centre + signal, variance)


def mixture_log_prob(
    mixture: Components, observation: Float[Tensor, "*pixels"]
) -> Float[Tensor, "*pixels"]:
    """Return the log density of each observation in nats per gray value (Eq. 4).

    Deviations are divided by the standard deviation before they are squared, so that float32
    holds any deviation below 1e19 standard deviations.
    """
    deviation = (observation - mixture.mean) * mixture.variance.rsqrt()
    log_density = -0.5 * (deviation.square() + mixture.variance.log() + LOG_2PI)
    if mixture.mean.shape[0] == 1:
        return log_density[0]
    return torch.logsumexp(mixture.log_weight + log_density, dim=0)


def mixture_cdf(
    mixture: Components, observation: Float[Tensor, "*pixels"]
) -> Float[Tensor, "*pixels"]:
    """Return the probability of an observation at most as bright as the given one."""
    deviation = (observation - mixture.mean) * mixture.variance.rsqrt()
    probability: Tensor = torch.special.ndtr(deviation)
    return (mixture.log_weight.exp() * probability).sum(dim=0)


def mixture_variance(
    mixture: Components, signal: Float[Tensor, "*pixels"]
) -> Float[Tensor, "*pixels"]:
    """Return the variance of an observation of each signal, in squared gray values."""
    spread = mixture.variance + (mixture.mean - signal).square()
    return (mixture.log_weight.exp() * spread).sum(dim=0)


def mixture_sample(
    mixture: Components, generator: torch.Generator | None
) -> Float[Tensor, "*pixels"]:
    """Draw one noisy observation of each pixel, in gray values."""
    uniform = torch.rand(
        mixture.mean.shape[1:], generator=generator, device=mixture.mean.device
    ).to(mixture.mean.dtype)
    # The last bound may round to just below one: then the last component takes the rest.
    bounds = mixture.log_weight.exp().cumsum(dim=0)[:-1]
    chosen = (uniform > bounds).sum(dim=0, keepdim=True)
    mean, variance = (values.gather(0, chosen)[0] for values in (mixture.mean, mixture.variance))
    normal = torch.randn(mean.shape, generator=generator, device=mean.device).to(mean.dtype)
    return mean + variance.sqrt() * normal
