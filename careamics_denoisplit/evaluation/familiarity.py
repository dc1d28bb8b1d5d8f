"""How far an image that was predicted is what its model was trained for, without any truth."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Float32, Float64, Real

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.evaluation.trust import (
    Trust,
    TrustSums,
    fitted_superposition,
    mixture_noise_variance,
)
from careamics_denoisplit.images import Image, as_float32
from careamics_denoisplit.prediction import (
    Monitors,
    Prediction,
    outside_training,
    superposition_of,
)

SURROUNDINGS = 48
"""Rows beside a band that its maps depend on: two windows of the warning maps, and their masks."""

_PIXELS_AT_ONCE = 2**22
_PIXELS_FOR_MEDIANS = 2**18

CONSISTENCY, INPUT_RANGE = "consistency", "input_range"


@dataclass(frozen=True)
class Familiarity:
    """What is known of one image without truth.

    Attributes
    ----------
    trust : Trust
        Between 0 and 1, and what it rests on.
    outside : float
        Share of the pixels that are outside of what the model was trained for, by either map.
    consistency, input_range : float or None
        Median of each warning map; None where there is none.
    maps : dict of str to xarray.DataArray
        The warning maps, of the dimensions of the mean with one channel; empty where they were not
        asked for.
    """

    trust: Trust
    outside: float
    consistency: float | None
    input_range: float | None
    maps: Mapping[str, xr.DataArray] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types, trust under the keys of `evaluate`."""
        return {
            "trust": self.trust.score,
            "relative_variance": self.trust.relative_variance,
            "relative_residual": self.trust.relative_residual,
            "outside": self.outside,
            CONSISTENCY: self.consistency,
            INPUT_RANGE: self.input_range,
        }

    def words(self) -> str:
        """Say it in one line."""
        return (
            f"trust {self.trust.score:.2f}; {100 * self.outside:.0f} % of the image is outside "
            "what this model was trained for"
        )


def familiarity_of(
    trained: TrainedModel,
    image: Image,
    prediction: Prediction,
    *,
    channel: int = 0,
    keep_maps: bool = False,
) -> Familiarity:
    """Compute warning maps and trust of an image that was predicted, band by band.

    A clean map does not prove a right split: a structure that looks like one of the training, or
    channels that changed places, raise no warning.

    Parameters
    ----------
    trained : TrainedModel
        What predicted.
    image : Image
        The mixture.
    prediction : Prediction
        Its channels, and their std.
    channel : int
        Number of the input channel.
    keep_maps : bool
        Whether the maps are returned.

    Raises
    ------
    DataError
        If a pixel cannot be read.
    """
    monitors = Monitors.of(trained)
    sums = TrustSums(len(trained.channel_names))
    mean, std = prediction.mean, prediction.std
    shape = (*mean.shape[:-3], 1, *mean.shape[-2:])
    kept = {name: np.empty(shape, np.float32) for name in monitors.names if keep_maps}
    sample: dict[str, list[np.ndarray]] = {name: [] for name in monitors.names}
    n_outside = 0
    leading = [str(dim) for dim in mean.dims[:-3]]
    for index in np.ndindex(mean.shape[:-3]):
        where: dict[str, int] = dict(zip(leading, index, strict=True))
        raw = as_float32(image.data.isel({**where, "channel": channel}), image.name)
        here = None if std is None else std.isel(where).values
        step = math.ceil(math.sqrt(raw.size / _PIXELS_FOR_MEDIANS))
        for rows, maps in _bands(trained, monitors, sums, raw, mean.isel(where).values, here):
            n_outside += int(outside_training(maps.get(CONSISTENCY), maps[INPUT_RANGE]).sum())
            for name, values in maps.items():
                sample[name].append(values[::step, ::step].ravel())
                if keep_maps:
                    kept[name][*index, 0, rows] = values
    medians = {name: float(np.median(np.concatenate(parts))) for name, parts in sample.items()}
    return Familiarity(
        sums.result(),
        n_outside / math.prod(shape),
        medians.get(CONSISTENCY),
        medians.get(INPUT_RANGE),
        {name: _like(values, prediction, name) for name, values in kept.items()},
    )


def _bands(
    trained: TrainedModel,
    monitors: Monitors,
    sums: TrustSums,
    raw: Float32[np.ndarray, "y x"],
    mean: Float[np.ndarray, "c y x"],
    std: Float[np.ndarray, "c y x"] | None,
) -> Iterator[tuple[slice, dict[str, Float32[np.ndarray, "r x"]]]]:
    """Yield the maps of bands of rows; add each band to the sums."""
    height, width = raw.shape
    gains, offset = superposition_in(trained, raw, mean)
    step = max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        around = slice(max(0, top - SURROUNDINGS), min(rows.stop + SURROUNDINGS, height))
        inner = slice(rows.start - around.start, rows.stop - around.start)
        part, channels = raw[around], mean[:, around]
        sums.add(
            part,
            channels,
            None if std is None else std[:, around],
            np.tensordot(gains, channels, axes=1) + offset,
            mixture_noise_variance(trained.noise_models, channels, gains),
            inner,
        )
        maps = monitors.maps(part, channels)[:, inner]
        yield rows, dict(zip(monitors.names, maps, strict=True))


def superposition_in(
    trained: TrainedModel, raw: Real[np.ndarray, "y x"], mean: Real[np.ndarray, "c y x"]
) -> tuple[Float64[np.ndarray, "c"], float]:
    """Return the weight of each channel in an image, and the offset.

    Parameters
    ----------
    trained : TrainedModel
        Knows both where its input is mixed; they are fitted where nobody knows them.
    raw : numpy.ndarray of shape (Y, X)
        The image, gray values.
    mean : numpy.ndarray of shape (C, Y, X)
        Its channels, gray values.
    """
    known = superposition_of(trained)
    if known is not None:
        return np.array(known.weights), known.offset
    step = math.ceil(math.sqrt(raw.size / _PIXELS_FOR_MEDIANS))
    return fitted_superposition(mean[:, ::step, ::step], raw[::step, ::step])


def _like(values: Float32[np.ndarray, "..."], prediction: Prediction, name: str) -> xr.DataArray:
    """Name the dimensions of a map as those of the prediction."""
    mean = prediction.mean
    coordinates = {key: value for key, value in mean.coords.items() if key != "channel"}
    attributes = {key: value for key, value in mean.attrs.items() if key == "source"}
    return xr.DataArray(
        values, dims=mean.dims, coords={**coordinates, "channel": [name]}, attrs=attributes
    )
