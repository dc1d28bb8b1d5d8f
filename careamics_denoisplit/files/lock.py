"""One process per run folder."""

import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from careamics_denoisplit.errors import LockedError, StorageError
from careamics_denoisplit.files.whole import process_is_alive

if sys.platform != "win32":
    import fcntl

_NAME = ".denoisplit-lock"
_ATTEMPTS = 20
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
_held: set[int] = set()


class Holder(NamedTuple):
    """The process that works on a folder."""

    pid: int
    """Number of the process."""
    host: str
    """Name of its machine."""


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run folder while the block runs.

    The lock of a process that died, even by SIGKILL, is taken over. Where the system or the
    disk knows no locks, a file with process number and machine name takes their place.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder; it is made if it is missing.

    Raises
    ------
    LockedError
        If another process holds the lock; the message names its number and machine.
    StorageError
        If the lock file cannot be made.
    """
    path = Path(folder) / _NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path)
    except OSError as error:
        raise StorageError(
            f"Cannot make the lock file {path}: {error.strerror}. "
            "Choose a folder that you may write to."
        ) from error
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:
            _release(path, descriptor)


def _release(path: Path, descriptor: int | None) -> None:
    # Unlinked while still locked: whoever waits on this file sees that it is gone.
    with suppress(OSError):
        path.unlink(missing_ok=True)
    if descriptor is not None:
        _held.discard(descriptor)
        os.close(descriptor)


def _acquire(path: Path) -> int | None:
    if sys.platform == "win32":
        _acquire_by_name(path)
        return None
    try:
        return _acquire_by_system(path)
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
    _acquire_by_name(path)
    return None


def _acquire_by_system(path: Path) -> int:
    for _ in range(_ATTEMPTS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise LockedError(_describe(path, _read(path))) from error
        except OSError:
            os.close(descriptor)
            raise
        if _is_still_there(path, descriptor):
            _held.add(descriptor)
            _write_holder(descriptor)
            return descriptor
        os.close(descriptor)  # the former holder removed this file a moment ago
    raise LockedError(_describe(path, _read(path)))


def _acquire_by_name(path: Path) -> None:
    for _ in range(_ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError as error:
            holder = _read(path)
            if not _is_dead(holder):
                raise LockedError(_describe(path, holder)) from error
            with suppress(FileNotFoundError):
                path.unlink()
        else:
            _write_holder(descriptor)
            os.close(descriptor)
            return
    raise LockedError(_describe(path, _read(path)))


def _is_still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps([os.getpid(), socket.gethostname()]).encode("utf-8"))


def _read(path: Path) -> Holder | None:
    with suppress(OSError, ValueError, TypeError):
        pid, host = json.loads(path.read_text(encoding="utf-8"))
        return Holder(int(pid), str(host))
    return None


def _is_dead(holder: Holder | None) -> bool:
    return (
        holder is not None
        and holder.host == socket.gethostname()
        and not process_is_alive(holder.pid)
    )


def _describe(path: Path, holder: Holder | None) -> str:
    who = "another process"
    if holder is not None:
        who = f"process {holder.pid} on {holder.host}"
    return (
        f"{path.parent} is in use by {who}. Wait until it ends or stop it; if it does not "
        f"exist any more, delete {path}."
    )


def _forget_in_child() -> None:
    # A forked worker that outlives a killed parent must not keep the parent's lock.
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
