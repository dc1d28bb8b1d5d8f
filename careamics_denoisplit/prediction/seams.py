"""How much of the tiles can be seen in a stitched image."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from careamics_denoisplit.errors import DataError


class SeamDifference(NamedTuple):
    """Absolute difference of a tiled from a whole prediction, in units of the std."""

    median: float
    """Of all pixels."""
    p999: float
    """99.9th percentile of all pixels."""
    maximum: float
    """Largest of all pixels."""


def seam_difference(
    tiled: Float[np.ndarray, "*shape"],
    whole: Float[np.ndarray, "*shape"],
    std: Float[np.ndarray, "*shape"],
) -> SeamDifference:
    """Compare the prediction in tiles with that of the whole image.

    Parameters
    ----------
    tiled, whole : numpy.ndarray of any shape
        The same image predicted both ways, in gray values.
    std : numpy.ndarray of that shape
        Its standard deviation, in gray values: the size of a difference that matters.

    Returns
    -------
    SeamDifference
        Median, 99.9th percentile and maximum.

    Raises
    ------
    DataError
        If a standard deviation is not above 0.
    """
    if not (std > 0).all():
        raise DataError(
            "Seams are measured in units of the std, which must be above 0 in every pixel. Compare "
            "predictions of at least 2 samples."
        )
    difference = np.abs(tiled - whole) / std
    median, p999 = np.percentile(difference, (50, 99.9))
    return SeamDifference(float(median), float(p999), float(difference.max()))
