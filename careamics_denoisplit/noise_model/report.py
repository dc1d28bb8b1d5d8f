"""The quality report of a noise model: numbers and a verdict in words."""

from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from careamics_denoisplit.noise_model.alignment import Direction
from careamics_denoisplit.noise_model.model import Verdict

Route: TypeAlias = Literal["pairs", "repeats", "bootstrap"]
"""How the signal was found."""

REPORT_VERSION: Final = 1


class _Value(BaseModel):
    """Frozen, closed, and free of NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class SigmaPoint(_Value):
    """Noise in one bin of the signal."""

    signal: float
    """Mean signal, in gray values."""
    empirical_std: float
    """Standard deviation of the observations around their signal, in gray values."""
    model_std: float
    """The same by the model, in gray values."""
    count: int
    """Number of held-out pairs."""


class Uniformity(_Value):
    """Probability integral transform of held-out pairs: flat if the model is right."""

    histogram: tuple[float, ...]
    """Share of pairs in each of 20 equal bins between 0 and 1; a twentieth each is ideal."""
    kolmogorov_smirnov: float
    """Largest distance of the distribution to the uniform one."""
    wasserstein: float
    """Mean distance of the quantiles to the uniform ones."""
    worst_by_signal: float
    """Largest Kolmogorov-Smirnov distance among five groups of equal count by signal."""


class Autocorrelation(_Value):
    """Correlation of the standardised noise of neighbouring pixels; 0 is ideal.

    Deviations that are alike over many pixels are not counted: see `slow`.
    """

    x: float
    """Of neighbours along x."""
    y: float
    """Of neighbours along y."""
    diagonal: float
    """Of diagonal neighbours."""
    slow: float = 0.0
    """Share of the variance that is alike over 4 to 7 pixels in every direction: no noise, but
    background, focus or shading in which signal and observation differ."""

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return max(abs(self.x), abs(self.y), abs(self.diagonal))


class AlignmentRecord(_Value):
    """Affine map that was applied to the signal before the fit."""

    gain: float
    """Gray values of the observation per gray value of the signal."""
    offset: float
    """Gray value of the observation where the signal is zero."""
    n_pairs: int
    """Number of pixel pairs it rests on."""
    residual_std: float
    """Standard deviation of the observation around the aligned signal, in gray values."""
    direction: Direction
    """What was mapped onto what."""


class NoiseModelReport(_Value):
    """Quality of a noise model on pairs it was not fitted on."""

    format_version: int = REPORT_VERSION
    """Version of these keys."""
    channel: str
    """Name of the channel."""
    verdict: Verdict
    """Judgement: pass, warn or fail."""
    reasons: tuple[str, ...]
    """Why, in words; for "pass" what speaks for the model."""
    route: Route
    """How the signal was found."""
    seed: int
    """Seed of the choice of pixels."""
    n_gaussians: int
    """Gaussians of the mixture."""
    n_coefficients: int
    """Polynomial coefficients of each parameter."""
    n_pairs: int
    """Pixel pairs the model was fitted on."""
    n_heldout: int
    """Further pixel pairs that all figures are from."""
    signal_range: tuple[float, float]
    """Smallest and largest signal of the fit, in gray values."""
    observation_range: tuple[float, float]
    """Smallest and largest observation of the fit, in gray values."""
    min_sigma: float
    """Floor of the variance, in squared gray values."""
    heldout_nll: float
    """Mean negative log-likelihood, in nats per pixel."""
    constant_nll: float
    """The same of a Gaussian of constant width."""
    pit: Uniformity
    """Probability integral transform."""
    sigma_curve: tuple[SigmaPoint, ...]
    """Noise against signal, by the model and found."""
    share_outside_range: float
    """Share of held-out observations outside the range of the fit."""
    clipped_share: float
    """Share of observations at the smallest or largest gray value that clips."""
    signal_clipped_share: float = 0.0
    """Share of pixels whose signal was cut off; they are left out of everything else."""
    autocorrelation: Autocorrelation
    """Correlation of the noise between neighbours."""
    alignment: AlignmentRecord | None = None
    """Affine map of the signal, where one was fitted."""
    camera: str | None = None
    """Name of the camera, where known."""
    gain: float | None = None
    """Gain of the camera, where known."""
    exposure: float | None = None
    """Exposure time in seconds, where known."""
    date: str | None = None
    """When the images were taken, where known."""

    def words(self) -> str:
        """Return the verdict and its reasons as one sentence for people."""
        return f"Noise model of {self.channel}: {self.verdict}. {'; '.join(self.reasons)}."
