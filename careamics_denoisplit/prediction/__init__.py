"""Prediction: mean and spread over posterior samples, whole images or tiles, raw units."""

from careamics_denoisplit.prediction.moments import RunningMoments
from careamics_denoisplit.prediction.tiling import Tile, Tiling, whole_image

__all__ = ["RunningMoments", "Tile", "Tiling", "whole_image"]
