"""What versions of libtorch differ by, and which pixels that drift would break."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

ABSOLUTE_TOLERANCE = 1.5e-4
"""Largest difference between a package and prediction, in gray values."""
RELATIVE_TOLERANCE = 1e-4
"""Largest difference between a package and prediction, in parts of the value."""

_DRIFT = 4e-7  # of the largest value: measured between libtorch 2.0.0 and 2.11.0


class Drift(NamedTuple):
    """What a change of the engine would do to images."""

    size: float
    """Difference to be expected, in gray values."""
    misses: int
    """Pixels so near to zero that it exceeds the tolerance there."""


def expected_drift(images: Float32[np.ndarray, "*pixels"]) -> Drift:
    """Find the pixels of predicted images that another engine would not reproduce.

    Parameters
    ----------
    images : numpy.ndarray
        Predicted intensities of all channels, gray values.
    """
    magnitude = np.abs(images)
    size = _DRIFT * float(magnitude.max())
    allowed = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * magnitude
    return Drift(size, int((size > allowed).sum()))
