"""The noise model of one channel: how an observation scatters around its signal."""

import dataclasses
import io
import math
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.files import write_whole
from careamics_denoisplit.noise_model.mixture import (
    Components,
    SignalRange,
    components,
    mixture_cdf,
    mixture_log_prob,
    mixture_sample,
    mixture_variance,
)

FORMAT_VERSION: Final = 1
"""Version of the additional entries of a noise-model file."""

Verdict: TypeAlias = Literal["pass", "warn", "fail", "unknown"]
"""Judgement of the quality report; "unknown" for files of other programs."""


@dataclasses.dataclass(frozen=True)
class NoiseModelInfo:
    """What is known of a noise model beside its parameters; `None` where it is not."""

    channel: str | None = None
    """Name of the channel it was fitted for."""
    verdict: Verdict = "unknown"
    """Judgement of the quality report."""
    n_pairs: int | None = None
    """Number of pixel pairs the model was fitted on."""
    heldout_nll: float | None = None
    """Mean negative log-likelihood of pairs not used for the fit, in nats per pixel."""
    observation_range: tuple[float, float] | None = None
    """Smallest and largest noisy intensity among the pairs, in gray values."""
    camera: str | None = None
    """Name of the camera."""
    gain: float | None = None
    """Gain of the camera, as its vendor states it."""
    exposure: float | None = None
    """Exposure time of one image, in seconds."""
    date: str | None = None
    """When the images were taken."""
    channel_index: int | None = None
    """Position of the channel, which careamics writes instead of a name."""
    format_version: int = FORMAT_VERSION
    """Version of these entries."""


