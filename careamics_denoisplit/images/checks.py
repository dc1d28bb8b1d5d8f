"""What the pixels themselves say: finite, not constant, not clipped, of a usable type."""

import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import BaseModel, ConfigDict

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images.image import Image

SATURATION_LIMIT = 0.01
_BLOCK_BYTES = 32 * 2**20
# Largest values of cameras with 8, 10, 12, 14 and 16 bits; also those of the types themselves.
_FULL_SCALES = {2**bits - 1 for bits in (8, 10, 12, 14, 15, 16, 31, 32, 63, 64)}


class SaturationWarning(UserWarning):
    """More than 1 % of the pixels of a channel are clipped at the largest value."""


class ChannelReport(BaseModel):
    """What was found in the pixels of one channel."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Name of the channel, or its number."""
    minimum: float
    """Smallest gray value."""
    maximum: float
    """Largest gray value."""
    saturated_fraction: float
    """Share of pixels at the largest value that the camera or the type can hold."""
    count: int
    """Number of pixels."""

    @property
    def constant(self) -> bool:
        """Whether all pixels are equal."""
        return self.minimum == self.maximum


class PixelReport(BaseModel):
    """What was found in the pixels of an image."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    what: str
    """The image, as it is called in messages."""
    dtype: str
    """Type of the values in the source."""
    channels: tuple[ChannelReport, ...]
    """One report per channel."""

    @property
    def constant_channels(self) -> tuple[str, ...]:
        """Names of channels whose pixels are all equal."""
        return tuple(channel.name for channel in self.channels if channel.constant)

    @property
    def saturated_channels(self) -> tuple[str, ...]:
        """Names of channels with more than 1 % of saturated pixels."""
        return tuple(c.name for c in self.channels if c.saturated_fraction > SATURATION_LIMIT)

    def warnings(self) -> tuple[str, ...]:
        """Say in words what is doubtful, one sentence per channel."""
        return tuple(
            f"{self.what}, channel {c.name}: {c.saturated_fraction:.1%} of the pixels are "
            f"saturated at {c.maximum:g}. Their true intensity is unknown; expose shorter."
            for c in self.channels
            if c.saturated_fraction > SATURATION_LIMIT
        )


class _Plane(NamedTuple):
    channel: int
    leading: dict[str, int]
    first: tuple[int, int]
    values: npt.NDArray[Any]


def check_pixels(
    image: Image | xr.DataArray | npt.NDArray[Any],
    what: str = "",
    *,
    refuse_constant: bool = False,
    every: int = 1,
    visit: Callable[[int, npt.NDArray[Any]], None] | None = None,
) -> PixelReport:
    """Read all pixels once, in blocks of 32 MiB, and refuse what no network can use.

    Parameters
    ----------
    image : Image or xarray.DataArray or numpy.ndarray
        The image; the last axes are (channel, y, x), or (y, x) for an array of two axes.
    what : str, optional
        What the image is, for messages, such as "mixture"; by default its source.
    refuse_constant : bool, default: False
        Whether a constant channel is an error, as it is in training.
    every : int, default: 1
        Read only every n-th block of each channel, where there is no time for all pixels.
    visit : callable, optional
        Called with the number of the channel and each block (Y, X) that was read.

    Returns
    -------
    PixelReport
        Range and saturated share of each channel.

    Raises
    ------
    DataError
        If a pixel is NaN or infinite (the message names channel, sample, count and the first
        position), if the type is not a real number, if there is no pixel, or if a channel is
        constant and that is refused.

    Warns
    -----
    SaturationWarning
        If more than 1 % of a channel is saturated.
    """
    data, names, what = _as_labelled(image, what)
    require_real(data.dtype, what)
    if data.size == 0:
        raise DataError(f"{what} has no pixels: its shape is {dict(data.sizes)}.")
    tallies = [_Tally(name) for name in names]
    chunk = image.chunk if isinstance(image, Image) else None
    for plane in _planes(data, chunk, every):
        tallies[plane.channel].add(plane)
        if visit is not None:
            visit(plane.channel, plane.values)
    _refuse_non_finite(tallies, what)
    report = PixelReport(
        what=what,
        dtype=str(data.dtype),
        channels=tuple(tally.report(data.dtype) for tally in tallies),
    )
    if refuse_constant and report.constant_channels:
        raise DataError(
            f"{what}: channel {', '.join(report.constant_channels)} is constant (all pixels are "
            f"equal), nothing can be learned from it. Check the export of this channel."
        )
    for message in report.warnings():
        warnings.warn(message, SaturationWarning, stacklevel=2)
    return report


def as_float32(
    array: npt.ArrayLike | xr.DataArray, what: str = "the array"
) -> npt.NDArray[np.float32]:
    """Copy real numbers of any type to native float32.

    Parameters
    ----------
    array : array-like or xarray.DataArray
        Any shape, byte order and memory layout; never changed.
    what : str
        Name for messages.

    Returns
    -------
    numpy.ndarray of numpy.float32
        A new array in C order.

    Raises
    ------
    DataError
        If the values are no real numbers, are masked, or are too large for float32.
    """
    source = array.values if isinstance(array, xr.DataArray) else array
    refuse_masked(source, what)
    values = np.asarray(source)
    require_real(values.dtype, what)
    with np.errstate(over="ignore"):
        result = np.array(values, dtype=np.float32, order="C")
    if values.dtype.itemsize > 4 and values.dtype.kind == "f":
        overflown = np.isinf(result) & np.isfinite(values)
        if overflown.any():
            raise DataError(
                f"{what} has {int(overflown.sum())} values beyond the range of float32 (3.4e38). "
                "Divide the image by a constant."
            )
    return result


def refuse_masked(array: Any, what: str) -> None:
    """Refuse an array with masked pixels.

    Parameters
    ----------
    array : object
        Any array.
    what : str
        Name for messages.

    Raises
    ------
    DataError
        If pixels are masked.
    """
    masked = int(np.ma.getmaskarray(array).sum()) if isinstance(array, np.ma.MaskedArray) else 0
    if masked:
        raise DataError(f"{what} has {masked} masked pixels. Fill them, or crop them away.")


def require_real(dtype: np.dtype[Any], what: str) -> None:
    """Refuse types that are no real numbers.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the values.
    what : str
        Name for messages.

    Raises
    ------
    DataError
        For complex numbers, Python objects, text, dates and records.
    """
    if dtype.kind not in "biuf":
        raise DataError(
            f"{what} holds values of type {dtype}; real numbers are needed. Convert it to "
            "float32 or an integer type (of complex numbers, take the modulus)."
        )


def check_channel_names(image: Image, expected: tuple[str, ...], what: str = "") -> None:
    """Compare the channel names in a file with those of the configuration.

    Names that are unknown to the configuration are left alone, for many programs write numbers.

    Parameters
    ----------
    image : Image
        The image.
    expected : tuple of str
        Names in the order in which the channels are used.
    what : str, optional
        Name for messages; by default the source.

    Raises
    ------
    DataError
        If a channel of the file bears the name of another channel of the configuration.
    """
    wanted = [_plain(name) for name in expected]
    found = [_plain(name) for name in image.channel_names or ()]
    for position, name in enumerate(found[: len(wanted)]):
        if name in wanted and name != wanted[position]:
            raise DataError(
                f"{what or image.name}: its channels are called "
                f"{', '.join(image.channel_names or ())}, but they are used as "
                f"{', '.join(expected)}. Give the channels in one order."
            )


class _Tally:
    """Running count of one channel."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.minimum, self.maximum = np.inf, -np.inf
        self.at_maximum = self.count = self.not_a_number = self.infinite = 0
        self.first = ""

    def add(self, plane: _Plane) -> None:
        values = plane.values
        self.count += values.size
        if values.dtype.kind == "f":
            bad = ~np.isfinite(values)
            if bad.any():
                self.add_bad(plane, bad)
                values = values[~bad]
        if values.size == 0:
            return
        low, high = values.min(), values.max()
        self.minimum = min(self.minimum, low)
        if high > self.maximum:
            self.maximum, self.at_maximum = high, 0
        if high == self.maximum and values.dtype.kind in "iu":
            self.at_maximum += int(np.count_nonzero(values == high))

    def add_bad(self, plane: _Plane, bad: npt.NDArray[np.bool_]) -> None:
        missing = int(np.count_nonzero(np.isnan(plane.values)))
        self.not_a_number += missing
        self.infinite += int(np.count_nonzero(bad)) - missing
        if not self.first:
            y, x = np.unravel_index(int(bad.argmax()), bad.shape)
            where = "".join(f"{dim} {index}, " for dim, index in plane.leading.items())
            self.first = f"{where}(y, x) = ({int(y) + plane.first[0]}, {int(x) + plane.first[1]})"

    def report(self, dtype: np.dtype[Any]) -> ChannelReport:
        full = dtype.kind in "iu" and int(self.maximum) in _FULL_SCALES
        varies = self.minimum != self.maximum
        return ChannelReport(
            name=self.name,
            minimum=float(self.minimum),
            maximum=float(self.maximum),
            saturated_fraction=self.at_maximum / self.count if full and varies else 0.0,
            count=self.count,
        )


