"""The result of a prediction: channels with their uncertainty, named and in raw units."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import require_absent
from careamics_denoisplit.images import (
    Image,
    strip_suffix,
    write_prediction_tiff,
    write_prediction_zarr,
)


@dataclass(frozen=True)
class Prediction:
    """Denoised channels of one image, and how sure they are.

    Attributes
    ----------
    mean : xarray.DataArray of dimensions (channel, y, x)
        Estimate in gray values of each channel, `time` and `z` before the channel where the image
        has them. The coordinates are channel names and, where known, positions in micrometers;
        the attributes say how it was made, with the seed.
    std : xarray.DataArray or None
        Standard deviation of the same shape and unit; None for the pass with posterior means and
        for a single sample. Where `calibrated` is false it is the spread of the samples as it is.
    calibrated : bool
        Whether a calibration that belongs to this estimator and method was applied to `std`.
    source : str or pathlib.Path or None
        File or name of the mixture.

    Raises
    ------
    ConfigurationError
        If shapes or dimensions of mean and std differ, or a std is called calibrated that is
        not there.
    """

    mean: xr.DataArray
    std: xr.DataArray | None = None
    calibrated: bool = False
    source: str | Path | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        if self.mean.dims[-3:] != ("channel", "y", "x"):
            raise ConfigurationError(
                f"A prediction has the dimensions (channel, y, x) at its end, got {self.mean.dims}."
            )
        if self.std is None:
            if self.calibrated:
                raise ConfigurationError("A prediction without a std cannot be calibrated.")
        elif (self.std.dims, self.std.shape) != (self.mean.dims, self.mean.shape):
            raise ConfigurationError(
                f"Mean and std differ: {dict(self.mean.sizes)} and {dict(self.std.sizes)}."
            )

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Name of each channel."""
        return tuple(str(name) for name in self.mean["channel"].values)

    def to_dataset(self) -> xr.Dataset:
        """Return both as one dataset with the variables `estimate` and `uncertainty`.

        Returns
        -------
        xarray.Dataset
            `uncertainty` only where there is a std; `calibrated` is an attribute of both.
        """
        variables = {"estimate": self.mean}
        if self.std is not None:
            variables["uncertainty"] = self.std
        return xr.Dataset(variables, attrs=dict(self.mean.attrs))

    def save(self, path: Path | str, *, overwrite: bool = False) -> tuple[Path, ...]:
        """Write the prediction as OME-TIFF or OME-Zarr, whole or not at all.

        Parameters
        ----------
        path : pathlib.Path or str
            `name.ome.tif` writes `name_mean.ome.tif` and `name_std.ome.tif`; `name.ome.zarr`
            writes one store with the channels of both, `<channel>_std` where it is calibrated and
            `<channel>_spread` where it is not.
        overwrite : bool
            Whether files that are there may be replaced.

        Returns
        -------
        tuple of pathlib.Path
            Absolute paths of what was written.

        Raises
        ------
        ConfigurationError
            If the path ends in neither format.
        OutputExistsError
            If a file is there and may not be replaced; nothing is written then.
        NonFiniteError, StorageError
            If a value is not finite, or a file cannot be written.
        """
        path = Path(path).absolute()
        stem = path.with_name(strip_suffix(path.name))
        lower = path.name.lower()
        if lower.endswith(".zarr"):
            require_absent(path, overwrite)
            suffix = "std" if self.calibrated else "spread"
            write_prediction_zarr(path, self.mean, self.std, std_suffix=suffix, name=stem.name)
            return (path,)
        if not lower.endswith((".tif", ".tiff")):
            raise ConfigurationError(
                f"A prediction is saved as `.ome.tif` or `.ome.zarr`, got {path.name}."
            )
        arrays = {"mean": self.mean}
        if self.std is not None:
            arrays["std"] = self.std
        files = {stem.with_name(f"{stem.name}_{end}.ome.tif"): end for end in arrays}
        for file in files:
            require_absent(file, overwrite)
        for file, end in files.items():
            write_prediction_tiff(file, arrays[end], name=f"{stem.name}_{end}")
        return tuple(files)


def labelled_like(
    values: Float[np.ndarray, "*leading y x"],
    image: Image,
    dims: tuple[str, ...],
    channel_names: tuple[str, ...],
    attributes: Mapping[str, Any],
) -> xr.DataArray:
    """Name the dimensions of predicted values and copy positions from the mixture.

    Parameters
    ----------
    values : numpy.ndarray of shape (..., Y, X)
        Predicted gray values.
    image : Image
        Mixture; its coordinates along `time`, `z`, `y` and `x` are copied.
    dims : tuple of str
        Names of the dimensions, such as ("z", "channel", "y", "x").
    channel_names : tuple of str
        Coordinate of the dimension `channel`.
    attributes : mapping
        Attributes: how the values were made.
    """
    coordinates: dict[str, Any] = {
        dim: image.data.coords[dim] for dim in dims if dim != "channel" and dim in image.data.coords
    }
    coordinates["channel"] = list(channel_names)
    return xr.DataArray(values, dims=dims, coords=coordinates, attrs=dict(attributes))
