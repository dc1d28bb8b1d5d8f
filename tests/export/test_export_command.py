"""What `denoisplit export` and `predict` know about packages beside writing and checking them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.checkpoint import TrainedModel, save_model
from careamics_denoisplit.cli.app import run
from careamics_denoisplit_export.recipe import default_recipe, load_recipe


@pytest.fixture(scope="module")
def model(calibrated: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("run") / "model", calibrated)


def test_a_recipe_to_fill_in_is_written(model: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "recipe.yaml", tmp_path / "told.json"

    code = run(["export", str(model), "--init-recipe", "--out", str(out), "--json", str(told)])

    assert code == 0
    assert load_recipe(out) == default_recipe(("er", "actin"))
    assert json.loads(told.read_text())["recipe"] == str(out)


def test_a_recipe_replaces_nothing_and_is_a_yaml_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "mine.yaml"
    there.write_text("mine")

    assert run(["export", str(model), "--init-recipe", "--out", str(there)]) == 2
    assert there.read_text() == "mine"
    assert "--overwrite" in capsys.readouterr().err
    assert run(["export", str(model), "--init-recipe", "--out", str(tmp_path / "a.zip")]) == 2
    assert "recipe is a .yaml file" in capsys.readouterr().err


def test_an_input_whose_map_needs_an_offset_is_wrong_input_without_it(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.zip"

    assert run(["export", str(model), "--input", "measured", "--out", str(out)]) == 2
    assert "--offset" in capsys.readouterr().err
    assert not out.exists()


def test_predict_takes_a_package(
    package: Any, make_image: Callable[..., np.ndarray], model: Path, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "field.tif", make_image((64, 96)))
    found = []
    for name, source in {"package": package.path, "run": model}.items():
        out = tmp_path / name
        code = run(["predict", str(source), str(tmp_path / "field.tif"), "--out", str(out),
                    "--samples", "2"])  # fmt: skip
        assert code == 0
        found.append(tifffile.imread(out / "field_mean.ome.tif"))

    assert np.array_equal(*found)
