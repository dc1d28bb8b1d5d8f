"""Exporter of denoiSplit: one bioimage.io package that gives the same numbers everywhere."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from careamics_denoisplit_export.package import Exported, export_package
    from careamics_denoisplit_export.recipe import Recipe, load_recipe
    from careamics_denoisplit_export.rules import Report, check_package

__all__ = [
    "Exported",
    "Recipe",
    "Report",
    "check_package",
    "export_package",
    "load_recipe",
]

_HOMES = {
    "Exported": "package",
    "Recipe": "recipe",
    "Report": "rules",
    "check_package": "rules",
    "export_package": "package",
    "load_recipe": "recipe",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
