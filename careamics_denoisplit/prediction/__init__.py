"""Prediction: mean and spread over posterior samples, whole images or tiles, raw units."""

from careamics_denoisplit.prediction.decoding import Scale, Splitter
from careamics_denoisplit.prediction.engine import Progress
from careamics_denoisplit.prediction.estimate import Estimate, Spread, predict_image, sample_image
from careamics_denoisplit.prediction.moments import RunningMoments
from careamics_denoisplit.prediction.tiling import Tile, Tiling, whole_image

__all__ = [
    "Estimate",
    "Progress",
    "RunningMoments",
    "Scale",
    "Splitter",
    "Spread",
    "Tile",
    "Tiling",
    "predict_image",
    "sample_image",
    "whole_image",
]
