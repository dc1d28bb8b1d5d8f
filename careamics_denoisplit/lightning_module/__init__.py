"""The step of training as a Lightning module."""

from careamics_denoisplit.lightning_module.module import GRADIENT_NORM, DenoiSplitModule
from careamics_denoisplit.lightning_module.monitoring import EpochMeans, Row, named_terms
from careamics_denoisplit.lightning_module.restoring import load_weights, module_from_checkpoint
from careamics_denoisplit.lightning_module.seeds import derive_seed

__all__ = [
    "GRADIENT_NORM",
    "DenoiSplitModule",
    "EpochMeans",
    "Row",
    "derive_seed",
    "load_weights",
    "module_from_checkpoint",
    "named_terms",
]
