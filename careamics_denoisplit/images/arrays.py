"""Arrays in memory: numpy, and xarray with its own names of axes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images.blocks import ArrayBlock
from careamics_denoisplit.images.checks import refuse_masked, require_real
from careamics_denoisplit.images.image import Raw
from careamics_denoisplit.images.labels import channel_names_of, pixel_size_of
from careamics_denoisplit.images.limits import require_size

_NAMES = {
    "S": {"s", "sample", "samples", "position", "scene", "image"},
    "T": {"t", "time", "frame"},
    "C": {"c", "channel", "channels", "ch"},
    "Z": {"z", "depth", "plane"},
    "Y": {"y", "row", "rows", "height"},
    "X": {"x", "col", "column", "columns", "width"},
}
_ACQUISITION = ("camera", "gain", "exposure", "date")


def read_array(array: npt.NDArray[Any], what: str) -> Raw:
    """Take a numpy array; it is not copied and never written to.

    Parameters
    ----------
    array : numpy.ndarray
        Pixels.
    what : str
        Name for messages.

    Returns
    -------
    Raw
        The pixels, without names of axes.

    Raises
    ------
    DataError
        If it has no pixels, masked pixels, or values that are no real numbers.
    """
    require_real(array.dtype, what)
    require_size(array.shape, array.dtype, np.iinfo(np.int64).max, what)
    if isinstance(array, np.ma.MaskedArray):
        refuse_masked(array, what)
        array = array.data
    return Raw(ArrayBlock(np.asarray(array)), axes=None)


def read_data_array(array: xr.DataArray, what: str) -> Raw:
    """Take an xarray.DataArray with its names of axes, channels and positions.

    Parameters
    ----------
    array : xarray.DataArray
        Pixels; dimensions are recognised by names such as `y`, `row` or `channel`.
    what : str
        Name for messages.

    Returns
    -------
    Raw
        Pixels, axes, channel names and pixel size.

    Raises
    ------
    DataError
        As `read_array`; also if some dimensions have known names and others not.
    """
    axes = _axes(array, what)
    raw = read_array(np.asarray(array.values), what)
    y, x = (None, None) if axes is None else (str(array.dims[axes.index(d)]) for d in "YX")
    channel = None if axes is None or "C" not in axes else str(array.dims[axes.index("C")])
    return Raw(
        block=raw.block,
        axes=axes,
        axes_binding=True,
        channel_names=None if channel is None else channel_names_of(array, channel),
        pixel_size=None if y is None or x is None else pixel_size_of(array, y, x),
        acquisition={key: str(array.attrs[key]) for key in _ACQUISITION if key in array.attrs},
    )


def _axes(array: xr.DataArray, what: str) -> str | None:
    letters = [
        next((letter for letter, names in _NAMES.items() if str(dim).lower() in names), "?")
        for dim in array.dims
    ]
    if set(letters) <= {"?"}:
        return None
    if "?" in letters or len(set(letters)) < len(letters):
        raise DataError(
            f"{what} has the dimensions {tuple(map(str, array.dims))} of sizes {array.shape}; call "
            "them sample, time, channel, z, y, x, each once."
        )
    return "".join(letters)
