"""Gray values at which images were cut off: what lies beyond them is not known."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float32

CLIPPED_SHARE: Final = 1e-4
"""Share of pixels at an extreme from which on it counts as a clipping limit."""

NOTICEABLE: Final = 0.1
"""Shift of the observations, in their standard deviations, that tells a cut from a background."""

CERTAIN: Final = 5.0
"""The same shift in standard errors, so that chance does not."""


def clipping_limits(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the gray values at which pixels were clipped, infinite where none were.

    An extreme counts as a limit when more than 0.01 % of the pixels, and at least two, share
    it.
    """
    low, high = float(values.min()), float(values.max())
    enough = max(2, CLIPPED_SHARE * values.size)
    below = low if np.count_nonzero(values == values.min()) >= enough else -np.inf
    above = high if np.count_nonzero(values == values.max()) >= enough else np.inf
    return below, above


def clipped_signals(
    signal: Float32[np.ndarray, "*pixels"], observation: Float32[np.ndarray, "*pixels"]
) -> Bool[np.ndarray, "*pixels"]:
    """Find pixels whose signal was cut off, so that it is not the mean of its observations.

    An image that was stretched to few gray values, or taken with too much light, ends in a value
    that many pixels share. Its observations then lie beyond it on average. Where they do not, the
    value is a true one, such as the background of a simulated image.

    Parameters
    ----------
    signal, observation : arrays of any one shape
        Gray values; gain and offset of the signal are those of the observation.

    Returns
    -------
    numpy.ndarray of bool
        True for clipped pixels.
    """
    found: Bool[np.ndarray, "*pixels"] = np.zeros(signal.shape, dtype=np.bool_)
    for limit, outward in zip(clipping_limits(signal), (-1.0, 1.0), strict=True):
        here = signal == limit
        count = int(np.count_nonzero(here))
        if count == 0:
            continue
        beyond = outward * (observation[here].astype(np.float64) - limit)
        width = float(beyond.std())
        if beyond.mean() > max(NOTICEABLE, CERTAIN / np.sqrt(count)) * width:
            found |= here
    return found
