"""`denoisplit models`: names, folders and the rendering of cards."""

import json
from pathlib import Path
from typing import Any

import pytest

from careamics_denoisplit.cli.app import run
from careamics_denoisplit.errors import FaultError
from careamics_denoisplit_export.card import Card
from careamics_denoisplit_export.models.making import Making
from careamics_denoisplit_export.models.publishing import card_document
from careamics_denoisplit_export.recipe import load_recipe


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders of a clone, with one recipe."""
    (tmp_path / "export" / "recipes").mkdir(parents=True)
    (tmp_path / "model_cards").mkdir()
    recipe = tmp_path / "export" / "recipes" / "tiny.yaml"
    recipe.write_text("name: Tiny model\ndescription: Splits.\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_cards_are_rendered_from_committed_figures_alone(clone: Path, package: Any) -> None:
    recipe = load_recipe(clone / "export" / "recipes" / "tiny.yaml")
    facts = json.loads(json.dumps(dict(package.exported.facts)))
    document = clone / "model_cards" / "tiny.json"
    document.write_text(json.dumps(card_document(Card(recipe, facts))))

    told = clone / "models.json"
    assert run(["models", "--only-cards", "--json", str(told)]) == 0
    card = clone / "model_cards" / "tiny.md"
    first, written = card.read_text(), card.stat().st_mtime_ns
    assert run(["models", "--only-cards"]) == 0

    assert json.loads(told.read_text())["models"] == ["tiny"]
    assert json.loads(told.read_text())["files"] == [str(card)]
    assert first.startswith("# Tiny model\n")
    assert card.stat().st_mtime_ns == written


def test_a_clone_without_figures_is_told_to_make_models(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "--only-cards"]) == 2
    assert "make models" in capsys.readouterr().err
    assert list((clone / "model_cards").iterdir()) == []


def test_the_models_that_were_made_are_told_with_their_files(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(self: Making) -> list[Path]:
        if self.plan.name == "actin_mito":
            raise FaultError("no memory")
        return [self.package]

    monkeypatch.setattr(Making, "run", make)

    assert run(["models", "er_nuclei", "actin_mito", "--json", "told.json"]) == 3
    told = json.loads((clone / "told.json").read_text())
    assert told["models"] == ["er_nuclei"]
    assert told["files"] == [str(clone / "models" / "er_nuclei" / "er_nuclei.zip")]


def test_an_unknown_model_is_refused_with_those_that_there_are(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "er_nucleus"]) == 2
    assert "er_nuclei, actin_mito" in capsys.readouterr().err
    assert not (clone / "models").exists()


def test_missing_images_are_named_before_anything_is_made(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "actin_mito", "--data", str(clone / "nowhere")]) == 2
    assert "--data" in capsys.readouterr().err
    assert not (clone / "models").exists()
