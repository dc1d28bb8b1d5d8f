"""denoiSplit for CAREamics: split superimposed channels, denoise them, say how sure it is.

The public names are loaded when they are first used, so that the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from careamics_denoisplit.careamist import DenoiSplitCAREamist
    from careamics_denoisplit.config import (
        DenoiSplitConfiguration,
        create_advanced_denoisplit_config,
        create_denoisplit_config,
        load_configuration,
        save_configuration,
    )
    from careamics_denoisplit.errors import DenoiSplitError
    from careamics_denoisplit.prediction import Prediction

__all__ = [
    "DenoiSplitCAREamist",
    "DenoiSplitConfiguration",
    "DenoiSplitError",
    "Prediction",
    "create_advanced_denoisplit_config",
    "create_denoisplit_config",
    "load_configuration",
    "save_configuration",
]

_HOMES = {
    "DenoiSplitCAREamist": "careamist",
    "DenoiSplitConfiguration": "config",
    "DenoiSplitError": "errors",
    "Prediction": "prediction",
    "create_advanced_denoisplit_config": "config",
    "create_denoisplit_config": "config",
    "load_configuration": "config",
    "save_configuration": "config",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
