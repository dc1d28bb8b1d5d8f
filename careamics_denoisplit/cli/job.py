"""What every command does around its work: messages, warnings, results, closing lines."""

import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from careamics_denoisplit.cli.options import CommonOptions
from careamics_denoisplit.files import require_absent, write_json

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


@runtime_checkable
class Stream(Protocol):
    """What is needed of standard output."""

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more."""

    def write(self, text: str, /) -> int:
        """Append text."""

    def flush(self) -> None:
        """Hand it on."""


@dataclass
class Job:
    """One command at work."""

    command: str
    """Name as typed."""
    options: CommonOptions
    """Options shared by all commands."""
    seed: int
    """Seed in force; the configuration may replace it where none was given."""
    values: dict[str, Any] = field(default_factory=dict)
    """Result, written as JSON."""
    outputs: list[Path] = field(default_factory=list)
    """What was written, named at the end."""
    started: float = field(default_factory=time.monotonic)
    """Monotonic, so that a clock set back does not matter."""

    def say(self, text: str) -> None:
        """Tell the user, unless quiet; with `--json -` on standard error."""
        logging.getLogger("careamics_denoisplit").debug(text)
        if not self.options.quiet:
            _write(sys.stderr if self.options.json == "-" else sys.stdout, text)

    def result(self) -> dict[str, Any]:
        """Return the values with the keys that all commands have."""
        return {
            "version": package_version(),
            "command": self.command,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            **self.values,
        }

    def wrote(self, *paths: Path) -> None:
        """Remember an output, to be named at the end."""
        self.outputs += paths

    @property
    def seconds(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self.started


@contextmanager
def job(command: str, options: CommonOptions, log_folder: Path | None = None) -> Iterator[Job]:
    """Run the body of a command; afterwards write its JSON and name its outputs.

    The JSON is also written where the body raises after it has set `Job.values`: a check that
    failed still says what failed.

    Parameters
    ----------
    command : str
        Name of the command.
    options : CommonOptions
        Shared options.
    log_folder : pathlib.Path, optional
        Folder whose `denoisplit.log` the messages are appended to.

    Yields
    ------
    Job
        Messages and results.
    """
    if options.json not in (None, "-"):
        require_absent(Path(str(options.json)), options.overwrite)
    work = Job(command, options, seed=options.seed or 0)
    with _warnings_as_lines(), _log_to(log_folder):
        try:
            yield work
        finally:
            if work.values:
                _write_result(work)
        for path in work.outputs:
            work.say(f"wrote {path.absolute()}")


def package_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("careamics-denoisplit")
    except PackageNotFoundError:
        return "0+unknown"


def time_left(done: int, total: int, seconds: float) -> str:
    """Say how much of a list is done and how long the rest will take."""
    if done == 0:
        return f"0 of {total}"
    rest = seconds / done * (total - done)
    return f"{done} of {total}, {readable(rest)} left" if rest else f"{done} of {total}"


def readable(seconds: float) -> str:
    """Write a duration as people say it."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _write_result(work: Job) -> None:
    target = work.options.json
    if target is None:
        return
    if target == "-":
        _write(sys.stdout, json.dumps(work.result(), indent=2, allow_nan=False))
        return
    write_json(Path(target), work.result())
    work.wrote(Path(target))


def _write(stream: Stream | None, text: str) -> None:
    """Write a line; a closed or broken stream is no reason to lose work."""
    if stream is None or stream.closed:
        return
    with suppress(BrokenPipeError):
        stream.write(f"{text}\n")
        stream.flush()


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show each of our warnings as one line; those of libraries go to the log."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any
    ) -> None:
        logging.getLogger("careamics_denoisplit").warning("%s: %s", category.__name__, message)
        if "careamics_denoisplit" in Path(filename).parts:
            _write(sys.stderr, f"denoisplit: warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def _log_to(folder: Path | None) -> Iterator[None]:
    """Append what is logged to `denoisplit.log` of a folder that exists or can be made."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / "denoisplit.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    logger = logging.getLogger("careamics_denoisplit")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
