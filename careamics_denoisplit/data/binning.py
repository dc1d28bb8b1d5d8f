"""Block means, which quieten pixel noise before channels are compared."""

import numpy as np
from jaxtyping import Float64, Shaped

BIN = 8
"""Side of a block in pixels."""


def binned(plane: Shaped[np.ndarray, "_ _"], side: int = BIN) -> Float64[np.ndarray, "_ _"]:
    """Average square blocks; rows and columns that fill none are dropped.

    Parameters
    ----------
    plane : numpy.ndarray of shape (Y, X)
        Gray values.
    side : int
        Side of a block in pixels.

    Returns
    -------
    numpy.ndarray of shape (Y // side, X // side)
        Means in float64; planes smaller than a block come back as they are.
    """
    rows, columns = (length // side for length in plane.shape)
    if rows == 0 or columns == 0:
        return plane.astype(np.float64)
    whole = plane[: rows * side, : columns * side].astype(np.float64)
    means: Float64[np.ndarray, "_ _"] = whole.reshape(rows, side, columns, side).mean(axis=(1, 3))
    return means
