"""The standard deviations a user can ask for, and the two references they must beat."""

import math
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float64, Real
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, model_validator

from careamics_denoisplit.calibration.pixels import PixelSample
from careamics_denoisplit.calibration.scores import N_BINS

SMALLEST_SAMPLE_COUNT = 4
"""The expected inverse of a sample variance diverges for three samples and fewer."""

_FLOOR_SHARE = 0.01
_ROWS_AT_ONCE = 2**18


class FrozenModel(BaseModel):
    """Closed and frozen values of a calibration, finite numbers only."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class ScalarCalibration(FrozenModel):
    """One factor per channel on the posterior spread (Sec. 4.4 of the paper)."""

    factors: tuple[PositiveFloat, ...]
    """Factor of each channel: std = factor x spread."""
    floors: tuple[PositiveFloat, ...]
    """Smallest spread of each channel, gray values; smaller ones are raised to it."""

    def std(
        self, mean: Real[np.ndarray, "c *n"], spread: Real[np.ndarray, "c *n"]
    ) -> Real[np.ndarray, "c *n"]:
        """Calibrated standard deviation (C, ...), gray values; `mean` does not enter."""
        del mean
        floors, factors = (_column(v, spread) for v in (self.floors, self.factors))
        scaled: np.ndarray = np.maximum(spread, floors) * factors
        return scaled


class JointLayers(NamedTuple):
    """The joint calibration as plain arrays, ready to become 1x1 convolutions.

    With x = (means, log of the spreads raised to the floors), in this order, and
    c = clip(x, low, high): `log std = output_weight @ tanh(hidden_weight @ c + hidden_bias)
    + output_bias + max(x - high, 0)`, where the last term takes the log spreads alone.
    """

    floors: Float64[np.ndarray, "c"]
    low: Float64[np.ndarray, "f"]
    high: Float64[np.ndarray, "f"]
    hidden_weight: Float64[np.ndarray, "h f"]
    hidden_bias: Float64[np.ndarray, "h"]
    output_weight: Float64[np.ndarray, "c h"]
    output_bias: Float64[np.ndarray, "c"]


class JointCalibration(FrozenModel):
    """Standard deviations from the intensities and spreads of all channels together.

    A per-pixel network of one hidden layer, tanh, whose 2C inputs are the predicted intensities
    and the logarithms of the spreads. Inputs are clipped to the range it was fitted on; a spread
    above that range raises the standard deviation in proportion, so that a pixel unlike all
    others is never called more certain than they are.
    """

    floors: tuple[PositiveFloat, ...]
    """Smallest spread of each channel, gray values."""
    low: tuple[float, ...]
    """Lower end of the fitted range of each input."""
    high: tuple[float, ...]
    """Upper end of the fitted range of each input."""
    centre: tuple[float, ...]
    """Mean of each input over the fitted pixels."""
    scale: tuple[PositiveFloat, ...]
    """Standard deviation of each input over the fitted pixels."""
    hidden_weight: tuple[tuple[float, ...], ...]
    """Weights of the hidden layer on the standardised inputs, one row for each hidden unit."""
    hidden_bias: tuple[float, ...]
    """Offsets of the hidden layer."""
    output_weight: tuple[tuple[float, ...], ...]
    """Weights of the output, one row for each channel."""
    output_bias: tuple[float, ...]
    """Offsets of the output: log of a standard deviation in gray values."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> "JointCalibration":
        channels, hidden, inputs = len(self.floors), len(self.hidden_bias), 2 * len(self.floors)
        shapes = {
            "low": (len(self.low),) == (inputs,),
            "high": (len(self.high),) == (inputs,),
            "centre": (len(self.centre),) == (inputs,),
            "scale": (len(self.scale),) == (inputs,),
            "hidden_weight": [len(row) for row in self.hidden_weight] == [inputs] * hidden,
            "output_weight": [len(row) for row in self.output_weight] == [hidden] * channels,
            "output_bias": len(self.output_bias) == channels,
        }
        wrong = [name for name, agrees in shapes.items() if not agrees]
        if wrong:
            raise ValueError(f"Sizes of {', '.join(wrong)} do not fit {channels} channels.")
        return self

    def layers(self) -> JointLayers:
        """Return plain arrays, with the standardisation of the inputs inside the weights."""
        weight = np.array(self.hidden_weight) / np.array(self.scale)
        return JointLayers(
            floors=np.array(self.floors),
            low=np.array(self.low),
            high=np.array(self.high),
            hidden_weight=weight,
            hidden_bias=np.array(self.hidden_bias) - weight @ np.array(self.centre),
            output_weight=np.array(self.output_weight),
            output_bias=np.array(self.output_bias),
        )

    def std(
        self, mean: Real[np.ndarray, "c *n"], spread: Real[np.ndarray, "c *n"]
    ) -> Real[np.ndarray, "c *n"]:
        """Calibrated standard deviation (C, ...), gray values."""
        rows = [values.reshape(len(values), -1) for values in (mean, spread)]
        result = np.empty(rows[1].shape, dtype=np.result_type(spread, np.float32))
        for start in range(0, result.shape[1], _ROWS_AT_ONCE):
            part = np.s_[:, start : start + _ROWS_AT_ONCE]
            result[part] = self._std(*(row[part] for row in rows))
        return result.reshape(spread.shape)

    def _std(self, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
        layers = self.layers()
        x = joint_inputs(mean, spread, layers.floors)
        low, high = layers.low[:, None], layers.high[:, None]
        hidden = layers.hidden_weight @ np.clip(x, low, high) + layers.hidden_bias[:, None]
        log_std = layers.output_weight @ np.tanh(hidden) + layers.output_bias[:, None]
        beyond = np.maximum(x - high, 0.0)[len(mean) :]
        std: np.ndarray = np.exp(log_std + beyond)
        return std


class IntensityTable(FrozenModel):
    """Reference that knows no posterior: error of the validation pixels by intensity."""

    edges: tuple[FiniteFloat, ...]
    """Inner edges of the bins, in predicted intensity, gray values."""
    rmse: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    """Root mean squared error in each bin, gray values."""

    @model_validator(mode="after")
    def _one_bin_more_than_edges(self) -> "IntensityTable":
        if len(self.rmse) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) + 1} bins.")
        return self

    def std(self, mean: Real[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """Look up the standard deviation for predicted intensities of one channel."""
        index = np.searchsorted(np.array(self.edges), mean, side="right")
        std: np.ndarray = np.array(self.rmse)[index]
        return std


def spread_floors(spread: Real[np.ndarray, "c *n"]) -> Float64[np.ndarray, "c"]:
    """Smallest usable spread of each channel: 1 % of its root mean square, gray values."""
    squares = np.mean(np.square(spread.reshape(len(spread), -1), dtype=np.float64), axis=1)
    return _positive(_FLOOR_SHARE * np.sqrt(squares))


def require_enough_samples(n_samples: int) -> None:
    """Refuse estimators whose factor has no finite expectation.

    Raises
    ------
    ValueError
        If there are three samples or fewer.
    """
    if n_samples < SMALLEST_SAMPLE_COUNT:
        raise ValueError(
            f"A calibration needs at least {SMALLEST_SAMPLE_COUNT} posterior samples, got "
            f"{n_samples}: the mean of (error / spread)^2 diverges for three and fewer. "
            "Use 8 samples or more."
        )


def fit_scalar(pixels: PixelSample) -> ScalarCalibration:
    """Fit one factor per channel in closed form (Sec. 4.4).

    The Gaussian likelihood with standard deviation `s x spread` is largest at
    `s^2 = mean(error^2 / spread^2)`.
    """
    floors = spread_floors(pixels.spread)
    ratios = pixels.error / np.maximum(pixels.spread, floors[:, None])
    factors = np.sqrt(np.mean(np.square(ratios), axis=1))
    smallest = math.sqrt(np.finfo(np.float32).tiny)
    return ScalarCalibration(
        factors=tuple(np.maximum(factors, smallest).tolist()), floors=tuple(floors.tolist())
    )


def fit_intensity_table(
    mean: Float64[np.ndarray, "n"], error: Float64[np.ndarray, "n"], n_bins: int = N_BINS
) -> IntensityTable:
    """Fit the error of one channel as a function of its predicted intensity alone.

    Bins hold equal numbers of pixels; equal intensities share a bin.
    """
    inner = np.unique(np.quantile(mean, np.linspace(0.0, 1.0, n_bins + 1)[1:-1]))
    index = np.searchsorted(inner, mean, side="right")
    counts = np.bincount(index, minlength=inner.size + 1)
    kept = np.flatnonzero(counts)  # ties can leave the first bin empty
    sums = np.bincount(index, weights=np.square(error), minlength=inner.size + 1)
    rmse = np.sqrt(sums[kept] / counts[kept])
    return IntensityTable(
        edges=tuple(inner[kept[1:] - 1].tolist()), rmse=tuple(_positive(rmse).tolist())
    )


def fit_constant(error: Float64[np.ndarray, "n"]) -> float:
    """Fit the standard deviation that is the same for all pixels: their RMSE, gray values."""
    return max(math.sqrt(np.mean(np.square(error))), float(np.finfo(np.float32).tiny))


def joint_inputs(
    mean: Real[np.ndarray, "c n"], spread: Real[np.ndarray, "c n"], floors: Real[np.ndarray, "c"]
) -> Float64[np.ndarray, "f n"]:
    """Stack intensities and log spreads (2C, N), the inputs of the joint calibration."""
    return np.concatenate(
        [mean.astype(np.float64), np.log(np.maximum(spread, floors[:, None]), dtype=np.float64)]
    )


def _positive(values: np.ndarray) -> np.ndarray:
    positive: np.ndarray = np.maximum(values, np.finfo(np.float32).tiny)
    return positive


def _column(values: tuple[float, ...], like: np.ndarray) -> np.ndarray:
    column = np.array(values, dtype=np.result_type(like, np.float32))
    return column.reshape(-1, *(1,) * (like.ndim - 1))
