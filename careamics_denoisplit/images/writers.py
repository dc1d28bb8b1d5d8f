"""Results as OME-TIFF and OME-Zarr 0.5, with channel names and pixel size, whole or not at all."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import xarray as xr
import yaozarrs.v05 as ome_zarr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from careamics_denoisplit.errors import NonFiniteError
from careamics_denoisplit.files import whole_file, whole_folder
from careamics_denoisplit.images.image import DIMENSIONS
from careamics_denoisplit.images.labels import MICROMETRE, channel_names_of, pixel_size_of

_LETTERS = {dimension: letter for letter, dimension in DIMENSIONS.items()}
# OME-Zarr wants time, channel, then space.
_ZARR_ORDER = ("time", "channel", "z", "y", "x")
_CHUNK = 512
_SMALLEST_LEVEL = 256
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF", "FFFFFF")
_SOFTWARE = "careamics-denoisplit"
# Offsets of classic TIFF have 32 bits; noise hardly compresses, and metadata need room too.
_LARGEST_CLASSIC_TIFF = 2**32 - 2**25


def write_prediction_tiff(path: Path, array: xr.DataArray, *, name: str = "") -> None:
    """Write one OME-TIFF in float32, compressed.

    Parameters
    ----------
    path : pathlib.Path
        File ending in `.ome.tif`; it is replaced if it is there.
    array : xarray.DataArray
        Mean or std with the dimensions (time, z, channel, y, x), the first two where needed. The
        coordinate `channel` holds the names, `y` and `x` the positions with their unit.
    name : str, optional
        Name of the image in the metadata.

    Raises
    ------
    NonFiniteError
        If a value is NaN or infinite.
    StorageError
        If the file cannot be written.
    """
    values = _finite(array, str(path))
    metadata: dict[str, Any] = {"axes": "".join(_LETTERS[str(dim)] for dim in array.dims)}
    names, pixel_size = channel_names_of(array), pixel_size_of(array)
    if name:
        metadata["Name"] = name
    if names is not None:
        metadata["Channel"] = {"Name": list(names)}
    if pixel_size is not None:
        for axis, size in zip("YX", pixel_size, strict=True):
            metadata[f"PhysicalSize{axis}"] = size
            metadata[f"PhysicalSize{axis}Unit"] = "\N{MICRO SIGN}m"
    with whole_file(path) as temporary:
        tifffile.imwrite(
            temporary,
            values,
            ome=True,
            # tifffile decides this for pixels that are not compressed only.
            bigtiff=values.nbytes > _LARGEST_CLASSIC_TIFF,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
            software=_SOFTWARE,
        )


def write_prediction_zarr(
    path: Path,
    mean: xr.DataArray,
    std: xr.DataArray | None = None,
    *,
    std_suffix: str = "std",
    name: str = "",
) -> None:
    """Write one OME-Zarr 0.5 image with a pyramid; each chunk carries a checksum.

    Parameters
    ----------
    path : pathlib.Path
        Folder ending in `.ome.zarr`; it is replaced if it is there.
    mean : xarray.DataArray
        As for `write_prediction_tiff`.
    std : xarray.DataArray, optional
        Of the same shape; its channels follow those of the mean.
    std_suffix : str, default: "std"
        Ending of the names of these channels: "std" if calibrated, else "spread".
    name : str, optional
        Name of the image in the metadata.

    Raises
    ------
    NonFiniteError
        If a value is NaN or infinite.
    StorageError
        If the store cannot be written.
    """
    mean = mean.transpose(*_ZARR_ORDER, missing_dims="ignore")
    axis = mean.dims.index("channel")
    names = channel_names_of(mean) or tuple(map(str, range(mean.sizes["channel"])))
    parts = [_finite(mean, str(path))]
    if std is not None:
        std = std.transpose(*_ZARR_ORDER, missing_dims="ignore")
        parts.append(_finite(std, str(path)))
        names = (*names, *(f"{label}_{std_suffix}" for label in names))
    levels = _pyramid(np.concatenate(parts, axis=axis))
    metadata = _metadata(levels, mean, names, name or path.name)
    with whole_folder(path) as temporary:
        group = zarr.open_group(store=str(temporary), mode="w", zarr_format=3)
        group.attrs["ome"] = metadata.model_dump(mode="json", exclude_none=True, by_alias=True)
        for number, level in enumerate(levels):
            _write_level(group, str(number), level, tuple(map(str, mean.dims)))


def _write_level(
    group: zarr.Group, name: str, level: npt.NDArray[np.float32], dims: tuple[str, ...]
) -> None:
    array = group.create_array(
        name=name,
        shape=level.shape,
        dtype="float32",
        chunks=(*(1 for _ in level.shape[:-2]), *(min(size, _CHUNK) for size in level.shape[-2:])),
        compressors=[ZstdCodec(level=3), Crc32cCodec()],
        dimension_names=[_LETTERS[dim].lower() for dim in dims],
        # A chunk of zeros is stored too, so that a missing chunk is always an error.
        config={"write_empty_chunks": True},
    )
    array[...] = level


def _finite(array: xr.DataArray, what: str) -> npt.NDArray[np.float32]:
    values = np.ascontiguousarray(array.values, dtype=np.float32)
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise NonFiniteError(
            f"{what} would hold {bad} values that are NaN or infinite; nothing was written. "
            "Check the model on an image of its training data."
        )
    return values


def _pyramid(full: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    levels = [full]
    while max(levels[-1].shape[-2:]) > _SMALLEST_LEVEL and min(levels[-1].shape[-2:]) > 1:
        levels.append(_halve(levels[-1]))
    return levels


def _halve(level: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Average 2 x 2 pixels; the last row or column of an odd size is averaged with itself."""
    padding = [(0, 0)] * (level.ndim - 2) + [(0, size % 2) for size in level.shape[-2:]]
    even = np.pad(level, padding, mode="edge")
    height, width = even.shape[-2] // 2, even.shape[-1] // 2
    blocks = even.reshape(*level.shape[:-2], height, 2, width, 2)
    halved: npt.NDArray[np.float32] = blocks.mean(axis=(-3, -1), dtype=np.float32)
    return halved


