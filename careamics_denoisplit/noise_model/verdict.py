"""From the figures of a noise model to pass, warn or fail, with the reasons in words.

The limits and what they mean, for Gaussian noise: a Kolmogorov-Smirnov distance of 0.05 is
reached when the width is wrong by a quarter or the mean by an eighth of the width, 0.10 when
the width is wrong by a half or the mean by a quarter. Noise of which neighbours share a
correlation of 0.1 is common after interpolation in the camera; at 0.3 the network can learn
the noise itself, because the likelihood takes pixels as independent.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from careamics_denoisplit.noise_model.model import Verdict


class Limit(NamedTuple):
    """From where on a figure warns and fails."""

    warn: float
    """Value above which there is a warning."""
    fail: float
    """Value above which the model has failed."""


NLL_LOSS: Final = Limit(0.01, 0.1)
"""Nats per pixel by which the model is worse than a Gaussian of constant width."""
UNIFORMITY: Final = Limit(0.05, 0.10)
"""Kolmogorov-Smirnov distance of the probability integral transform to uniform."""
UNIFORMITY_BY_SIGNAL: Final = Limit(0.10, 0.25)
"""The same, worst of five groups by signal: faint and bright pixels each count."""
SHARE_OUTSIDE: Final = Limit(0.01, 0.10)
"""Share of observations outside the range that the model was fitted for."""
CLIPPED: Final = Limit(0.01, 0.10)
"""Share of observations at a clipping limit."""
CORRELATION: Final = Limit(0.1, 0.3)
"""Absolute correlation of the noise of neighbouring pixels."""
SLOW: Final = Limit(0.2, 0.5)
"""Share of the variance of slow deviations; 0.2 makes the model wider than the noise by 12 %."""
SIGNAL_CLIPPED: Final = Limit(0.05, 0.95)
"""Share of pixels whose signal was cut off and that the fit therefore leaves out."""


class Figures(NamedTuple):
    """What the verdict rests on."""

    heldout_nll: float
    """Of the model, in nats per pixel."""
    constant_nll: float
    """Of a Gaussian of constant width, in nats per pixel."""
    distance: float
    """Kolmogorov-Smirnov distance to uniform."""
    worst_distance: float
    """The same, worst of five groups by signal."""
    share_outside: float
    """Share of observations outside the range."""
    clipped: float
    """Share of clipped observations."""
    correlation: float
    """Largest absolute correlation between neighbours."""
    slow: float = 0.0
    """Share of the variance of deviations that are alike over many pixels."""
    signal_clipped: float = 0.0
    """Share of pixels whose signal was cut off."""


def judge(figures: Figures, doubts: Sequence[str] = ()) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons.

    Parameters
    ----------
    figures : Figures
        Of held-out pairs.
    doubts : sequence of str
        Further reasons for a warning.
    """
    checks = [
        (
            figures.heldout_nll - figures.constant_nll,
            NLL_LOSS,
            f"held-out likelihood {figures.heldout_nll:.3f} nats per pixel is worse than that of "
            f"a Gaussian of constant width, {figures.constant_nll:.3f}",
        ),
        (
            figures.distance,
            UNIFORMITY,
            f"the noise has another shape or width than the model (distance to uniform "
            f"{figures.distance:.3f})",
        ),
        (
            figures.worst_distance,
            UNIFORMITY_BY_SIGNAL,
            "the model misses the noise at some intensities (distance to uniform "
            f"{figures.worst_distance:.3f} in the worst fifth of the pixels)",
        ),
        (
            figures.share_outside,
            SHARE_OUTSIDE,
            f"{figures.share_outside:.1%} of the pixels lie outside the range of the fit",
        ),
        (
            figures.clipped,
            CLIPPED,
            f"{figures.clipped:.1%} of the pixels are clipped, their noise is cut off",
        ),
        (
            figures.correlation,
            CORRELATION,
            f"the noise of neighbouring pixels is correlated ({figures.correlation:.2f}), the "
            "method takes it as independent",
        ),
        (
            figures.slow,
            SLOW,
            f"{figures.slow:.0%} of what is taken for noise is alike over many pixels: signal and "
            "observation differ in background, focus or shading",
        ),
        (
            figures.signal_clipped,
            SIGNAL_CLIPPED,
            f"the signal of {figures.signal_clipped:.1%} of the pixels is cut off at its smallest "
            "or largest gray value; they were left out, and the noise there is not known",
        ),
    ]
    failures = [words for value, limit, words in checks if value > limit.fail]
    concerns = [words for value, limit, words in checks if limit.warn < value <= limit.fail]
    if failures:
        return "fail", (*failures, *concerns, *doubts)
    if concerns or doubts:
        return "warn", (*concerns, *doubts)
    gained = figures.constant_nll - figures.heldout_nll
    return "pass", (
        f"{gained:.3f} nats per pixel better than a Gaussian of constant width",
        f"distance to uniform {figures.distance:.3f}",
        f"correlation of neighbours {figures.correlation:.2f}",
    )
