"""How channels become one superimposed image."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from careamics_denoisplit.errors import DataError

MixingRule = Literal["mean", "sum"]
"""Rules by which an input can be made from channels."""


def mix(
    channels: Shaped[np.ndarray, "*lead c y x"],
    rule: str = "mean",
    weights: Float[np.ndarray, " c"] | None = None,
    offsets: Sequence[float] | None = None,
) -> Float[np.ndarray, "*lead y x"]:
    """Superimpose channels in float32, whatever their type, so that nothing wraps around.

    Parameters
    ----------
    channels : numpy.ndarray of shape (..., C, Y, X)
        Channels in gray values.
    rule : {"mean", "sum"}
        Mean or sum over the channels; the paper's code uses the mean.
    weights : numpy.ndarray of shape (C,), optional
        Factor of each channel before mean or sum; 1 by default.
    offsets : sequence of C float, optional
        Camera offset of each channel in gray values: subtracted first, and their mean is added
        once at the end.

    Returns
    -------
    numpy.ndarray of shape (..., Y, X)
        The mixture in gray values, float32.

    Raises
    ------
    DataError
        If the rule is not one of the two.
    """
    if rule not in ("mean", "sum"):
        raise DataError(
            f'Channels are mixed by their "mean" or "sum", got {rule!r}. '
            "A measured mixture is given as an image of its own."
        )
    values = channels.astype(np.float32, copy=False)
    if offsets is not None:
        values = values - np.asarray(offsets, np.float32)[:, None, None]
    if weights is not None:
        values = values * weights.astype(np.float32)[:, None, None]
    total: Float[np.ndarray, "*lead y x"] = values.sum(axis=-3, dtype=np.float32)
    if rule == "mean":
        total = total / np.float32(channels.shape[-3])
    return total if offsets is None else total + np.float32(np.mean(offsets))


def mixing_weights(
    rng: np.random.Generator, count: int, jitter: float
) -> Float[np.ndarray, " {count}"]:
    """Draw the weights of one mixture.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the draws.
    count : int
        Number of channels C.
    jitter : float
        Half width of the uniform distribution around 1, below 1.

    Returns
    -------
    numpy.ndarray of shape (C,)
        Positive weights whose sum is C, float32.
    """
    raw = 1.0 + rng.uniform(-jitter, jitter, size=count)
    weights: Float[np.ndarray, " {count}"] = (raw * (count / raw.sum())).astype(np.float32)
    return weights


class MixtureFit(NamedTuple):
    """How a measured mixture depends on its channels, by least squares."""

    gains: tuple[float, ...]
    """Factor of each channel; 1 for a sum, 1/C for a mean."""
    offset: float
    """Constant part in gray values."""
    explained: float
    """Share of the variance of the mixture that the fit explains."""
    deviation: dict[str, float]
    """Root mean square of mixture minus sum, and minus mean, in gray values, after removing the
    offset."""
    constant: dict[str, float]
    """Mean of mixture minus sum, and minus mean, in gray values."""

    @property
    def rule(self) -> Literal["mean", "sum", "measured"]:
        """The rule that the gains come closest to; "measured" if neither is within 20 %."""
        gains = np.asarray(self.gains)
        if np.all(np.abs(gains - 1.0) <= 0.2):
            return "sum"
        if np.all(np.abs(gains * gains.size - 1.0) <= 0.2):
            return "mean"
        return "measured"

    @property
    def camera_offset(self) -> float | None:
        """Camera offset of each image, if the mixture is a sum and all images hold the same one.

        A camera adds its offset once to a measured mixture, the sum of C images holds it C times.
        """
        if self.rule != "sum" or len(self.gains) < 2:
            return None
        return -self.constant["sum"] / (len(self.gains) - 1)


class MixtureFitter:
    """Least squares of a mixture on its channels and a constant, one block at a time.

    Parameters
    ----------
    count : int
        Number of channels C.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        size = count + 2  # channels, constant, mixture
        self._products = np.zeros((size, size), dtype=np.float64)

    def add(
        self,
        channels: Shaped[np.ndarray, "c y x"],
        mixture: Shaped[np.ndarray, "y x"],
    ) -> None:
        """Take one block of pixels into account.

        Parameters
        ----------
        channels : numpy.ndarray of shape (C, Y, X)
            Channels in gray values.
        mixture : numpy.ndarray of shape (Y, X)
            Mixture of the same pixels in gray values.
        """
        rows = np.concatenate(
            [
                channels.reshape(self.count, -1).astype(np.float64),
                np.ones((1, mixture.size)),
                mixture.reshape(1, -1).astype(np.float64),
            ]
        )
        self._products += rows @ rows.T

    def fit(self) -> MixtureFit:
        """Solve for gains and offset.

        Returns
        -------
        MixtureFit
            Gains, offset and how well they explain the mixture.

        Raises
        ------
        DataError
            If no pixel was added, or one that is NaN or infinite.
        """
        products, known = self._products, self.count + 1
        pixels = products[self.count, self.count]
        if pixels == 0:
            raise DataError("No pixel of the mixture was compared with the channels.")
        if not np.isfinite(products).all():
            raise DataError(
                "Mixture and channels cannot be compared: some pixels are NaN or infinite. "
                "Replace them, or crop them away."
            )
        solution = np.linalg.lstsq(products[:known, :known], products[:known, -1], rcond=None)[0]
        mean = products[self.count, -1] / pixels
        variance = products[-1, -1] / pixels - mean**2
        left = self._mean_square(np.append(-solution, 1.0))
        explained = 1.0 - left / variance if variance > 0 else 0.0
        rules = {"sum": 1.0, "mean": 1.0 / self.count}
        return MixtureFit(
            gains=tuple(float(gain) for gain in solution[: self.count]),
            offset=float(solution[self.count]),
            explained=float(np.clip(explained, 0.0, 1.0)),
            deviation={rule: self._deviation(gain) for rule, gain in rules.items()},
            constant={rule: self._constant(gain) for rule, gain in rules.items()},
        )

    def _mean_square(self, combination: Float[np.ndarray, " n"]) -> float:
        """Mean square of a combination of channels, constant and mixture."""
        pixels = self._products[self.count, self.count]
        return max(float(combination @ self._products @ combination) / float(pixels), 0.0)

    def _deviation(self, gain: float) -> float:
        """Root mean square of mixture minus gain times the channels minus a constant."""
        combination = np.full(self.count + 2, -gain)
        combination[self.count], combination[-1] = -self._constant(gain), 1.0
        return float(np.sqrt(self._mean_square(combination)))

    def _constant(self, gain: float) -> float:
        """Mean of mixture minus gain times the channels."""
        combination = np.full(self.count + 2, -gain)
        combination[self.count], combination[-1] = 0.0, 1.0
        pixels = self._products[self.count, self.count]
        return float(self._products[self.count] @ combination) / float(pixels)
