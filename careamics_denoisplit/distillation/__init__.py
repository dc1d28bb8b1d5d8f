"""The one-pass spread: a head fitted to single posterior samples, and the gates it must pass."""

from careamics_denoisplit.config.distillation import DistillationConfig
from careamics_denoisplit.distillation.crops import (
    Crops,
    Mixture,
    middles,
    mixtures_of,
    set_aside,
)
from careamics_denoisplit.distillation.fit import FittedHead, fit_spread_head
from careamics_denoisplit.distillation.gates import SAMPLES, Estimates, compare, gates_of
from careamics_denoisplit.distillation.loss import SpreadTerms, spread_loss
from careamics_denoisplit.distillation.record import (
    Distillation,
    Gate,
    weights_digest,
)

__all__ = [
    "SAMPLES",
    "Crops",
    "Distillation",
    "DistillationConfig",
    "Estimates",
    "FittedHead",
    "Gate",
    "Mixture",
    "SpreadTerms",
    "compare",
    "fit_spread_head",
    "gates_of",
    "middles",
    "mixtures_of",
    "set_aside",
    "spread_loss",
    "weights_digest",
]
