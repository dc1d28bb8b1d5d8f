"""Messages of the library name options as they are typed."""

from pathlib import Path

import numpy as np
import pytest

from careamics_denoisplit.cli.app import run
from careamics_denoisplit.cli.failures import describe
from careamics_denoisplit.errors import ConfigurationError, DataError, OutputExistsError


@pytest.fixture
def unclear(tmp_path: Path) -> list[str]:
    """A file for each of two channels, whose axes nobody can guess."""
    np.save(tmp_path / "er.npy", np.random.default_rng(0).random((3, 4, 5, 48, 48)))
    np.save(tmp_path / "actin.npy", np.random.default_rng(1).random((3, 4, 5, 48, 48)))
    return ["--channel", f"er={tmp_path / 'er.npy'}", f"actin={tmp_path / 'actin.npy'}"]


def test_a5_unclear_axes_name_the_flag(
    unclear: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = ["--signal", *unclear[1:], "--observation", *unclear[1:]]

    assert run(["noise-model", "fit", *pairs, "--out", str(tmp_path / "noise")]) == 2

    said = capsys.readouterr().err
    assert "nothing says what its axes are. Pass `--axes`" in said
    assert "axes=" not in said


def test_a5_unclear_axes_are_wrong_input_for_every_command(
    unclear: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "check", *unclear]) == 2

    assert "nothing says what its axes are. Pass `--axes`" in capsys.readouterr().err


def test_a5_unclear_axes_in_training_name_the_configuration(
    unclear: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    assert run(["config", "--channel-names", "er,actin", "--out", str(config)]) == 0

    images = [*unclear, "--val", *unclear[1:]]
    assert run(["train", str(config), *images, "--run", str(tmp_path / "run")]) == 2

    said = capsys.readouterr().err
    assert "Set `axes` in the configuration (`denoisplit config --axes`)" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "command", "said"),
    [
        (DataError("Shape (3, 4). Pass `axes=`."), "predict", "Shape (3, 4). Pass `--axes`."),
        (
            ConfigurationError("no mixture was given. Give it as `train_data`."),
            "train",
            "no mixture was given. Give it as `--mixture`.",
        ),
        (
            ConfigurationError("Give `val_data_target` (`--val`), or set `validation_split`."),
            "train",
            "Give `--val`, or set `validation_split`.",
        ),
        (
            OutputExistsError("x exists. Give `--overwrite` (in Python `overwrite=True`) now."),
            "config",
            "x exists. Give `--overwrite` now.",
        ),
        (
            ConfigurationError("`n_samples` must be 1 or more, got 0."),
            "predict",
            "`--samples` must be 1 or more, got 0.",
        ),
    ],
    ids=["axes", "mixture", "validation", "overwrite", "samples"],
)
def test_words_of_python_become_options(error: Exception, command: str, said: str) -> None:
    assert describe(error, command).line == said


@pytest.mark.parametrize("typed", ["er actin", "er;actin", "er + actin"])
def test_channel_names_without_commas_are_put_right(
    typed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", "--channel-names", typed, "--out", str(tmp_path / "c.yaml")]) == 2

    assert "Write --channel-names er,actin." in capsys.readouterr().err
    assert not (tmp_path / "c.yaml").exists()
