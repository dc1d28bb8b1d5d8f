"""From what users give (arrays, paths, one per channel or all in one) to planes by channel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import psutil

from careamics_denoisplit.config import channel_identifier
from careamics_denoisplit.data.patches import Field
from careamics_denoisplit.data.planes import ImageView, Plane, planes_of
from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.images import Image, read_images

_SHARE_OF_MEMORY = 0.5


class Opened(NamedTuple):
    """Planes of all channels and of the measured mixture."""

    channels: tuple[tuple[Plane, ...], ...]
    """Planes of each channel."""
    mixture: tuple[Plane, ...] | None
    """Planes of the measured mixture."""
    targets: tuple[Image, ...]
    """Images that hold the channels."""
    mixtures: tuple[Image, ...] = ()
    """Images that hold the measured mixture."""

    @property
    def images(self) -> tuple[Image, ...]:
        """All images, for checks of their content."""
        return (*self.targets, *self.mixtures)

    def fields(self) -> tuple[Field, ...]:
        """Pair the planes by their order, up to the shortest channel."""
        count = min(len(planes) for planes in self.channels)
        return tuple(
            Field(
                tuple(planes[index] for planes in self.channels),
                None if self.mixture is None else self.mixture[index],
            )
            for index in range(count)
        )


def open_channels(
    target: Any,
    mixture: Any,
    channel_names: Sequence[str],
    *,
    axes: str | None = None,
    mixture_axes: str | None = None,
    chosen: Sequence[int] | None = None,
    in_memory: bool = True,
    what: str = "training",
) -> Opened:
    """Open the channels, and the measured mixture if there is one.

    Parameters
    ----------
    target : mapping, array, path or list
        Either one source for each channel by name, or sources that hold all channels.
    mixture : array, path, list or None
        The measured mixture.
    channel_names : sequence of str
        Name of each channel, in order.
    axes, mixture_axes : str, optional
        Axes of the targets and of the mixture; inferred by default.
    chosen : sequence of int, optional
        Channels to take from sources that hold more, in the order of the names.
    in_memory : bool
        Whether data that fit into half of the free memory are loaded; others never are.
    what : str
        What the data are for, for messages.

    Returns
    -------
    Opened
        The planes.

    Raises
    ------
    DataError
        If files, axes, names or number of channels contradict the configuration.
    """
    names = tuple(channel_names)
    if isinstance(target, Mapping):
        images = _by_name(target, names, axes, what)
    else:
        images = _together(target, names, axes, chosen, what)
    mixed = (
        []
        if mixture is None
        else read_images(mixture, axes=mixture_axes, name=f"{what} mixture", channels=1)
    )
    targets = _distinct(image for channel in images for image, _ in channel)
    distinct = _distinct([*targets, *mixed])
    load = in_memory and _fits(distinct)
    views = {id(image): ImageView(image, load) for image in distinct}
    return Opened(
        channels=tuple(
            tuple(plane for image, index in channel for plane in planes_of(views[id(image)], index))
            for channel in images
        ),
        mixture=None
        if mixture is None
        else tuple(plane for image in mixed for plane in planes_of(views[id(image)], 0)),
        targets=tuple(targets),
        mixtures=tuple(mixed),
    )


def axes_like(source: Any, images: Sequence[Image]) -> str | None:
    """Find axes for unnamed arrays: those of other images, if the number of axes is the same.

    Parameters
    ----------
    source : mapping, array, path or list
        Data that are to be opened.
    images : sequence of Image
        Data of the same kind that were opened before.

    Returns
    -------
    str or None
        Axes, or None where the source says itself what its axes are.
    """
    known = {image.axes for image in images}
    entries = list(source.values()) if isinstance(source, Mapping) else [source]
    flat = [
        item
        for entry in entries
        for item in (entry if isinstance(entry, list | tuple) else [entry])
    ]
    if len(known) != 1 or not all(isinstance(item, np.ndarray) for item in flat):
        return None
    (axes,) = known
    return axes if all(item.ndim == len(axes) for item in flat) else None


_Indexed = list[tuple[Image, int]]


def _distinct(images: Iterable[Image]) -> list[Image]:
    """Each image once, in order; one that holds several channels comes once for each."""
    return list({id(image): image for image in images}.values())


def _by_name(
    target: Mapping[Any, Any], names: tuple[str, ...], axes: str | None, what: str
) -> list[_Indexed]:
    """Open one source for each channel."""
    given = {channel_identifier(name): source for name, source in target.items()}
    if len(given) < len(target):
        raise DataError(
            f"Some names of the {what} data mean the same channel: {list(target)} become "
            f"{list(given)}. Give each channel once."
        )
    missing = [name for name in names if name not in given]
    superfluous = [name for name in given if name not in names]
    if missing or superfluous:
        raise DataError(
            f"The {what} data have the channels {list(given)}, but the configuration names "
            f"{list(names)}: missing {missing}, unknown {superfluous}."
        )
    opened: list[_Indexed] = []
    for name in names:
        images = read_images(given[name], axes=axes, name=f"{what} channel {name}", channels=1)
        for image in images:
            _require_own_name(image, name, names)
        opened.append([(_labelled(image, (name,)), 0) for image in images])
    return opened


def _together(
    target: Any,
    names: tuple[str, ...],
    axes: str | None,
    chosen: Sequence[int] | None,
    what: str,
) -> list[_Indexed]:
    """Open sources that hold all channels."""
    images = read_images(
        target,
        axes=axes,
        name=f"{what} channels",
        channels=len(names) if chosen is None else None,
    )
    indices = tuple(range(len(names))) if chosen is None else tuple(chosen)
    if chosen is None:
        images = [_labelled(image, names) for image in images]
    for image in images:
        if max(indices) >= image.n_channels:
            raise DataError(
                f"{image.name} has {image.n_channels} channels, axes {image.axes}; the "
                f"configuration selects {list(indices)}. Numbers start at 0."
            )
        _require_same_order(image, indices, names)
    return [[(image, index) for image in images] for index in indices]


def _labelled(image: Image, names: tuple[str, ...]) -> Image:
    """Name channels that the source does not name, so that messages can."""
    if image.channel_names is not None:
        return image
    return replace(image, data=image.data.assign_coords(channel=list(names)))


def _require_own_name(image: Image, name: str, names: tuple[str, ...]) -> None:
    """Refuse an image that says it is another of the channels."""
    found = _identifiers(image)
    if found is not None and found[0] in names and found[0] != name:
        raise DataError(
            f"{image.name} was given as channel {name!r}, but calls itself "
            f"{image.channel_names}. Swap the files, or correct the name in the file."
        )


def _require_same_order(image: Image, indices: tuple[int, ...], names: tuple[str, ...]) -> None:
    """Refuse an image that names the same channels in another order."""
    found = _identifiers(image)
    if found is None:
        return
    selected = tuple(found[index] for index in indices)
    folded = [name.casefold() for name in names]
    clash = [
        (own, name)
        for own, name in zip(selected, names, strict=True)
        if own.casefold() in folded and own.casefold() != name.casefold()
    ]
    if clash:
        raise DataError(
            f"{image.name} names its channels {list(selected)}, the configuration names them "
            f"{list(names)}. Give `channel_names` in the order of the file, or choose "
            "`data_config.channels`."
        )


def _identifiers(image: Image) -> tuple[str, ...] | None:
    """Turn the channel names that a file carries into identifiers."""
    if image.channel_names is None:
        return None
    try:
        return tuple(channel_identifier(name) for name in image.channel_names)
    except ConfigurationError:  # a name of the file that cannot be one of ours
        return None


def _fits(images: Sequence[Image]) -> bool:
    """Whether the images fit into half of the free memory, in their own types."""
    needed = sum(image.data.nbytes for image in images)
    return bool(needed <= _SHARE_OF_MEMORY * psutil.virtual_memory().available)