def _metadata(
    levels: list[npt.NDArray[np.float32]],
    mean: xr.DataArray,
    names: tuple[str, ...],
    name: str,
) -> ome_zarr.Image:
    pixel_size = pixel_size_of(mean)
    axes = [_axis(_LETTERS[str(dim)].lower(), pixel_size is not None) for dim in mean.dims]
    datasets = []
    for number in range(len(levels)):
        steps = [factor * 2.0**number for factor in pixel_size or (1.0, 1.0)]
        scale = [1.0] * (mean.ndim - 2) + steps
        # Averaging 2 x 2 pixels moves the centre of the first pixel by half a pixel of level 0.
        shift = [0.0] * (mean.ndim - 2) + [
            (2.0**number - 1.0) / 2.0 * factor for factor in pixel_size or (1.0, 1.0)
        ]
        transformations: list[Any] = [ome_zarr.ScaleTransformation(scale=scale)]
        if number:
            transformations.append(ome_zarr.TranslationTransformation(translation=shift))
        datasets.append(
            ome_zarr.Dataset(path=str(number), coordinateTransformations=transformations)
        )
    multiscale = ome_zarr.Multiscale(name=name, axes=axes, datasets=datasets, type="mean")
    return ome_zarr.Image(
        multiscales=[multiscale],
        omero=ome_zarr.Omero(channels=_channels(levels[0], mean, names)),
    )


def _axis(letter: str, has_unit: bool) -> Any:
    if letter == "c":
        return ome_zarr.ChannelAxis(name=letter)
    if letter == "t":
        return ome_zarr.TimeAxis(name=letter)
    unit = MICROMETRE if has_unit and letter != "z" else None
    return ome_zarr.SpaceAxis(name=letter, unit=unit)


def _channels(
    full: npt.NDArray[np.float32], mean: xr.DataArray, names: tuple[str, ...]
) -> list[ome_zarr.OmeroChannel]:
    axis = mean.dims.index("channel")
    channels = []
    for number, label in enumerate(names):
        values = full.take(number, axis=axis)
        low, high = float(values.min()), float(values.max())
        end = high if high > low else math.nextafter(low, math.inf)
        channels.append(
            ome_zarr.OmeroChannel(
                label=label,
                color=_COLORS[number % len(_COLORS)],
                active=True,
                window=ome_zarr.OmeroWindow(start=low, end=end, min=low, max=end),
            )
        )
    return channels
