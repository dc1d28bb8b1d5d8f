"""README.md of a package: what goes in, what comes out, where it fails, how to run it."""

from collections.abc import Mapping
from typing import Any

import jinja2

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "`": "\\`"}
_INPUTS = {
    "measured": "one exposure of {} together",
    "sum": "the sum of one image of each of {}",
    "mean": "the mean of one image of each of {}",
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


def input_in_words(rule: str, listed: str) -> str:
    """Say how an input comes about.

    Parameters
    ----------
    rule : str
        "measured", "sum" or "mean".
    listed : str
        Names of the channels.
    """
    return _INPUTS[rule].format(listed)