class GaussianMixtureNoiseModel(nn.Module):
    """Mixture of Gaussians whose mean is the signal and whose parameters depend on it (Eq. 4).

    With `t` the position of the signal between `min_signal` and `max_signal`, held at 0 and 1
    beyond, each component has the variance `max(sum_p exp(w_p) t^p, min_sigma)`, a mixing
    weight that is the softmax of a polynomial of `t`, and a mean that is the signal plus a
    polynomial of `t`, shifted so that the mixture's mean is the signal itself. Signals may be
    negative. The parameters are buffers: they follow the device, and no optimiser moves them.

    Parameters
    ----------
    weight : torch.Tensor of shape (3 G, P)
        Coefficients of G components, lowest power first: rows of means (gray values), of
        logarithmic variance coefficients (log of squared gray values), of mixing logits.
    min_signal, max_signal : float
        Range of signals, in gray values; may be negative.
    min_sigma : float
        Floor of the *variance* in squared gray values, despite the name that files use.
    info : NoiseModelInfo, optional
        Channel, origin and quality.

    Raises
    ------
    NoiseModelError
        If the shape is not (3 G, P), a number is not finite, the range is empty or the floor
        is not positive.
    """

    weight: Tensor
    min_signal: Tensor
    max_signal: Tensor
    min_sigma: Tensor

    def __init__(
        self,
        weight: Tensor,
        min_signal: float,
        max_signal: float,
        min_sigma: float,
        info: NoiseModelInfo | None = None,
    ) -> None:
        super().__init__()
        require_valid_parameters(weight, min_signal, max_signal, min_sigma)
        self.register_buffer("weight", weight.detach().clone().to(torch.float32))
        for name, value in {
            "min_signal": min_signal,
            "max_signal": max_signal,
            "min_sigma": min_sigma,
        }.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))
        self.info = info or NoiseModelInfo()

    @property
    def n_gaussians(self) -> int:
        """Number of Gaussians of the mixture."""
        return self.weight.shape[0] // 3

    @property
    def n_coefficients(self) -> int:
        """Number of polynomial coefficients of each parameter."""
        return self.weight.shape[1]

    @property
    def signal_range(self) -> tuple[float, float]:
        """Smallest and largest signal of the fit, in gray values."""
        return float(self.min_signal), float(self.max_signal)

    @property
    def observation_range(self) -> tuple[float, float]:
        """Range of noisy intensities, in gray values.

        For files that do not store it: the signal range widened by four standard deviations.
        """
        if self.info.observation_range is not None:
            return self.info.observation_range
        ends = torch.stack([self.min_signal, self.max_signal])
        margin = 4 * self.std(ends)
        return float(ends[0] - margin[0]), float(ends[1] + margin[1])

    def log_prob(
        self, observation: Float[Tensor, "*pixels"], signal: Float[Tensor, "*pixels"]
    ) -> Float[Tensor, "*pixels"]:
        """Return the log density of each observation given its signal, in nats (Eq. 4).

        Parameters
        ----------
        observation, signal : torch.Tensor of any one shape, e.g. (B, Y, X)
            Noisy and noise-free intensities in gray values, not normalised. Half precision
            is computed in float32.
        """
        signal, observation = self._at_least_float32(signal), self._at_least_float32(observation)
        return mixture_log_prob(self._components(signal), observation)

    def cdf(
        self, observation: Float[Tensor, "*pixels"], signal: Float[Tensor, "*pixels"]
    ) -> Float[Tensor, "*pixels"]:
        """Return the probability of an observation at most as bright, given the signal."""
        signal, observation = self._at_least_float32(signal), self._at_least_float32(observation)
        return mixture_cdf(self._components(signal), observation)

    def variance(self, signal: Float[Tensor, "*pixels"]) -> Float[Tensor, "*pixels"]:
        """Return the variance of the noise at each signal, in squared gray values."""
        signal = self._at_least_float32(signal)
        return mixture_variance(self._components(signal), signal)

    def std(self, signal: Float[Tensor, "*pixels"]) -> Float[Tensor, "*pixels"]:
        """Return the standard deviation of the noise at each signal, in gray values."""
        return self.variance(signal).sqrt()

    def sample(
        self, signal: Float[Tensor, "*pixels"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*pixels"]:
        """Draw a noisy observation of each signal, in gray values, for an image of any shape."""
        return mixture_sample(self._components(self._at_least_float32(signal)), generator)

    def with_info(self, info: NoiseModelInfo) -> "GaussianMixtureNoiseModel":
        """Return the same model with other information about it."""
        low, high = self.signal_range
        return GaussianMixtureNoiseModel(self.weight, low, high, float(self.min_sigma), info)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the entries of a noise-model file; information that is not known is left out."""
        parameters = {
            "trained_weight": self.weight,
            "min_signal": self.min_signal,
            "max_signal": self.max_signal,
            "min_sigma": self.min_sigma,
        }
        known = {
            name: np.asarray(value)
            for name, value in dataclasses.asdict(self.info).items()
            if value is not None
        }
        return {name: value.cpu().numpy() for name, value in parameters.items()} | known

    def save(self, path: Path | str) -> None:
        """Write the model as an `.npz` file that careamics reads too.

        The first four entries are those of careamics, the others those of `NoiseModelInfo`.
        Equal models give equal bytes.

        Raises
        ------
        StorageError
            If the file cannot be written; an earlier one is then still there.
        """
        content = io.BytesIO()
        np.savez(content, **self.to_arrays())  # type: ignore[arg-type]  # numpy types **kwds together with allow_pickle
        write_whole(Path(path), content.getvalue())

    def _at_least_float32(self, values: Tensor) -> Tensor:
        return values.to(torch.promote_types(values.dtype, torch.float32))

    def _components(self, signal: Tensor) -> Components:
        signal_range = SignalRange(self.min_signal, self.max_signal)
        return components(self.weight, signal_range, self.min_sigma, signal)


def require_valid_parameters(
    weight: Tensor, min_signal: float, max_signal: float, min_sigma: float
) -> None:
    """Refuse parameters that describe no probability density.

    Raises
    ------
    NoiseModelError
        Naming the parameter, what it is, and what it must be.
    """
    if weight.ndim != 2 or weight.shape[0] % 3 or 0 in weight.shape:
        raise NoiseModelError(
            f"The weights of a noise model must have the shape (3 G, P) for G Gaussians and P "
            f"coefficients, got {tuple(weight.shape)}. Fit the noise model again."
        )
    if not bool(torch.isfinite(weight).all()):
        count = int((~torch.isfinite(weight)).sum())
        raise NoiseModelError(
            f"The weights of a noise model must be finite, got {count} of {weight.numel()} that "
            "are NaN or infinite. Fit the noise model again."
        )
    if not bool(torch.isfinite(weight.chunk(3)[1].float().exp()).all()):
        raise NoiseModelError(
            "The variance of a noise model must be finite, got a coefficient of "
            f"exp({float(weight.chunk(3)[1].max()):g}). Fit the noise model again."
        )
    # Compared as float32, the precision of the buffers: 1e9 and 1e9 + 1 are equal there.
    low, high = np.float32(min_signal), np.float32(max_signal)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise NoiseModelError(
            f"The signal range of a noise model must be finite and min_signal below max_signal, "
            f"got {min_signal} to {max_signal}. Fit the noise model again."
        )
    if not (math.isfinite(min_sigma) and np.float32(min_sigma) > 0):
        raise NoiseModelError(
            f"min_sigma, the floor of the variance, must be finite and above 0, got {min_sigma}. "
            "Fit the noise model again."
        )
