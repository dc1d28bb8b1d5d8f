"""Writing a package: its content, its determinism, and what is refused before work starts."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from careamics_denoisplit.calibration import CalibrationSet
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.config import configuration_from_dict
from careamics_denoisplit.data import Statistics
from careamics_denoisplit.errors import (
    ConfigurationError,
    DataError,
    FaultError,
    NonFiniteError,
    OutputExistsError,
    StorageError,
)
from careamics_denoisplit.files import load_yaml
from careamics_denoisplit.noise_model import load_noise_models
from careamics_denoisplit.prediction import predict_image, whole_image
from careamics_denoisplit_export import Recipe, export_package
from careamics_denoisplit_export.card import escaped, number
from careamics_denoisplit_export.figures import estimator_in_words
from careamics_denoisplit_export.package import plan as planning
from careamics_denoisplit_export.package import read_zip, writing
from careamics_denoisplit_export.package.cover import cover_png
from careamics_denoisplit_export.package.plan import Plan
from careamics_denoisplit_export.package.sample_image import sample_image
from careamics_denoisplit_export.rdf import halo_of, require_valid, to_yaml
from careamics_denoisplit_export.weights import Traced, repacked

FILES = {
    "rdf.yaml",
    "README.md",
    "cover.png",
    "test_input.npy",
    "test_output.npy",
    "weights.pt",
    "weights_state_dict.pth",
    "architecture.py",
    "noise_model_er.npz",
    "noise_model_actin.npz",
    "calibration.json",
    "statistics.json",
    "config.json",
}


@pytest.fixture
def no_trace(monkeypatch: pytest.MonkeyPatch, package: Any) -> None:
    """Take the trace of the good package, where the trace itself is not under test."""
    traced = Traced(
        package.files["weights.pt"], np.load(io.BytesIO(package.files["test_output.npy"]))
    )
    monkeypatch.setattr(writing, "write_torchscript", lambda *_: traced)


def test_a_package_holds_what_is_promised(package: Any) -> None:
    assert set(package.files) == FILES
    assert package.exported.output_channels == (
        *("er", "actin", "er_std", "actin_std"),
        *("consistency", "input_range"),
    )
    assert package.exported.calibrated


def test_the_attachments_can_be_read_back(
    package: Any, calibrated: TrainedModel, tmp_path: Path
) -> None:
    for name, data in package.files.items():
        (tmp_path / name).write_bytes(data)

    config = configuration_from_dict(json.loads(package.files["config.json"]))
    models = load_noise_models(tmp_path, calibrated.channel_names)

    assert config == calibrated.config
    assert Statistics.model_validate_json(package.files["statistics.json"]) == calibrated.statistics
    assert CalibrationSet.from_json(package.files["calibration.json"]) == calibrated.calibrations
    assert [model.info.channel for model in models] == list(calibrated.channel_names)


def test_the_state_dict_holds_tensors_only(package: Any) -> None:
    state = torch.load(io.BytesIO(package.files["weights_state_dict.pth"]), weights_only=True)

    assert type(state) is dict
    assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_no_file_names_a_folder_of_this_machine(package: Any, repository: Path) -> None:
    for name, data in package.files.items():
        assert str(repository).encode() not in data, name
        assert sys.prefix.encode() not in data, name


def test_h2_the_same_input_gives_the_same_bytes(
    package: Any, calibrated: TrainedModel, recipe: Recipe, mixture: np.ndarray, tmp_path: Path
) -> None:
    again = export_package(
        calibrated, recipe, tmp_path / "again.zip", test_image=mixture, method="scalar"
    )

    assert again.sha256 == package.exported.sha256


@pytest.mark.parametrize("method", ["scalar", "joint"])
def test_a_package_applies_the_calibration_that_prediction_applies(
    calibrated: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    # Without the trace, whose equality has its own test: the output of prediction stands for it.
    estimate = predict_image(
        calibrated, mixture, n_samples=8, tiling=whole_image(mixture.shape, 32)
    )
    last = calibrated.calibrations.model_copy(update={"method": method})
    std = last.std(estimate.mean, estimate.spread, "samples-8")
    output = np.concatenate([estimate.mean, std.astype(np.float32)])[None]
    monkeypatch.setattr(writing, "write_torchscript", lambda *_: Traced(b"weights", output))

    exported = export_package(
        replace(calibrated, calibrations=last),
        recipe,
        tmp_path / "a.zip",
        test_image=mixture,
        warnings=False,
    )

    assert exported.calibrated
    facts = load_yaml(read_zip(exported.path)["rdf.yaml"].decode())["config"]
    assert facts["careamics_denoisplit"]["method"] == method
    assert "fitted on: validation" in exported.card


def test_a_package_without_calibration_names_spreads(
    no_trace: None,
    calibrated: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "_require_prediction", lambda *_: None)
    plain = replace(calibrated, calibrations=CalibrationSet())

    exported = export_package(
        plain, recipe, tmp_path / "plain.zip", test_image=mixture, warnings=False
    )

    assert exported.output_channels == ("er", "actin", "er_spread", "actin_spread")
    assert "A clean map" not in exported.card
    assert "not calibrated" in exported.card


def test_a_graph_that_differs_from_prediction_is_not_packaged(
    no_trace: None, calibrated: TrainedModel, recipe: Recipe, mixture: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(FaultError, match="differs from prediction"):
        export_package(calibrated, recipe, tmp_path / "a.zip", test_image=mixture[::-1].copy())
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_returns_nan_is_not_packaged(
    calibrated: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nan = Traced(b"", np.full((1, 4, 512, 512), np.nan, np.float32))
    monkeypatch.setattr(writing, "write_torchscript", lambda *_: nan)

    with pytest.raises(NonFiniteError, match="test image"):
        export_package(calibrated, recipe, tmp_path / "a.zip", test_image=mixture)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_package_is_kept(
    calibrated: TrainedModel, recipe: Recipe, tmp_path: Path
) -> None:
    path = tmp_path / "there.zip"
    path.write_bytes(b"mine")

    with pytest.raises(OutputExistsError, match="--overwrite"):
        export_package(calibrated, recipe, path)
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 1}, "2 posterior samples"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"method": "joint", "n_samples": 4}, "calibrate RUN --method joint --samples 4"),
    ],
)
def test_a_wrong_setting_is_refused_before_work(
    calibrated: TrainedModel, recipe: Recipe, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        export_package(calibrated, recipe, tmp_path / "a.zip", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_package_is_a_zip(calibrated: TrainedModel, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\.zip"):
        export_package(calibrated, recipe, tmp_path / "package.tar")


def test_h1_a_full_disk_leaves_the_old_package(
    no_trace: None,
    calibrated: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "old.zip"
    path.write_bytes(b"old")

    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "require_writable", lambda _: None)
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="No space left"):
            export_package(
                calibrated, recipe, path, test_image=mixture, method="scalar", overwrite=True
            )

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_tracing_process_that_fails_is_named(
    calibrated: TrainedModel, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, b"", b"Traceback\nRuntimeError: no memory\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)

    with pytest.raises(FaultError, match="no memory"):
        export_package(calibrated, recipe, tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (200, 512), (300, 40), (513, 600)])
def test_a_test_image_of_any_size_fills_one_tile(
    calibrated: TrainedModel, make_image: Callable[..., np.ndarray], shape: tuple[int, int]
) -> None:
    image = make_image(shape)

    sample = sample_image(image[None, None], calibrated.statistics)

    assert sample.raw.shape == (512, 512)
    assert set(np.unique(sample.raw)) <= set(np.unique(image))
    assert ("padded by reflection" in sample.origin) == (min(shape) < 512)
    rows, columns = (max(0, (size - 512) // 2) for size in shape)
    middle = image[rows : rows + 512, columns : columns + 512]
    np.testing.assert_array_equal(sample.raw[sample.given], middle)


def test_a_made_up_image_has_the_histogram_of_the_training(calibrated: TrainedModel) -> None:
    sample = sample_image(None, calibrated.statistics)

    for percent, value in calibrated.statistics.input_percentiles.items():
        assert np.percentile(sample.raw, float(percent)) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((64, 64), np.nan, np.float32), "NaN"),
        (np.zeros((2, 64, 64), np.float32), "one plane"),
        (np.zeros((0, 64), np.float32), "one plane"),
    ],
)
def test_a1_a_test_image_with_nan_or_planes_is_refused(
    calibrated: TrainedModel, image: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        sample_image(image, calibrated.statistics)


def test_the_cover_is_a_small_picture_of_two_squares(package: Any) -> None:
    data = package.files["cover.png"]
    picture = Image.open(io.BytesIO(data))

    assert picture.size[0] == 2 * picture.size[1]
    assert len(data) < 500_000


def test_the_cover_shows_the_middle_of_an_oblong_image_undistorted() -> None:
    image = np.zeros((64, 256), np.float32)
    image[:, 96:160] = 1

    picture = np.asarray(Image.open(io.BytesIO(cover_png(image, image[None]))))

    assert picture.shape == (320, 640, 3)
    assert len(np.unique(picture[:, :320])) == 1


@pytest.mark.usefixtures("without_tracing")
def test_figures_of_another_estimator_are_told(
    calibrated: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    figures = {"evaluation": {"words": estimator_in_words("samples", 16)}}
    monkeypatch.setattr(writing.Card, "render", lambda _self: "card")

    export_package(calibrated, recipe, tmp_path / "p.zip", test_image=mixture, measured=figures)

    assert "`denoisplit evaluate RUN --samples 8 ...` measures these" in caplog.text


def test_the_card_says_what_goes_in_and_what_is_not_known(package: Any) -> None:
    card = package.exported.card

    first = card.split("\n\n")[1]
    for words in (
        "the mean of one image of each of er and actin",
        "camera offset not recorded, gain not recorded, bit depth not recorded",
        "98 % of the pixels lie between 350 and 1300, the median is 430",
        "standard deviation 205",
    ):
        assert words in first
    assert "`er_std`" in card
    assert "`consistency`" in card
    assert "A clean map does not prove a right split" in card
    assert "## Validation" in card
    assert "colocalisation" in card
    assert card.encode() == package.files["README.md"]


@pytest.mark.usefixtures("without_tracing")
def test_a_package_for_another_kind_of_image_holds_the_map(
    calibrated: TrainedModel,
    mixture: np.ndarray,
    package: Any,
    tmp_path: Path,
) -> None:
    recipe = Recipe(
        name="Tiny test model", description="x", camera_offset=100.0, gain="EM 300", bit_depth=16
    )

    exported = export_package(
        calibrated,
        recipe,
        tmp_path / "a.zip",
        test_image=2 * mixture - 100,
        method="scalar",
        input_rule="measured",
    )

    files = read_zip(exported.path)
    assert load_yaml(files["rdf.yaml"].decode())["config"]["careamics_denoisplit"]["input"] == {
        "rule": "measured",
        "gain": 0.5,
        "offset": 50.0,
    }
    assert files["statistics.json"] == package.files["statistics.json"]
    found, expected = (
        np.load(io.BytesIO(each["test_output.npy"])) for each in (files, package.files)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1.5e-4)
    first = exported.card.split("\n\n")[1]
    for words in (
        "one exposure of er and actin together",
        "camera offset 100, gain EM 300, bit depth 16",
        "98 % of the pixels lie between 600 and 2500",
        "standard deviation 410",
        "trained on the mean of one image of each of er and actin",
        "0.5 times the gray value plus 50",
    ):
        assert words in first


def test_an_offset_that_the_map_needs_is_asked_for_before_work(
    calibrated: TrainedModel, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="--offset"):
        export_package(calibrated, recipe, tmp_path / "a.zip", input_rule="measured")
    with pytest.raises(ConfigurationError, match="finite"):
        export_package(calibrated, recipe, tmp_path / "a.zip", camera_offset=float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_tracing")
def test_a_model_without_noise_models_warns_of_its_range_only(
    make_trained: Callable[..., TrainedModel],
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path: Path,
) -> None:
    trained = make_trained(algorithm="altered_musplit")

    exported = export_package(trained, recipe, tmp_path / "a.zip", test_image=mixture, n_samples=2)

    assert exported.output_channels[4:] == ("input_range",)
    assert "There is no channel `consistency`: the model has no noise models." in exported.card


def test_g8_texts_of_people_bring_no_markup_into_the_card() -> None:
    assert escaped("<script>\n# x | `y`") == "&lt;script&gt; # x \\| \\`y\\`"


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0, 520.0, 1.23456, 1e-9)] == [
        "0",
        "520",
        "1.235",
        "1.000e-09",
    ]


def test_rdf_yaml_keeps_words_and_numbers_apart() -> None:
    content = {"a": ["no", "1e3", "on", "0x1f", "2001-01-01", "true", ""], "b": [1e-7, 2.0, 3]}

    text = to_yaml(content).decode()

    assert load_yaml(text) == content
    assert "e-" not in text


def test_facts_that_the_format_does_not_know_stop_the_export(package: Any) -> None:
    content = load_yaml(package.files["rdf.yaml"].decode())

    require_valid(content)
    with pytest.raises(ConfigurationError, match=r"no valid package: .*license"):
        require_valid({**content, "license": "CC-BY-5.0"})


@pytest.mark.usefixtures("no_trace")
def test_the_prediction_to_compare_with_is_made_where_the_graph_is_traced(
    calibrated: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices: list[Any] = []

    def recorded(*arguments: Any, **options: Any) -> Any:
        devices.append(options.get("device"))
        return predict_image(*arguments, **options)

    monkeypatch.setattr(planning, "predict_image", recorded)
    export_package(calibrated, recipe, tmp_path / "p.zip", test_image=mixture, method="scalar")

    assert devices == ["cpu"]


def test_facts_that_make_no_valid_package_stop_the_export_before_the_network_runs(
    calibrated: TrainedModel,
    recipe: Recipe,
    mixture: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "write_torchscript", lambda *_: pytest.fail("traced"))
    monkeypatch.setattr(Plan, "estimate", property(lambda _: pytest.fail("predicted")))
    no_day = recipe.model_copy(update={"timestamp": "2026-13-22T12:00:00Z"})

    with pytest.raises(ConfigurationError, match=r"no valid package: .*timestamp"):
        export_package(calibrated, no_day, tmp_path / "p.zip", test_image=mixture)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("stride", "halo"), [(4, 32), (64, 32), (128, 64), (256, 128)])
def test_the_halo_fits_the_stride(stride: int, halo: int) -> None:
    assert halo_of(stride) == halo


@pytest.mark.parametrize("stride", [512, 1024])
def test_a_network_too_deep_for_the_tile_is_refused(stride: int) -> None:
    with pytest.raises(ConfigurationError, match="fewer levels"):
        halo_of(stride)


def test_a_repacked_archive_has_aligned_tensors(package: Any) -> None:
    archive = package.files["weights.pt"]

    assert repacked(archive) == archive
    assert b"debug_pkl" not in archive
