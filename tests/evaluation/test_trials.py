"""Trials with images that a model was not trained for: what is done, and what is counted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.checkpoint import TrainedModel, save_model
from careamics_denoisplit.cli.app import run
from careamics_denoisplit.errors import DataError
from careamics_denoisplit.evaluation import run_trials
from careamics_denoisplit.evaluation.changed_images import Field, Trial, trials_of
from careamics_denoisplit.prediction import predict_image, warning_maps

NAMES = [
    "as recorded",
    "gain x1.5",
    "gain x0.5",
    "offset",
    "noise x1.5",
    "blur",
    "denoised input",
    "sum for mean",
    "third structure",
    "er missing",
    "actin missing",
    "swapped channels",
]


@pytest.fixture(scope="module")
def third() -> np.ndarray:
    return np.random.default_rng(1).gamma(2.0, 20.0, (40, 100)).astype(np.float32)


@pytest.fixture(scope="module")
def field(third: np.ndarray) -> Field:
    random = np.random.default_rng(2)
    truth = random.gamma(4.0, 20.0, (2, 60, 50))
    noise = random.normal(0, 20 / np.sqrt(2), (60, 50))
    mixture = (truth.mean(axis=0) + noise).astype(np.float32)
    variance = np.full((60, 50), 200.0)
    return Field(mixture, truth, np.array([0.5, 0.5]), 0.0, variance, third, (0, 0))


def named(trained: TrainedModel, name: str) -> Trial:
    return next(trial for trial in trials_of(trained, has_third=True) if trial.name == name)


@pytest.fixture(scope="module")
def found(calibrated: TrainedModel, third: np.ndarray) -> dict[str, Any]:
    random = np.random.default_rng(3)
    truth = {
        name: random.normal(100, 20, (2, 48, 40)).astype(np.float32) for name in ("er", "actin")
    }
    noisy = {k: (v + random.normal(0, 20, v.shape)).astype(np.float32) for k, v in truth.items()}
    return run_trials(
        calibrated, truth=truth, channels=noisy, third=third, n_samples=10, axes="SYX"
    )


def test_every_trial_is_in_the_table_with_plain_figures(found: dict[str, Any]) -> None:
    json.dumps(found, allow_nan=False)

    assert [row["name"] for row in found["trials"]] == NAMES
    assert found["calibrated"] is True
    for row in found["trials"]:
        assert row["skipped"] is None
        assert row["relative_error"] > 0
        assert row["predicted_relative_error"] > 0
        assert row["consistency"] > 0
        assert max(row["consistency_outside"], row["input_range_outside"]) <= row["outside"] <= 1
        assert [channel["name"] for channel in row["channels"]] == ["er", "actin"]
    missing = found["trials"][NAMES.index("er missing")]
    assert missing["channels"][0]["psnr"] is None
    assert missing["channels"][0]["relative_error"] > 0


def test_the_figures_are_those_of_the_prediction(
    calibrated: TrainedModel, third: np.ndarray
) -> None:
    random = np.random.default_rng(4)
    truth = random.normal(100, 20, (2, 48, 40)).astype(np.float32)
    mixture = (truth.mean(axis=0) + random.normal(0, 14, (48, 40))).astype(np.float32)
    estimate = predict_image(calibrated, 1.5 * mixture, n_samples=10)
    assert estimate.spread is not None
    std = calibrated.calibrations.std(estimate.mean, estimate.spread, "samples-10")
    maps = warning_maps(calibrated, 1.5 * mixture, estimate.mean)

    sources = dict(zip(("er", "actin"), truth, strict=True))
    row = run_trials(
        calibrated, truth=sources, mixture=mixture, align=False, n_samples=10, axes="YX"
    )["trials"][1]

    errors = np.mean(np.square(estimate.mean - 1.5 * truth), axis=(1, 2))
    contrast = 1.5**2 * truth.var(axis=(1, 2))
    assert row["relative_error"] == pytest.approx(np.sqrt(np.mean(errors / contrast)), rel=1e-4)
    assert row["channels"][1]["rmse"] == pytest.approx(np.sqrt(errors[1]), rel=1e-4)
    assert std is not None
    expected = np.sqrt(np.mean(np.square(std[0])))
    assert row["channels"][0]["predicted_rmse"] == pytest.approx(expected, rel=1e-4)
    assert row["input_range"] == pytest.approx(float(np.median(maps.input_range)), rel=1e-4)
    assert row["input_range_outside"] == np.mean(maps.input_range != 0)


def test_images_are_changed_as_is_said(trained: TrainedModel, field: Field) -> None:
    def change(name: str) -> Any:
        return named(trained, name).change(field)

    brightness = trained.statistics.input_std
    np.testing.assert_allclose(change("gain x0.5").truth, 0.5 * field.truth)
    np.testing.assert_allclose(change("offset").mixture, field.mixture + brightness, rtol=1e-6)
    np.testing.assert_allclose(change("sum for mean").mixture, 2 * field.mixture)
    np.testing.assert_allclose(change("denoised input").mixture, field.clean, rtol=1e-6)
    added = change("noise x1.5").mixture - field.mixture
    assert added.std() == pytest.approx(np.sqrt(1.25 * 200), rel=0.05)
    blurred = change("blur").mixture
    assert (blurred - field.mixture + field.clean).var() < 0.1 * field.clean.var()
    without = change("er missing")
    assert np.ptp(without.truth[0]) == 0
    np.testing.assert_array_equal(without.truth[1], field.truth[1])
    gone = field.mixture - without.mixture
    np.testing.assert_allclose(gone, 0.5 * (field.truth[0] - without.truth[0]), atol=1e-4)
    foreign = change("third structure").mixture - field.mixture
    assert foreign.std() == pytest.approx(np.mean(0.5 * field.truth.std(axis=(1, 2))), rel=0.2)


def test_swapped_channels_change_places(trained: TrainedModel, field: Field) -> None:
    changed = named(trained, "swapped channels").change(field)

    assert changed.exchanged
    np.testing.assert_array_equal(changed.mixture, field.mixture)
    np.testing.assert_array_equal(changed.truth, field.truth)


def test_what_cannot_be_tried_is_skipped_with_the_reason(trained: TrainedModel) -> None:
    silent = replace(trained, noise_models=())
    skipped = {t.name: t.why_not for t in trials_of(silent, has_third=False) if t.why_not}

    assert set(skipped) == {"noise x1.5", "third structure"}
    assert "no noise models" in skipped["noise x1.5"]


def test_trials_need_truth(trained: TrainedModel) -> None:
    with pytest.raises(DataError, match="No truth was given for the trials"):
        run_trials(trained, truth=None, mixture=np.ones((32, 32), np.float32))


def test_the_command_prints_the_table_and_writes_it(
    calibrated: TrainedModel,
    third: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_model(tmp_path / "run" / "model", calibrated)
    random = np.random.default_rng(3)
    truth = random.normal(100, 20, (2, 48, 40)).astype(np.float32)
    for name, image in zip(("er", "actin"), truth, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
    tifffile.imwrite(tmp_path / "mixture.tif", truth.mean(axis=0))
    words = ["trials", str(tmp_path / "run"), "--mixture", str(tmp_path / "mixture.tif")]
    words += ["--truth", *(f"{name}={tmp_path / name}.tif" for name in ("er", "actin"))]

    assert run([*words, "--samples", "2", "--json", str(tmp_path / "trials.json")]) == 0

    said = capsys.readouterr().out
    assert "swapped channels" in said
    assert "skipped: no image of a third structure was given" in said
    found = json.loads((tmp_path / "trials.json").read_text())
    assert found["command"] == "trials"
    assert [row["name"] for row in found["trials"]] == NAMES
    assert found["calibrated"] is False
