"""How probable the measured channels are, given what the network predicts."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.network import LadderOutput
from careamics_denoisplit.noise_model.model import GaussianMixtureNoiseModel

LOG_2PI = math.log(2 * math.pi)


@runtime_checkable
class Likelihood(Protocol):
    """How probable measured channels are, given the predicted signal."""

    def log_prob(
        self, target: Float[Tensor, "b c y x"], output: LadderOutput
    ) -> Float[Tensor, "b c y x"]:
        """Return the log density of each pixel in nats; target and output are normalised."""
        ...


class NoiseModelLikelihood(nn.Module):
    """Likelihood of raw intensities under one noise model per channel (Eq. 4).

    Prediction and target are mapped back to gray values with the mean and the standard
    deviation of *their* channel. The constant Jacobian of that map is left out, so that the
    values are in nats per raw pixel and not comparable between data sets.

    Parameters
    ----------
    noise_models : sequence of C GaussianMixtureNoiseModel
        One for each output channel, in the order of the channels.
    target_means, target_stds : sequence of C floats
        Statistics that the targets were normalised with, in gray values.

    Raises
    ------
    ConfigurationError
        If the three counts differ, or a standard deviation is not above 0.
    """

    means: Tensor
    stds: Tensor

    def __init__(
        self,
        noise_models: Sequence[GaussianMixtureNoiseModel],
        target_means: Sequence[float],
        target_stds: Sequence[float],
    ) -> None:
        super().__init__()
        counts = (len(noise_models), len(target_means), len(target_stds))
        if len(set(counts)) != 1:
            raise ConfigurationError(
                "Each channel needs one noise model, one target mean and one target standard "
                f"deviation, got {counts[0]}, {counts[1]} and {counts[2]}. Give as many of each "
                "as the network has output channels."
            )
        if not all(math.isfinite(std) and std > 0 for std in target_stds):
            raise ConfigurationError(
                f"Target standard deviations must be finite and above 0, got "
                f"{tuple(target_stds)}. Check the training data of that channel."
            )
        self.noise_models = nn.ModuleList(noise_models)
        shape = (1, len(noise_models), 1, 1)
        for name, values in {"means": target_means, "stds": target_stds}.items():
            buffer = torch.tensor([float(value) for value in values]).reshape(shape)
            self.register_buffer(name, buffer, persistent=False)

    def raw(self, channels: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Map normalised channels back to gray values, in float32."""
        return channels.float() * self.stds + self.means

    def log_prob(
        self, target: Float[Tensor, "b c y x"], output: LadderOutput
    ) -> Float[Tensor, "b c y x"]:
        """Return the log density of each raw pixel under its channel's noise model, in nats.

        Parameters
        ----------
        target : torch.Tensor of shape (B, C, Y, X)
            Measured noisy channels, normalised.
        output : LadderOutput
            Its `prediction` is the signal, normalised.
        """
        observation, signal = self.raw(target), self.raw(output.prediction)
        per_channel = zip(self.noise_models, observation.unbind(1), signal.unbind(1), strict=True)
        return torch.stack([model.log_prob(x, s) for model, x, s in per_channel], dim=1)  # type: ignore[operator]  # ModuleList forgets the type of its members

    def empty_samples(self, target: Float[Tensor, "b c y x"]) -> Bool[Tensor, "b"]:
        """Tell which samples are zero in every raw pixel: padding, not data.

        Zero up to the rounding of normalising and mapping back.
        """
        rounding = 1e-6 * (self.means.abs() + self.stds)
        return (self.raw(target).abs() <= rounding).flatten(1).all(dim=1)


class GaussianLikelihood(nn.Module):
    """Gaussian likelihood of normalised intensities, the network predicts the log variance.

    Parameters
    ----------
    min_log_variance : float
        Lower bound of the predicted log variance (-5 in the paper's supplement).
    """

    def __init__(self, min_log_variance: float = -5.0) -> None:
        super().__init__()
        self.min_log_variance = min_log_variance

    def log_prob(
        self, target: Float[Tensor, "b c y x"], output: LadderOutput
    ) -> Float[Tensor, "b c y x"]:
        """Return the Gaussian log density of each normalised pixel, in nats.

        Parameters
        ----------
        target : torch.Tensor of shape (B, C, Y, X)
            Measured noisy channels, normalised.
        output : LadderOutput
            Its `prediction` is the mean, its `log_variance` the logarithm of the variance.

        Raises
        ------
        ConfigurationError
            If the network has no head for the log variance.
        """
        if output.log_variance is None:
            raise ConfigurationError(
                "The Gaussian likelihood needs a predicted log variance, but the network has no "
                "head for it. Set `gaussian_head=True`, or train with noise models."
            )
        log_variance = output.log_variance.float().clamp(min=self.min_log_variance)
        # Scaled before it is squared: exp(-l) alone underflows long before the product does.
        deviation = (target.float() - output.prediction.float()) * (-0.5 * log_variance).exp()
        return -0.5 * (deviation.square() + log_variance + LOG_2PI)
