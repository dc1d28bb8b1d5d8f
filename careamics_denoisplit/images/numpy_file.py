"""NPY files: no pickle, and the length must be the declared one."""

import math
from pathlib import Path

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.files import read_npy_header
from careamics_denoisplit.images.blocks import FileStamp, RawFileBlock
from careamics_denoisplit.images.image import Raw
from careamics_denoisplit.images.limits import require_size


def read_npy(path: Path, *, max_bytes: int) -> Raw:
    """Open an NPY file; its values are read on demand.

    Parameters
    ----------
    path : pathlib.Path
        File written by `numpy.save`.
    max_bytes : int
        Largest declared size.

    Returns
    -------
    Raw
        Pixels; an NPY file does not name its axes.

    Raises
    ------
    DataError
        If it is cut, longer than declared, too large, or holds Python objects.
    """
    stamp = FileStamp.of(path)
    try:
        with path.open("rb") as file:
            shape, fortran_order, dtype = read_npy_header(file)
            offset = file.tell()
    except Exception as error:  # the header is parsed as Python text: it fails in many ways
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} is not a usable NPY file: {reason}. Save a numeric array with `numpy.save`."
        ) from error
    require_size(shape, dtype, max_bytes, str(path))
    declared = offset + math.prod(shape) * dtype.itemsize
    if declared != stamp.size:
        raise DataError(
            f"{path} is cut off or damaged: its header declares {declared} bytes, "
            f"{stamp.size} are there. Copy or save the file again."
        )
    return Raw(RawFileBlock(stamp, offset, dtype, shape, fortran_order), axes=None)
