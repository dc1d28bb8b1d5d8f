"""Prediction: mean and spread over posterior samples, whole images or tiles, raw units."""

from careamics_denoisplit.prediction.decoding import Scale, Splitter
from careamics_denoisplit.prediction.engine import Progress, Workload
from careamics_denoisplit.prediction.estimate import Estimate, Spread, predict_image, sample_image
from careamics_denoisplit.prediction.memory import choose_tiling, tiles_of
from careamics_denoisplit.prediction.moments import RunningMoments
from careamics_denoisplit.prediction.precision import Precision, reduced_type
from careamics_denoisplit.prediction.result import Prediction
from careamics_denoisplit.prediction.seams import SeamDifference, seam_difference
from careamics_denoisplit.prediction.stack import (
    Calibrate,
    Estimator,
    predict_stack,
    sample_stack,
)
from careamics_denoisplit.prediction.tiling import Tile, Tiling, whole_image
from careamics_denoisplit.prediction.warning_maps import (
    CONSISTENT,
    NO_MONITORS,
    Monitored,
    Monitors,
    WarningMaps,
    outside_training,
    superposition_of,
    warning_maps,
)

__all__ = [
    "CONSISTENT",
    "NO_MONITORS",
    "Calibrate",
    "Estimate",
    "Estimator",
    "Monitored",
    "Monitors",
    "Precision",
    "Prediction",
    "Progress",
    "RunningMoments",
    "Scale",
    "SeamDifference",
    "Splitter",
    "Spread",
    "Tile",
    "Tiling",
    "WarningMaps",
    "Workload",
    "choose_tiling",
    "outside_training",
    "predict_image",
    "predict_stack",
    "reduced_type",
    "sample_image",
    "sample_stack",
    "seam_difference",
    "superposition_of",
    "tiles_of",
    "warning_maps",
    "whole_image",
]
