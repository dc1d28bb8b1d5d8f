"""The share of keys that the zoo counts."""

import copy
from typing import Any

import yaml

from careamics_denoisplit_export.upload.completeness import Completeness, metadata_completeness


def test_each_key_that_a_person_adds_counts(package: Any) -> None:
    rdf = yaml.safe_load(package.files["rdf.yaml"])
    richer = copy.deepcopy(rdf) | {
        "git_repo": "https://github.com/ada/example",
        "version_comment": "First version.",
    }

    plain, rich = metadata_completeness(rdf), metadata_completeness(richer)

    assert 0.3 < plain.share < rich.share < 1
    assert set(plain.missing) - set(rich.missing) == {"git_repo", "version_comment"}
    assert not {"config.bioimageio", "weights.torchscript.comment"} & set(plain.missing)


def test_what_could_be_given_is_called_as_recipes_call_it() -> None:
    found = Completeness(0.5, ("icon", "id_emoji", "training_data", "version_comment"))

    assert found.fields == ("emoji", "dataset_id", "version_comment")
    assert found.words.endswith("a recipe could give: emoji, dataset_id, version_comment")
    assert Completeness(1.0, ()).words == "metadata: 100% of the keys that the zoo counts"


def test_a_description_that_is_not_valid_counts_nothing() -> None:
    assert metadata_completeness({"type": "model", "format_version": "0.5.9"}).share == 0
