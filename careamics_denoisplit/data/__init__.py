"""Training data: statistics, mixing, splits that cannot leak, and patches by number."""

from careamics_denoisplit.data.agreement import (
    MixtureWarning,
    compare_mixture,
    describe_mixture,
)
from careamics_denoisplit.data.binning import binned
from careamics_denoisplit.data.check import check_data
from careamics_denoisplit.data.check_report import DataReport
from careamics_denoisplit.data.dimming import Light, dimmed, draw_brightness
from careamics_denoisplit.data.input_rules import (
    SAME_INPUT,
    InputMap,
    InputRule,
    input_map,
    statistics_of_image,
)
from careamics_denoisplit.data.local_statistics import LocalLevels, LocalSample
from careamics_denoisplit.data.mixing import MixtureFit, MixtureFitter, mix, mixing_weights
from careamics_denoisplit.data.module import DenoiSplitDataModule
from careamics_denoisplit.data.patches import (
    Batch,
    Field,
    GridPatches,
    IndexedSampler,
    Recipe,
    TrainingPatches,
    collate,
)
from careamics_denoisplit.data.planes import ImageView, Plane, planes_of
from careamics_denoisplit.data.sources import Opened, open_channels
from careamics_denoisplit.data.splits import Split, refuse_leak, split_by_frame, split_by_rows
from careamics_denoisplit.data.statistics import Moments, Statistics, compute_statistics
from careamics_denoisplit.data.superposition import Superposition, superposition_of_training

__all__ = [
    "SAME_INPUT",
    "Batch",
    "DataReport",
    "DenoiSplitDataModule",
    "Field",
    "GridPatches",
    "ImageView",
    "IndexedSampler",
    "InputMap",
    "InputRule",
    "Light",
    "LocalLevels",
    "LocalSample",
    "MixtureFit",
    "MixtureFitter",
    "MixtureWarning",
    "Moments",
    "Opened",
    "Plane",
    "Recipe",
    "Split",
    "Statistics",
    "Superposition",
    "TrainingPatches",
    "binned",
    "check_data",
    "collate",
    "compare_mixture",
    "compute_statistics",
    "describe_mixture",
    "dimmed",
    "draw_brightness",
    "input_map",
    "mix",
    "mixing_weights",
    "open_channels",
    "planes_of",
    "refuse_leak",
    "split_by_frame",
    "split_by_rows",
    "statistics_of_image",
    "superposition_of_training",
]
