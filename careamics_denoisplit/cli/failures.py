"""From an exception to one line on standard error and an exit code."""

import difflib
import errno
import re
import sys
import traceback
from typing import NamedTuple

from cyclopts import CycloptsError, UnknownCommandError

from careamics_denoisplit.errors import DenoiSplitError

WRONG_INPUT = 2
FAULT = 3
INTERRUPTED = 130

_WORDS = {
    "`val_data_target` (`--val`)": "`--val`",
    "`val_data_target`": "`--val`",
    "`val_data`": "`--val-mixture`",
    "`train_data`": "`--mixture`",
    "`n_samples`": "`--samples`",
    "`channels`": "`--channel`",
    "`method`": "`--method`",
    "`axes=`": "`--axes`",
}
"""Words of the library in messages, and what the shell calls them."""

_WITHOUT_AXES = ("train",)
"""Commands that take the axes from the configuration."""

_IN_PYTHON = re.compile(r" \(in Python [^)]*\)")


class Failure(NamedTuple):
    """What the user sees of an exception."""

    line: str
    """One line: what was wrong, what came, what to do."""
    exit_code: int
    """Exit code of the process."""


def describe(error: BaseException, command: str = "") -> Failure:
    """Find the line and the exit code of an exception.

    Named errors carry both. Of all others only those are called wrong input that Python raises
    for files; the rest is a fault.

    Parameters
    ----------
    error : BaseException
        What stopped the command.
    command : str
        First word of the command, for the names of its options.

    Returns
    -------
    Failure
        Line and exit code.
    """
    if isinstance(error, DenoiSplitError):
        return Failure(_for_the_shell(_one_line(str(error)), command), error.exit_code)
    if isinstance(error, UnknownCommandError):
        return Failure(_unknown_command(error), WRONG_INPUT)
    if isinstance(error, CycloptsError):
        return Failure(_one_line(str(error)), WRONG_INPUT)
    if isinstance(error, KeyboardInterrupt):
        return Failure("Stopped by Ctrl-C; finished work was kept.", INTERRUPTED)
    if _is_out_of_memory(error):
        return Failure(
            f"Out of memory: {_one_line(str(error)) or 'no details'}. Close other programs, or "
            "use a smaller --batch or patch size.",
            FAULT,
        )
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return Failure(
        f"Internal error, {type(error).__name__}: {_one_line(str(error))}. Run the command again "
        "with --debug and report what it shows.",
        FAULT,
    )


def show(error: BaseException, debug: bool, command: str = "") -> int:
    """Write the line (and the traceback, where asked for) to standard error.

    Returns
    -------
    int
        Exit code of the process.
    """
    failure = describe(error, command)
    if sys.stderr is not None:
        if debug:
            traceback.print_exception(error, file=sys.stderr)
        sys.stderr.write(f"denoisplit: {failure.line}\n")
        sys.stderr.flush()
    return failure.exit_code


def _for_the_shell(text: str, command: str) -> str:
    """Call options as they are typed; a program cannot pass `axes=`."""
    text = _IN_PYTHON.sub("", text)
    if command in _WITHOUT_AXES:
        text = text.replace(
            "Pass `axes=`", "Set `axes` in the configuration (`denoisplit config --axes`)"
        )
    for word, option in _WORDS.items():
        text = text.replace(word, option)
    return text


def _unknown_command(error: UnknownCommandError) -> str:
    """Name the nearest command, without importing any."""
    typed = error.unused_tokens[0] if error.unused_tokens else ""
    known = [name for name in error.app or () if not name.startswith("-")]
    near = difflib.get_close_matches(typed, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"Commands: {', '.join(sorted(known))}."
    return f"Unknown command {typed!r}. {hint}"


def _describe_os_error(error: OSError) -> Failure:
    """Missing files and rights are input, everything else of the operating system a fault."""
    wrong = isinstance(
        error, FileNotFoundError | FileExistsError | IsADirectoryError | NotADirectoryError
    ) or (isinstance(error, PermissionError) and error.errno in (errno.EACCES, errno.EPERM))
    place = f" {error.filename!r}" if error.filename is not None else ""
    reason = error.strerror or _one_line(str(error)) or type(error).__name__
    return Failure(f"{reason}:{place}" if place else reason, WRONG_INPUT if wrong else FAULT)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the host or on the device; torch is not imported for it."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _one_line(text: str) -> str:
    return " ".join(text.split())
