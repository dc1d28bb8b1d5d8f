"""`calibrate` and `evaluate` on an untrained network: inputs, methods, words and files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.careamist.progress import PlainPasses
from careamics_denoisplit.checkpoint import TrainedModel, load_model, save_model
from careamics_denoisplit.cli.app import run
from careamics_denoisplit.cli.scores import LEGEND
from careamics_denoisplit.config import create_advanced_denoisplit_config, save_configuration
from careamics_denoisplit.data import Statistics
from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.synthetic import generate_sample

NAMES = ("er", "actin")


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, make_statistics: Callable[..., Statistics]
) -> Path:
    """Images `<kind>/<channel>` of one field of 64 pixels, `mixture`, and a RUN calibrated."""
    root = tmp_path_factory.mktemp("scores")
    sample = generate_sample(1, size=64, seed=3)
    for index, name in enumerate(NAMES):
        for kind, stack in (("noisy", sample.noisy), ("clean", sample.clean)):
            (root / kind / name).mkdir(parents=True)
            tifffile.imwrite(root / kind / name / "field.tif", stack[0, index])
    (root / "mixture").mkdir()
    mixture = sample.noisy[0].mean(axis=0, dtype=np.float32)
    tifffile.imwrite(root / "mixture" / "field.tif", mixture)
    config = create_advanced_denoisplit_config(
        "untrained",
        NAMES,
        patch_size=64,
        algorithm="altered_musplit",
        model_params={"filters": 4, "latent_channels": (4, 4), "stem_stride": 1},
    )
    network = LadderVAE(**config.algorithm_config.model.model_dump()).eval()
    statistics = make_statistics(105.0, 5.0)
    save_model(root / "run" / "model", TrainedModel(network, config, statistics))
    save_configuration(config, root / "run" / "config.yaml")
    assert calls(root, "calibrate", "channel", method="joint") == 0
    return root


def calls(root: Path, command: str, *inputs: str, **options: str) -> int:
    """Run a command with the truth, 4 samples and the named inputs."""
    words = {
        "channel": ["--channel", *(f"{name}={root / 'noisy' / name}" for name in NAMES)],
        "mixture": ["--mixture", str(root / "mixture")],
    }
    truth = ["--truth", *(f"{name}={root / 'clean' / name}" for name in NAMES)]
    given = {"samples": "4"} | options
    rest = [word for key, value in given.items() for word in (f"--{key}", value)]
    inner = [word for kind in inputs for word in words[kind]]
    return run([command, str(root / "run"), *truth, *inner, *rest])


def scores_of(root: Path, *inputs: str, **options: str) -> dict[str, Any]:
    """Scores as JSON."""
    path = root / "scores.json"
    path.unlink(missing_ok=True)
    assert calls(root, "evaluate", *inputs, json=str(path), **options) == 0
    scores: dict[str, Any] = json.loads(path.read_text())
    return scores


def test_every_combination_of_inputs_is_scored_alike(folder: Path) -> None:
    both, mixture, channel = (
        scores_of(folder, *inputs)
        for inputs in (("mixture", "channel"), ("mixture",), ("channel",))
    )

    for index in range(2):
        ours, others = both["channels"][index], [s["channels"][index] for s in (mixture, channel)]
        for other in others:
            assert other["psnr"] == pytest.approx(ours["psnr"], abs=1e-3)
        assert others[0]["references"]["blurred_own_channel"] is None
        assert others[1]["references"] == pytest.approx(ours["references"], abs=1e-3)


def test_scores_are_said_with_a_legend_and_drawn(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = folder / "run" / "logs" / "result.png"
    picture.unlink(missing_ok=True)

    assert calls(folder, "evaluate", "mixture") == 0

    said = capsys.readouterr().out
    assert all(line in said for line in LEGEND)
    assert said.count("alibrated") >= 2  # a verdict for each channel
    assert "1 of 1 images are those of the calibration" in said
    for path in (picture, folder / "run" / "report.html"):
        assert f"wrote {path}" in said
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "field.tif, its most structured part" in (folder / "run" / "report.html").read_text()


def test_the_method_of_the_last_calibration_is_scored_and_the_other_one_on_demand(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calls(folder, "calibrate", "channel") == 0
    assert "samples-4 (scalar, joint); predict, evaluate and export apply scalar" in (
        capsys.readouterr().out
    )
    applied = scores_of(folder, "channel")["channels"][0]["calibration"]
    asked = scores_of(folder, "channel", method="joint")["channels"][0]["calibration"]

    assert (applied["method"], asked["method"]) == ("scalar", "joint")
    assert applied["nll_after"] == applied["methods"]["scalar"]["nll"]
    assert asked["nll_after"] == applied["methods"]["joint"]["nll"]
    assert load_model(folder / "run").calibrations.applied("samples-4") == "scalar"


def test_a_method_that_was_not_fitted_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calls(folder, "evaluate", "channel", method="joint", samples="5") == 2
    assert "joint calibration was not fitted for samples-5 (fitted: samples-4" in (
        capsys.readouterr().err
    )
    assert calls(folder, "evaluate", "channel", method="joint", spread="none") == 2
    assert "no std to calibrate" in capsys.readouterr().err


def test_without_truth_the_reason_is_given(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("calibrate", "evaluate"):
        assert run([command, str(folder / "run"), "--mixture", str(folder / "mixture")]) == 2
        assert "errors can only be measured against high-SNR images" in capsys.readouterr().err


def test_long_tasks_say_how_long_they_take_and_what_is_left() -> None:
    said: list[str] = []
    now = 0.0
    passes = PlainPasses("calibration", said.append, clock=lambda: now)
    for done in range(1, 9):
        now = 10.0 * done
        passes(done, 8)

    assert said == [
        "calibration: about 80 s on this machine",
        "calibration: 4 of 8 passes, 40 s left",
        "calibration: 7 of 8 passes, 10 s left",
    ]


def test_short_tasks_say_nothing() -> None:
    said: list[str] = []
    now = 0.0
    passes = PlainPasses("evaluation", said.append, clock=lambda: now)
    for done in range(1, 9):
        now = 2.0 * done
        passes(done, 8)

    assert said == []
