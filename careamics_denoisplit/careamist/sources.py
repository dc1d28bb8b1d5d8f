"""From what users give to arrays and images: careamics' loading, channels, mixtures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from careamics.dataset.factory import ImageStackLoading, ReadFuncLoading

from careamics_denoisplit.config import channel_identifier
from careamics_denoisplit.data import DenoiSplitDataModule, Plane
from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.images import Image, check_channel_names, read_images

MEGAPIXEL = 1024


def read_with(loading: Any, source: Any) -> Any:
    """Read paths with the function that careamics' `loading` holds.

    Parameters
    ----------
    loading : ReadFuncLoading or None
        None leaves the sources to our own readers.
    source : array, path, mapping, list or None
        What the user gave; arrays are left alone.

    Returns
    -------
    object
        The same structure with arrays in place of paths.

    Raises
    ------
    ConfigurationError
        If `loading` is of another kind.
    """
    if loading is None or source is None:
        return source
    if not isinstance(loading, ReadFuncLoading):
        kind = type(loading).__name__
        advice = "Give arrays, xarray arrays (they may be lazy) or paths, or `ReadFuncLoading`."
        known = "image stacks" if isinstance(loading, ImageStackLoading) else kind
        raise ConfigurationError(f"`loading` of {known} is not supported. {advice}")
    if isinstance(source, Mapping):
        return {name: read_with(loading, each) for name, each in source.items()}
    if isinstance(source, str | Path):
        path = Path(source)
        paths = sorted(path.rglob(loading.extension_filter or "*.*")) if path.is_dir() else [path]
        return [loading.read_source_func(each, **(loading.read_kwargs or {})) for each in paths]
    if isinstance(source, list | tuple):
        read = [read_with(loading, each) for each in source]
        return [each for part in read for each in (part if isinstance(part, list) else [part])]
    return source


def open_mixtures(
    source: Any, axes: str | None, channels: Sequence[int] | str | None
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
    if channels is None or channels == "all":
        return read_images(source, axes=axes, name="mixture", channels=1), 0
    chosen = [] if isinstance(channels, str) else list(channels)
    if len(chosen) != 1:
        raise ConfigurationError(
            f"The network has one input, a mixture: `channels` must hold one number, got "
            f"{channels!r}. To predict from separate channels mix them first."
        )
    return read_images(source, axes=axes, name="mixture"), chosen[0]


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