def _refuse_non_finite(tallies: list[_Tally], what: str) -> None:
    for tally in tallies:
        if tally.first:
            raise DataError(
                f"{what}, channel {tally.name}: {tally.not_a_number} NaN and {tally.infinite} "
                f"infinite pixels, the first at {tally.first}. Replace them, or crop them away."
            )


def _as_labelled(
    image: Image | xr.DataArray | npt.NDArray[Any], what: str
) -> tuple[xr.DataArray, list[str], str]:
    if isinstance(image, Image):
        data, what = image.data, what or image.name
        if image.index is not None and str(image.index) not in what:
            what = f"{what}, image {image.index}"
    elif isinstance(image, xr.DataArray):
        data = image
    else:
        data = xr.DataArray(image, dims=_dims(np.ndim(image), what))
    if "channel" not in data.dims:
        data = data.expand_dims("channel", axis=max(data.ndim - 2, 0))
    numbers = list(range(data.sizes["channel"]))
    names = data["channel"].values.tolist() if "channel" in data.coords else numbers
    return data, [str(name) for name in names], what or "the array"


def _dims(n_axes: int, what: str) -> tuple[str, ...]:
    if n_axes < 2:
        raise DataError(f"{what or 'the array'} has {n_axes} axes; at least (y, x) are needed.")
    names = ("channel", "y", "x") if n_axes > 2 else ("y", "x")
    return (*(f"sample{i or ''}" for i in range(n_axes - 3)), *names)


