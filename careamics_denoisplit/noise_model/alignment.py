"""Affine alignment of pairs whose gain and offset differ: signal to observation.

Two exposures of one field rarely share gain and offset. The noisy image is regressed on the
nearly clean one, never the reverse: noise in the regressor would flatten the slope.
"""

import dataclasses
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.noise_model.clipping import clipping_limits

Direction = Literal["signal to observation"]
"""An alignment maps the signal into the gray values of the observation."""

MAX_ROUNDS: Final = 10
TRIM: Final = 2.0
"""Predictions closer to a clipping limit than this many standard deviations are left out.

What is still cut off beyond two shifts the mean of Gaussian noise by 0.9 % of its width.
"""


@dataclasses.dataclass(frozen=True)
class AffineAlignment:
    """How gray values of the signal become those of the observation."""

    gain: float
    """Gray values of the observation per gray value of the signal."""
    offset: float
    """Gray value of the observation where the signal is zero."""
    n_pairs: int
    """Number of pixel pairs it rests on."""
    residual_std: float
    """Standard deviation of the observation around the aligned signal, in gray values."""
    direction: Direction = "signal to observation"
    """What is mapped onto what."""

    def apply(self, signal: Float32[np.ndarray, "*pixels"]) -> Float32[np.ndarray, "*pixels"]:
        """Map a signal into the gray values of the observation."""
        return (np.float32(self.gain) * signal + np.float32(self.offset)).astype(np.float32)

    def as_dict(self) -> dict[str, Any]:
        """Return the values under the names that reports use."""
        return dataclasses.asdict(self)


def fit_alignment(
    signal: Float32[np.ndarray, "pairs"], observation: Float32[np.ndarray, "pairs"]
) -> AffineAlignment:
    """Fit gain and offset by weighted least squares, clipped pixels left out.

    Pixels are chosen by their signal and by the prediction, never by their observation:
    choosing by noisy values would bias the line. Bright pixels, whose noise is larger, weigh
    less. Noise of the signal itself is not modelled and lowers the gain by the share
    `var(noise of signal) / var(signal)`.

    Parameters
    ----------
    signal, observation : arrays of shape (n,)
        Gray values of the nearly clean and of the noisy image at the same pixels.

    Raises
    ------
    NoiseModelError
        If the signal is constant, or the observation does not grow with it.
    """
    x, y = signal.astype(np.float64), observation.astype(np.float64)
    if x.size < 2 or np.ptp(x) == 0:
        raise NoiseModelError(
            "An alignment needs a signal with different gray values, got a constant one. Give "
            "images that show structure."
        )
    limits = clipping_limits(observation)
    unsaturated = _within(x, clipping_limits(signal))
    if np.ptp(x[unsaturated]) == 0:  # one gray value and a few others: no pixel is clipped
        unsaturated = np.ones_like(unsaturated)
    keep, weight = unsaturated, np.ones_like(x)
    for _ in range(MAX_ROUNDS):
        gain, offset = _line(x[keep], y[keep], weight[keep])
        predicted = gain * x + offset
        std = _std_by_prediction(predicted, y - predicted)
        weight = 1 / std**2
        inside = _within(predicted, (limits[0] + TRIM * std, limits[1] - TRIM * std))
        chosen = unsaturated & inside
        if chosen.sum() < max(2, x.size // 20) or np.ptp(x[chosen]) == 0:
            break  # too much is clipped: the line of all unsaturated pixels has to do
        settled = np.array_equal(chosen, keep)
        keep = chosen
        if settled:
            break
    if gain <= 0:
        raise NoiseModelError(
            f"The observation does not grow with the signal (gain {gain:.3g}). Check that the "
            "images show the same field and channel, in the same order."
        )
    residual = (y - gain * x - offset)[keep]
    return AffineAlignment(float(gain), float(offset), int(keep.sum()), float(residual.std()))


def _within(
    values: npt.NDArray[np.float64],
    limits: tuple[float | npt.NDArray[np.float64], float | npt.NDArray[np.float64]],
) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = (values > limits[0]) & (values < limits[1])
    return inside if inside.any() else np.ones_like(inside)


def _line(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
) -> tuple[float, float]:
    centre_x, centre_y = np.average(x, weights=weight), np.average(y, weights=weight)
    deviation = x - centre_x
    gain = (weight * deviation * (y - centre_y)).sum() / (weight * deviation**2).sum()
    return float(gain), float(centre_y - gain * centre_x)


def _std_by_prediction(
    predicted: npt.NDArray[np.float64], residual: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the standard deviation around each prediction: a linear variance, kept positive."""
    square = residual**2
    ones = np.ones_like(square)
    slope, level = _line(predicted, square, ones) if np.ptp(predicted) > 0 else (0.0, 0.0)
    mean = max(float(square.mean()), float(np.finfo(np.float64).tiny))
    variance: npt.NDArray[np.float64] = np.clip(slope * predicted + level, 0.05 * mean, None)
    return np.sqrt(variance)
