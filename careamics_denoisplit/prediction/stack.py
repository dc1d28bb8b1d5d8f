"""Predict images of several planes, plane by plane, from readers to named results."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import Image, as_float32
from careamics_denoisplit.prediction.decoding import Splitter
from careamics_denoisplit.prediction.engine import Progress, Workload
from careamics_denoisplit.prediction.estimate import Spread, predict_image, sample_image
from careamics_denoisplit.prediction.precision import stated
from careamics_denoisplit.prediction.result import Prediction, labelled_like
from careamics_denoisplit.prediction.tiling import Tiling

Calibrate = Callable[
    [Float[np.ndarray, "c y x"], Float[np.ndarray, "c y x"]], Float[np.ndarray, "c y x"] | None
]
"""Makes a calibrated std of mean and spread, in gray values; None where it cannot."""


@dataclass(frozen=True)
class Estimator:
    """Which estimate is asked for, and how much is computed at once.

    Attributes
    ----------
    n_samples : int
        Posterior samples.
    spread : {"samples", "distilled", "none"}
        As in `predict_image`.
    seed : int
        Seed of the posterior noise, the same for every plane.
    workload : Workload
        How much is computed at once, and where.
    """

    n_samples: int = 16
    spread: Spread = "samples"
    seed: int = 0
    workload: Workload = field(default_factory=Workload)


@dataclass(frozen=True)
class _Plane:
    """One plane of a mixture."""

    index: tuple[int, ...]
    name: str
    values: Float[np.ndarray, "y x"]


def predict_stack(
    trained: Splitter,
    image: Image,
    estimator: Estimator,
    *,
    channel: int = 0,
    calibrate: Calibrate | None = None,
) -> Prediction:
    """Split one image; the planes of `time` and `z` are predicted one by one.

    Parameters
    ----------
    trained : Splitter
        Network and statistics.
    image : Image
        Mixture with the dimensions (time, z, channel, y, x), the first two where it has them.
    estimator : Estimator
        What is estimated, and how.
    channel : int
        Number of the input channel.
    calibrate : callable or None
        Makes a calibrated std of mean and spread of a plane.

    Returns
    -------
    Prediction
        Calibrated only if every plane was.

    Raises
    ------
    DataError
        If a pixel is NaN or infinite, or the channel does not exist; the message names image and
        plane.
    ConfigurationError, NonFiniteError, FaultError
        As in `predict_image`.
    """
    leading = _leading(image)
    names = tuple(trained.statistics.channel_names)
    shape = (*(image.data.sizes[dim] for dim in leading), len(names), *image.height_width)
    means = np.empty(shape, np.float32)
    stds: np.ndarray | None = None
    calibrated = calibrate is not None
    tiling: Tiling | None = estimator.workload.tiling
    count = means[..., 0, 0, 0].size
    for number, plane in enumerate(_planes(image, channel)):
        # Later planes use the tiles that the first one was found to fit into memory with.
        estimate = predict_image(
            trained,
            plane.values,
            n_samples=estimator.n_samples,
            spread=estimator.spread,
            seed=estimator.seed,
            tiling=tiling,
            batch=estimator.workload.batch,
            device=estimator.workload.device,
            progress=_share(estimator.workload.progress, number, count),
            precision=estimator.workload.precision,
        )
        tiling = estimate.tiling
        means[plane.index] = estimate.mean
        if estimate.spread is None:
            calibrated = False
            continue
        if stds is None:
            stds = np.empty(shape, np.float32)
        std = calibrate(estimate.mean, estimate.spread) if calibrate is not None else None
        calibrated = calibrated and std is not None
        stds[plane.index] = estimate.spread if std is None else std
    attributes = {**_attributes(image, estimator, tiling), "calibrated": int(calibrated)}
    dims = (*leading, "channel", "y", "x")
    mean = labelled_like(means, image, dims, names, attributes)
    if stds is None:
        return Prediction(mean, source=image.source)
    deviation = labelled_like(stds, image, dims, names, attributes)
    return Prediction(mean, deviation, calibrated, image.source)


def sample_stack(
    trained: Splitter, image: Image, estimator: Estimator, *, channel: int = 0
) -> xr.DataArray:
    """Draw single posterior samples of one image, plane by plane.

    Parameters
    ----------
    trained, image, channel
        As in `predict_stack`.
    estimator : Estimator
        Its `n_samples` draws are all kept.

    Returns
    -------
    xarray.DataArray of dimensions (draw, channel, y, x)
        Gray values of each channel, `time` and `z` in front where the image has them.

    Raises
    ------
    DataError, ConfigurationError, NonFiniteError, FaultError
        As in `predict_stack`.
    """
    leading = _leading(image)
    names = tuple(trained.statistics.channel_names)
    sizes = tuple(image.data.sizes[dim] for dim in leading)
    count = int(np.prod(sizes, dtype=int))
    drawn = [
        sample_image(
            trained,
            plane.values,
            n_samples=estimator.n_samples,
            seed=estimator.seed,
            tiling=estimator.workload.tiling,
            batch=estimator.workload.batch,
            device=estimator.workload.device,
            progress=_share(estimator.workload.progress, number, count),
            precision=estimator.workload.precision,
        )
        for number, plane in enumerate(_planes(image, channel))
    ]
    values = np.stack(drawn).reshape(*sizes, *drawn[0].shape)
    dims = (*leading, "draw", "channel", "y", "x")
    attributes = _attributes(image, estimator, estimator.workload.tiling)
    return labelled_like(values, image, dims, names, attributes)


def _share(progress: Progress | None, plane: int, planes: int) -> Progress | None:
    """Count the passes over one plane as a part of those over all planes."""
    if progress is None:
        return None

    def advance(done: int, total: int) -> None:
        progress(plane * total + done, planes * total)

    return advance


def _leading(image: Image) -> tuple[str, ...]:
    return tuple(str(dim) for dim in image.data.dims if dim not in ("channel", "y", "x"))


def _planes(image: Image, channel: int) -> Iterator[_Plane]:
    """Read the planes of one channel, one by one, and refuse pixels that are no numbers."""
    if not 0 <= channel < image.n_channels:
        raise DataError(
            f"{image.name} has {image.n_channels} channels, numbered from 0; channel {channel} was "
            "asked for."
        )
    leading = _leading(image)
    for index in np.ndindex(*(image.data.sizes[dim] for dim in leading)):
        where: dict[str, int] = dict(zip(leading, index, strict=True))
        name = ", ".join([image.name, *(f"{dim} {number}" for dim, number in where.items())])
        values = as_float32(image.data.isel({**where, "channel": channel}), name)
        bad = ~np.isfinite(values)
        if bad.any():
            y, x = (int(place[0]) for place in np.nonzero(bad))
            raise DataError(
                f"{name}, channel {channel}: {int(bad.sum())} pixels are NaN or infinite, the "
                f"first at (y={y}, x={x}). Replace them, or crop them away."
            )
        yield _Plane(index, name, values)


def _attributes(image: Image, estimator: Estimator, tiling: Tiling | None) -> Mapping[str, Any]:
    """Say how values were made, in types that every file format can hold."""
    attributes: dict[str, Any] = {
        "units": image.unit,
        "source": "" if image.source is None else str(image.source),
        "spread": estimator.spread,
        "n_samples": estimator.n_samples if estimator.spread == "samples" else 0,
        "seed": estimator.seed,
        "precision": stated(estimator.workload.precision),
    }
    if tiling is not None:
        attributes |= {"tile": list(tiling.tile), "tile_overlap": list(tiling.overlap)}
    return attributes
