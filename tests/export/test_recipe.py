"""Recipes: strict YAML of facts, every mistake named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelInfo
from careamics_denoisplit_export.recipe import (
    PLACEHOLDER_AUTHOR,
    Recipe,
    default_recipe,
    load_recipe,
    recipe_from,
)
from careamics_denoisplit_export.recipe_template import recipe_template

GOOD = """\
name: ER and actin, widefield 60x
description: Splits ER and actin.
authors:
  - name: Ada Lovelace
    affiliation: Analytical Engines
    orcid: 0000-0002-1825-0097
license: CC-BY-4.0
pixel_size: 0.108
test_image: test.tif
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_is_read(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD.replace(",", "")))

    assert recipe.authors[0].name == "Ada Lovelace"
    assert recipe.pixel_size == 0.108
    assert recipe.test_image == tmp_path / "test.tif"
    assert recipe.identifier == "er-and-actin-widefield-60x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: Good name\n", "`description` is missing"),
        ("name: abc\ndescription: x\n", "`name`"),
        ("name: a,b and c\ndescription: x\n", "`name`: must consist of letters"),
        ("name: ''\ndescription: x\n", "`name` is empty"),
        ("name: Good name\ndescription: x\nlicense: CC-BY-5.0\n", "did you mean CC-BY-4.0"),
        ("name: Good name\ndescription: x\nlicense: my own\n", "must be an SPDX identifier"),
        (
            "name: Good name\ndescription: x\ncite: [{text: a, doi: 'https://doi.org/10.1/a'}]\n",
            r"`cite\.0\.doi`: must be a DOI such as",
        ),
        ("name: My StarDist model\ndescription: x\n", "Fiji reserves it"),
        ("name: Good name\ndescription: x\nautor: y\n", "`autor` is no field.*mean `authors`"),
        ("name: Good name\ndescription: x\nauthors: []\n", "`authors`"),
        ("name: Good name\ndescription: x\nauthors: [{name: a/b}]\n", r"`authors\.0\.name`"),
        (
            "name: Good name\ndescription: x\nauthors: [{name: a, orcid: 0000-0002-1825-0098}]\n",
            r"`authors\.0\.orcid`: is no ORCID that exists",
        ),
        ("name: Good name\ndescription: x\nversion: 1.0\n", "`version`.*put it in quotes"),
        ("name: Good name\ndescription: x\nversion: v1\n", "`version`"),
        ("name: Good name\ndescription: x\ntags: [cells, CAREamics]\n", "remove the tag"),
        ("name: Good name\ndescription: x\ncite: [{text: y}]\n", "give `doi` or `url`"),
        ("name: Good name\ndescription: x\npixel_size: -1\n", "`pixel_size`"),
        ("name: Good name\ndescription: x\npixel_size: .inf\n", "`pixel_size`"),
        ("name: Good name\ndescription: x\nlicense: true\n", "`license`"),
        ("name: &a Good name\ndescription: *a\n", "anchor"),
        ("name: !!python/name:os.system x\ndescription: x\n", "tag"),
        ("name: one\nname: two\n", "twice"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_recipe(write(tmp_path, text))


def test_a_recipe_that_nobody_wrote_names_no_author() -> None:
    recipe = default_recipe(("er", "F_actin"))

    assert recipe.authors[0].name == PLACEHOLDER_AUTHOR
    assert recipe.name == "denoiSplit er F_actin"
    assert recipe_from(recipe.model_dump(exclude_none=True)) == recipe


def test_a_demonstration_says_so_in_its_name() -> None:
    recipe = Recipe(name="Good name", description="x", status="demonstration")

    assert recipe.title == "Good name (demonstration)"


def test_a_template_is_a_recipe_that_names_every_field(
    trained: TrainedModel, tmp_path: Path
) -> None:
    text = recipe_template(trained, "mine.yaml")

    recipe = load_recipe(write(tmp_path, text))

    assert recipe == default_recipe(("er", "actin"))
    assert "--recipe mine.yaml" in text
    for field in Recipe.model_fields:
        assert f"\n{field}:" in text or f"\n# {field}:" in text


def test_a_template_holds_what_the_run_knows(
    make_trained: Callable[..., TrainedModel], tmp_path: Path
) -> None:
    info = NoiseModelInfo(camera="sCMOS 1", gain=0.46, exposure=0.05, date="2026-05-04")
    weight = torch.zeros(3, 2)
    model = GaussianMixtureNoiseModel(weight, 0.0, 1.0, 1.0, info=info)
    trained = replace(make_trained(), noise_models=(model, model))

    recipe = load_recipe(write(tmp_path, recipe_template(trained)))

    assert recipe.gain == "0.46"
    assert recipe.acquisition is not None
    assert "er: camera sCMOS 1, exposure 0.05 s, recorded 2026-05-04" in recipe.acquisition


def test_the_examples_of_a_template_are_allowed_values(
    trained: TrainedModel, tmp_path: Path
) -> None:
    """Whoever removes every comment sign before a field gets a recipe that is read."""
    head, *fields = recipe_template(trained).split("\n\n")
    lines = "\n\n".join(fields).splitlines()
    assert "denoisplit export RUN" in head
    kept = [
        line.removeprefix("# ")
        for line in lines
        if not line.startswith("# ")
        or line.startswith("#  ")
        or any(line.startswith(f"# {field}:") for field in Recipe.model_fields)
    ]

    recipe = load_recipe(write(tmp_path, "\n".join(kept)))

    assert recipe.bit_depth == 16
    assert recipe.authors[0].orcid == "0000-0002-1825-0097"
    assert recipe.maintainers[0].github_user == "name"
    assert recipe.packaged_by[0].name == "Full name"
    assert recipe.dataset is not None
    assert recipe.dataset.cite[0].doi == "10.5281/zenodo.1"
    assert recipe.test_image == tmp_path / "mixture.tif"
