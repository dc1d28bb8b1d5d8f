"""The verb `distil`: which images it takes, what it stores, and what uses it afterwards."""

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.careamist import distilling
from careamics_denoisplit.careamist.remembered import (
    GivenImages,
    remember_images,
    remembered_images,
)
from careamics_denoisplit.checkpoint import load_model
from careamics_denoisplit.cli.app import run as command
from careamics_denoisplit.config.distillation import DistillationConfig
from careamics_denoisplit.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    OutputExistsError,
)
from careamics_denoisplit.evaluation.one_pass import truth_gates
from careamics_denoisplit.files import write_manifest

SETTINGS = DistillationConfig(
    width=4,
    steps=4,
    patch_size=32,
    steps_per_validation=2,
    reference_samples=32,
    reference_pixels=48 * 48,
)
TRUTH = {"nll_against_samples", "ause_against_samples"}
TRUTH |= {"nll_against_intensity", "ause_against_intensity"}


@pytest.fixture(scope="module")
def images(fields: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files `<kind>_<channel>.tif` of one field, and `mixture.tif`."""
    folder = tmp_path_factory.mktemp("images")
    for index, name in enumerate(fields.CHANNELS):
        tifffile.imwrite(folder / f"noisy_{name}.tif", fields.NOISY[2, index])
        tifffile.imwrite(folder / f"clean_{name}.tif", fields.CLEAN[2, index])
    tifffile.imwrite(folder / "mixture.tif", fields.MIXTURE)
    return folder


@pytest.fixture(scope="module")
def distilled(run: Path, fields: ModuleType) -> Path:
    """The run with a one-pass spread that was judged by truth, too."""
    careamist = DenoiSplitCAREamist(checkpoint_path=run, enable_progress_bar=False)
    careamist.distil(
        channels=fields.NOISY[:2],
        images=fields.MIXTURE,
        val_channels=fields.NOISY[2:],
        truth=fields.CLEAN[2:],
        settings=SETTINGS,
        axes=None,
    )
    return run


def test_a_run_that_was_trained_on_arrays_asks_for_images(careamist: DenoiSplitCAREamist) -> None:
    with pytest.raises(ConfigurationError, match=r"does not say which images.*--channel NAME=P"):
        careamist.distil(settings=SETTINGS)


def test_truth_needs_the_images_it_belongs_to(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    with pytest.raises(ConfigurationError, match="without the validation images"):
        careamist.distil(channels=fields.NOISY, truth=fields.CLEAN, settings=SETTINGS)


def test_truth_that_does_not_fit_is_told_before_the_fit(
    careamist: DenoiSplitCAREamist, fields: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distilling, "fit_spread_head", lambda *_, **__: pytest.fail("fitted"))

    with pytest.raises(DataError, match="truth of er"):
        careamist.distil(
            channels=fields.NOISY[:2],
            val_channels=fields.NOISY[2:],
            truth=fields.CLEAN[2:, :, 1:],
            settings=SETTINGS,
        )


def test_what_was_fitted_is_kept_where_the_calibration_fails(
    run: Path, fields: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    careamist = DenoiSplitCAREamist(checkpoint_path=copied, enable_progress_bar=False)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(distilling.evaluation, "calibrate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        careamist.distil(
            channels=fields.NOISY[:2],
            val_channels=fields.NOISY[2:],
            truth=fields.CLEAN[2:],
            settings=SETTINGS,
            overwrite=True,
        )

    record = load_model(copied).distillation
    assert record is not None
    assert {gate.status for gate in record.gates if gate.name in TRUTH} == {"not measured"}


def test_a_small_image_is_split_with_a_smaller_gap(
    run: Path, fields: ModuleType, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    careamist = DenoiSplitCAREamist(checkpoint_path=copied, enable_progress_bar=False)
    large = SETTINGS.model_copy(update={"patch_size": fields.NOISY.shape[-1]})

    found = careamist.distil(channels=fields.NOISY[:1], settings=large, overwrite=True)

    assert found.trained_on == found.validated_on


def test_the_verdict_is_stored_with_the_head(distilled: Path) -> None:
    trained = load_model(distilled)

    record = trained.distillation
    assert record is not None
    assert trained.spread_head is not None
    assert record.width == 4
    assert record.reference_samples == 32
    assert len(record.trained_on) == 3
    gates = {gate.name: gate for gate in record.gates}
    assert set(gates) >= TRUTH
    assert all(gate.status in ("passed", "failed") for gate in gates.values())
    assert set(gates["nll_against_samples"].figures) == {"er", "actin"}


def test_truth_calibrates_one_pass_and_samples_on_the_same_images(distilled: Path) -> None:
    calibrations = load_model(distilled).calibrations

    once, samples = (calibrations.estimators[name] for name in ("distilled", "samples-16"))
    assert once.fitted_on.same_data(samples.fitted_on)
    gates = {gate.name: gate for gate in truth_gates(calibrations)}
    er = gates["nll_against_samples"].figures["er"]
    assert er == (once.scores["scalar"][0].nll, samples.scores["scalar"][0].nll)


def test_samples_fail_a_gate_as_well_only_where_they_do_so_in_the_same_channels(
    distilled: Path,
) -> None:
    calibrations = load_model(distilled).calibrations

    def samples_fail(once: tuple[float, float], samples: tuple[float, float]) -> bool:
        """Let er and actin of both be so many nats worse than the table against intensity."""
        changed = {}
        for name, worse in (("distilled", once), ("samples-16", samples)):
            fitted = calibrations.estimators[name]
            table = fitted.scores["intensity_only"]
            scalar = tuple(
                row.model_copy(update={"nll": row.nll + nats})
                for row, nats in zip(table, worse, strict=True)
            )
            scores = {**fitted.scores, "scalar": scalar}
            changed[name] = fitted.model_copy(update={"scores": scores})
        gates = truth_gates(calibrations.model_copy(update={"estimators": changed}))
        return {gate.name: gate.samples_fail for gate in gates}["nll_against_intensity"]

    assert samples_fail((0.1, 0.0), (0.2, 0.0))
    assert not samples_fail((0.1, 0.0), (0.0, 0.2))
    assert not samples_fail((0.0, 0.0), (0.2, 0.0))


def test_a_one_pass_spread_is_not_replaced_unasked(distilled: Path, fields: ModuleType) -> None:
    careamist = DenoiSplitCAREamist(checkpoint_path=distilled, enable_progress_bar=False)

    with pytest.raises(OutputExistsError, match="has a one-pass spread already"):
        careamist.distil(channels=fields.NOISY, settings=SETTINGS)


def test_prediction_and_scores_take_the_one_pass_spread(
    distilled: Path, fields: ModuleType
) -> None:
    careamist = DenoiSplitCAREamist(checkpoint_path=distilled, enable_progress_bar=False)

    prediction = careamist.predict(fields.MIXTURE, spread="distilled", axes="YX")
    scores = careamist.evaluate(
        channels=fields.NOISY[2:], truth=fields.CLEAN[2:], spread="distilled"
    )

    assert prediction.calibrated
    assert prediction.mean.attrs["spread"] == "distilled"
    assert prediction.mean.attrs["n_samples"] == 0
    assert float(prediction.std.min()) > 0
    assert (scores["spread"], scores["samples"]) == ("distilled", 0)
    assert scores["channels"][0]["calibration"]["calibrated"]


def test_calibrating_anew_reads_the_truth_gates_anew(
    distilled: Path, fields: ModuleType, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(distilled, tmp_path / "run"))
    careamist = DenoiSplitCAREamist(checkpoint_path=copied, enable_progress_bar=False)

    careamist.calibrate(
        channels=fields.NOISY[:1], truth=fields.CLEAN[:1], axes="SCYX", spread="distilled"
    )

    record = load_model(copied).distillation
    assert record is not None
    gates = {gate.name: gate.status for gate in record.gates}
    # Samples were calibrated on another image, so nothing can be said about them.
    assert gates["nll_against_samples"] == "not measured"
    assert gates["nll_against_intensity"] in ("passed", "failed")


def test_training_anew_leaves_no_old_head(distilled: Path, fields: ModuleType) -> None:
    careamist = DenoiSplitCAREamist(
        fields.small_config(num_epochs=1), work_dir=distilled, enable_progress_bar=False
    )
    careamist.train(
        train_data_target=fields.NOISY[:2],
        val_data_target=fields.NOISY[2:],
        noise_model=distilled / "noise_models",
        overwrite=True,
    )

    assert load_model(distilled).spread_head is None
    with pytest.raises(ConfigurationError, match="Run `denoisplit distil RUN` first"):
        careamist.predict(fields.MIXTURE, spread="distilled", axes="YX")


def test_images_of_a_training_are_remembered_where_they_are_paths(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(images)
    channels = {"er": ["noisy_er.tif"], "actin": Path("noisy_actin.tif")}

    remember_images(tmp_path, GivenImages(channels, val_mixture=images / "mixture.tif"))

    assert remembered_images(tmp_path) == GivenImages(
        channels={"er": [str(images / "noisy_er.tif")], "actin": str(images / "noisy_actin.tif")},
        val_mixture=str(images / "mixture.tif"),
    )


@pytest.mark.parametrize("given", [None, GivenImages([np.zeros(2)]), GivenImages({"er": [1]})])
def test_arrays_are_not_remembered(given: GivenImages | None, tmp_path: Path) -> None:
    remember_images(tmp_path, given)

    assert remembered_images(tmp_path) is None


def test_images_that_are_gone_are_named_with_the_option(tmp_path: Path) -> None:
    remember_images(tmp_path, GivenImages({"er": tmp_path / "gone.tif"}))

    with pytest.raises(DataError, match=r"gone\.tif, which is no longer there.*--channel NAME="):
        remembered_images(tmp_path)


def test_patterns_and_scenes_are_remembered_as_they_were_given(
    images: Path, tmp_path: Path
) -> None:
    (tmp_path / "cells.czi").touch()
    pattern, scene = images / "noisy_*.tif", tmp_path / "cells.czi@1"

    remember_images(tmp_path, GivenImages({"er": pattern, "actin": [scene]}))

    assert remembered_images(tmp_path) == GivenImages({"er": str(pattern), "actin": [str(scene)]})


@pytest.mark.parametrize("name", ["none_*.tif", "gone.czi@1"])
def test_patterns_without_images_and_scenes_without_file_are_named(
    name: str, tmp_path: Path
) -> None:
    remember_images(tmp_path, GivenImages({"er": tmp_path / name}))

    with pytest.raises(DataError, match=r"was trained on .*, which is no longer there"):
        remembered_images(tmp_path)


def test_a_note_of_another_kind_is_refused(tmp_path: Path) -> None:
    remember_images(tmp_path, None)
    (tmp_path / "logs" / "images.json").write_text('{"format_version": 1, "images": {"x": []}}')

    with pytest.raises(CheckpointError, match="is not the note that training writes"):
        remembered_images(tmp_path)


def test_the_command_takes_the_images_of_the_training_and_says_what_the_gates_found(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    remember_images(
        copied, GivenImages({name: images / f"noisy_{name}.tif" for name in ("er", "actin")})
    )
    stored = copied / "model" / "config.yaml"
    short = {"steps": 1200, "reference_samples": 200, "reference_pixels": 2**18, "patch_size": 192}
    text = stored.read_text()
    for name, value in short.items():
        key = f"  {name}: {value}\n"
        assert key in text[text.index("distillation_config") :]
        text = text.replace(key, f"  {name}: {getattr(SETTINGS, name)}\n")
    stored.write_text(text)
    write_manifest(copied / "model")

    words = ["distil", str(copied), "--axes", "YX", "--json", str(tmp_path / "found.json")]
    code = command([*words, "--overwrite"])

    said = capsys.readouterr()
    assert code == 0, said.err
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["command"] == "distil"
    assert found["trained_on"] == ["noisy_er.tif"]
    assert found["passed"] == all(gate["status"] != "failed" for gate in found["gates"])
    assert {gate["status"] for gate in found["gates"] if gate["name"] in TRUTH} == {"not measured"}
    assert "mean square of the spread, one pass / 32 samples; asked: 0.9 to 1.1" in said.out
    assert "gates" in said.out
    assert (copied / "model" / "spread.safetensors").is_file()

    out = tmp_path / "out"
    words = ["predict", str(copied), str(images / "mixture.tif"), "--out", str(out)]
    assert command([*words, "--spread", "distilled"]) == 0
    assert "Run denoisplit calibrate with --spread distilled" in capsys.readouterr().out
    assert (out / "mixture_std.ome.tif").is_file()
