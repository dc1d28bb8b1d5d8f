"""One process per run folder; the lock of a dead process is taken over."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from careamics_denoisplit.errors import LockedError, StorageError
from careamics_denoisplit.files import lock, lock_run

HOLDER = """
import sys, time
from pathlib import Path
from careamics_denoisplit.files import lock_run
with lock_run(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"locked"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_e6_a_second_process_is_refused_and_a_dead_one_is_followed(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        with pytest.raises(LockedError, match=f"process {holder.pid} on"), lock_run(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with lock_run(tmp_path):
        pass

    assert list(tmp_path.iterdir()) == []


def test_e6_the_same_process_cannot_lock_twice(tmp_path: Path) -> None:
    with (
        lock_run(tmp_path),
        pytest.raises(LockedError, match=f"process {os.getpid()}"),
        lock_run(tmp_path),
    ):
        pass


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_e6_a_forked_worker_does_not_keep_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    may_end = context.Event()
    with lock_run(tmp_path):
        worker = context.Process(target=may_end.wait)
        worker.start()
    try:
        with lock_run(tmp_path):
            pass
    finally:
        may_end.set()
        worker.join()

    assert worker.exitcode == 0


@pytest.fixture
def without_system_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_acquire", lock._acquire_by_name)


@pytest.mark.usefixtures("without_system_locks")
def test_e6_a_named_lock_works_where_the_system_has_none(tmp_path: Path) -> None:
    with lock_run(tmp_path), pytest.raises(LockedError), lock_run(tmp_path):
        pass
    with lock_run(tmp_path):
        pass

    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_system_locks")
def test_e6_a_named_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    (tmp_path / ".denoisplit-lock").write_text(json.dumps([process.pid, socket.gethostname()]))
    with lock_run(tmp_path):
        pass

    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_system_locks")
def test_e6_a_named_lock_of_another_machine_is_respected(tmp_path: Path) -> None:
    (tmp_path / ".denoisplit-lock").write_text(json.dumps([1, "elsewhere"]))
    with pytest.raises(LockedError, match="process 1 on elsewhere"), lock_run(tmp_path):
        pass


def test_a_run_that_is_a_file_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(StorageError, match="Cannot make the lock"), lock_run(tmp_path / "run"):
        pass
