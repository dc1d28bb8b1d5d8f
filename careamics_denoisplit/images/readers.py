"""One door for every kind of image: arrays, files, folders, lists and patterns."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images.arrays import read_array, read_data_array
from careamics_denoisplit.images.axes import require_channel_count, resolve_axes, side_by_side
from careamics_denoisplit.images.czi import read_czi
from careamics_denoisplit.images.folders import ZARR_SUFFIXES, expand, file_kind
from careamics_denoisplit.images.image import Image, Raw, images_of
from careamics_denoisplit.images.limits import MAX_IMAGE_BYTES
from careamics_denoisplit.images.mrc import read_mrc
from careamics_denoisplit.images.numpy_file import read_npy
from careamics_denoisplit.images.tiff import read_tiff
from careamics_denoisplit.images.zarr_store import read_zarr

Array = npt.NDArray[Any] | xr.DataArray
Source = Array | str | Path
_READERS: dict[str, Callable[..., Raw]] = {
    "tiff": read_tiff,
    "zarr": read_zarr,
    "czi": read_czi,
    "mrc": read_mrc,
    "npy": read_npy,
}


def read_images(
    source: Any,
    *,
    axes: str | None = None,
    name: str = "",
    channels: int | None = None,
    max_bytes: int = MAX_IMAGE_BYTES,
) -> list[Image]:
    """Open images and check that they are whole; pixels are read on demand.

    Parameters
    ----------
    source : numpy.ndarray, xarray.DataArray, str, pathlib.Path, Image or a sequence of them
        A path is a file, a Zarr store (or an array in it), a folder or a pattern such as
        `"data/*.tif"`.
    axes : str, optional
        One letter of S, T, C, Z, Y, X for each axis of each source; by default what the source
        says, else a guess.
    name : str, optional
        What the images are, for messages and as the source of arrays, such as "mixture".
    channels : int, optional
        Number of channels that each image must have; 1 for one structure or a mixture. It also
        helps to guess axes.
    max_bytes : int, default: 1 TiB
        Largest size that a file may declare.

    Returns
    -------
    list of Image
        In the order of the sources; folders in the order of their names.

    Raises
    ------
    DataError
        If there is no image, a file is cut, damaged, unreadable or ambiguous, or if axes or
        number of channels do not fit.
    """
    sources = _listed(source)
    if not sources:
        raise DataError(f"No image was given{f' for {name}' if name else ''}.")
    asked = Asked(name or "", axes, channels, max_bytes)
    arrays = sum(isinstance(entry, np.ndarray | xr.DataArray) for entry in sources)
    images: list[Image] = []
    for number, entry in enumerate(sources):
        label = name or "array"
        if isinstance(entry, Image):
            if channels is not None and entry.n_channels != channels:
                raise DataError(
                    f"{entry.name} has {entry.n_channels} channels; {channels} expected."
                )
            images.append(entry)
        elif isinstance(entry, np.ndarray | xr.DataArray):
            images += _read_one(entry, f"{label} {number}" if arrays > 1 else label, asked)
        elif isinstance(entry, str | Path):
            images += _read_paths(expand(entry), asked)
        else:
            raise DataError(f"{label} is a {type(entry).__name__}; give arrays or paths.")
    return images


class Asked(NamedTuple):
    """What the caller of `read_images` said."""

    name: str
    """What the images are."""
    axes: str | None
    """Letters of the axes."""
    channels: int | None
    """Number of channels that each image must have."""
    max_bytes: int
    """Largest size that a file may declare."""


def open_path(path: Path, *, max_bytes: int = MAX_IMAGE_BYTES) -> Raw:
    """Open one file or Zarr array with the reader for its suffix.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    max_bytes : int, default: 1 TiB
        Largest size that it may declare.

    Returns
    -------
    Raw
        Pixels in the order of the file.

    Raises
    ------
    DataError
        If the suffix is unknown or the file cannot be used.
    """
    kind = file_kind(path)
    if kind is None:
        raise DataError(
            f"{path} is no image file that can be read. Known are TIFF, OME-TIFF, Zarr "
            f"({', '.join(ZARR_SUFFIXES)}), CZI, MRC and NPY."
        )
    return _READERS[kind](path, max_bytes=max_bytes)


def _read_one(array: Array, label: str, asked: Asked) -> list[Image]:
    if isinstance(array, xr.DataArray):
        return _finish(read_data_array(array, label), asked, source=label, what=label)
    return _finish(read_array(array, label), asked, source=label, what=label)


def _read_paths(paths: Sequence[Path], asked: Asked) -> list[Image]:
    images: list[Image] = []
    covered: set[Path] = set()
    for path in paths:
        if path in covered:  # it was read together with another file of its OME set
            continue
        raw = open_path(path, max_bytes=asked.max_bytes)
        covered.update(path.parent / file for file in raw.files)
        what = f"{asked.name}, {path}" if asked.name else str(path)
        images += _finish(raw, asked, source=path, what=what)
    _require_alike(images)
    return images


def _require_alike(images: Sequence[Image]) -> None:
    """Refuse a folder or pattern whose files differ in type or number of channels."""
    for image in images[1:]:
        for what, first, other in (
            ("type", images[0].data.dtype, image.data.dtype),
            ("number of channels", images[0].n_channels, image.n_channels),
        ):
            if first != other:
                raise DataError(
                    f"{images[0].source} and {image.source} differ in {what} ({first}, {other}). "
                    "Pass a pattern for those that belong together, or a list of files."
                )


def _finish(raw: Raw, asked: Asked, *, source: str | Path, what: str) -> list[Image]:
    shape = raw.block.shape
    if raw.is_color and asked.axes is None:
        raise DataError(
            f"{what} is a color image (red, green, blue; {side_by_side(raw.axes or '', shape)}). "
            "Gray values are needed: export without color. If its planes are channels, pass "
            f"`axes=`, such as {raw.axes}."
        )
    axes = resolve_axes(
        asked.axes,
        raw.axes,
        shape,
        channels=asked.channels,
        what=what,
        binding=raw.axes_binding,
    )
    if asked.channels is not None:
        require_channel_count(axes.letters, shape, asked.channels, guessed=axes.guessed, what=what)
    return images_of(raw, axes.letters, source=source, guessed=axes.guessed)


def _listed(source: Any) -> list[Any]:
    if isinstance(source, Sequence) and not isinstance(source, str):
        return [entry for part in source for entry in _listed(part)]
    return [source]
