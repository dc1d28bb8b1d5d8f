"""Recipes and cards of the published models: complete, and not stale."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit_export import Recipe, load_recipe
from careamics_denoisplit_export.card import Card
from careamics_denoisplit_export.figures import load_figures
from careamics_denoisplit_export.models import PLANS
from careamics_denoisplit_export.models.publishing import (
    card_document,
    render_model_card,
    write_model_cards,
)
from careamics_denoisplit_export.rdf import Description, describe
from careamics_denoisplit_export.recipe import recipe_from
from careamics_denoisplit_export.upload.completeness import metadata_completeness

REPOSITORY = Path(__file__).parents[2]
RECIPES, CARDS = REPOSITORY / "export" / "recipes", REPOSITORY / "model_cards"
MADE = sorted(CARDS.glob("*.json"))

SCORES: dict[str, Any] = {
    "command": "evaluate",
    "samples": 8,
    "spread": "samples",
    "channels": [
        {
            "name": name,
            "psnr": psnr,
            "ms_ssim": 0.9,
            "leakage": 0.25,
            "leakage_mixture": 0.5,
            "references": {
                "noise_free_mixture": 20.74,
                "blurred_mixture": 20.51,
                "blurred_own_channel": None,
            },
            "calibration": {
                "calibrated": True,
                "factor": 2.0,
                "nll_after": 5.9,
                "ause": 0.098,
                "relative_error": 0.05,
                "coverage_90": 0.91,
                "intensity_only": {"nll": 6.1},
                "constant": {"nll": 7.2},
            },
        }
        for name, psnr in (("er", 23.78), ("actin", 20.9))
    ],
    "images": [
        {"name": name, "psnr": [23.7, 20.9], "leakage": [0.2, 0.3], "noise_free_mixture": [20, 21]}
        for name in ("first.tif", "second.tif")
    ],
}
RATIOS: dict[str, Any] = {
    "command": "ratios",
    "samples": 8,
    "spread": "samples",
    "rows": [
        {
            "ratio": [1, 4],
            "channels": [
                {"name": name, "psnr": 18.25, "noise_free_mixture": 12.5, "leakage": 0.4}
                for name in ("er", "actin")
            ],
        }
    ],
}
TRIALS: dict[str, Any] = {
    "command": "trials",
    "trials": [
        {
            "name": "gain x1.5",
            "what": "All gray values times 1.5.",
            "relative_error": 0.7,
            "predicted_relative_error": 0.3,
            "consistency": 1.47,
            "input_range": 0.6,
            "outside": 1.0,
            "skipped": None,
        },
        {"name": "third structure", "what": "", "skipped": "no image of one was given"},
    ],
}


@pytest.fixture
def figures(tmp_path: Path) -> list[Path]:
    """Results of three commands, as they write them."""
    paths = []
    for result in (SCORES, RATIOS, TRIALS):
        paths.append(tmp_path / f"{result['command']}.json")
        paths[-1].write_text(json.dumps(result))
    return paths


@pytest.fixture
def facts(package: Any) -> dict[str, Any]:
    """What the card of the tiny package names, through JSON and back."""
    return json.loads(json.dumps(dict(package.exported.facts), allow_nan=False))


@pytest.fixture
def describe_with(package: Any) -> Callable[[Recipe], dict[str, Any]]:
    """Build rdf.yaml of the tiny package with another recipe."""
    rdf = yaml.safe_load(package.files["rdf.yaml"])
    description = Description(
        output_channels=package.exported.output_channels,
        settings=rdf["weights"]["pytorch_state_dict"]["architecture"]["kwargs"],
        size_multiple=16,
        sha256=dict.fromkeys(package.files, "0" * 64),
        attachments=tuple(file["source"] for file in rdf["attachments"]),
        facts=rdf["config"]["careamics_denoisplit"],
    )
    return lambda recipe: describe(recipe, description)


@pytest.mark.parametrize("name", list(PLANS))
def test_each_published_model_has_a_recipe_that_calls_it_a_demonstration(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")

    assert recipe.status == "demonstration"
    assert "demonstration" in recipe.name.lower()
    assert recipe.description.lower().startswith("demonstration")
    assert recipe.independence is not None
    assert recipe.dataset is not None


def test_there_is_no_recipe_without_a_plan() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == set(PLANS)


@pytest.mark.skipif(not MADE, reason="no model was made yet: run `make models`")
def test_every_model_has_figures_and_a_card() -> None:
    assert {path.stem for path in MADE} == set(PLANS)
    assert {path.stem for path in CARDS.glob("*.md")} == set(PLANS)


@pytest.mark.parametrize("document", MADE, ids=lambda path: path.stem)
def test_no_card_is_stale(document: Path) -> None:
    card = document.with_suffix(".md").read_text(encoding="utf-8")

    assert render_model_card(RECIPES / f"{document.stem}.yaml", document) == card, (
        f"{document.stem}.md is stale: run `make cards`"
    )
    for picture in {line.split("](")[1].rstrip(")") for line in card.splitlines() if "![" in line}:
        assert (CARDS / picture).is_file()


def test_a_card_changes_with_its_recipe_and_its_figures(
    facts: dict[str, Any], figures: list[Path], tmp_path: Path
) -> None:
    recipes, cards = tmp_path / "recipes", tmp_path / "cards"
    recipes.mkdir()
    cards.mkdir()
    recipe = recipes / "tiny.yaml"
    recipe.write_text("name: Tiny model\ndescription: Splits.\n")
    published = {"seconds": {"training": 601.0, "check": None}, "machine": "2 cores"}
    document = card_document(Card(load_recipe(recipe), facts, load_figures(figures), published))
    (cards / "tiny.json").write_text(json.dumps(document))

    (written,) = write_model_cards(recipes, cards)
    first = written.read_text()
    recipe.write_text("name: Tiny model\ndescription: Splits otherwise.\n")
    write_model_cards(recipes, cards)
    second = written.read_text()
    document["measured"]["evaluation"]["channels"][0]["psnr"] = 30.0
    (cards / "tiny.json").write_text(json.dumps(document))

    assert "Splits otherwise." in second
    assert first.replace("Splits.", "Splits otherwise.") == second
    assert "**30.00**" in render_model_card(recipe, cards / "tiny.json")
    assert "training 10 min, check not timed" in first


def test_a_card_names_predictors_that_do_not_split_beside_each_score(
    facts: dict[str, Any], figures: list[Path], recipe: Any
) -> None:
    card = Card(recipe, facts, load_figures(figures)).render()

    assert "| er | **23.78** | 20.74 | 20.51 | - | 0.25 | 0.50 | 0.900 |" in card
    assert "**actin: hardly better than not splitting at all.**" in card
    assert "**er: hardly" not in card
    assert "| first.tif | 23.70 (0.20) | 20.90 (0.30) | 20.00 / 21.00 |" in card
    assert "| 1 : 4 | 18.25 | 12.50 | 0.40 | 18.25 | 12.50 | 0.40 |" in card
    assert "| gain x1.5 | 0.70 | 0.30 | 1.47 | 0.60 | 100 % |" in card
    assert "third structure" not in card


def test_a_card_has_the_chapters_of_the_zoo(facts: dict[str, Any], recipe: Any) -> None:
    card = Card(recipe, facts).render()

    chapters = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]
    assert chapters == [
        *("Model details", "Uses", "Task", "Risks and limits", "Training", "Evaluation"),
        *("Environmental impact", "Technical", "How to start", "Citation"),
    ]
    assert "### Out-of-scope use" in card
    assert "### Validation on external data" in card


@pytest.mark.parametrize(
    ("pairing", "words"), [(0.5, "in 50 % of the crops"), ("independent", "in all of the crops")]
)
def test_a_card_says_how_channels_were_put_together(
    facts: dict[str, Any], recipe: Any, pairing: float | str, words: str
) -> None:
    changed = Card(recipe, facts | {"pairing": pairing, "dimming": 0.75}).render()

    assert f"{words} the channels come from different places" in changed
    assert "channels dimmed by up to 75 %" in changed
    assert "different places" not in Card(recipe, facts).render()


def test_figures_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"command": "predict"}')
    (tmp_path / "b.json").write_text('{"command": "evaluate", "channels": [], "spread": "none"}')
    (tmp_path / "c.json").write_text("[1]")

    for name in "abc":
        with pytest.raises(ConfigurationError, match=rf"{name}\.json holds no figures"):
            load_figures([tmp_path / f"{name}.json"])


def test_cards_without_figures_or_of_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="make models"):
        write_model_cards(tmp_path, tmp_path)
    (tmp_path / "x.yaml").write_text("name: Tiny model\ndescription: Splits.\n")
    (tmp_path / "x.json").write_text('{"format_version": 9}')
    with pytest.raises(ConfigurationError, match="the format 9"):
        render_model_card(tmp_path / "x.yaml", tmp_path / "x.json")


def test_all_facts_of_a_recipe_reach_the_metadata(
    package: Any, describe_with: Callable[[Recipe], dict[str, Any]]
) -> None:
    people = [{"name": "Ada", "github_user": "ada"}]
    recipe = recipe_from(
        {
            "name": "Tiny model",
            "description": "Splits.",
            "authors": people,
            "maintainers": people,
            "packaged_by": people,
            "git_repo": "https://github.com/ada/tiny",
            "parent": "affable-otter",
            "dataset_id": "humorous-owl",
            "timestamp": "2026-11-22T12:00:00Z",
            "emoji": "\N{OWL}",
            "version_comment": "First.",
        }
    )

    found = metadata_completeness(describe_with(recipe))

    assert found.missing == ()
    assert found.share > 0.5


@pytest.mark.parametrize("name", list(PLANS))
def test_every_key_that_the_rules_allow_is_given(
    name: str, package: Any, describe_with: Callable[[Recipe], dict[str, Any]]
) -> None:
    found = metadata_completeness(describe_with(load_recipe(RECIPES / f"{name}.yaml")))

    rdf = yaml.safe_load(package.files["rdf.yaml"])
    assert found.share > metadata_completeness(rdf).share
    # Nobody has a name on GitHub yet; the images are not in the zoo; the models are trained from
    # scratch, by who packs them.
    unknown = {"git_repo", "maintainers", "training_data", "packaged_by", "parent"}
    assert set(found.missing) <= unknown
