"""Model cards beside the packages: rendered from the recipe and a committed JSON alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import read_json, write_whole
from careamics_denoisplit_export.card import Card
from careamics_denoisplit_export.recipe import load_recipe

FORMAT_VERSION = 1


def card_document(card: Card) -> dict[str, Any]:
    """Return what is committed of a card: everything but the recipe, in JSON types."""
    return {
        "format_version": FORMAT_VERSION,
        "facts": dict(card.facts),
        "measured": dict(card.measured),
        "published": dict(card.published),
    }


def render_model_card(recipe: Path, document: Path) -> str:
    """Render the card of a published model.

    Parameters
    ----------
    recipe : pathlib.Path
        Facts that people wrote, YAML.
    document : pathlib.Path
        Measured figures, JSON.

    Raises
    ------
    ConfigurationError
        If a file is missing, or the JSON is of another version.
    """
    for path in (recipe, document):
        if not path.is_file():
            raise ConfigurationError(
                f"There is no {path}. Run this in the root folder of a clone, after `make models`."
            )
    content: Mapping[str, Any] = read_json(document, error=ConfigurationError)
    if content.get("format_version") != FORMAT_VERSION:
        raise ConfigurationError(
            f"{document} has the format {content.get('format_version')!r}, not {FORMAT_VERSION}. "
            "Make the model again with `make models`."
        )
    return Card(
        load_recipe(recipe), content["facts"], content["measured"], content["published"]
    ).render()


def write_model_cards(recipes: Path, cards: Path) -> list[Path]:
    """Render all cards for which figures were committed.

    Parameters
    ----------
    recipes, cards : pathlib.Path
        Folders of the recipes, and of figures and cards.

    Returns
    -------
    list of pathlib.Path
        The cards.

    Raises
    ------
    ConfigurationError
        If there are no figures at all.
    """
    documents = sorted(cards.glob("*.json"))
    if not documents:
        raise ConfigurationError(
            f"There are no figures in {cards}. Run this in the root folder of a clone, after "
            "`make models`."
        )
    written = []
    for document in documents:
        path = document.with_suffix(".md")
        text = render_model_card(recipes / f"{document.stem}.yaml", document)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text.encode())
        written.append(path)
    return written
