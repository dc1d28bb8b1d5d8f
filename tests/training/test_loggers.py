"""Metrics: one whole row per epoch, continued after a resume."""

from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.loggers import Logger

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.training import (
    AppendingCSVLogger,
    create_loggers,
    loggers,
    read_metrics,
    train,
)
from careamics_denoisplit.training.loggers import format_metrics


def test_rows_of_epochs_that_come_again_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = AppendingCSVLogger(path)
    for epoch in range(4):
        first.add_row({"epoch": epoch, "train_loss": 0.1 * epoch})

    second = AppendingCSVLogger(path, epochs=2)
    second.add_row({"epoch": 2, "train_loss": 7.0})

    rows = read_metrics(path)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert rows[2]["train_loss"] == "7.0"


def test_a_new_run_starts_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    AppendingCSVLogger(path).add_row({"epoch": 0, "train_loss": 1.0})

    AppendingCSVLogger(path).add_row({"epoch": 0, "train_loss": 2.0})

    assert [row["train_loss"] for row in read_metrics(path)] == ["2.0"]


def test_what_other_callbacks_log_joins_the_row_of_its_epoch(tmp_path: Path) -> None:
    table = AppendingCSVLogger(tmp_path / "metrics.csv")

    table.log_metrics({"lr-Adamax": 0.25}, step=3)
    table.log_hyperparams({"ignored": 1})
    table.add_row({"epoch": 0, "val_loss": 1.5})
    table.add_row({"epoch": 1, "val_loss": 1.0})

    assert read_metrics(tmp_path / "metrics.csv") == [
        {"epoch": "0", "val_loss": "1.5", "lr-Adamax": "0.25"},
        {"epoch": "1", "val_loss": "1.0", "lr-Adamax": ""},
    ]
    assert (table.name, table.version, table.save_dir) == ("csv", "", str(tmp_path))


values = st.dictionaries(
    st.text("abc_", min_size=1, max_size=4), st.floats(allow_nan=False), max_size=4
)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(rows=st.lists(values, min_size=1, max_size=5))
def test_numbers_survive_the_table_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("table") / "metrics.csv"
    numbered = [{**row, "epoch": float(index)} for index, row in enumerate(rows)]
    text = [
        {name: str(int(value)) if name == "epoch" else str(value) for name, value in row.items()}
        for row in numbered
    ]
    path.write_text(format_metrics(text), encoding="utf-8")

    for row, stored in zip(numbered, read_metrics(path), strict=True):
        assert {name: float(stored[name]) for name in row} == row


def test_the_table_is_always_one_of_the_loggers(tiny: ModuleType, tmp_path: Path) -> None:
    found = create_loggers(tiny.make_config(), tmp_path, epochs=0, step=0)

    assert [type(logger) for logger in found] == [AppendingCSVLogger]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_logger_that_is_not_installed_is_named_with_its_pip_line(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def absent(*args: Any, **kwargs: Any) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(loggers, "TensorBoardLogger", absent)
    monkeypatch.setattr(loggers, "WandbLogger", absent)

    with pytest.raises(ConfigurationError, match=rf"pip install 'careamics-denoisplit\[{name}\]'"):
        create_loggers(tiny.make_config(logger=name), tmp_path, epochs=0, step=0)


def test_a_resumed_run_keeps_its_identity_in_wandb_and_its_steps_in_tensorboard(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def record(**kwargs: Any) -> Mock:
        calls.append(kwargs)
        return Mock(spec=Logger)

    monkeypatch.setattr(loggers, "TensorBoardLogger", record)
    monkeypatch.setattr(loggers, "WandbLogger", record)
    for step in (0, 40):
        create_loggers(tiny.make_config(logger="wandb"), tmp_path, epochs=0, step=step)
        create_loggers(tiny.make_config(logger="tensorboard"), tmp_path, epochs=0, step=step)

    first, _, second, tensorboard = calls
    assert first["version"] == second["version"]
    assert second["resume"] == "allow"
    assert tensorboard["purge_step"] == 41


def train_with(tiny: ModuleType, logger: str, run: Path, epochs: int, **options: Any) -> None:
    """Train a moment with the program of a logger itself."""
    config = tiny.make_config(epochs=epochs, logger=logger)
    data, models = tiny.make_data(config), tiny.make_noise_models()
    train(config, data, models, run, device="cpu", quiet=True, **options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tensorboard's own imports
def test_tensorboard_shows_every_epoch_once_also_of_a_continued_run(
    tiny: ModuleType, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="needs pip install careamics-denoisplit[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_with(tiny, "tensorboard", tmp_path / "run", epochs=2)
    train_with(tiny, "tensorboard", tmp_path / "run", epochs=3, resume=True)

    events = EventAccumulator(str(tmp_path / "run" / "logs" / "tensorboard"))
    events.Reload()
    assert [point.value for point in events.Scalars("val_loss")] == pytest.approx(
        [float(row["val_loss"]) for row in read_metrics(tmp_path / "run" / "logs" / "metrics.csv")],
        rel=1e-5,
    )
    assert "reconstruction_er" in events.Tags()["scalars"]


@pytest.mark.slow  # starts the process that W&B logs with
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb's own imports
def test_each_training_is_a_run_of_wandb_of_its_own(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="needs pip install careamics-denoisplit[wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")

    for name in ("first", "second"):
        train_with(tiny, "wandb", tmp_path / name, epochs=1)
        assert wandb.run is None

    for name in ("first", "second"):
        logs = tmp_path / name / "logs"
        identity = (logs / "wandb_run.txt").read_text()
        assert len(list(logs.glob(f"wandb/offline-run-*-{identity}/*.wandb"))) == 1
