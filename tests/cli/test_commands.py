"""Commands on small images and an untrained network: what they write, say and refuse."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.checkpoint import TrainedModel, load_model, save_model
from careamics_denoisplit.cli import prediction_job
from careamics_denoisplit.cli.app import run
from careamics_denoisplit.config import create_advanced_denoisplit_config, save_configuration
from careamics_denoisplit.data import Statistics
from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.noise_model import fit_from_pairs
from careamics_denoisplit.synthetic import generate_sample

NAMES = ("er", "actin")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `<kind>/<channel>` with two fields of 96 pixels, and `mixture`."""
    root = tmp_path_factory.mktemp("images")
    sample = generate_sample(2, size=96, seed=3)
    for number in range(2):
        for index, name in enumerate(NAMES):
            for kind, stack in (("noisy", sample.noisy), ("clean", sample.clean)):
                folder = root / kind / name
                folder.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(folder / f"field_{number}.tif", stack[number, index])
        (root / "mixture").mkdir(exist_ok=True)
        mixture = sample.noisy[number].mean(axis=0, dtype=np.float32)
        tifffile.imwrite(root / "mixture" / f"field.{number}.tif", mixture)
    return root


@pytest.fixture
def run_folder(images: Path, tmp_path: Path, make_statistics: Callable[..., Statistics]) -> Path:
    """A RUN with an untrained network."""
    config = create_advanced_denoisplit_config(
        "untrained",
        NAMES,
        patch_size=64,
        model_params={"filters": 4, "latent_channels": (4, 4), "stem_stride": 1},
    )
    network = LadderVAE(**config.algorithm_config.model.model_dump()).eval()
    statistics = make_statistics(105.0, 5.0)
    models = tuple(
        fit_from_pairs(
            tifffile.imread(images / "clean" / name / "field_0.tif"),
            tifffile.imread(images / "noisy" / name / "field_0.tif"),
            channel=name,
        ).model
        for name in NAMES
    )
    folder = tmp_path / "run"
    save_model(folder / "model", TrainedModel(network, config, statistics, models))
    save_configuration(config, folder / "config.yaml")
    return folder


def by_channel(folder: Path) -> list[str]:
    return [f"{name}={folder / name}" for name in NAMES]


