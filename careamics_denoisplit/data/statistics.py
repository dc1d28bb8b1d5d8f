"""Means and standard deviations of the training data, measured once and stored."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Shaped
from pydantic import BaseModel, ConfigDict, Field, model_validator

from careamics_denoisplit.data.local_statistics import LocalLevels, LocalSample
from careamics_denoisplit.data.mixing import mix
from careamics_denoisplit.data.superposition import Superposition
from careamics_denoisplit.errors import DataError

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Values = TypeVar("Values", np.ndarray, torch.Tensor)

PERCENTILES = (0.1, 1.0, 5.0, 50.0, 95.0, 99.0, 99.9)
"""Percentiles of the input that are stored."""

_LARGEST_SAMPLE = 2**22
_LARGEST_PART = 2**20


class Statistics(BaseModel):
    """What raw gray values become normalised values with, and back.

    Raises
    ------
    pydantic.ValidationError
        If counts disagree, or a value is not finite, or a standard deviation is not positive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format_version: Literal[1] = 1
    """Version of the format of `statistics.json`."""
    input_mean: Finite
    """Mean that is subtracted from the input, in gray values."""
    input_std: Positive
    """Standard deviation that the input is divided by, in gray values."""
    target_means: tuple[Finite, ...]
    """Mean of each channel in gray values."""
    target_stds: tuple[Positive, ...]
    """Standard deviation of each channel in gray values."""
    channel_names: tuple[str, ...]
    """Name of each channel."""
    unit: str = "gray values"
    """Unit of the raw data."""
    mixing: Literal["mean", "sum", "measured"]
    """How the training input came about."""
    camera_offsets: tuple[Finite, ...] | None = None
    """Camera offset of each channel that is removed before mixing, in gray values, and added once
    afterwards; None where images are mixed as they are."""
    input_percentiles: dict[str, Finite]
    """Percentiles of the training input in gray values; keys are the percentages."""
    local_levels: LocalLevels | None = None
    """Brightness and noise around the pixels of the training input; None where a run of an earlier
    version did not measure them."""
    superposition: Superposition | None = None
    """How the input follows from its channels, where it is not as in training; None where it is."""
    n_pixels: Annotated[int, Field(ge=1)]
    """Pixels per channel (input pixels, where channels differ) that were measured."""

    @model_validator(mode="after")
    def check_counts(self) -> "Statistics":
        """Refuse lists of different length."""
        counts = {len(self.channel_names), len(self.target_means), len(self.target_stds)}
        if self.camera_offsets is not None and len(self.camera_offsets) != len(self.channel_names):
            raise ValueError(
                f"{len(self.channel_names)} channels, but {len(self.camera_offsets)} camera "
                "offsets. Give one per channel."
            )
        if len(counts) != 1:
            raise ValueError(
                f"{len(self.channel_names)} channels, {len(self.target_means)} means and "
                f"{len(self.target_stds)} standard deviations. Give one of each per channel."
            )
        return self

    def normalise_input(self, image: Values) -> Values:
        """Bring an input of any shape from gray values to normalised values.

        Parameters
        ----------
        image : numpy.ndarray or torch.Tensor
            Input in gray values.
        """
        result: Values = (_real(image) - self.input_mean) / self.input_std
        return result

    def normalise_target(self, channels: Values) -> Values:
        """Bring channels (..., C, Y, X) from gray values to normalised values."""
        means, stds = self._like(channels)
        result: Values = (channels - means) / stds
        return result

    def denormalise(self, channels: Values) -> Values:
        """Bring channels (..., C, Y, X) from normalised values to gray values."""
        means, stds = self._like(channels)
        result: Values = channels * stds + means
        return result

    def denormalise_std(self, spread: Values) -> Values:
        """Bring standard deviations (..., C, Y, X) from normalised values to gray values."""
        result: Values = spread * self._like(spread)[1]
        return result

    def _like(self, channels: Values) -> tuple[Values, Values]:
        """Means and standard deviations of shape (C, 1, 1), of the type of the argument."""
        count = len(self.channel_names)
        if channels.ndim < 3 or channels.shape[-3] != count:
            raise DataError(
                f"Expected {count} channels {self.channel_names} in the third last dimension, "
                f"got shape {tuple(channels.shape)}."
            )
        if isinstance(channels, torch.Tensor):
            means = torch.as_tensor(self.target_means, dtype=channels.dtype)
            stds = torch.as_tensor(self.target_stds, dtype=channels.dtype)
            place = channels.device
            return means.to(place).view(-1, 1, 1), stds.to(place).view(-1, 1, 1)
        kind = channels.dtype if np.issubdtype(channels.dtype, np.floating) else np.float32
        return (
            np.asarray(self.target_means, dtype=kind).reshape(-1, 1, 1),
            np.asarray(self.target_stds, dtype=kind).reshape(-1, 1, 1),
        )


