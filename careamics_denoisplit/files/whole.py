"""Files and folders that appear whole or not at all.

The rule of Pillai et al. (OSDI 2014): write beside the target, flush to disk, rename,
flush the folder. A process that is killed at any moment leaves the old or the new file.
"""

import errno
import os
import re
import secrets
import shutil
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from careamics_denoisplit.errors import StorageError

_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
_TEMPORARY_NAME = re.compile(r"\.denoisplit-([0-9a-f]{8})-(\d+)-([0-9a-f]{8})-")
_SET_ASIDE = ".denoisplit-old-"
_SECONDS_PER_DAY = 86_400.0
# Numbers of the system for "this folder cannot be flushed", as on some network disks.
_CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}


def write_whole(path: Path, data: bytes) -> None:
    """Write bytes so that `path` holds the old or the new content, never a part.

    Parameters
    ----------
    path : pathlib.Path
        File to write; missing parent folders are made.
    data : bytes
        The whole content.

    Raises
    ------
    StorageError
        If the disk is full, the folder is not writable or the system reports another
        error; the message names the path and the number of bytes needed.
    """
    with whole_file(path, size=len(data)) as temporary:
        temporary.write_bytes(data)


@contextmanager
def whole_file(path: Path, size: int | None = None) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without error.

    For writers of other libraries, which want a path. The temporary file lies in the same
    folder and ends in the same suffix; it follows the umask even where the writer does not.

    Parameters
    ----------
    path : pathlib.Path
        File to write; missing parent folders are made.
    size : int, optional
        Number of bytes that will be written, for the message of an error.

    Yields
    ------
    pathlib.Path
        The temporary file, empty, to be overwritten or replaced.

    Raises
    ------
    StorageError
        If making, writing, flushing or renaming the file fails.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _create(temporary)
        yield temporary
        temporary.chmod(mode)
        _flush_file(temporary)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        needed = _size_of(temporary) if size is None else size
        raise StorageError(_describe(path, error, needed)) from error
    finally:
        _remove(temporary)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the block ends without error.

    A folder that is already there is set aside first and removed last; whoever is killed
    in between finds it again through `restore_folder`.

    Parameters
    ----------
    path : pathlib.Path
        Folder to write; missing parent folders are made.

    Yields
    ------
    pathlib.Path
        The temporary folder, empty, beside `path`.

    Raises
    ------
    StorageError
        If making, writing, flushing or renaming the folder fails.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        restore_folder(path)
        temporary.mkdir()
        yield temporary
        _flush_tree(temporary)
        _exchange(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise StorageError(_describe(path, error, _size_of(temporary))) from error
    finally:
        _remove(temporary)


def restore_folder(path: Path) -> None:
    """Undo a replacement of a folder that was cut short between its two renames.

    Parameters
    ----------
    path : pathlib.Path
        Folder that `whole_folder` writes.
    """
    path = Path(path)
    aside = path.parent / f"{_SET_ASIDE}{path.name}"
    if not aside.exists():
        return
    if path.exists():
        _remove(aside)
    else:
        aside.replace(path)


def remove_litter(folder: Path) -> tuple[str, ...]:
    """Remove what killed processes left under `folder`, and restore folders set aside.

    Temporary files of living processes stay; those of other machines stay for a day.

    Parameters
    ----------
    folder : pathlib.Path
        Folder to clean, with all its subfolders.

    Returns
    -------
    tuple of str
        Names of what was removed or restored.
    """
    found = [path for path in Path(folder).rglob(".denoisplit-*") if _is_litter(path)]
    for path in found:
        if path.name.startswith(_SET_ASIDE):
            restore_folder(path.with_name(path.name.removeprefix(_SET_ASIDE)))
        else:
            _remove(path)
    return tuple(path.name for path in found)


def temporary_beside(path: Path) -> Path:
    """Name a file or folder beside `path` that `remove_litter` removes after a kill."""
    # The suffix is kept because numpy and tifffile look at it, the name is not because it
    # may already have the greatest length that the file system allows.
    suffix = "".join(path.suffixes[-2:])[-20:]
    unique = secrets.token_hex(4)
    return path.parent / f".denoisplit-{_HOST}-{os.getpid()}-{unique}-{suffix}"


def is_temporary(path: Path) -> bool:
    """Say whether a file or folder is an unfinished one of this module."""
    return path.name.startswith((_SET_ASIDE, ".denoisplit-lock")) or bool(
        _TEMPORARY_NAME.match(path.name)
    )


def process_is_alive(pid: int) -> bool:
    """Say whether a process of this machine is running.

    Parameters
    ----------
    pid : int
        Number of the process.
    """
    if pid <= 0:
        return False
    if os.name == "nt":
        return _windows_process_is_alive(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except PermissionError:
        return True
    return True


def _windows_process_is_alive(pid: int) -> bool:
    # On Windows `os.kill(pid, 0)` ends the process.
    import psutil

    return bool(psutil.pid_exists(pid))


def _create(path: Path) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return os.fstat(descriptor).st_mode & 0o777
    finally:
        os.close(descriptor)


def _flush_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there; the rename is journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise
    finally:
        os.close(descriptor)


def _flush_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            _flush_folder(path)
        else:
            _flush_file(path)
    _flush_folder(folder)


def _exchange(temporary: Path, path: Path) -> None:
    aside = path.parent / f"{_SET_ASIDE}{path.name}"
    replaces = path.exists()
    if replaces:
        path.replace(aside)
    try:
        temporary.replace(path)
    except OSError:
        if replaces:
            aside.replace(path)
        raise
    if replaces:
        _remove(aside)


def _is_litter(path: Path) -> bool:
    if path.name.startswith(_SET_ASIDE):
        return True
    match = _TEMPORARY_NAME.match(path.name)
    if match is None:
        return False
    host, pid = match[1], int(match[2])
    if host == _HOST:
        return not process_is_alive(pid)
    with suppress(FileNotFoundError):
        return time.time() - path.lstat().st_mtime > _SECONDS_PER_DAY
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _size_of(path: Path) -> int:
    with suppress(OSError):
        if path.is_dir():
            return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
        return path.stat().st_size
    return 0


def _describe(path: Path, error: OSError, size: int) -> str:
    reason = error.strerror or str(error)
    advice = {
        errno.ENOSPC: "Free some space on this disk, then run the command again.",
        errno.EDQUOT: "Your quota on this disk is used up; free some space.",
        errno.EACCES: "Choose a folder that you may write to.",
        errno.EROFS: "The disk is read-only; choose another folder.",
        errno.EISDIR: "A folder of this name is in the way.",
        errno.ENOTDIR: "A file of the same name as one of its folders is in the way.",
    }.get(error.errno or 0, "What was there before is unchanged.")
    return f"Cannot write {path} ({size} bytes): {reason}. {advice}"
