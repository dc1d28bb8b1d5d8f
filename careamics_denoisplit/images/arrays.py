"""Arrays in memory: numpy, and xarray with its own names of axes."""

from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images.blocks import ArrayBlock
from careamics_denoisplit.images.checks import refuse_masked, require_real
from careamics_denoisplit.images.image import Raw
from careamics_denoisplit.images.limits import require_size
from careamics_denoisplit.images.ome import micrometres

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
    channel = None if axes is None or "C" not in axes else str(array.dims[axes.index("C")])
    return Raw(
        block=raw.block,
        axes=axes,
        channel_names=_channel_names(array, channel),
        pixel_size=None if axes is None else _pixel_size(array, axes),
        acquisition=MappingProxyType(
            {key: str(array.attrs[key]) for key in _ACQUISITION if key in array.attrs}
        ),
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


def _channel_names(array: xr.DataArray, dim: str | None) -> tuple[str, ...] | None:
    if dim is None or dim not in array.coords:
        return None
    labels = array.coords[dim].values
    return tuple(map(str, labels)) if labels.dtype.kind in "UO" else None


def _pixel_size(array: xr.DataArray, axes: str) -> tuple[float, float] | None:
    steps = [_step(array, str(array.dims[axes.index(letter)])) for letter in "YX"]
    if steps[0] is None or steps[1] is None:
        return None
    return steps[0], steps[1]


def _step(array: xr.DataArray, dim: str) -> float | None:
    if dim not in array.coords:
        return None
    coordinate = array.coords[dim]
    unit = str(coordinate.attrs.get("units", coordinate.attrs.get("unit", "")))
    if "step" in coordinate.attrs:
        return micrometres(coordinate.attrs["step"], unit)
    positions = coordinate.values
    if positions.dtype.kind not in "iuf" or positions.size < 2:
        return None
    differences = np.diff(positions.astype(np.float64))
    if not np.allclose(differences, differences[0], rtol=1e-3, atol=0):
        return None
    return micrometres(float(differences[0]), unit)
