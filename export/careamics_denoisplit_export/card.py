"""Model cards: README.md of a package, and the page about a published model, of one template."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jinja2
import numpy as np

from careamics_denoisplit_export.recipe import Recipe

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "`": "\\`"}
_INPUTS = {
    "measured": "one exposure of {} together",
    "sum": "the sum of one image of each of {}",
    "mean": "the mean of one image of each of {}",
}
_BLANK_LINES = re.compile(r"\n{3,}")

TOPICS = ("evaluation", "ratios", "trials", "seams", "worst")
"""What the figures of a card are about."""

_PUBLISHED = (
    *("picture", "picture_words", "seams_picture", "worst_picture"),
    *("package", "consumers", "versions", "seconds", "machine"),
)


@dataclass(frozen=True)
class Card:
    """Everything that a card says; all but the recipe are plain JSON types.

    Attributes
    ----------
    recipe : Recipe
        What a person wrote.
    facts : mapping
        What the run says, as `card_facts` collects it.
    measured : mapping
        Figures that were measured, by topic; a topic that is missing is left out of the card.
    published : mapping
        Package, machine, run times and pictures of a model whose card stands beside its package;
        empty in the README inside.
    """

    recipe: Recipe
    facts: Mapping[str, Any]
    measured: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)

    def render(self) -> str:
        """Fill the template.

        Returns
        -------
        str
            Markdown. Texts of people are escaped: they cannot bring in markup.
        """
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("careamics_denoisplit_export"),
            autoescape=False,  # noqa: S701 - the result is Markdown; texts are escaped by `text`
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=False,
        )
        environment.filters |= {
            "text": escaped,
            "number": number,
            "plain": plain,
            "fixed": fixed,
            "percent": percent,
            "duration": duration,
        }
        page = environment.get_template("README.md.j2")
        filled = page.render(
            recipe=self.recipe,
            measured={**dict.fromkeys(TOPICS), **self.measured},
            published={**dict.fromkeys(_PUBLISHED), **self.published},
            **self.facts,
        )
        text = _BLANK_LINES.sub("\n\n", filled).strip()
        return f"{text}\n"


def escaped(text: str) -> str:
    """Make a person's text safe inside Markdown: no tags, no tables, no headings."""
    one_line = " ".join(text.split())
    return "".join(_ESCAPED.get(letter, letter) for letter in one_line)


def number(value: float) -> str:
    """Write a number with four significant digits, without an exponent where that is shorter."""
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.3e}"


def plain(value: float) -> str:
    """Write a number for a script: seven significant digits, never an exponent."""
    return np.format_float_positional(float(f"{value:.7g}"), trim="-")


def fixed(value: float | None, digits: int = 2) -> str:
    """Write a number with so many decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """Write a share in percent; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.0f} %"


def duration(seconds: float | None) -> str:
    """Write a duration as people say it."""
    if seconds is None:
        return "not timed"
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"


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
