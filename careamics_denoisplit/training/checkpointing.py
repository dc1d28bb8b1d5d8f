"""When checkpoints are written: the best and the last epoch, in between, and at a stop."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import lightning
from lightning.pytorch.callbacks import Checkpoint

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.lightning_module import DenoiSplitModule, Row
from careamics_denoisplit.training.loggers import AppendingCSVLogger
from careamics_denoisplit.training.position import Position, read_position, store_position
from careamics_denoisplit.training.signals import StopSignals

MINUTES_BETWEEN_CHECKPOINTS = 5.0
"""How much training a kill can cost at most, unless configured otherwise."""


class TrainingPaused(Exception):
    """Training ended within an epoch on purpose: out of time, or asked to by the program."""


class RunCheckpoint(Checkpoint):
    """Write metrics and checkpoints in an order in which a kill loses nothing.

    At the end of an epoch: first the row of metrics, then the best checkpoint, then the last.
    Whatever was written beyond the last checkpoint is written again, equal, by the run that
    continues from there.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of `best.ckpt` and `last.ckpt`.
    signals : StopSignals
        Says when the user or the scheduler wants to stop.
    monitor : str
        Column of the metrics that decides which epoch is the best.
    mode : {"min", "max"}
        Whether less or more is better.
    every_n_steps : int, optional
        Optimiser steps between checkpoints within an epoch.
    minutes : float
        Minutes between checkpoints within an epoch.
    max_hours : float, optional
        Hours after which training ends with the current step.
    clock : callable
        Monotonic time in seconds.
    """

    def __init__(
        self,
        folder: Path,
        signals: StopSignals,
        *,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
        every_n_steps: int | None = None,
        minutes: float | int = MINUTES_BETWEEN_CHECKPOINTS,
        max_hours: float | int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.best_model_path = str(folder / "best.ckpt")
        self.last_model_path = str(folder / "last.ckpt")
        self.best_model_score: float | int | None = None
        self.monitor = monitor
        self.mode = mode
        self.ended: Literal["", "early stopping", "time limit", "request"] = ""
        self._signals = signals
        self._every_n_steps = every_n_steps
        self._minutes = minutes
        self._max_hours = max_hours
        self._clock = clock
        self._position = Position(0, 0, 1)
        self._seconds_before = 0.0
        self._started = clock()
        self._saved_at = clock()

    @property
    def seconds(self) -> float:
        """Seconds of training, those of the runs that were continued included."""
        return self._seconds_before + self._clock() - self._started

    def state_dict(self) -> dict[str, Any]:
        """Return best score and duration."""
        return {"best_model_score": self.best_model_score, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back best score and duration."""
        self.best_model_score = state_dict["best_model_score"]
        self._seconds_before = state_dict["seconds"]

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Start the clocks."""
        self._started = self._saved_at = self._clock()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Store a checkpoint when one is due, and stop where that was asked for."""
        length = int(trainer.num_training_batches)
        self._position = Position(trainer.current_epoch, batch_idx + 1, length)
        if (batch_idx + 1) % trainer.accumulate_grad_batches and batch_idx + 1 < length:
            return  # gradients that were gathered but not used are not in a checkpoint
        if self._must_stop(trainer):
            self._save_and_stop(trainer)
        if self._is_due(trainer):
            self._save_last(trainer)

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any
    ) -> None:
        """Do not wait for a long validation when asked to stop; it is run again later."""
        if self._signals.received is not None and not trainer.sanity_checking:
            self._save_and_stop(trainer)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the row of metrics, the best and the last checkpoint."""
        if self._position.batches < self._position.batches_per_epoch:
            return
        if not isinstance(pl_module, DenoiSplitModule):
            raise TypeError(f"RunCheckpoint needs a DenoiSplitModule, got {type(pl_module)}.")
        row = self._row(trainer, pl_module)
        self._log(trainer, row)
        self._position = Position(trainer.current_epoch + 1, 0, self._position.batches_per_epoch)
        if _stopped_early(trainer):
            self.ended = "early stopping"
        score = self._score(row)
        if self._is_better(score):
            self.best_model_score = score
            trainer.save_checkpoint(self.best_model_path)
        self._save_last(trainer)
        if self._signals.received is not None:
            raise self._signals.error()

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Describe the position so that it can be continued exactly."""
        store_position(checkpoint, self._position)
        checkpoint["ended"] = self.ended
        checkpoint["max_epochs"] = trainer.max_epochs

    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Continue from the position: its validation may be the first thing that is due."""
        self._position = read_position(checkpoint)

    def _row(self, trainer: lightning.Trainer, module: DenoiSplitModule) -> Row:
        return {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "seconds": round(self.seconds, 3),
            "learning_rate": module.learning_rate,
        } | module.epoch_row()

    def _log(self, trainer: lightning.Trainer, row: Row) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, AppendingCSVLogger):
                logger.add_row(row)
            else:
                logger.log_metrics(row, step=trainer.global_step)
                logger.save()

    def _score(self, row: Row) -> float | int:
        if self.monitor not in row:
            raise ConfigurationError(
                f"`checkpoint_params.monitor` is {self.monitor!r}, which is not logged. Choose "
                f"one of {', '.join(sorted(row))}."
            )
        return row[self.monitor]

    def _is_better(self, score: float | int) -> bool:
        if not math.isfinite(score):
            return False
        if self.best_model_score is None:
            return True
        sign = 1 if self.mode == "min" else -1
        return sign * score < sign * self.best_model_score

    def _is_due(self, trainer: lightning.Trainer) -> bool:
        if self._every_n_steps and trainer.global_step % self._every_n_steps == 0:
            return True
        return self._clock() - self._saved_at >= 60 * self._minutes

    def _is_out_of_time(self) -> bool:
        if self._max_hours is None:
            return False
        return self._clock() - self._started >= 3600 * self._max_hours

    def _must_stop(self, trainer: lightning.Trainer) -> bool:
        return self._signals.received is not None or trainer.should_stop or self._is_out_of_time()

    def _save_and_stop(self, trainer: lightning.Trainer) -> None:
        self._save_last(trainer)
        if self._signals.received is not None:
            raise self._signals.error()
        self.ended = "request" if trainer.should_stop else "time limit"
        raise TrainingPaused

    def _save_last(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self.last_model_path)
        self._saved_at = self._clock()


def _stopped_early(trainer: lightning.Trainer) -> bool:
    return trainer.should_stop and any(
        callback.stopped_epoch > 0 for callback in trainer.early_stopping_callbacks
    )
