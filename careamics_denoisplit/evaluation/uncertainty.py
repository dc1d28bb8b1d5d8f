"""Scores of the standard deviations of one estimator, streamed over images."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Real

from careamics_denoisplit.calibration import (
    EstimatorCalibration,
    Method,
    MethodScores,
    UncertaintyScores,
    spread_floors,
)

_PIXELS_AT_ONCE = 2**20
_CURVE_STEPS = 50


class UncertaintyReport:
    """Raw spread, calibrated methods and references of every channel.

    Parameters
    ----------
    n_channels : int
        Number of channels C.
    fitted : EstimatorCalibration or None
        Calibration of the estimator; None scores the raw spread alone.
    """

    def __init__(self, n_channels: int, fitted: EstimatorCalibration | None) -> None:
        self.fitted = fitted
        self._scores: list[dict[str, UncertaintyScores]] = [{} for _ in range(n_channels)]

    def add(
        self,
        mean: Real[np.ndarray, "c y x"],
        spread: Real[np.ndarray, "c y x"],
        truth: Real[np.ndarray, "c y x"],
    ) -> None:
        """Add one image, band by band: prediction, spread and aligned truth, gray values."""
        step = max(1, _PIXELS_AT_ONCE // max(mean.shape[2], 1))
        floors = spread_floors(spread)[:, None, None]
        for row in range(0, mean.shape[1], step):
            band = np.s_[:, row : row + step]
            if self.fitted is None:
                stds = {"raw": np.maximum(spread[band], floors)}
            else:
                stds = self.fitted.all_stds(mean[band], spread[band])
            for name, std in stds.items():
                for channel, scores in enumerate(self._scores):
                    error = mean[band][channel] - truth[band][channel]
                    scores.setdefault(name, UncertaintyScores()).add(std[channel], error)

    def of_channel(self, channel: int, method: Method) -> dict[str, Any]:
        """Return the `calibration` object of one channel for the JSON of `evaluate`."""
        scores = self._scores[channel]
        applied = scores.get(method)
        shown = applied or scores.get("raw")
        plain = {name: _plain(value) for name, value in scores.items()}
        reference = plain.get("intensity_only")
        figures = dict.fromkeys(("relative_error", "ause", "ence", "coverage_90"))
        beats = None
        if shown is not None:
            own = MethodScores.of(shown)
            figures = {name: getattr(own, name) for name in figures}
            if applied is not None and "intensity_only" in scores:
                beats = own.beats(MethodScores.of(scores["intensity_only"]))
        return {
            "calibrated": applied is not None,
            "method": method if applied is not None else None,
            "factor": None if self.fitted is None else self.fitted.scalar.factors[channel],
            "nll_before": plain["raw"]["nll"] if "raw" in plain else None,
            "nll_after": None if applied is None else plain[method]["nll"],
            **figures,
            "intensity_only": reference,
            "constant": plain.get("constant"),
            "beats_intensity_only": beats,
            "methods": {name: plain[name] for name in ("raw", "scalar", "joint") if name in plain},
            "bins": _bins(shown, "bins"),
            "bins_equal_width": _bins(shown, "bins_equal_width"),
            "reference_bins": {
                name: _bins(scores.get(name), "bins")
                for name in ("intensity_only", "constant")
                if name in scores
            },
            "sparsification": _curves(scores),
        }


def _plain(scores: UncertaintyScores) -> dict[str, float | None]:
    found = MethodScores.of(scores)
    return {name: getattr(found, name) for name in ("nll", "ause", "ence", "coverage_90")}


def _bins(scores: UncertaintyScores | None, kind: str) -> list[dict[str, Any]]:
    if scores is None:
        return []
    bins = scores.bins() if kind == "bins" else scores.bins_equal_width()
    return [asdict(each) for each in bins]


def _curves(scores: Mapping[str, UncertaintyScores]) -> dict[str, list[float]] | None:
    """Remaining error while the most uncertain pixels are left out, for each std."""
    curves = {name: each.sparsification(_CURVE_STEPS) for name, each in scores.items()}
    if not curves:
        return None
    some = next(iter(curves.values()))
    if not math.isfinite(float(some.oracle[0])):
        return None
    return {
        "fraction": some.fraction.tolist(),
        "oracle": some.oracle.tolist(),
        **{name: curve.curve.tolist() for name, curve in curves.items()},
    }