def test_data_check_finds_no_problem_in_sound_images(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "check", "--channel", *by_channel(images / "noisy")]
    arguments += ["--mixture", str(images / "mixture"), "--truth", *by_channel(images / "clean")]

    assert run([*arguments, "--json", "-"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True
    assert found["mixture"]["rule"] == "mean"
    assert found["correlations"][0]["first"] == "er"
    assert found["problems"] == []


def test_data_check_reports_swapped_truths(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = [f"er={images / 'clean' / 'actin'}", f"actin={images / 'clean' / 'er'}"]

    code = run(["data", "check", "--channel", *by_channel(images / "noisy"), "--truth", *swapped])

    assert code == 1
    assert "Are they swapped?" in capsys.readouterr().err


def test_data_check_reports_validation_images_that_were_trained_on(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = by_channel(images / "noisy")

    assert run(["data", "check", "--channel", *noisy, "--val", *noisy]) == 1
    assert "Validation data equal training data" in capsys.readouterr().err


def test_data_check_reports_a_dead_channel(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "dead.tif", np.full((96, 96), 7, np.uint16))

    code = run(
        [
            *("data", "check", "--channel", f"er={images / 'noisy' / 'er' / 'field_0.tif'}"),
            f"actin={tmp_path / 'dead.tif'}",
        ]
    )

    assert code == 1
    assert "constant" in capsys.readouterr().err


def test_data_check_reports_a_field_that_training_would_refuse(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lone = f"actin={images / 'noisy' / 'actin' / 'field_0.tif'}"

    assert run(["data", "check", "--channel", f"er={images / 'noisy' / 'er'}", lone]) == 0

    said = capsys.readouterr().out
    assert "different numbers of planes, er 2, actin 1" in said
    assert "Training refuses them unless `algorithm_config.pairing`" in said


@pytest.mark.parametrize(("trained", "kept", "warned"), [("0", "*", True), ("1", "0", False)])
def test_data_check_asks_about_more_validation_than_training_images(
    images: Path,
    capsys: pytest.CaptureFixture[str],
    trained: str,
    kept: str,
    warned: bool,
) -> None:
    arguments = ["data", "check"]
    for option, kind, field in (("--channel", "noisy", trained), ("--val", "clean", kept)):
        arguments += [option]
        arguments += [f"{name}={images / kind / name / f'field_{field}.tif'}" for name in NAMES]

    assert run(arguments) == 0
    assert ("Are --channel and --val swapped?" in capsys.readouterr().out) is warned


def test_data_check_without_channels_says_what_to_give(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["data", "check"]) == 2
    assert "--channel NAME=PATH" in capsys.readouterr().err


def test_a_noise_model_is_fitted_shown_and_not_overwritten(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["noise-model", "fit", "--signal", *by_channel(images / "clean")]
    arguments += ["--observation", *by_channel(images / "noisy"), "--out", str(tmp_path / "noise")]

    assert run([*arguments, "--camera", "generated"]) == 0
    assert {path.name for path in (tmp_path / "noise").iterdir()} == {
        f"noise_model_{name}{suffix}" for name in NAMES for suffix in (".npz", ".json", ".png")
    }
    capsys.readouterr()
    assert run(["noise-model", "show", str(tmp_path / "noise" / "noise_model_er.npz")]) == 0
    assert "std of the noise" in capsys.readouterr().out
    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--signal", "er=."], "Give --signal with --observation"),
        (["--observation", "er=."], "Give --signal with --observation"),
        (["--observation", "er=.", "--bootstrap", "--align"], "--align needs --signal"),
        (["--signal", "er=.", "--observation", "er=.", "actin=."], "Add --signal actin=PATH"),
    ],
    ids=["signal alone", "observation alone", "align without signal", "channel missing"],
)
def test_a_fit_without_its_images_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["noise-model", "fit", *options, "--out", str(tmp_path / "n")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


def test_predictions_keep_names_and_folders(
    run_folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["predict", str(run_folder), str(images / "mixture"), "--out", str(out)]

    assert run([*arguments, "--samples", "2", "--save-samples", "--tile", "64"]) == 0

    assert {path.name for path in out.iterdir()} == {
        f"field.{number}_{end}"
        for number in (0, 1)
        for end in ("mean.ome.tif", "std.ome.tif", "samples.npy")
    }
    assert np.load(out / "field.0_samples.npy").shape == (2, 2, 96, 96)
    shown = capsys.readouterr().out
    assert str(out / "field.1_mean.ome.tif") in shown
    assert "not calibrated" in shown
    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "ending"), [("tiff", "ome.tif"), ("zarr", "ome.zarr")])
def test_a_prediction_says_what_is_outside_and_writes_the_maps_on_demand(
    kind: str,
    ending: str,
    run_folder: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image, out = images / "mixture" / "field.0.tif", tmp_path / "out"
    words = ["predict", str(run_folder), str(image), "--samples", "2", "--format", kind]
    words += ["--out", str(out), "--warnings", "--json", str(tmp_path / "found.json")]

    assert run(words) == 0

    names = {path.name for path in out.iterdir()}
    assert {f"field.0_{name}.{ending}" for name in ("consistency", "input_range")} <= names
    (found,) = json.loads((tmp_path / "found.json").read_text())["images"]
    assert found["name"] == str(image)
    assert 0 <= found["trust"] <= 1
    said = capsys.readouterr().out
    assert f"{100 * found['outside']:.0f} % of the image is outside what this model was" in said
    for name in names:
        assert f"wrote {out / name}" in said
    if kind == "tiff":
        values = tifffile.imread(out / "field.0_input_range.ome.tif")
        assert values.shape == (96, 96)
        assert np.mean(values != 0) <= found["outside"]


def test_maps_that_are_there_are_not_overwritten(
    run_folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "field.1_input_range.ome.tif").write_bytes(b"")
    words = ["predict", str(run_folder), str(images / "mixture"), "--out", str(tmp_path)]

    assert run([*words, "--samples", "2", "--warnings"]) == 2

    assert "field.1_input_range.ome.tif" in capsys.readouterr().err
    assert not (tmp_path / "field.0_mean.ome.tif").exists()


def test_all_pages_of_a_short_series_are_predicted(
    run_folder: Path, images: Path, tmp_path: Path
) -> None:
    page = tifffile.imread(images / "mixture" / "field.0.tif")
    np.save(tmp_path / "series.npy", np.stack([page, page[::-1], page]))
    words = ["predict", str(run_folder), str(tmp_path / "series.npy"), "--samples", "2"]

    assert run([*words, "--out", str(tmp_path / "out")]) == 0

    means = [
        tifffile.imread(tmp_path / "out" / f"series_000{number}_mean.ome.tif")
        for number in range(3)
    ]
    assert [mean.shape for mean in means] == [(2, 96, 96)] * 3
    assert np.array_equal(means[0], means[2])
    assert not np.array_equal(means[0], means[1])


def test_one_of_several_channels_is_predicted_only_where_it_is_named(
    run_folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tifffile.imread(images / "mixture" / "field.0.tif")
    tifffile.imwrite(
        tmp_path / "two.ome.tif", np.stack([page, page[::-1]]), metadata={"axes": "CYX"}
    )
    words = ["predict", str(run_folder), str(tmp_path / "two.ome.tif"), "--samples", "2"]
    words += ["--out", str(tmp_path / "out")]

    assert run(words) == 2
    assert "--channel N" in capsys.readouterr().err
    assert run([*words, "--channel", "1"]) == 0
    assert tifffile.imread(tmp_path / "out" / "two_mean.ome.tif").shape == (2, 96, 96)


def test_a_mean_without_std_leaves_no_std_of_another_mean(
    run_folder: Path, images: Path, tmp_path: Path
) -> None:
    image, out = images / "mixture" / "field.0.tif", tmp_path / "out"
    words = ["predict", str(run_folder), str(image), "--out", str(out)]

    assert run([*words, "--samples", "2"]) == 0
    assert run([*words, "--spread", "none"]) == 2
    assert run([*words, "--spread", "none", "--overwrite"]) == 0

    assert {path.name for path in out.iterdir()} == {"field.0_mean.ome.tif"}


def test_samples_that_are_there_are_not_overwritten(
    run_folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "field.0_samples.npy").write_bytes(b"")
    image = images / "mixture" / "field.0.tif"

    words = ["predict", str(run_folder), str(image), "--out", str(tmp_path), "--save-samples"]
    assert run([*words, "--samples", "2"]) == 2
    assert "field.0_samples.npy" in capsys.readouterr().err


def test_a_prediction_is_written_as_zarr_where_asked(
    run_folder: Path, images: Path, tmp_path: Path
) -> None:
    image = images / "mixture" / "field.0.tif"

    code = run(
        [
            *("predict", str(run_folder), str(image), "--out", str(tmp_path / "z")),
            *("--format", "zarr", "--spread", "none", "--tile-plan", "whole"),
            *("--precision", "bf16"),
        ]
    )

    assert code == 0
    assert (tmp_path / "z" / "field.0.ome.zarr").is_dir()


def test_ctrl_c_in_prediction_keeps_what_is_finished(
    run_folder: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    predict_stack, begun = prediction_job.predict_stack, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        begun.append(arguments)
        if len(begun) == 2:
            signal.raise_signal(signal.SIGINT)
        return predict_stack(*arguments, **options)

    monkeypatch.setattr(prediction_job, "predict_stack", interrupted)
    out = tmp_path / "out"

    words = ["predict", str(run_folder), str(images / "mixture"), "--samples", "2"]
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run([*words, "--out", str(out)]) == 130
    finally:
        signal.signal(signal.SIGINT, before)

    assert "Stopped by Ctrl-C; finished work was kept." in capsys.readouterr().err
    assert {path.name for path in out.iterdir()} == {"field.0_mean.ome.tif", "field.0_std.ome.tif"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--require-calibration"], "There is no calibration for samples-16"),
        (["--tile", "many"], "--tile must be auto or a number"),
        (["--overlap", "8"], "--overlap needs --tile"),
        (["--tile-plan", "whole", "--tile", "64"], "--tile-plan whole takes no --tile"),
        (["--batch", "0"], "--batch must be auto or a number"),
        (["--device", "cuda:99"], "--device cpu"),
        (["--device", "gpu"], "There is no device 'gpu'"),
        (["--precision", "16", "--device", "cpu"], "Choose precision bf16 or 32"),
        (["--precision", "half"], 'Choose from: "auto", "32", "bf16", "16"'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_of_predict_is_refused_before_anything_is_written(
    options: list[str],
    message: str,
    run_folder: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"

    code = run(["predict", str(run_folder), str(images / "mixture"), "--out", str(out), *options])

    assert code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_predicting_needs_a_model_and_images(
    run_folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]

    assert run(["predict", str(tmp_path / "nothing"), str(images), *out]) == 2
    assert "There is no model" in capsys.readouterr().err
    assert run(["predict", str(run_folder), *out]) == 2
    assert "at least one image" in capsys.readouterr().err


def test_a_run_is_calibrated_and_evaluated(
    run_folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--channel", *by_channel(images / "noisy"), "--truth", *by_channel(images / "clean")]
    scores = tmp_path / "scores.json"

    assert run(["calibrate", str(run_folder), *both, "--samples", "4"]) == 0
    assert "samples-4" in load_model(run_folder).calibrations.estimators
    assert (run_folder / "report.html").is_file()
    arguments = ["evaluate", str(run_folder), *both, "--samples", "4", "--json", str(scores)]
    assert run(arguments) == 0

    said = capsys.readouterr().out
    assert said.count("splitting the images") == 2
    assert said.index("splitting the images") < said.index("factor") < said.index("PSNR")
    found = json.loads(scores.read_text())
    assert found["command"] == "evaluate"
    assert found["channels"][0]["calibration"]["calibrated"] is True
    assert (run_folder / "logs" / "denoisplit.log").is_file()


@pytest.mark.parametrize("command", ["calibrate", "evaluate"])
def test_scores_need_a_run_an_input_and_a_truth(
    command: str, run_folder: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = ["--truth", *by_channel(images / "clean")]

    assert run([command, str(images), *truth]) == 2
    assert "is not a RUN folder" in capsys.readouterr().err
    assert run([command, str(run_folder), *truth]) == 2
    assert "Give the input" in capsys.readouterr().err
    assert run([command, str(run_folder), "--mixture", str(images / "mixture")]) == 2
    assert "--truth" in capsys.readouterr().err


def test_training_needs_a_configuration_and_every_channel(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    target = ["--run", str(tmp_path / "new")]
    assert run(["config", "--channel-names", ",".join(NAMES), "--out", str(config)]) == 0

    assert run(["train", "--channel", *by_channel(images / "noisy"), *target]) == 2
    assert "Give a configuration file" in capsys.readouterr().err
    one = f"er={images / 'noisy' / 'er'}"
    assert run(["train", str(config), "--channel", one, *target]) == 2
    assert "Add --channel actin=PATH" in capsys.readouterr().err
    mistyped = f"actine={images / 'noisy' / 'actin'}"
    assert run(["train", str(config), "--channel", one, mistyped, *target]) == 2
    assert "Did you mean actin=?" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_run_that_is_there_is_noticed_before_images_are_opened(
    run_folder: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.tif").write_bytes(b"II*")
    channels = ["--channel", *[f"{name}={tmp_path / 'broken.tif'}" for name in NAMES]]
    config = str(run_folder / "config.yaml")

    assert run(["train", config, *channels, "--run", str(run_folder)]) == 2
    assert "use --resume or --overwrite" in capsys.readouterr().err
    assert run(["train", config, *channels, "--run", str(images / "mixture" / "field.0.tif")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_continuing_needs_a_run(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ["--run", str(tmp_path / "new")]

    assert run(["train", "--channel", *by_channel(images / "noisy"), *target, "--resume"]) == 2

    assert "There is no run to continue at" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
