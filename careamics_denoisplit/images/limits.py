"""Declared sizes are compared with a limit before memory is taken."""

import math
from typing import Any

import numpy as np

from careamics_denoisplit.errors import DataError

MAX_IMAGE_BYTES = 2**40
"""Largest declared size of an image file that is read piece by piece: 1 TiB."""

MAX_PLANE_BYTES = 8 * 2**30
"""Largest declared size of one plane: 8 GiB."""


def require_size(shape: tuple[int, ...], dtype: np.dtype[Any], max_bytes: int, what: str) -> None:
    """Refuse an image that declares no pixels or more bytes than allowed.

    Parameters
    ----------
    shape : tuple of int
        Declared shape.
    dtype : numpy.dtype
        Declared type.
    max_bytes : int
        Largest size in bytes.
    what : str
        Name for messages.

    Raises
    ------
    DataError
        If a size is zero or the product is too large.
    """
    if math.prod(shape) == 0:
        raise DataError(f"{what} has no pixels: its shape is {shape}. Choose another file.")
    declared = math.prod(shape) * dtype.itemsize
    plane = math.prod(shape[-2:]) * dtype.itemsize
    if declared > max_bytes or plane > MAX_PLANE_BYTES:
        limit = max_bytes if declared > max_bytes else MAX_PLANE_BYTES
        size = declared if declared > max_bytes else plane
        raise DataError(
            f"{what} declares {size} bytes (shape {shape}, {dtype}); at most {limit} are accepted. "
            "If the file is sound, pass a larger `max_bytes=` or cut it into pieces."
        )
