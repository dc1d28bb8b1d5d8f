"""What every reader returns: pixels that are read on demand, and what the file says about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from careamics_denoisplit.images.blocks import Arranged, Block, lazy_variable
from careamics_denoisplit.images.labels import labelled

DIMENSIONS = {"T": "time", "Z": "z", "C": "channel", "Y": "y", "X": "x"}


@dataclass(frozen=True)
class Image:
    """One field of view.

    Attributes
    ----------
    data : xarray.DataArray
        Gray values with the dimensions (channel, y, x), with `time` and `z` before them where the
        source has them; in the type of the source. Files are read when values are asked for.
        The coordinates are the channel names and the positions in micrometers, where known.
    source : str or pathlib.Path or None
        The file, or the name of the array.
    index : int or None
        Number of this image where its source holds several.
    channel_names : tuple of str or None
        As written in the source.
    pixel_size : tuple of float or None
        Height and width of a pixel in micrometers.
    unit : str
        Unit of the values.
    acquisition : mapping of str to str
        What is known of `camera`, `gain`, `exposure` and `date`.
    axes : str
        The axes of the source as they were understood, such as "SCYX".
    axes_guessed : bool
        Whether neither the user nor the source named the axes.
    chunk : tuple of int or None
        Rows and columns that the source stores together, where it stores tiles.
    """

    data: xr.DataArray
    source: str | Path | None = None
    index: int | None = None
    channel_names: tuple[str, ...] | None = None
    pixel_size: tuple[float, float] | None = None
    unit: str = "gray values"
    acquisition: Mapping[str, str] = field(default_factory=dict)
    axes: str = "YX"
    axes_guessed: bool = False
    chunk: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Name for messages: the source, and the number where it holds several images."""
        source = "array" if self.source is None else str(self.source)
        return source if self.index is None else f"{source}, image {self.index}"

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return int(self.data.sizes["channel"])

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.data.sizes["y"]), int(self.data.sizes["x"])


@dataclass(frozen=True)
class Raw:
    """What a reader found, before the axes are put in order.

    Attributes
    ----------
    block : Block
        The pixels in the order of the source.
    axes : str or None
        One of the letters S, T, C, Z, Y, X for each axis, `?` for an unnamed one.
    is_color : bool
        Whether the source calls its pixels red, green and blue.
    axes_binding : bool
        Whether the source says reliably which axis is the channel.
    channel_names, pixel_size, acquisition
        As in `Image`.
    files : frozenset of str
        Names of all files that the image is spread over, where it is more than one.
    chunk : tuple of int or None
        Size along each axis of what the source stores together, where it stores tiles.
    """

    block: Block
    axes: str | None
    is_color: bool = False
    axes_binding: bool = False
    channel_names: tuple[str, ...] | None = None
    pixel_size: tuple[float, float] | None = None
    acquisition: Mapping[str, str] = field(default_factory=dict)
    files: frozenset[str] = frozenset()
    chunk: tuple[int, ...] | None = None


def images_of(raw: Raw, axes: str, *, source: str | Path | None, guessed: bool) -> list[Image]:
    """Put the axes in order and make one image of each sample.

    Parameters
    ----------
    raw : Raw
        What a reader found.
    axes : str
        One of the letters S, T, C, Z, Y, X for each axis, checked before.
    source : str or pathlib.Path or None
        Where the pixels come from.
    guessed : bool
        Whether the axes are a guess.

    Returns
    -------
    list of Image
        One per index of the axis S, else a single one.
    """
    samples = range(raw.block.shape[axes.index("S")]) if "S" in axes else (None,)
    names = raw.channel_names
    n_channels = raw.block.shape[axes.index("C")] if "C" in axes else 1
    if names is not None and len(names) != n_channels:
        names = None
    return [
        Image(
            data=labelled(
                lazy_variable(Arranged(raw.block, axes, sample), DIMENSIONS),
                names,
                raw.pixel_size,
            ),
            source=source,
            index=sample,
            channel_names=names,
            pixel_size=raw.pixel_size,
            acquisition=raw.acquisition,
            axes=axes,
            axes_guessed=guessed,
            chunk=None
            if raw.chunk is None
            else (raw.chunk[axes.index("Y")], raw.chunk[axes.index("X")]),
        )
        for sample in samples
    ]
