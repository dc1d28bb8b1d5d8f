"""From what users give to arrays and images: careamics' loading, channels, mixtures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr
from careamics.dataset.factory import ImageStackLoading, ReadFuncLoading

from careamics_denoisplit.careamist.image_stacks import images_of_stacks
from careamics_denoisplit.config import channel_identifier
from careamics_denoisplit.data import DenoiSplitDataModule, Plane
from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.files import did_you_mean
from careamics_denoisplit.images import Image, check_channel_names, read_images

MEGAPIXEL = 1024


def read_with(loading: Any, source: Any, axes: str | None = None) -> Any:
    """Read sources in the way that careamics' `loading` says.

    Parameters
    ----------
    loading : ReadFuncLoading or ImageStackLoading or None
        A read function for paths, a loader of image stacks for whatever it takes; None leaves the
        sources to our own readers.
    source : array, path, mapping, list or None
        What the user gave; a read function leaves arrays alone.
    axes : str or None
        Axes that a loader of image stacks is told.

    Returns
    -------
    object
        The same structure with arrays or images in place of paths.

    Raises
    ------
    ConfigurationError
        If `loading` is of another kind, or a loader of image stacks lacks the axes.
    DataError
        If a folder holds no file for the read function, or a loader returned no image stacks.
    """
    if loading is None or source is None:
        return source
    if not isinstance(loading, ReadFuncLoading | ImageStackLoading):
        raise ConfigurationError(
            f"`loading` of {type(loading).__name__} is not supported. Give `ReadFuncLoading` or "
            "`ImageStackLoading` of careamics, or arrays or paths without `loading`."
        )
    if isinstance(source, Mapping):
        return {name: read_with(loading, each, axes) for name, each in source.items()}
    if isinstance(loading, ImageStackLoading):
        return images_of_stacks(loading, source, axes)
    if isinstance(source, str | Path):
        return [array for _, array in _read_paths(loading, source)]
    if isinstance(source, list | tuple):
        read = [read_with(loading, each) for each in source]
        return [each for part in read for each in (part if isinstance(part, list) else [part])]
    return source


def open_mixtures(
    source: Any,
    axes: str | None,
    channels: Sequence[int] | str | None,
    loading: Any = None,
    configured_axes: str = "auto",
) -> tuple[list[Image], int]:
    """Open the images to predict, and find their input channel.

    Parameters
    ----------
    source : array, path, Image or list
        Superimposed images.
    axes : str or None
        Letters of the axes; inferred by default.
    channels : sequence of one int, "all" or None
        Number of the input channel where images have several.
    loading : ReadFuncLoading or ImageStackLoading or None
        As in `read_with`.
    configured_axes : str
        Axes of the configuration, which a loader of image stacks is told where `axes` is None.

    Returns
    -------
    tuple of list of Image and int
        The images and the number of the channel.

    Raises
    ------
    ConfigurationError
        If more than one channel is chosen: the network has one input.
    DataError
        If an image cannot be read or has several channels and none was chosen.
    """
    chosen = None if channels is None or channels == "all" else channels
    if chosen is not None and (isinstance(chosen, str) or len(chosen) != 1):
        raise ConfigurationError(
            f"The network has one input, a mixture: `channels` must hold one number, got "
            f"{channels!r}. To predict from separate channels mix them first."
        )
    count = 1 if chosen is None else None
    images = [
        image if path is None else replace(image, source=path)
        for path, part in _with_paths(loading, source, axes or configured_axes)
        for image in read_images(part, axes=axes, name=_name(path), channels=count)
    ]
    return images, 0 if chosen is None else int(chosen[0])


def _with_paths(loading: Any, source: Any, axes: str) -> list[tuple[Path | None, Any]]:
    """Read paths by the user's function, each with its path, by which results are named."""
    if not isinstance(loading, ReadFuncLoading):
        return [(None, read_with(loading, source, axes))]
    if isinstance(source, str | Path):
        return list(_read_paths(loading, source))
    entries = source if isinstance(source, list | tuple) else [source]
    if not any(isinstance(entry, str | Path) for entry in entries):
        return [(None, source)]
    return [found for entry in entries for found in _with_paths(loading, entry, axes)]


def _name(path: Path | None) -> str:
    return "mixture" if path is None else f"mixture {path}"


def _read_paths(loading: ReadFuncLoading, source: str | Path) -> Iterator[tuple[Path, Any]]:
    """Read a file, or those of a folder that the filter names, with the user's function."""
    path = Path(source)
    paths = [path]
    if path.is_dir():
        pattern = loading.extension_filter or "*.*"
        paths = sorted(each for each in path.rglob(pattern) if each.is_file())
        if not paths:
            raise DataError(
                f"The folder {path} holds no file {pattern!r}. Check the folder and "
                "`extension_filter` of `ReadFuncLoading`."
            )
    elif not path.exists():
        raise DataError(f"There is no file or folder {str(path)!r}.{did_you_mean(path)}")
    for each in paths:
        yield each, loading.read_source_func(each, **(loading.read_kwargs or {}))


def arrays_by_channel(
    source: Any, names: Sequence[str], axes: str | None, what: str
) -> dict[str, list[xr.DataArray]]:
    """Open images of all channels, lazily, and sort them by channel.

    Parameters
    ----------
    source : mapping, array, path or list
        One source for each channel by name, or sources that hold all channels.
    names : sequence of str
        Name of each channel, in order.
    axes : str or None
        Letters of the axes; inferred by default.
    what : str
        What the images are, for messages.

    Returns
    -------
    dict of str to list of xarray.DataArray
        Arrays (..., 1, Y, X) of each channel.

    Raises
    ------
    DataError
        If a channel is missing or unknown, or an image cannot be read.
    """
    if isinstance(source, Mapping):
        given = {channel_identifier(name): each for name, each in source.items()}
        if set(given) != set(names):
            raise DataError(
                f"The {what} has the channels {list(given)}, the configuration names "
                f"{list(names)}. Give one source for each."
            )
        return {
            name: [
                image.data
                for image in read_images(
                    given[name], axes=axes, name=f"{what} channel {name}", channels=1
                )
            ]
            for name in names
        }
    images = read_images(source, axes=axes, name=what, channels=len(names))
    for image in images:
        check_channel_names(image, tuple(names))
    return {
        name: [image.data.isel(channel=[index]) for image in images]
        for index, name in enumerate(names)
    }


def middle_of(plane: Plane) -> Any:
    """Read at most a megapixel from the middle of a plane, shape (Y, X)."""
    height, width = plane.shape
    rows, columns = min(height, MEGAPIXEL), min(width, MEGAPIXEL)
    return plane.crop((height - rows) // 2, (width - columns) // 2, rows, columns)


def training_planes(datamodule: DenoiSplitDataModule) -> list[list[Any]]:
    """Read the training planes of each channel, for a noise model of their own."""
    return [
        [plane.crop(0, 0, *plane.shape) for plane in planes]
        for planes in datamodule.training.channels
    ]
