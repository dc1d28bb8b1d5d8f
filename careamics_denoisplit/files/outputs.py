"""Checks of an output before long work starts."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from careamics_denoisplit.errors import InputError, OutputExistsError, StorageError
from careamics_denoisplit.files.whole import temporary_beside


def require_absent(path: Path, overwrite: bool) -> None:
    """Refuse an output that is already there.

    Parameters
    ----------
    path : pathlib.Path
        File or folder that will be written.
    overwrite : bool
        Whether the user allowed to replace it.

    Raises
    ------
    OutputExistsError
        If `path` exists and may not be replaced.
    """
    if not overwrite and os.path.lexists(path):
        raise OutputExistsError(
            f"{Path(path).absolute()} already exists. Choose another place, or pass "
            "`--overwrite` (in Python `overwrite=True`) to replace it."
        )


def require_writable(folder: Path) -> None:
    """Write and remove a small file, so that hours later the result can be written.

    The folder itself is not made; where it is missing, its nearest parent is tried.

    Parameters
    ----------
    folder : pathlib.Path
        Folder that will hold the output.

    Raises
    ------
    InputError
        If it is a file or you may not write there.
    StorageError
        If the disk is full or reports an error.
    """
    folder = Path(folder).absolute()
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise InputError(
            f"The output folder {folder} cannot be made: {place} is a file. Choose another folder."
        )
    probe = temporary_beside(place / "probe")
    try:
        probe.write_bytes(b"x" * 4096)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise InputError(
                f"Cannot write to {place}: {error.strerror}. Choose a folder that you may write to."
            ) from error
        raise StorageError(f"Cannot write to {place}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # where nothing could be written there is nothing to remove
            probe.unlink(missing_ok=True)
