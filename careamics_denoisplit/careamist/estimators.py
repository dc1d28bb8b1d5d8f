"""From careamics' words for a prediction to the estimator and its calibration."""

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from careamics_denoisplit.calibration import Method, estimator_name
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.prediction import (
    Calibrate,
    Estimator,
    Precision,
    Tiling,
    Workload,
    reduced_type,
)
from careamics_denoisplit.prediction.memory import BLEND, OVERLAP
from careamics_denoisplit.training.hardware import choose_device

SAMPLES = 16


def count_of(n_samples: int | None, n_predictions: int | None) -> int:
    """Return the number of samples, which has two names.

    Raises
    ------
    ConfigurationError
        If both are given and differ.
    """
    given = {count for count in (n_samples, n_predictions) if count is not None}
    if len(given) > 1:
        raise ConfigurationError(
            f"`n_samples` is {n_samples} and `n_predictions` {n_predictions}; they are two names "
            "for the same number. Give one."
        )
    return given.pop() if given else SAMPLES


def workload_of(
    batch_size: int | None,
    tile_size: Sequence[int] | None,
    tile_overlap: Sequence[int] | None,
    device: str,
    precision: Precision = "auto",
) -> Workload:
    """Return how much is computed at once, where, and with how many digits.

    Parameters
    ----------
    batch_size : int or None
        Tiles that are handed to the device together.
    tile_size, tile_overlap : two ints or None
        Height and width in pixels of tiles, and of what neighbours share; the latter is 96 px, at
        most half a tile, by default.
    device : str
        "auto", "cpu", "cuda", "cuda:<number>" or "mps".
    precision : {"auto", "32", "bf16", "16"}
        Digits of the network's arithmetic.

    Raises
    ------
    ConfigurationError
        If the sizes are no pairs, an overlap is given without tiles, or the device is not there
        or does not compute in this precision.
    """
    accelerator, number = choose_device(device)
    place = f"{accelerator}:{number[0]}" if isinstance(number, list) else accelerator
    reduced_type(precision, place)
    batch = 1 if batch_size is None else batch_size
    if tile_size is None:
        if tile_overlap is not None:
            raise ConfigurationError("`tile_overlap` is given without `tile_size`. Give both.")
        return Workload(None, batch, place, precision=precision)
    tile = _pair(tile_size, "tile_size")
    overlap = (
        (min(OVERLAP, tile[0] // 2), min(OVERLAP, tile[1] // 2))
        if tile_overlap is None
        else _pair(tile_overlap, "tile_overlap")
    )
    tiling = Tiling(tile, overlap, blend=min(BLEND, *overlap))
    return Workload(tiling, batch, place, precision=precision)


def calibration_of(
    trained: TrainedModel, estimator: Estimator, method: Method | None
) -> Calibrate | None:
    """Return the calibration that belongs to an estimator, or None where there is none.

    Parameters
    ----------
    trained : TrainedModel
        Holds the calibrations.
    estimator : Estimator
        Spread and number of samples.
    method : {"scalar", "joint"} or None
        None takes the one that is applied by default, `CalibrationSet.applied`; one that was not
        fitted is warned of.

    Raises
    ------
    ConfigurationError
        If the method is unknown.
    """
    calibrations = trained.calibrations
    if method not in (None, "scalar", "joint"):
        raise ConfigurationError(f'`method` must be "scalar" or "joint", got {method!r}.')
    name = estimator_name(estimator.spread, estimator.n_samples)
    chosen = method or calibrations.applied(name)
    if chosen is None or calibrations.get(name, chosen) is None:
        if method is not None:
            warnings.warn(
                f"The {method} calibration was not fitted for {name} (fitted: "
                f"{calibrations.words()}): the std is the plain spread. Calibrate with this "
                "method, or leave out `method` to take the one that is applied.",
                UserWarning,
                stacklevel=3,
            )
        return None

    def calibrate(
        mean: Float[np.ndarray, "c y x"], spread: Float[np.ndarray, "c y x"]
    ) -> Float[np.ndarray, "c y x"] | None:
        return calibrations.std(mean, spread, name, chosen)

    return calibrate


def _pair(given: Sequence[int], name: str) -> tuple[int, int]:
    sizes = tuple(given)
    if len(sizes) != 2:
        raise ConfigurationError(f"`{name}` must be two numbers of pixels, got {given!r}.")
    return int(sizes[0]), int(sizes[1])