def _planes(data: xr.DataArray, chunk: tuple[int, int] | None, every: int) -> Iterator[_Plane]:
    """Read every n-th block of each channel."""
    leading = [dim for dim in data.dims if dim not in {"channel", "y", "x"}]
    variable = (
        data.variable.transpose(*leading, "channel", "y", "x", missing_dims="raise")
        if (data.dims[-3:] != ("channel", "y", "x"))
        else data.variable
    )
    shape = (data.sizes["y"], data.sizes["x"])
    for channel in range(data.sizes["channel"]):
        for where, (y, x, rows, columns) in islice(
            _places(data, leading, block_places(shape, data.dtype.itemsize, chunk)), 0, None, every
        ):
            part = variable[(*where.values(), channel, slice(y, y + rows), slice(x, x + columns))]
            yield _Plane(channel, where, (y, x), np.asarray(part.values))


def _places(
    data: xr.DataArray, leading: list[Any], blocks: list[tuple[int, int, int, int]]
) -> Iterator[tuple[dict[str, int], tuple[int, int, int, int]]]:
    for position in np.ndindex(*(data.sizes[dim] for dim in leading)):
        where = {str(dim): int(i) for dim, i in zip(leading, position, strict=True)}
        for block in blocks:
            yield where, block


def block_places(
    shape: tuple[int, int], itemsize: int, chunk: tuple[int, int] | None
) -> list[tuple[int, int, int, int]]:
    """Divide a plane into blocks of at most 32 MiB, along the borders of what is stored together.

    Parameters
    ----------
    shape : tuple of int
        Height and width in pixels.
    itemsize : int
        Bytes of a pixel.
    chunk : tuple of int or None
        Rows and columns that the source stores together; a chunk that is cut would be decoded
        once for each of its parts.

    Returns
    -------
    list of tuple of int
        First row, first column, rows and columns of each block; a chunk at least.
    """
    (height, width), pixels = shape, max(1, _BLOCK_BYTES // itemsize)
    rows, columns = max(1, pixels // max(1, width)), width
    if chunk is not None and chunk[0] > rows:
        rows = chunk[0]
        columns = max(1, pixels // (chunk[0] * chunk[1])) * chunk[1]
    elif chunk is not None:
        rows -= rows % chunk[0]
    return [
        (y, x, min(rows, height - y), min(columns, width - x))
        for y in range(0, height, rows)
        for x in range(0, width, columns)
    ]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
