"""Calibration, scores and packages of a run."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.errors import ConfigurationError


def test_a_calibration_is_kept_in_the_run(run: Path) -> None:
    opened = DenoiSplitCAREamist(checkpoint_path=run)

    assert opened.trained.calibrations.factors("samples-4") is not None


def test_scores_are_returned_and_kept_in_the_run(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    scores = careamist.evaluate(
        mixture=fields.MIXTURE, truth=fields.CLEAN[2], axes="CYX", n_samples=4
    )

    assert [channel["name"] for channel in scores["channels"]] == list(fields.CHANNELS)
    assert scores["samples"] == 4
    assert (careamist.work_dir / "logs" / "evaluation.json").is_file()


def test_a_package_is_exported_by_the_words_of_careamics(
    careamist: DenoiSplitCAREamist,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: ModuleType,
) -> None:
    import careamics_denoisplit_export.package as packages

    seen: dict[str, Any] = {}

    class Exported:
        path = tmp_path / "p.zip"

    def export_package(trained: Any, recipe: Any, out: Any, **options: Any) -> Exported:
        seen.update(recipe=recipe, out=out, **options)
        return Exported()

    monkeypatch.setattr(packages, "export_package", export_package)

    path = careamist.export_to_bmz(
        tmp_path / "p.zip",
        friendly_model_name="Spots of two sizes",
        input_array=fields.MIXTURE,
        authors=[{"name": "A. Person", "affiliation": "Institute"}],
        general_description="Splits spots.",
        data_description="Generated spots.",
        channel_names=["er", "actin"],
        spread="samples",
        n_samples=4,
    )

    assert path == tmp_path / "p.zip"
    assert seen["recipe"].name == "Spots of two sizes"
    assert seen["recipe"].authors[0].name == "A. Person"
    assert seen["recipe"].description == "Splits spots."
    assert seen["recipe"].training_data == "Generated spots."
    assert seen["test_image"] is fields.MIXTURE
    assert (seen["spread"], seen["n_samples"]) == ("samples", 4)


def test_a_package_with_other_channels_is_refused(
    careamist: DenoiSplitCAREamist, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="must be those of the model, er, actin"):
        careamist.export_to_bmz(tmp_path / "p.zip", channel_names=["er", "golgi"])
