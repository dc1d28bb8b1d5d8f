"""MRC files: the header is compared with the length of the file."""

import math
import warnings
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images.blocks import FileStamp, RawFileBlock
from careamics_denoisplit.images.image import Raw
from careamics_denoisplit.images.limits import require_size

_MICROMETRES_PER_ANGSTROM = 1e-4
_HEADER_BYTES = 1024


def read_mrc(path: Path, *, max_bytes: int) -> Raw:
    """Open an MRC file; its values are read on demand.

    Parameters
    ----------
    path : pathlib.Path
        MRC2014 file: an image, an image stack or a volume.
    max_bytes : int
        Largest declared size.

    Returns
    -------
    Raw
        Pixels with the axes YX, SYX (image stack) or ZYX (volume).

    Raises
    ------
    DataError
        If it is cut, damaged, too large, or its axes are not stored in the usual order.
    """
    stamp = FileStamp.of(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with mrcfile.open(path, header_only=True) as file:
                header, voxel = file.header, file.voxel_size
                dtype = mrcfile.utils.data_dtype_from_header(header)
                shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
                offset = _HEADER_BYTES + int(header["nsymbt"])
                order = tuple(int(header[name]) for name in ("mapc", "mapr", "maps"))
                is_stack = int(header["ispg"]) == 0  # the space group of images
    except Exception as error:  # header fields are read without checks: many kinds of errors
        raise _damaged(path, str(error)) from error
    if min(shape) < 0 or offset < _HEADER_BYTES:
        raise _damaged(path, f"negative sizes {shape}")
    require_size(shape, dtype, max_bytes, str(path))
    if order != (1, 2, 3):
        raise DataError(f"{path} stores its axes in the order {order}; only (1, 2, 3) is read.")
    declared = offset + math.prod(shape) * dtype.itemsize
    if declared != stamp.size:
        raise _damaged(path, f"{declared} bytes are declared, {stamp.size} are there")
    leading = "S" if is_stack else "Z"
    if shape[0] == 1:
        shape, leading = shape[1:], ""
    block = RawFileBlock(stamp, offset, dtype, shape)
    return Raw(block, axes=f"{leading}YX", pixel_size=_pixel_size(voxel))


def _pixel_size(voxel: Any) -> tuple[float, float] | None:
    size = float(voxel.y) * _MICROMETRES_PER_ANGSTROM, float(voxel.x) * _MICROMETRES_PER_ANGSTROM
    return size if all(np.isfinite(size)) and min(size) > 0 else None


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} is cut off or damaged ({' '.join(reason.split())[:200]}). "
        "Copy or export the file again."
    )
