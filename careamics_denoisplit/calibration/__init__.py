"""Calibration: from the spread of posterior samples to a standard deviation that can be trusted.

Values and pure functions; nothing here reads or writes a file.
"""

from careamics_denoisplit.calibration.alignment import (
    TruthAlignment,
    fit_alignment,
    units_differ,
)
from careamics_denoisplit.calibration.calibration_set import (
    METHODS,
    BlurWidths,
    CalibrationSet,
    EstimatorCalibration,
    FittedOn,
    Method,
    MethodScores,
    estimator_name,
    fit_estimator,
)
from careamics_denoisplit.calibration.joint import fit_joint
from careamics_denoisplit.calibration.methods import (
    IntensityTable,
    JointCalibration,
    JointLayers,
    ScalarCalibration,
    fit_constant,
    fit_intensity_table,
    fit_scalar,
    require_enough_samples,
    spread_floors,
)
from careamics_denoisplit.calibration.pixels import MAX_PIXELS, PixelSample
from careamics_denoisplit.calibration.scores import (
    Bin,
    Sparsification,
    UncertaintyScores,
    gaussian_log_likelihood,
)

__all__ = [
    "MAX_PIXELS",
    "METHODS",
    "Bin",
    "BlurWidths",
    "CalibrationSet",
    "EstimatorCalibration",
    "FittedOn",
    "IntensityTable",
    "JointCalibration",
    "JointLayers",
    "Method",
    "MethodScores",
    "PixelSample",
    "ScalarCalibration",
    "Sparsification",
    "TruthAlignment",
    "UncertaintyScores",
    "estimator_name",
    "fit_alignment",
    "fit_constant",
    "fit_estimator",
    "fit_intensity_table",
    "fit_joint",
    "fit_scalar",
    "gaussian_log_likelihood",
    "require_enough_samples",
    "spread_floors",
    "units_differ",
]
