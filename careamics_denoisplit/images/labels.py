"""Channel names and positions as coordinates of an xarray.DataArray."""

from typing import Any

import numpy as np
import xarray as xr

from careamics_denoisplit.images.ome import micrometres

MICROMETRE = "micrometer"


def labelled(
    variable: xr.Variable,
    channel_names: tuple[str, ...] | None,
    pixel_size: tuple[float, float] | None,
) -> xr.DataArray:
    """Add channel names and positions in micrometers as coordinates.

    Parameters
    ----------
    variable : xarray.Variable
        Pixels with the dimensions `channel`, `y`, `x`.
    channel_names : tuple of str or None
        One name per channel.
    pixel_size : tuple of float or None
        Height and width of a pixel in micrometers.
    """
    coordinates: dict[str, Any] = {}
    if channel_names is not None:
        coordinates["channel"] = list(channel_names)
    if pixel_size is not None:
        for dimension, step in zip(("y", "x"), pixel_size, strict=True):
            positions = np.arange(variable.sizes[dimension], dtype=np.float64) * step
            attributes = {"units": MICROMETRE, "step": step}
            coordinates[dimension] = (dimension, positions, attributes)
    return xr.DataArray(variable, coords=coordinates)


def channel_names_of(array: xr.DataArray, dim: str = "channel") -> tuple[str, ...] | None:
    """Read channel names from a coordinate; None where there are none but numbers.

    Parameters
    ----------
    array : xarray.DataArray
        Pixels.
    dim : str, default: "channel"
        Dimension of the channels.
    """
    if dim not in array.coords or array.coords[dim].ndim != 1:
        return None
    labels = array.coords[dim].values
    return tuple(map(str, labels)) if labels.dtype.kind in "UOT" else None


def pixel_size_of(array: xr.DataArray, y: str = "y", x: str = "x") -> tuple[float, float] | None:
    """Read height and width of a pixel in micrometers from coordinates that bear a unit.

    Parameters
    ----------
    array : xarray.DataArray
        Pixels; the coordinates of `y` and `x` have an attribute `units`.
    y, x : str
        Names of the dimensions.
    """
    height, width = _step(array, y), _step(array, x)
    return None if height is None or width is None else (height, width)


def _step(array: xr.DataArray, dim: str) -> float | None:
    if dim not in array.coords:
        return None
    coordinate = array.coords[dim]
    unit = str(coordinate.attrs.get("units", coordinate.attrs.get("unit", "")))
    positions = coordinate.values
    if positions.dtype.kind not in "iuf" or positions.size < 2:
        return micrometres(coordinate.attrs.get("step"), unit)
    differences = np.diff(positions.astype(np.float64))
    if not np.allclose(differences, differences[0], rtol=1e-3, atol=0):
        return None
    # The recorded step spares the rounding of differences, unless the array was thinned out.
    recorded = coordinate.attrs.get("step", differences[0])
    exact = np.isclose(recorded, differences[0], rtol=1e-6)
    return micrometres(recorded if exact else differences[0], unit)
