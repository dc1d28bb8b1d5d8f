"""The log of a run, written beside its metrics."""

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from careamics_denoisplit.errors import StorageError


class _WholeLineHandler(logging.FileHandler):
    """A log file whose failure is an error of its own, not a traceback on the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise StorageError(
            f"Cannot write the log {self.baseFilename}. Free some space on this disk, then "
            "continue with `--resume`."
        )


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append the package's messages to a file while the block runs.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder is made.

    Raises
    ------
    StorageError
        If it cannot be written, also later.
    """
    package = logging.getLogger("careamics_denoisplit")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _WholeLineHandler(path, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write the log {path}: {error.strerror}.") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = package.level
    package.addHandler(handler)
    package.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
        with contextlib.suppress(OSError):
            handler.close()
