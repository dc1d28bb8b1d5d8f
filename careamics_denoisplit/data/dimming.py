"""Dimmer versions of a noisy image, as a weaker stain would have given them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32


class Light(NamedTuple):
    """What one channel's camera makes of light."""

    dark: float
    """Gray value of a pixel without light."""
    signals: Float[np.ndarray, " n"]
    """Increasing signals in gray values at which the noise is known."""
    variances: Float[np.ndarray, " n"]
    """Variance of the noise at each of them, in squared gray values."""

    def variance(self, signal: Float[np.ndarray, "y x"]) -> Float[np.ndarray, "y x"]:
        """Variance of the noise at each signal; beyond the known ones that of the nearest."""
        variance: Float[np.ndarray, "y x"] = np.interp(signal, self.signals, self.variances)
        return variance


def draw_brightness(rng: np.random.Generator, dimming: float) -> float:
    """Draw the share of a channel's light that is kept.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the draws.
    dimming : float
        Largest share that is taken away, below 1.

    Returns
    -------
    float
        1 in half of the draws, else between 1 - dimming and 1, even on a logarithmic scale.
    """
    if rng.random() < 0.5:
        return 1.0
    return float(np.exp(rng.uniform(np.log1p(-dimming), 0.0)))


def dimmed(
    observation: Float32[np.ndarray, "y x"],
    kept: float,
    light: Light,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "y x"]:
    """Take light from a noisy image so that the camera's noise model still describes it.

    With d the dark level, w the share that is kept and v the variance of the noise, a signal s
    becomes d + w (s - d). Scaling the observation in the same way leaves noise of variance w² v(s),
    so Gaussian noise of v(d + w (s - d)) - w² v(s) is added, with the observation in place of the
    unknown signal; for a variance that is linear in the signal, the mean of the result is exact.

    Parameters
    ----------
    observation : numpy.ndarray of shape (Y, X)
        Noisy channel in gray values.
    kept : float
        Share of the light that is kept, in (0, 1]; 1 returns the observation itself.
    light : Light
        Dark level and noise of the channel.
    rng : numpy.random.Generator
        Source of the added noise.
    """
    if kept == 1.0:
        return observation
    signal = np.clip(observation, light.signals[0], light.signals[-1])
    missing = light.variance(light.dark + kept * (signal - light.dark))
    missing = np.maximum(missing - kept**2 * light.variance(signal), 0.0)
    noise = np.sqrt(missing) * rng.standard_normal(observation.shape)
    darker: Float32[np.ndarray, "y x"] = (
        light.dark + kept * (observation - light.dark) + noise
    ).astype(np.float32)
    return darker
