"""One model from its run to package, pictures and card, on small images."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.checkpoint import TrainedModel, save_model
from careamics_denoisplit.cli.app import app
from careamics_denoisplit.config import load_configuration
from careamics_denoisplit.errors import FaultError
from careamics_denoisplit.evaluation import evaluate
from careamics_denoisplit.files import read_json, sha256_of, write_json
from careamics_denoisplit_export.models.images import Fields, Part
from careamics_denoisplit_export.models.making import Making, _named, machine
from careamics_denoisplit_export.models.plans import ModelPlan
from careamics_denoisplit_export.models.publishing import render_model_card

RECIPE = """\
name: Tiny model (demonstration)
description: Demonstration of nothing.
status: demonstration
"""


def prepare(shared: Path, folder: Path) -> Fields:
    """Draw one small field for each part."""
    del shared
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    parts = {}
    for part in ("train", "val", "test"):
        names: dict[str, dict[str, list[Path]]] = {}
        for kind, noise in (("noisy", 20.0), ("truth", 0.0)):
            for name in ("er", "actin"):
                y, x = np.mgrid[:96, :128]
                step = 7 if name == "er" else 13
                image = 500 + 150 * np.sin(x / step) * np.cos(y / step)
                image = image + noise * random.standard_normal(image.shape)
                path = folder / f"{part}_{name}_{kind}.tif"
                tifffile.imwrite(path, image.astype(np.float32))
                names.setdefault(kind, {})[name] = [path]
        mixture = folder / f"{part}_mixture.tif"
        noisy = [tifffile.imread(paths[0]) for paths in names["noisy"].values()]
        tifffile.imwrite(mixture, np.mean(noisy, axis=0, dtype=np.float32))
        parts[part] = Part(names["noisy"], names["truth"], [mixture])
    return Fields(**parts)


@pytest.fixture
def making(tmp_path: Path) -> Making:
    recipes, cards = tmp_path / "recipes", tmp_path / "cards"
    recipes.mkdir()
    cards.mkdir()
    (recipes / "tiny.yaml").write_text(RECIPE)
    plan = ModelPlan(
        "tiny",
        ("er", "actin"),
        prepare,
        epochs=3,
        algorithm={"pairing": 0.5},
        distillation={"steps": 20},
        source="",
    )
    folder = tmp_path / "models" / "tiny"
    return Making(plan, tmp_path, folder, recipes, cards, lambda _: None)


@pytest.mark.slow
def test_a_trained_model_becomes_a_package_with_a_card(
    making: Making, distilled: TrainedModel
) -> None:
    folder, test = making.folder, making.fields.test
    save_model(folder / "run" / "model", distilled)
    scores = evaluate(
        distilled, test.mixture, test.truth, test.noisy, spread=making.spread.kind, n_samples=1
    )
    write_json(folder / "scores.json", scores)
    write_json(folder / "trials.json", {"command": "trials", "trials": []})
    row = {"halo": 32, "tiles": 4, "median": 0.01, "p999": 0.3, "maximum": 0.5}
    check = {
        "command": "check",
        "rules": [{"status": "passed"}, {"status": "skipped"}],
        "consumers": [
            {"name": "fiji", "engine": "DJL", "status": "passed", "max_abs_difference": 4.5e-8}
        ],
        "seams": {"shape": [96, 128], "rim": 64, "halos": [row]},
    }
    write_json(folder / "check.json", check)

    for name in ("unequal brightness", "pictures", "package"):
        (step,) = [step for step in making.steps if step.name == name]
        step.do()
        assert step.finished
    (folder / "seams.png").write_bytes((folder / "worst.png").read_bytes())
    document, card = making._publish({"training": 100.0})

    text = card.read_text()
    assert text == render_model_card(making.recipes / "tiny.yaml", document)
    assert sha256_of(making.package) in text
    assert "4.5e-08" in text
    assert "1 of 2 rules" in text
    assert "| 1 : 4 |" in text
    assert "Where it is worst" in text
    assert "one pass with the fitted spread head" in text
    assert {path.name for path in making.cards.glob("*.png")} == {
        *("tiny_split.png", "tiny_worst.png", "tiny_seams.png"),
    }
    assert read_json(document)["published"]["package"]["bytes"] == making.package.stat().st_size


def test_the_configuration_is_that_of_the_plan(making: Making) -> None:
    making.folder.mkdir(parents=True)

    making._configure()

    config = load_configuration(making.folder / "config.yaml")
    assert config.channel_names == ("er", "actin")
    assert config.training_config.trainer_params["max_epochs"] == 3
    assert config.algorithm_config.pairing == 0.5
    assert config.distillation_config.steps == 20


def test_a_training_counts_as_finished_after_its_last_epoch(making: Making) -> None:
    run = making.folder / "run"
    (run / "logs").mkdir(parents=True)
    making._configure()
    (making.folder / "config.yaml").rename(run / "config.yaml")
    rows = ["epoch,step,seconds", "0,100,36.0", "1,200,72.5"]

    (run / "logs" / "metrics.csv").write_text("\n".join(rows))
    assert not making._is_trained()
    (run / "logs" / "metrics.csv").write_text("\n".join([*rows, "2,300,109.0"]))
    assert making._is_trained()
    assert making._training_seconds() == 109.0


@pytest.mark.parametrize("passed", [True, False])
def test_a_check_counts_as_finished_only_where_it_passed(making: Making, passed: bool) -> None:
    write_json(making.folder / "check.json", {"passed": passed})
    (making.folder / "seams.png").touch()

    (step,) = [step for step in making.steps if step.name == "check"]

    assert step.finished is passed


def test_every_command_is_one_that_users_can_type(
    making: Making, distilled: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(making.folder / "run" / "model", distilled)
    typed: list[list[str]] = []
    monkeypatch.setattr(Making, "_command", lambda _, *words: typed.append([*map(str, words)]))

    making._fit_noise()
    making._train()
    making._calibrate("--spread", "distilled")
    making._distil()
    making._score()
    making._try_unfamiliar()
    making._check()

    assert [words[0] for words in typed] == [
        *("noise-model", "train", "calibrate", "distil", "evaluate", "trials", "check"),
    ]
    assert typed[4][2:4] == ["--spread", "distilled"]
    for words in typed:
        _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        assert bound.arguments


def test_a_command_that_fails_stops_the_making(
    making: Making, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FaultError, match="`denoisplit evaluate` ended with exit code 2"):
        making._command("evaluate", making.folder / "nowhere", "--truth", "er=x.tif")
    assert "is not a RUN folder" in capfd.readouterr().err


def test_the_machine_is_named_by_cores_and_processor() -> None:
    assert " cores of " in machine()


def test_names_of_files_follow_their_channel() -> None:
    assert _named("--val", {"er": [Path("a"), Path("b")], "actin": [Path("c")]}) == [
        *("--val", "er=a", "b", "--val", "actin=c"),
    ]
