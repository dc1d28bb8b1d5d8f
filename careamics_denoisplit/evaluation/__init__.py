"""Calibration of a trained model on validation images, and its scores on test images."""

from careamics_denoisplit.evaluation.calibrating import PACKAGE_SAMPLES, calibrate, choose_blur
from careamics_denoisplit.evaluation.evaluating import Example, evaluate, example_of
from careamics_denoisplit.evaluation.familiarity import Familiarity, familiarity_of
from careamics_denoisplit.evaluation.ratios import evaluate_ratios, usual_ratios
from careamics_denoisplit.evaluation.records import SCORES, load_scores, save_scores
from careamics_denoisplit.evaluation.scenes import (
    Scene,
    Scenes,
    align_truth,
    aligned_truth,
    open_scenes,
)
from careamics_denoisplit.evaluation.trials import run_trials
from careamics_denoisplit.evaluation.trust import Trust, trust_in

__all__ = [
    "PACKAGE_SAMPLES",
    "SCORES",
    "Example",
    "Familiarity",
    "Scene",
    "Scenes",
    "Trust",
    "align_truth",
    "aligned_truth",
    "calibrate",
    "choose_blur",
    "evaluate",
    "evaluate_ratios",
    "example_of",
    "familiarity_of",
    "load_scores",
    "open_scenes",
    "run_trials",
    "save_scores",
    "trust_in",
    "usual_ratios",
]
