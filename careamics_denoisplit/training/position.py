"""Where training stands, in terms that a later process can continue from exactly."""

from typing import Any, NamedTuple

from careamics_denoisplit.errors import CheckpointError


class Position(NamedTuple):
    """A boundary between two steps of training."""

    epoch: int
    """Number of epochs that are complete, with their validation."""
    batches: int
    """Batches done in the next epoch; all of them where only its validation is missing."""
    batches_per_epoch: int
    """Batches of one epoch."""

    @property
    def validation_is_due(self) -> bool:
        """Whether all batches of the epoch are done and only its validation is missing."""
        return 0 < self.batches == self.batches_per_epoch


def store_position(checkpoint: dict[str, Any], position: Position) -> None:
    """Write a position into a checkpoint, in the terms of Lightning's loops.

    What Lightning records by itself depends on the hook that saves, and some of these states
    make it skip the validation or the schedule of the resumed epoch. Three states are exact:
    before an epoch, within an epoch, and before its validation.

    Parameters
    ----------
    checkpoint : dict
        Checkpoint of Lightning 2; its entry `loops` is changed in place.
    position : Position
        Where training stands.
    """
    epoch, batches, length = position
    started = epoch + (batches > 0)
    loops = checkpoint["loops"]["fit_loop"]
    loops["epoch_progress"] = _progress(started, epoch, started, epoch)
    done = epoch * length + batches
    loops["epoch_loop.batch_progress"] = _progress(done, done, batches, batches) | {
        "is_last_batch": position.validation_is_due
    }
    # An evaluation that was begun and finished no batch is run anew, in full.
    begun = int(position.validation_is_due)
    loops["epoch_loop.val_loop.batch_progress"] = _progress(begun, 0, begun, 0) | {
        "is_last_batch": False
    }
    checkpoint["position"] = position._asdict()


def read_position(checkpoint: dict[str, Any]) -> Position:
    """Return the position that `store_position` wrote.

    Raises
    ------
    CheckpointError
        If the checkpoint was not written by this package's training.
    """
    try:
        return Position(**{name: int(checkpoint["position"][name]) for name in Position._fields})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            "This checkpoint does not say where training stood, so it cannot be continued. Use "
            "checkpoints/last.ckpt of a run folder."
        ) from error


def _progress(
    total_started: int, total_done: int, started: int, done: int
) -> dict[str, dict[str, int]]:
    return {
        "total": _tracker(total_started, total_done),
        "current": _tracker(started, done),
    }


def _tracker(started: int, done: int) -> dict[str, int]:
    return {"ready": started, "started": started, "processed": done, "completed": done}
