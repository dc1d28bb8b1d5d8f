"""Images that a model was not trained for, made from others, with what should come out."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64, Real
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.checkpoint import TrainedModel

BLUR = 2.0
"""Standard deviation in pixels of the blur."""

NOISE = 1.5
"""Factor of the standard deviation of the noise."""

GAINS = (1.5, 0.5)
"""Factors of all gray values."""


@dataclass(frozen=True)
class Field:
    """One field as it was recorded.

    Attributes
    ----------
    mixture : numpy.ndarray of shape (Y, X)
        The input, gray values.
    truth : numpy.ndarray of shape (C, Y, X)
        Noise-free channels on the scale of the prediction, gray values.
    weights : numpy.ndarray of shape (C,)
        Share of each channel in the input.
    offset : float
        What the input holds beside its channels, gray values.
    noise_variance : numpy.ndarray of shape (Y, X) or None
        Of the input, by the noise models; None without any.
    third : numpy.ndarray of shape (H, W) or None
        Image of a structure that the model does not know, of any size.
    seed : tuple of int
        Of what is drawn.
    """

    mixture: Real[np.ndarray, "y x"]
    truth: Real[np.ndarray, "c y x"]
    weights: Float64[np.ndarray, "c"]
    offset: float
    noise_variance: Real[np.ndarray, "y x"] | None
    third: Real[np.ndarray, "h w"] | None
    seed: tuple[int, ...]

    @property
    def clean(self) -> Float64[np.ndarray, "y x"]:
        """The input without its noise (Y, X)."""
        return np.tensordot(self.weights, self.truth.astype(np.float64), axes=1) + self.offset


@dataclass(frozen=True)
class Changed:
    """What a trial gives to the model, and what should come out.

    Attributes
    ----------
    mixture : numpy.ndarray of shape (Y, X)
        The input, gray values.
    truth : numpy.ndarray of shape (C, Y, X)
        What should come out, gray values.
    contrast : numpy.ndarray of shape (C,)
        Variance of the channels that errors are compared with, squared gray values.
    exchanged : bool
        Whether the predicted channels change places.
    """

    mixture: Float[np.ndarray, "y x"]
    truth: Real[np.ndarray, "c y x"]
    contrast: Float64[np.ndarray, "c"]
    exchanged: bool = False


@dataclass(frozen=True)
class Trial:
    """One way to change an image.

    Attributes
    ----------
    name : str
        A few words.
    what : str
        What exactly is done.
    change : callable
        Makes the changed image of a field.
    why_not : str
        Why it cannot be tried; empty where it can.
    """

    name: str
    what: str
    change: Callable[[Field], Changed]
    why_not: str = ""


def trials_of(trained: TrainedModel, *, has_third: bool) -> tuple[Trial, ...]:
    """List the trials of a model, the unchanged image first.

    Parameters
    ----------
    trained : TrainedModel
        Says how its input is mixed and how bright it was.
    has_third : bool
        Whether there is an image of a structure that the model does not know.
    """
    names = trained.channel_names
    brightness = trained.statistics.input_std
    given, factor = _other_rule(trained.statistics.mixing, len(names))
    no_noise = "" if trained.noise_models else "the model has no noise models"
    return (
        Trial("as recorded", "The image as it is.", _with(lambda field: field.mixture)),
        *(
            Trial(
                f"gain x{gain:g}",
                f"All gray values times {gain:g}; so are the channels that should come out.",
                _amplified(gain),
            )
            for gain in GAINS
        ),
        Trial(
            "offset",
            f"{brightness:.4g} gray values, one standard deviation of the training input, are "
            "added to all pixels.",
            _with(lambda field: field.mixture + brightness),
        ),
        Trial(
            f"noise x{NOISE:g}",
            f"Gaussian noise is added until its standard deviation is {NOISE:g} times that of the "
            "noise models.",
            _with(_noisier),
            no_noise,
        ),
        Trial(
            "blur",
            f"The structures are blurred by {BLUR:g} px (Gaussian); the noise is not.",
            _with(lambda field: field.mixture - field.clean + gaussian_filter(field.clean, BLUR)),
        ),
        Trial(
            "denoised input",
            "The image without its noise: the true channels, superimposed.",
            _with(lambda field: field.clean),
        ),
        Trial(
            f"{given} for {trained.statistics.mixing}",
            f"The {given} of the channels is given, the model was trained on the "
            f"{trained.statistics.mixing}: all gray values times {factor:.3g}.",
            _with(lambda field: factor * field.mixture),
        ),
        Trial(
            "third structure",
            "An unknown structure is added, as contrasty as a channel is on average.",
            _with(_with_third),
            "" if has_third else "no image of a third structure was given",
        ),
        *(
            Trial(
                f"{name} missing",
                f"{name} is taken away down to its background, the noise stays; nothing but "
                "background should come out there.",
                _without(channel),
            )
            for channel, name in enumerate(names)
        ),
        Trial(
            "swapped channels",
            "The image as it is; the predicted channels change places.",
            _exchanged,
        ),
    )


def _of(field: Field, mixture: Real[np.ndarray, "y x"]) -> Changed:
    contrast = field.truth.astype(np.float64).var(axis=(1, 2))
    return Changed(mixture.astype(np.float32), field.truth, contrast)


def _with(mixture: Callable[[Field], Real[np.ndarray, "y x"]]) -> Callable[[Field], Changed]:
    """Change the input alone: the same channels should come out."""
    return lambda field: _of(field, mixture(field))


def _amplified(gain: float) -> Callable[[Field], Changed]:
    def change(field: Field) -> Changed:
        changed = _of(field, gain * field.mixture)
        return replace(changed, truth=gain * field.truth, contrast=gain**2 * changed.contrast)

    return change


def _without(channel: int) -> Callable[[Field], Changed]:
    def change(field: Field) -> Changed:
        background = float(np.percentile(field.truth[channel], 1))
        missing = field.weights[channel] * (field.truth[channel] - background)
        truth = field.truth.copy()
        truth[channel] = background
        return replace(_of(field, field.mixture - missing), truth=truth)

    return change


def _exchanged(field: Field) -> Changed:
    return replace(_of(field, field.mixture), exchanged=True)


def _noisier(field: Field) -> Real[np.ndarray, "y x"]:
    random = np.random.default_rng(field.seed)
    variance = np.asarray(field.noise_variance) * (NOISE**2 - 1)
    return field.mixture + np.sqrt(variance) * random.standard_normal(field.mixture.shape)


def _with_third(field: Field) -> Real[np.ndarray, "y x"]:
    """Add the structure, cut or repeated in a mirror to the size of the field."""
    third = np.asarray(field.third, dtype=np.float64)
    height, width = field.mixture.shape
    missing = [
        (0, max(0, want - have)) for want, have in zip((height, width), third.shape, strict=True)
    ]
    third = np.pad(third, missing, mode="symmetric")[:height, :width]
    shape = (third - np.percentile(third, 1)) / max(float(third.std()), 1e-12)
    contrasts = field.truth.astype(np.float64).std(axis=(1, 2))
    return field.mixture + float(np.mean(field.weights * contrasts)) * shape


def _other_rule(training: str, channels: int) -> tuple[str, float]:
    """Name what a user may give instead, and the factor between both."""
    return ("sum", float(channels)) if training == "mean" else ("mean", 1.0 / channels)
