"""Checkpoint files are whole, and reading one executes nothing."""

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from careamics_denoisplit.errors import CheckpointError, StorageError
from careamics_denoisplit.training import WholeFileCheckpointIO, checkpoint_io, read_checkpoint


class Payload:
    """Leaves a mark when it is unpickled by a reader that executes."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def test_a_checkpoint_comes_back_and_leaves_no_litter(tmp_path: Path) -> None:
    content = {"weights": torch.arange(5.0), "names": ["er", "actin"], "seed": 3}

    WholeFileCheckpointIO().save_checkpoint(content, tmp_path / "a" / "last.ckpt")

    loaded = WholeFileCheckpointIO().load_checkpoint(tmp_path / "a" / "last.ckpt")
    assert torch.equal(loaded.pop("weights"), torch.arange(5.0))
    assert loaded == {"names": ["er", "actin"], "seed": 3}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["last.ckpt"]


def test_what_cannot_be_stored_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        WholeFileCheckpointIO().save_checkpoint({"f": lambda: 0}, tmp_path / "last.ckpt")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_g1_code_in_a_checkpoint_is_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forced: bool, zipped: bool
) -> None:
    marker = tmp_path / "executed"
    path = tmp_path / "last.ckpt"
    if zipped:
        torch.save({"state_dict": Payload(marker)}, path)
    else:
        path.write_bytes(pickle.dumps({"state_dict": Payload(marker)}))
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")

    with pytest.raises(CheckpointError, match="only weights are read"):
        WholeFileCheckpointIO().load_checkpoint(path, weights_only=False)

    assert not marker.exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_e3_a_cut_checkpoint_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "last.ckpt"
    WholeFileCheckpointIO().save_checkpoint({"weights": torch.rand(1000)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])

    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint .*last\.ckpt"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_a_file_with_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.ckpt")

    with pytest.raises(CheckpointError, match="holds a list"):
        read_checkpoint(tmp_path / "list.ckpt")


def test_e9_a_file_that_is_absent_after_writing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_io, "write_whole", lambda path, data: None)

    with pytest.raises(StorageError, match=r"last\.ckpt \(\d+ bytes\) was written but is not"):
        WholeFileCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")


def test_e9_a_full_disk_keeps_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    WholeFileCheckpointIO().save_checkpoint({"step": 1}, path)

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"last\.ckpt \(\d+ bytes\): No space left"):
        WholeFileCheckpointIO().save_checkpoint({"step": 2}, path)

    assert read_checkpoint(path) == {"step": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["last.ckpt"]


def test_removing_a_checkpoint_twice_is_no_error(tmp_path: Path) -> None:
    WholeFileCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")

    WholeFileCheckpointIO().remove_checkpoint(tmp_path / "last.ckpt")
    WholeFileCheckpointIO().remove_checkpoint(tmp_path / "last.ckpt")

    assert list(tmp_path.iterdir()) == []


def test_storage_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="local files"):
        WholeFileCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt", {"compress": True})
