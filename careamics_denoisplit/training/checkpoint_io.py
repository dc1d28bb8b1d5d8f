"""Checkpoints that are written whole and read without executing anything."""

import io
import pickle  # only for the name of the error that torch raises
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from careamics_denoisplit.errors import CheckpointError, StorageError
from careamics_denoisplit.files import write_whole


class WholeFileCheckpointIO(CheckpointIO):
    """Store checkpoints so that a kill at any moment leaves the old or the new one.

    Lightning's own way stages the file in the system's temporary folder, copies it when that
    is another disk, never flushes, and reports success where it may not write.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Parameters
        ----------
        checkpoint : dict
            Tensors, numbers, text, lists and dicts.
        path : str or pathlib.Path
            File to write.
        storage_options : object, optional
            Not supported.

        Raises
        ------
        StorageError
            If the file cannot be written, with its path and size; an earlier checkpoint of
            the same name is then unchanged.
        """
        if storage_options is not None:
            raise TypeError("Checkpoints are local files: `storage_options` is not supported.")
        # Into memory first: the file's writer in C++ aborts the process on a full disk.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        data = buffer.getvalue()
        path = Path(path)
        write_whole(path, data)
        if not path.is_file() or path.stat().st_size != len(data):
            raise StorageError(
                f"The checkpoint {path} ({len(data)} bytes) was written but is not there. Check "
                "the disk and that no other program empties this folder."
            )

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; `weights_only` is always True, whatever is asked for."""
        return read_checkpoint(
            Path(path), map_location="cpu" if map_location is None else map_location
        )

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint that may be absent."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path, map_location: Any = "cpu", *, lazy: bool = False) -> dict[str, Any]:
    """Read a checkpoint file without executing anything that it holds.

    Parameters
    ----------
    path : pathlib.Path
        File to read.
    map_location : object
        Device of the tensors.
    lazy : bool
        Whether to leave the tensors in the file until they are used.

    Returns
    -------
    dict
        Content of the checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, cut, damaged, or holds more than weights and plain values.
    """
    if not path.is_file():
        raise CheckpointError(
            f"There is no checkpoint {path}. Give a run folder that training has written."
        )
    try:
        with warnings.catch_warnings():
            # What torch warns of ends in one of the errors below.
            warnings.simplefilter("ignore")
            checkpoint = torch.load(path, map_location=map_location, weights_only=True, mmap=lazy)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects, and only weights are read because objects can run "
            "code. Ask its author for a file with weights and plain values."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read, it is cut or damaged: {_first_line(error)}. Use the "
            "other checkpoint in the same folder, or a copy."
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f"{path} holds a {type(checkpoint).__name__} instead of a checkpoint. Check that it "
            "is the right file."
        )
    return checkpoint


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
