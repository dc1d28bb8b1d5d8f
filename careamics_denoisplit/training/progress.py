"""What the user sees while training runs: how long it will take, and how far it is."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import lightning
from careamics.lightning.callbacks import ProgressBarCallback
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

STEPS_TO_MEASURE = 5
"""Steps after which the duration is estimated; the first one is not counted."""
SECONDS_BETWEEN_LINES = 30.0
"""How often a plain line is written within an epoch."""


class RemainingTime(Callback):
    """Estimate how long training will take, and say so after the first steps.

    Parameters
    ----------
    say : callable
        Receives one line for the user.
    max_hours : float, optional
        Hours after which training ends anyway.
    clock : callable
        Monotonic time in seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        max_hours: float | int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._limit = None if max_hours is None else 3600 * max_hours
        self._clock = clock
        self._first = self._began = clock()
        self._steps = 0
        self._validation_began = 0.0
        self._validation_seconds: float | None = None

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Start the clock."""
        self._began = self._clock()
        self._steps = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any
    ) -> None:
        """Measure a step; after the first few, say how long all will take."""
        self._steps += 1
        if self._steps == 1:
            self._first = self._clock()
        if self._steps == STEPS_TO_MEASURE + 1:
            self._say(self._forecast(trainer))

    def on_validation_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Start to measure a validation."""
        self._validation_began = self._clock()

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Measure a validation, and take it out of the time of the steps."""
        self._validation_seconds = self._clock() - self._validation_began
        self._first += self._validation_seconds

    @property
    def seconds_per_step(self) -> float | None:
        """Seconds of a step, or None before there are two."""
        if self._steps < 2:
            return None
        return (self._clock() - self._first) / (self._steps - 1)

    def seconds_left(self, trainer: lightning.Trainer) -> float | None:
        """Return the seconds until the last epoch or the time limit; None while unknown.

        A validation that was not measured yet counts as a third of as many training steps.
        """
        step = self.seconds_per_step
        if step is None:
            return None
        per_epoch = int(trainer.num_training_batches)
        validation = self._validation_seconds
        if validation is None:
            batches = sum(count for count in trainer.num_val_batches if count != float("inf"))
            validation = batches * step / 3
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        epochs = (trainer.max_epochs or 0) - trainer.current_epoch
        left = epochs * (per_epoch * step + validation) - done * step
        if self._limit is not None:
            left = min(left, self._limit - (self._clock() - self._began))
        return max(left, 0.0)

    def _forecast(self, trainer: lightning.Trainer) -> str:
        left = self.seconds_left(trainer) or 0.0
        step = self.seconds_per_step or 0.0
        total = left + self._clock() - self._began
        limit = self._limit
        end = f"until epoch {trainer.max_epochs}"
        if limit is not None and total >= 0.99 * limit:
            end = "until the time limit"
        return (
            f"Training will take at most {in_words(total)} on this machine {end} "
            f"({step:.2f} s per step, {int(trainer.num_training_batches)} steps per epoch); early "
            "stopping may end it sooner."
        )


class PlainProgress(Callback):
    """Write a line for each epoch, and in long epochs one every half minute.

    Parameters
    ----------
    say : callable
        Receives one line for the user.
    remaining : RemainingTime
        Knows the time left.
    clock : callable
        Monotonic time in seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        remaining: RemainingTime,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._remaining = remaining
        self._clock = clock
        self._said_at = clock()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write a line if the last one is old."""
        if self._clock() - self._said_at < SECONDS_BETWEEN_LINES:
            return
        self._line(trainer, f"step {batch_idx + 1} of {int(trainer.num_training_batches)}")

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the line of an epoch."""
        score = trainer.callback_metrics.get("val_loss")
        self._line(trainer, "" if score is None else f"val_loss {float(score):.4f}")

    def _line(self, trainer: lightning.Trainer, what: str) -> None:
        left = self._remaining.seconds_left(trainer)
        parts = [
            f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}",
            what,
            "" if left is None else f"at most {in_words(left)} left",
        ]
        self._say(", ".join(part for part in parts if part))
        self._said_at = self._clock()


class ProgressBar(ProgressBarCallback):
    """careamics' bar with the time left of the whole training beside it.

    Parameters
    ----------
    remaining : RemainingTime
        Knows the time left.
    """

    def __init__(self, remaining: RemainingTime) -> None:
        super().__init__()
        self._remaining = remaining

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return what stands beside the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        left = self._remaining.seconds_left(trainer)
        return metrics if left is None else metrics | {"left": in_words(left)}


def progress_callbacks(
    say: Callable[[str], None], *, quiet: bool, max_hours: float | int | None
) -> list[Callback]:
    """Choose what shows the progress: a bar on a terminal and in notebooks, else plain lines."""
    remaining = RemainingTime(say, max_hours)
    if quiet:
        return [remaining]
    if shows_bars():
        return [remaining, ProgressBar(remaining)]
    return [remaining, PlainProgress(say, remaining)]


def shows_bars() -> bool:
    """Say whether a bar that rewrites its line can be shown."""
    if "ipykernel" in sys.modules:
        return True
    with suppress(AttributeError, ValueError):  # no stream, or a closed one
        return sys.stdout.isatty() and sys.stderr.isatty()
    return False


def write_line(text: str) -> None:
    """Write a line to standard error, above a bar; a closed stream is no reason to stop."""
    with suppress(OSError, ValueError, AttributeError):
        tqdm.write(text, file=sys.stderr)


def in_words(seconds: float | int) -> str:
    """Return a duration as people say it.

    Examples
    --------
    >>> in_words(42)
    '42 s'
    >>> in_words(600)
    '10 min'
    >>> in_words(9000)
    '2.5 h'
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
