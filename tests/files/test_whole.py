"""Files and folders are written whole or not at all, whatever happens in between."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from careamics_denoisplit.errors import StorageError
from careamics_denoisplit.files import (
    remove_litter,
    restore_folder,
    whole_file,
    whole_folder,
    write_whole,
)


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_file_holds_the_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_whole(tmp_path / "new" / "a.json", b"old")
    write_whole(tmp_path / "new" / "a.json", b"new")

    assert (tmp_path / "new" / "a.json").read_bytes() == b"new"
    assert contents(tmp_path / "new") == ["a.json"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_follows_the_umask_even_if_its_writer_does_not(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with whole_file(tmp_path / "weights.bin") as temporary:
            temporary.unlink()
            temporary.touch(mode=0o600)
    finally:
        os.umask(before)

    assert (tmp_path / "weights.bin").stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_temporary_file_keeps_the_suffix_and_a_short_name(tmp_path: Path) -> None:
    long_name = "x" * 240 + ".ome.tif"
    with whole_file(tmp_path / long_name) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".ome.tif")
        temporary.write_bytes(b"1")

    assert contents(tmp_path) == [long_name]


def fail_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, number: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, name, fail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(os, "open"), (Path, "write_bytes"), (os, "fsync"), (Path, "replace"), (Path, "chmod")],
)
def test_e9_a_failing_call_is_named_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, number: int
) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"old")
    fail_at(monkeypatch, owner, name, number)
    with pytest.raises(StorageError, match=r"last\.ckpt \(3 bytes\)"):
        write_whole(path, b"new")
    monkeypatch.undo()

    assert path.read_bytes() == b"old"
    assert contents(tmp_path) == ["last.ckpt"]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from careamics_denoisplit.errors import StorageError
from careamics_denoisplit.files import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(Path(sys.argv[1]), bytes(5000))
except StorageError as error:
    sys.exit(0 if "5000 bytes" in str(error) else 1)
sys.exit(2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are a POSIX feature")
def test_e9_a_disk_that_takes_no_more_bytes_is_a_named_error(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / "a")], check=False)

    assert result.returncode == 0
    assert contents(tmp_path) == []


def test_an_error_of_the_caller_passes_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), whole_file(tmp_path / "a"):
        raise KeyError("mine")

    assert contents(tmp_path) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with whole_folder(tmp_path / "model") as temporary:
            (temporary / text).write_text(text)

    assert contents(tmp_path) == ["model"]
    assert contents(tmp_path / "model") == ["new"]


def test_a_failing_folder_leaves_the_old_one(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as temporary:
        (temporary / "a").write_text("old")

    def fail_in_the_middle() -> None:
        with whole_folder(tmp_path / "model") as temporary:
            (temporary / "a").write_text("new")
            raise KeyError("mine")

    with pytest.raises(KeyError):
        fail_in_the_middle()

    assert contents(tmp_path) == ["model"]
    assert (tmp_path / "model" / "a").read_text() == "old"


@pytest.mark.parametrize("number_of_renames", [0, 1])
def test_e3_a_folder_survives_a_kill_between_its_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number_of_renames: int
) -> None:
    with whole_folder(tmp_path / "model") as temporary:
        (temporary / "a").write_text("old")
    done: list[Path] = []
    rename = Path.replace

    def rename_until_killed(self: Path, target: Path) -> Path:
        if len(done) == number_of_renames:
            raise KeyboardInterrupt
        done.append(target)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", rename_until_killed)
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "model") as temporary:
        (temporary / "a").write_text("new")
    monkeypatch.undo()
    restore_folder(tmp_path / "model")

    assert contents(tmp_path) == ["model"]
    assert (tmp_path / "model" / "a").read_text() == "old"


WRITER = """
import sys
from pathlib import Path
from careamics_denoisplit.files import write_whole
print("ready", flush=True)
for number in range(10**6):
    write_whole(Path(sys.argv[1]), bytes([number % 256]) * 300_000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_e3_a_killed_writer_leaves_a_whole_file_and_no_litter_after_cleaning(
    tmp_path: Path,
) -> None:
    path = tmp_path / "last.ckpt"
    for delay in (0.01, 0.05, 0.09, 0.13):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not path.exists():
                time.sleep(0.005)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
        data = path.read_bytes()

        assert len(data) == 300_000
        assert len(set(data)) == 1
    remove_litter(tmp_path)

    assert contents(tmp_path) == ["last.ckpt"]


def test_cleaning_spares_files_of_living_processes(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as temporary:
        assert remove_litter(tmp_path) == ()
        assert temporary.exists()
