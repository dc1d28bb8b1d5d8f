"""Truth recorded with another gain and offset, brought to the scale of the prediction."""

from typing import Literal

import numpy as np
from jaxtyping import Real
from pydantic import FiniteFloat

from careamics_denoisplit.calibration.methods import FrozenModel

AlignmentSource = Literal["none", "noisy channel on truth", "prediction on truth"]


class TruthAlignment(FrozenModel):
    """Affine map from the truth's gray values to those of the prediction, one channel."""

    scale: FiniteFloat = 1.0
    """Slope: aligned truth = scale x truth + offset."""
    offset: FiniteFloat = 0.0
    """Offset in gray values of the prediction."""
    fitted: AlignmentSource = "none"
    """What was regressed on what; none = the truth is taken as it is."""

    def apply(self, truth: Real[np.ndarray, "y x"]) -> Real[np.ndarray, "y x"]:
        """Return the truth on the scale of the prediction, gray values."""
        if self.fitted == "none":
            return truth
        aligned: np.ndarray = self.scale * np.asarray(truth, dtype=np.float64) + self.offset
        return aligned

    @property
    def words(self) -> str:
        """The alignment in one phrase, for reports."""
        if self.fitted == "none":
            return "truth taken as it is"
        return f"{self.scale:.4g} x truth + {self.offset:.4g} ({self.fitted})"


def fit_alignment(
    truth: Real[np.ndarray, "y x"], values: Real[np.ndarray, "y x"], fitted: AlignmentSource
) -> TruthAlignment:
    """Regress noisy (or predicted) values on the truth by least squares.

    The direction matters: noise in the regressor would flatten the slope, so that the truth,
    nearly free of noise, is the regressor. A predicted channel is smoother than its truth, which
    makes the slope somewhat too small: use the noisy channel where there is one.

    Raises
    ------
    ValueError
        If the truth is constant or does not rise with the values.
    """
    reference = np.asarray(truth, dtype=np.float64).ravel()
    reference = reference - reference.mean()
    energy = float(reference @ reference)
    slope = 0.0
    if energy > 0.0:
        slope = float(reference @ np.asarray(values, dtype=np.float64).ravel()) / energy
    if slope <= 0.0:
        raise ValueError(
            "Truth and image are unrelated (the fitted gain is "
            f"{slope:.3g}): check that they show the same field and channel."
        )
    offset = float(np.mean(values, dtype=np.float64) - slope * np.mean(truth, dtype=np.float64))
    return TruthAlignment(scale=slope, offset=offset, fitted=fitted)


def units_differ(
    alignment: TruthAlignment, truth: Real[np.ndarray, "y x"], tolerance: float
) -> bool:
    """Whether a fitted map moves the truth by more than `tolerance` of its own contrast."""
    contrast = float(np.std(truth, dtype=np.float64))
    shift = abs(
        (alignment.scale - 1.0) * float(np.mean(truth, dtype=np.float64)) + alignment.offset
    )
    return abs(alignment.scale - 1.0) > tolerance or shift > tolerance * contrast
