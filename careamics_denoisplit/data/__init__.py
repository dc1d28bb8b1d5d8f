"""Training data: statistics, mixing, splits that cannot leak, and patches by number."""

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

__all__ = [
    "Batch",
    "DenoiSplitDataModule",
    "Field",
    "GridPatches",
    "ImageView",
    "IndexedSampler",
    "MixtureFit",
    "MixtureFitter",
    "Moments",
    "Opened",
    "Plane",
    "Recipe",
    "Split",
    "Statistics",
    "TrainingPatches",
    "collate",
    "compute_statistics",
    "mix",
    "mixing_weights",
    "open_channels",
    "planes_of",
    "refuse_leak",
    "split_by_frame",
    "split_by_rows",
]
