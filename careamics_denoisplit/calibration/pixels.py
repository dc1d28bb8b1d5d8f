"""Pixels of several images, drawn with a seed, on which calibrations are fitted."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Real

MAX_PIXELS = 2**19
"""Number of pixels that a calibration is fitted on at most; the factor is then known to 0.5 %."""


class PixelSample(NamedTuple):
    """Predicted mean, spread and truth of the same pixels, one row for each channel."""

    mean: Float64[np.ndarray, "c n"]
    """Predicted intensity, gray values."""
    spread: Float64[np.ndarray, "c n"]
    """Standard deviation over posterior samples, gray values, not calibrated."""
    truth: Float64[np.ndarray, "c n"]
    """True intensity on the scale of the prediction, gray values."""

    @property
    def error(self) -> Float64[np.ndarray, "c n"]:
        """Prediction minus truth, gray values."""
        error: np.ndarray = self.mean - self.truth
        return error

    @property
    def n_pixels(self) -> int:
        """Number of pixels of each channel."""
        return int(self.mean.shape[1])

    @classmethod
    def draw(
        cls,
        mean: Real[np.ndarray, "c y x"],
        spread: Real[np.ndarray, "c y x"],
        truth: Real[np.ndarray, "c y x"],
        n_pixels: int,
        random: np.random.Generator,
    ) -> "PixelSample":
        """Draw pixels of one image without replacement; all of them where there are no more.

        Raises
        ------
        ValueError
            If a number is not finite, or a spread is negative; the message counts them.
        """
        available = mean[0].size
        chosen: np.ndarray | slice = slice(None)
        if n_pixels < available:
            chosen = np.sort(random.choice(available, n_pixels, replace=False))
        sample = cls(
            *(
                values.reshape(len(values), -1)[:, chosen].astype(np.float64)
                for values in (mean, spread, truth)
            )
        )
        sample._require_usable()
        return sample

    @classmethod
    def join(cls, samples: Sequence["PixelSample"]) -> "PixelSample":
        """Put the pixels of several images behind each other."""
        return cls(*(np.concatenate(rows, axis=1) for rows in zip(*samples, strict=True)))

    def _require_usable(self) -> None:
        for name, values in self._asdict().items():
            wrong = int(np.count_nonzero(~np.isfinite(values)))
            if wrong:
                raise ValueError(
                    f"The {name} of {wrong} of {values.size} pixels is not finite. "
                    "A calibration needs finite numbers: check the images."
                )
        if np.any(self.spread < 0.0):
            raise ValueError(f"A spread cannot be negative, got {self.spread.min():.3g}.")
