"""README.md of a package: what goes in, what comes out, where it fails, how to run it."""

from collections.abc import Mapping
from typing import Any

import jinja2

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "`": "\\`"}
_MIXING = {
    "mean": "it is the mean of the channels, so bring a sum of n channels down by n",
    "sum": "it is the sum of the channels, so bring a mean of n channels up by n",
    "measured": "it was recorded as one image, not computed from channels",
}


def render_card(facts: Mapping[str, Any]) -> str:
    """Fill the template of README.md.

    Parameters
    ----------
    facts : mapping
        Names that the template uses; a missing one is an error.

    Returns
    -------
    str
        Markdown. Texts of people are escaped: they cannot bring in markup.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("careamics_denoisplit_export"),
        autoescape=False,  # noqa: S701 - the result is Markdown; texts are escaped by `text`
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["text"] = escaped
    environment.filters["number"] = number
    return environment.get_template("README.md.j2").render(**facts)


def escaped(text: str) -> str:
    """Make a person's text safe inside Markdown: no tags, no tables, no headings."""
    one_line = " ".join(text.split())
    return "".join(_ESCAPED.get(letter, letter) for letter in one_line)


def number(value: float) -> str:
    """Write a number with four significant digits, without an exponent where that is shorter."""
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.3e}"


def mixing_in_words(mixing: str) -> str:
    """Say how the training input came about, and what to do if yours differs."""
    return _MIXING[mixing]
