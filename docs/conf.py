"""Configuration of Sphinx: no network, warnings are errors."""

from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

# Loaded before Sphinx alters how modules are imported, which pydantic does not survive.
import careamics_denoisplit.data  # noqa: F401 - loaded for its effect
import careamics_denoisplit_export  # noqa: F401 - loaded for its effect

project = "careamics-denoisplit"
author = "The careamics-denoisplit developers"
copyright = "2026, the careamics-denoisplit developers"  # noqa: A001 - the name Sphinx reads
version = release = installed_version("careamics-denoisplit")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
templates_path: list[str] = []

html_theme = "furo"
html_title = f"careamics-denoisplit {version}"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

# The tutorial runs once for each change of its source.
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).with_name("_build") / "notebooks")
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
# Plain words in the types of docstrings are no references.
suppress_warnings = ["ref.python"]


def keep_bars(
    _app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Read |x| in a docstring as an absolute value, not as a substitution."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def setup(app: Any) -> None:
    """Register what alters docstrings."""
    app.connect("autodoc-process-docstring", keep_bars)
