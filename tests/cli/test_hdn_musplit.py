"""The pipeline of HDN and muSplit: the commands of its page, on small images."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.checkpoint import load_model
from careamics_denoisplit.cli.app import run
from careamics_denoisplit.synthetic import generate_sample

PAGE = (Path(__file__).parents[2] / "docs" / "hdn_musplit.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ denoisplit (.+)$", PAGE, flags=re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the page describes it: two fields to train on, one for validation."""
    sample = generate_sample(3, size=128, seed=5)
    for number, part in enumerate(("train", "train", "val")):
        for root, stack in ((Path(), sample.noisy), (Path("clean"), sample.clean)):
            images = dict(zip(("er", "actin"), stack[number], strict=True))
            images["mixture"] = stack[number].mean(axis=0, dtype=np.float32)
            for name, image in images.items():
                folder = tmp_path / root / part / name
                folder.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(folder / f"field_{number}.tif", image)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_lead_from_images_to_a_run_that_splits(
    project: Path, shorten: Callable[[Path, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(COMMANDS) == 15

    for command in COMMANDS:
        words = shlex.split(command.replace("--samples 50", "--samples 2"))
        assert run(words) == 0, f"{command}: {capsys.readouterr().err}"
        if words[0] == "config":
            shorten(Path(words[-1]), 8)

    trained = load_model(project / "runs" / "hdn_musplit")
    assert trained.channel_names == ("er", "actin")
    assert trained.config.algorithm_config.algorithm == "hdn_musplit"
    assert trained.statistics.mixing == "measured"
    denoised = tifffile.imread(project / "denoised" / "train" / "mixture" / "field_0_mean.ome.tif")
    assert trained.statistics.input_mean == pytest.approx(denoised.mean(), rel=0.1)


def test_configuring_the_last_training_says_what_comes_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "splitting.yaml")]
    names = ["--channel-names", "er,actin"]

    assert run(["config", *names, "--algorithm", "hdn_musplit", "--mixing", "measured", *out]) == 0

    assert "the last of four trainings" in capsys.readouterr().out
    assert "mixing: measured" in (tmp_path / "splitting.yaml").read_text()
