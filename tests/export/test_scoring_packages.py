"""Whoever has only a package scores it on images of their own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.cli.app import run
from careamics_denoisplit.evaluation import evaluate


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    """A mixture of two structures that were also recorded alone."""
    random = np.random.default_rng(1)
    truth = random.gamma(2.0, 200.0, (2, 96, 96)).astype(np.float32)
    files = {"er": truth[0], "actin": truth[1], "mixture": truth.mean(axis=0) + 10}
    for name, image in files.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
    return {name: tmp_path / f"{name}.tif" for name in files}


def test_a_package_is_scored_as_the_model_in_it(
    package: Any, calibrated: TrainedModel, images: dict[str, Path], tmp_path: Path
) -> None:
    before = sorted(package.path.parent.iterdir())
    truth = {name: images[name] for name in ("er", "actin")}

    code = run(
        [
            *("evaluate", str(package.path), "--mixture", str(images["mixture"])),
            *("--truth", f"er={truth['er']}", "--truth", f"actin={truth['actin']}"),
            *("--samples", "2", "--json", str(tmp_path / "scores.json")),
        ]
    )

    assert code == 0
    found = json.loads((tmp_path / "scores.json").read_text())
    expected = evaluate(calibrated, [images["mixture"]], truth, n_samples=2)
    for channel, other in zip(found["channels"], expected["channels"], strict=True):
        for key in ("psnr", "leakage", "rmse"):
            assert channel[key] == pytest.approx(other[key], rel=1e-6)
    assert sorted(package.path.parent.iterdir()) == before


def test_a_package_is_not_calibrated_by_a_command(
    package: Any, images: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(
        [
            *("calibrate", str(package.path), "--mixture", str(images["mixture"])),
            *("--truth", f"er={images['er']}", "--truth", f"actin={images['actin']}"),
        ]
    )

    assert code == 2
    assert "is not a RUN folder" in capsys.readouterr().err
