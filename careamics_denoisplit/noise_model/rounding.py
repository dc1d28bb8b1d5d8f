"""Cameras round to whole numbers; a continuous density must not see the steps."""

from typing import Final

import numpy as np
import numpy.typing as npt

MAX_LEVELS: Final = 2**16
MAX_GAP: Final = 2.0
"""Gaps wider than this many usual steps are rare gray values, not rounding."""


def without_rounding(observation: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """Spread whole numbers evenly over the values that round to them.

    A narrow Gaussian could otherwise gain likelihood at single gray values without describing
    any noise. Each value moves at most half-way to the next gray value that occurs, so that
    images stretched to another range, with gaps between their gray values, are covered too.
    Observations that are not all whole numbers are returned as they are.

    Parameters
    ----------
    observation : array of any shape
        Gray values.
    seed : int
        Of the values drawn.
    """
    if not np.array_equal(observation, np.round(observation)):
        return observation
    levels, index = np.unique(observation, return_inverse=True)
    if not 1 < levels.size <= MAX_LEVELS:
        return observation
    gaps = np.diff(levels.astype(np.float64))
    half = np.minimum(gaps, MAX_GAP * np.median(gaps)) / 2
    below, above = np.append(half[:1], half), np.append(half, half[-1:])
    share = np.random.default_rng([seed, 3]).random(observation.shape)
    index = index.reshape(observation.shape)
    moved = observation - below[index] + share * (below[index] + above[index])
    return moved.astype(np.float32)
