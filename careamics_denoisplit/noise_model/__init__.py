"""Noise models: how the observations of one channel scatter around its signal."""

from careamics_denoisplit.noise_model.acquisition import (
    Acquisition,
    acquisition_from,
    acquisition_warnings,
)
from careamics_denoisplit.noise_model.alignment import AffineAlignment, fit_alignment
from careamics_denoisplit.noise_model.fit import (
    FittedNoiseModel,
    fit_from_bootstrap,
    fit_from_pairs,
    fit_from_repeats,
)
from careamics_denoisplit.noise_model.identity import (
    check_noise_models,
    load_noise_models,
    noise_model_file,
    require_named_channels,
    require_usable,
)
from careamics_denoisplit.noise_model.model import (
    GaussianMixtureNoiseModel,
    NoiseModelInfo,
    Verdict,
)
from careamics_denoisplit.noise_model.report import NoiseModelReport
from careamics_denoisplit.noise_model.report_files import write_report
from careamics_denoisplit.noise_model.storage import load_noise_model

__all__ = [
    "Acquisition",
    "AffineAlignment",
    "FittedNoiseModel",
    "GaussianMixtureNoiseModel",
    "NoiseModelInfo",
    "NoiseModelReport",
    "Verdict",
    "acquisition_from",
    "acquisition_warnings",
    "check_noise_models",
    "fit_alignment",
    "fit_from_bootstrap",
    "fit_from_pairs",
    "fit_from_repeats",
    "load_noise_model",
    "load_noise_models",
    "noise_model_file",
    "require_named_channels",
    "require_usable",
    "write_report",
]
