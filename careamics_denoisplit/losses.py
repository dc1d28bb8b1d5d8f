"""The objectives of denoiSplit and its relatives, as pure functions of values.

A loss returns every term; logging and stopping are left to the training loop. Two things are
worth knowing when terms are compared. The reconstruction is averaged over channels while the
divergence is divided by pixels alone, so relative to the evidence lower bound per pixel
(Eq. 2) the divergence has the weight K, the number of channels. And the free bits act on the
divergence of a whole level, hundreds to thousands of nats, so they rarely matter.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from careamics_denoisplit.errors import ConfigurationError, NonFiniteError
from careamics_denoisplit.likelihood import Likelihood
from careamics_denoisplit.network import LadderOutput


class LossTerms(NamedTuple):
    """A loss and all it is made of; levels are counted from the finest."""

    total: Float[Tensor, ""]
    """Reconstruction plus weighted divergence: what training descends."""
    reconstruction: Float[Tensor, ""]
    """Negative log-likelihood in nats per pixel, averaged over samples and channels."""
    divergence: Float[Tensor, ""]
    """Scaled divergence, before `kl_weight`."""
    reconstruction_per_channel: Float[Tensor, "c"]
    """Negative log-likelihood of each channel in nats per pixel."""
    kl_per_level: Float[Tensor, "levels"]
    """Divergence of each level in nats per image, averaged over samples, no free bits."""
    kl_scaled_per_level: Float[Tensor, "levels"]
    """What each level adds to the divergence."""

    def detached(self) -> "LossTerms":
        """Return the same numbers without their graph, to log or to keep."""
        return LossTerms(*(term.detach() for term in self))


@runtime_checkable
class Loss(Protocol):
    """An objective: network output and target in, all terms out."""

    def __call__(
        self,
        output: LadderOutput,
        target: Float[Tensor, "b c y x"],
        likelihood: Likelihood,
        *,
        kl_weight: float = ...,
        free_bits: float = ...,
        empty: Bool[Tensor, "b"] | None = ...,
    ) -> LossTerms:
        """Return the terms of the objective."""
        ...


def denoisplit_loss(
    output: LadderOutput,
    target: Float[Tensor, "b c y x"],
    likelihood: Likelihood,
    *,
    kl_weight: float = 1.0,
    free_bits: float = 1.0,
    empty: Bool[Tensor, "b"] | None = None,
) -> LossTerms:
    """Negative log-likelihood of all channels plus the plain sum of divergences (Eq. 3, 5).

    The objective of denoiSplit and HDN with noise models, of Altered muSplit with the Gaussian
    likelihood. The divergence of a level is summed over its latents, bounded below by the free
    bits for each sample, and divided by the number of pixels of the patch.

    Parameters
    ----------
    output : LadderOutput
        Prediction (B, C, Y, X) and divergence maps (B, Z, y, x) of each level, in nats.
    target : torch.Tensor of shape (B, C, Y, X)
        Noisy channels, normalised.
    likelihood : Likelihood
        Noise models or Gaussian.
    kl_weight : float
        Weight of the divergence.
    free_bits : float
        Divergence in nats per level and sample below which there is nothing to gain; 0 for
        none.
    empty : torch.Tensor of shape (B,), optional
        Samples that hold no data. Their reconstruction counts as 0 and they stay in the
        divisor.
    """
    per_channel = _reconstruction(output, target, likelihood, empty)
    sums = [level_kl(kl_map) for kl_map in output.kl_maps]
    scaled = torch.stack([_bounded(nats, free_bits).mean() for nats in sums])
    scaled = scaled / target[0, 0].numel()
    return _terms(per_channel, sums, scaled, scaled.sum(), kl_weight)


def musplit_loss(
    output: LadderOutput,
    target: Float[Tensor, "b c y x"],
    likelihood: Likelihood,
    *,
    kl_weight: float = 1.0,
    free_bits: float = 0.0,
    empty: Bool[Tensor, "b"] | None = None,
) -> LossTerms:
    """Negative log-likelihood plus the mean divergence per latent, averaged over levels.

    The objective of muSplit (Sec. 4.2): the divergence of each level is divided by its own
    number of latents, so the finest level, where noise would leak, weighs far less than in
    `denoisplit_loss`: by `L Z / 4^(i + 1)` at level i for latents at every second pixel.

    Parameters
    ----------
    output : LadderOutput
        Prediction and log variance (B, C, Y, X) and divergence maps (B, Z, y, x), in nats.
    target : torch.Tensor of shape (B, C, Y, X)
        Channels, normalised.
    likelihood : Likelihood
        Gaussian in the original method.
    kl_weight : float
        Weight of the divergence.
    free_bits : float
        As in `denoisplit_loss`; muSplit has none.
    empty : torch.Tensor of shape (B,), optional
        As in `denoisplit_loss`.
    """
    per_channel = _reconstruction(output, target, likelihood, empty)
    sums = [level_kl(kl_map) for kl_map in output.kl_maps]
    per_latent = [
        _bounded(nats, free_bits).mean() / kl_map[0].numel()
        for nats, kl_map in zip(sums, output.kl_maps, strict=True)
    ]
    scaled = torch.stack(per_latent) / len(per_latent)
    return _terms(per_channel, sums, scaled, scaled.sum(), kl_weight)


LOSSES: dict[str, Loss] = {
    "denoisplit": denoisplit_loss,
    "altered_musplit": denoisplit_loss,
    "hdn": denoisplit_loss,
    "musplit": musplit_loss,
    "hdn_musplit": musplit_loss,
}
"""Objective of each system; of "hdn_musplit" the one of its last, splitting stage."""


def loss_for(algorithm: str) -> Loss:
    """Return the objective of a system.

    Raises
    ------
    ConfigurationError
        If there is no system of that name.
    """
    try:
        return LOSSES[algorithm]
    except KeyError:
        raise ConfigurationError(
            f"There is no loss for the algorithm {algorithm!r}. Choose one of {', '.join(LOSSES)}."
        ) from None


def level_kl(kl_map: Float[Tensor, "b _z _y _x"]) -> Float[Tensor, "b"]:
    """Sum the divergence of one level, in nats per sample (Eq. 3).

    Parameters
    ----------
    kl_map : torch.Tensor of shape (B, Z, y, x)
        Divergence of each latent element from its prior, in nats.
    """
    return kl_map.flatten(1).sum(dim=1, dtype=torch.float32)


def collapsed_levels(terms: LossTerms, threshold: float = 1.0) -> tuple[int, ...]:
    """List the levels that carry no information, counted from the finest.

    Parameters
    ----------
    terms : LossTerms
        Terms of one or the mean of several steps.
    threshold : float
        Divergence in nats per image below which a level has collapsed to its prior.
    """
    below = terms.kl_per_level.detach() < threshold
    return tuple(torch.nonzero(below).flatten().tolist())


def require_finite(terms: LossTerms, step: int, channel_names: Sequence[str] | None = None) -> None:
    """Stop at a term that is NaN or infinite, instead of training on what is left.

    Parameters
    ----------
    terms : LossTerms
        Terms of one step.
    step : int
        Number of the step, for the message.
    channel_names : sequence of str, optional
        Names of the channels, for the message.

    Raises
    ------
    NonFiniteError
        Naming every such term with its channel or level, its value and the step.
    """
    total = terms.total.reshape(1)
    all_terms = torch.cat([total, terms.reconstruction_per_channel, terms.kl_per_level])
    if bool(torch.isfinite(all_terms).all()):
        return
    names = channel_names or [
        f"number {index}" for index in range(len(terms.reconstruction_per_channel))
    ]
    labels = [
        "the total loss",
        *(f"the reconstruction of channel {name}" for name in names),
        *(f"the KL divergence of level {level}" for level in range(len(terms.kl_per_level))),
    ]
    values = zip(labels, all_terms.tolist(), torch.isfinite(all_terms).tolist(), strict=True)
    wrong = [f"{label} is {value}" for label, value, finite in values if not finite]
    # The total is a sum of the others: it is named only when each of them is finite.
    culprits = wrong[1:] if len(wrong) > 1 else wrong
    raise NonFiniteError(
        f"Training stopped at step {step}: {', '.join(culprits)}. Weights saved before this step "
        "are still finite. Check the images and noise models, or lower the learning rate."
    )


def _reconstruction(
    output: LadderOutput,
    target: Tensor,
    likelihood: Likelihood,
    empty: Tensor | None,
) -> Tensor:
    negative = -likelihood.log_prob(target, output).mean(dim=(2, 3))
    if empty is not None:
        negative = negative.masked_fill(empty[:, None], 0.0)
    return negative.mean(dim=0)


def _bounded(nats: Tensor, free_bits: float) -> Tensor:
    # One posterior sample may give a negative estimate: without free bits it stays as it is.
    return nats.clamp(min=free_bits) if free_bits > 0 else nats


def _terms(
    per_channel: Tensor, sums: list[Tensor], scaled: Tensor, divergence: Tensor, kl_weight: float
) -> LossTerms:
    reconstruction = per_channel.mean()
    return LossTerms(
        total=reconstruction + kl_weight * divergence,
        reconstruction=reconstruction,
        divergence=divergence,
        reconstruction_per_channel=per_channel,
        kl_per_level=torch.stack(sums).mean(dim=1),
        kl_scaled_per_level=scaled,
    )