class Moments:
    """Count, mean and variance of a stream of pixels in float64, merged block by block."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, block: Shaped[np.ndarray, "..."]) -> None:
        """Take a block of pixels into account (parallel algorithm of Chan et al.)."""
        values = block.astype(np.float64, copy=False)
        if values.size:
            mean = float(values.mean())
            self._merge(values.size, mean, float(np.square(values - mean).sum()))

    def add_parts(self, block: Shaped[np.ndarray, "..."]) -> None:
        """Take a large block into account in parts, whose copies in float64 need little memory."""
        flat = block.reshape(-1)
        for first in range(0, flat.size, _LARGEST_PART):
            self.add(flat[first : first + _LARGEST_PART])

    def merge(self, other: "Moments") -> None:
        """Take all pixels of another stream into account."""
        if other.count:
            self._merge(other.count, other.mean, other._squares)

    def _merge(self, count: int, mean: float, squares: float) -> None:
        """Add the moments of a block."""
        total = self.count + count
        shift = mean - self.mean
        self._squares += squares + shift**2 * self.count * count / total
        self.mean += shift * count / total
        self.count = total

    @property
    def std(self) -> float:
        """Standard deviation of all pixels (divided by their number)."""
        return float(np.sqrt(self._squares / self.count)) if self.count else 0.0


class PixelSample:
    """At most 2^22 pixels of a stream of known size, evenly spaced, for percentiles.

    Parameters
    ----------
    size : int
        Number of pixels of the whole stream.
    """

    def __init__(self, size: int) -> None:
        self.step = max(1, -(-size // _LARGEST_SAMPLE))
        self._next = 0
        self._kept: list[Shaped[np.ndarray, " n"]] = []

    def add(self, block: Shaped[np.ndarray, "..."]) -> None:
        """Keep every `step`-th pixel."""
        flat = block.reshape(-1)
        self._kept.append(flat[self._next :: self.step].astype(np.float64))
        self._next = (self._next - flat.size) % self.step

    def percentiles(self) -> dict[str, float]:
        """Return the percentiles of the pixels that were kept."""
        values = np.percentile(np.concatenate(self._kept), PERCENTILES)
        return {f"{key:g}": float(value) for key, value in zip(PERCENTILES, values, strict=True)}


def compute_statistics(
    channels: Sequence[Iterable[Shaped[np.ndarray, "_ _"]]],
    channel_names: Sequence[str],
    *,
    mixing: Literal["mean", "sum", "measured"] = "mean",
    mixture: Iterable[Shaped[np.ndarray, "_ _"]] | None = None,
    camera_offsets: Sequence[float] | None = None,
    n_pixels: int | None = None,
    unit: str = "gray values",
) -> Statistics:
    """Measure all training pixels once, in float64.

    Targets get the mean and standard deviation of their own channel. A measured mixture gets its
    own. An input that is mixed on the fly gets one mean and one standard deviation of the pixels
    of all channels pooled, not those of the mixed image, as in the published training; its
    normalised standard deviation is therefore below 1. For the sum both are multiplied by the
    number of channels, so that sum and mean give the same normalised input.

    Parameters
    ----------
    channels : sequence of C iterables of numpy.ndarray of shape (Y, X)
        Planes (or parts of planes) of each channel in gray values.
    channel_names : sequence of str
        Name of each channel.
    mixing : {"mean", "sum", "measured"}
        How the input comes about.
    mixture : iterable of numpy.ndarray of shape (Y, X), optional
        Planes of the measured mixture in gray values.
    camera_offsets : sequence of C float, optional
        Camera offset of each channel in gray values, removed before mixing and added once.
    n_pixels : int, optional
        Number of pixels per channel, which spaces the pixels that percentiles are taken from.
    unit : str
        Unit of the data.

    Returns
    -------
    Statistics
        Means, standard deviations and percentiles.

    Raises
    ------
    DataError
        If a channel is constant, empty or not finite (the message names it), or if the mixture
        is missing or superfluous.
    """
    names = tuple(channel_names)
    if len(channels) != len(names):
        raise DataError(f"{len(channels)} channels were given, but {len(names)} named: {names}.")
    if (mixing == "measured") != (mixture is not None):
        raise DataError(
            f"Mixing is {mixing!r} and a mixture was {'not ' if mixture is None else ''}given. "
            'Give the measured mixture together with mixing="measured".'
        )
    moments = [Moments() for _ in names]
    input_moments = Moments()
    sample = PixelSample(n_pixels or _LARGEST_SAMPLE)
    local = LocalSample(n_pixels or _LARGEST_SAMPLE)
    if mixture is not None:
        for index, plane in enumerate(mixture):
            _require_finite(plane, "mixture", index)
            input_moments.add(plane)
            sample.add(plane)
            local.add(plane)
    for index, planes in enumerate(zip_longest(*channels)):
        for name, plane, moment in zip(names, planes, moments, strict=True):
            if plane is not None:
                _require_finite(plane, f"channel {name!r}", index)
                moment.add(plane)
        if mixing != "measured" and all(plane is not None for plane in planes):
            height, width = (min(plane.shape[axis] for plane in planes) for axis in (0, 1))
            parts = np.stack([plane[:height, :width] for plane in planes])
            mixed = mix(parts, mixing, offsets=camera_offsets)
            sample.add(mixed)
            local.add(mixed)
    for name, moment in zip(names, moments, strict=True):
        _require_variation(moment, f"channel {name!r}")
    if mixing == "measured":
        _require_variation(input_moments, "mixture")
        mean, std, count = input_moments.mean, input_moments.std, input_moments.count
    else:
        pooled = Moments()
        for moment in moments:
            pooled.merge(moment)
        factor = len(names) if mixing == "sum" else 1
        mean, std = pooled.mean * factor, pooled.std * factor
        if camera_offsets is not None and mixing == "sum":
            mean += float(np.mean(camera_offsets)) - sum(camera_offsets)
        count = moments[0].count
    return Statistics(
        input_mean=mean,
        input_std=std,
        target_means=tuple(moment.mean for moment in moments),
        target_stds=tuple(moment.std for moment in moments),
        channel_names=names,
        unit=unit,
        mixing=mixing,
        camera_offsets=None if camera_offsets is None else tuple(camera_offsets),
        input_percentiles=sample.percentiles(),
        local_levels=local.levels(),
        n_pixels=count,
    )


def _real(image: Any) -> Any:
    """Turn whole numbers of numpy into float32, as torch does by itself."""
    if isinstance(image, torch.Tensor) or np.issubdtype(image.dtype, np.floating):
        return image
    return image.astype(np.float32)


def _require_finite(plane: Shaped[np.ndarray, "_ _"], what: str, index: int) -> None:
    """Refuse a plane with undefined or infinite pixels."""
    if not np.issubdtype(plane.dtype, np.floating):
        return
    bad = ~np.isfinite(plane)
    count = int(np.count_nonzero(bad))
    if count:
        first = tuple(int(place) for place in np.argwhere(bad)[0])
        raise DataError(
            f"The {what} has {count} pixels that are NaN or infinite, in block {index}, the first "
            f"at (y, x) = {first}. Replace them before training."
        )


def _require_variation(moments: Moments, what: str) -> None:
    """Refuse a stream of equal pixels, or of none."""
    if moments.count == 0:
        raise DataError(f"The {what} has no pixels. Give at least one image.")
    if not moments.std > 0:
        raise DataError(
            f"The {what} is constant: every pixel is {moments.mean:g}. "
            "Check that the right file and channel were given."
        )
