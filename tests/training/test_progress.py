"""What is said about the time, on a clock that the test moves."""

import io
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import lightning
import pytest

from careamics_denoisplit.training import in_words, progress
from careamics_denoisplit.training.progress import (
    PlainProgress,
    ProgressBar,
    RemainingTime,
    progress_callbacks,
    write_line,
)


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def trainer(batch: int = 0, epoch: int = 0) -> Any:
    """Ten epochs of 20 steps and 6 validation batches."""
    progress = SimpleNamespace(current=SimpleNamespace(ready=batch))
    return Mock(
        spec=lightning.Trainer,
        num_training_batches=20,
        num_val_batches=[6],
        max_epochs=10,
        current_epoch=epoch,
        callback_metrics={"val_loss": 9.25},
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress)),
    )


MODULE: Any = Mock(spec=lightning.LightningModule)


def run_steps(callback: RemainingTime, clock: Clock, count: int, seconds: float) -> None:
    for step in range(count):
        clock.now += 100.0 if step == 0 else seconds
        callback.on_train_batch_end(trainer(step + 1), MODULE)


def test_the_duration_is_said_once_after_the_first_steps() -> None:
    said: list[str] = []
    clock = Clock()
    remaining = RemainingTime(said.append, clock=clock)
    remaining.on_train_start(trainer(), MODULE)

    run_steps(remaining, clock, 8, 3.0)

    # 10 x (20 x 3 s + 6 / 3 x 3 s), less 6 steps, and 115 s that have passed: 757 s.
    assert len(said) == 1
    assert "at most 13 min on this machine until epoch 10 (3.00 s per step" in said[0]


def test_the_time_limit_bounds_the_estimate() -> None:
    said: list[str] = []
    clock = Clock()
    remaining = RemainingTime(said.append, max_hours=0.1, clock=clock)
    remaining.on_train_start(trainer(), MODULE)

    run_steps(remaining, clock, 8, 3.0)

    assert "at most 6 min on this machine until the time limit" in said[0]
    assert remaining.seconds_left(trainer(8)) == pytest.approx(360 - 121)


def test_a_measured_validation_replaces_the_guess() -> None:
    clock = Clock()
    remaining = RemainingTime(lambda text: None, clock=clock)
    remaining.on_train_start(trainer(), MODULE)
    run_steps(remaining, clock, 20, 2.0)
    remaining.on_validation_start(trainer(20), MODULE)
    clock.now += 50.0
    remaining.on_validation_end(trainer(20), MODULE)

    assert remaining.seconds_per_step == pytest.approx(2.0)
    assert remaining.seconds_left(trainer(0, epoch=1)) == pytest.approx(9 * (20 * 2 + 50))


def test_nothing_is_claimed_before_two_steps() -> None:
    remaining = RemainingTime(lambda text: None, clock=Clock())

    assert remaining.seconds_left(trainer()) is None


def test_plain_lines_come_at_epochs_and_every_half_minute() -> None:
    said: list[str] = []
    clock = Clock()
    remaining = RemainingTime(lambda text: None, clock=clock)
    plain = PlainProgress(said.append, remaining, clock=clock)
    for step in range(20):
        clock.now += 4.0
        remaining.on_train_batch_end(trainer(step + 1), MODULE)
        plain.on_train_batch_end(trainer(step + 1), MODULE, None, None, step)
    plain.on_validation_end(trainer(20), MODULE)

    assert len(said) == 3
    assert said[0].startswith("epoch 1 of 10, step 8 of 20, at most ")
    assert said[2].startswith("epoch 1 of 10, val_loss 9.2500, at most ")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (89, "89 s"), (91, "2 min"), (5399, "90 min"), (5401, "1.5 h"), (9e4, "25.0 h")],
)
def test_durations_are_said_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("quiet", "bars", "kinds"),
    [
        (True, True, [RemainingTime]),
        (False, True, [RemainingTime, ProgressBar]),
        (False, False, [RemainingTime, PlainProgress]),
    ],
)
def test_a_bar_is_for_terminals_and_lines_for_all_else(
    monkeypatch: pytest.MonkeyPatch, quiet: bool, bars: bool, kinds: list[type]
) -> None:
    monkeypatch.setattr(progress, "shows_bars", lambda: bars)

    found = progress_callbacks(lambda text: None, quiet=quiet, max_hours=None)

    assert [type(callback) for callback in found] == kinds


def test_i2_a_closed_or_missing_stream_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        write_line("still training")
        assert not progress.shows_bars()
