"""The program: its commands, its exit codes, its behaviour on signals and closed streams."""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from cyclopts import App, Group

from careamics_denoisplit.cli import failures
from careamics_denoisplit.cli.about import cite, info
from careamics_denoisplit.cli.config import config
from careamics_denoisplit.cli.data import check as check_data
from careamics_denoisplit.cli.demo import demo
from careamics_denoisplit.cli.distil import distil
from careamics_denoisplit.cli.job import package_version
from careamics_denoisplit.cli.noise_model import fit, show
from careamics_denoisplit.cli.predict import predict
from careamics_denoisplit.cli.report import report
from careamics_denoisplit.cli.scores import calibrate, evaluate
from careamics_denoisplit.cli.train import train
from careamics_denoisplit.cli.trials import trials

TERMINATED = 143

START = Group.create_ordered("First steps")
WORK = Group.create_ordered("From images to a package")
DEVELOPERS = Group.create_ordered("For developers")
ABOUT = Group.create_ordered("About")
DEVELOPERS = Group.create_ordered("For developers")

app = App(
    name="denoisplit",
    help="Split superimposed fluorescence channels and denoise them, with calibrated uncertainty.",
    help_epilogue="Every command explains itself: denoisplit COMMAND --help. "
    "No command but upload and check --build-consumers uses the network.",
    version=package_version,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    print_error=False,
    exit_on_error=False,
)

# The exporter depends on the method, never the reverse: its commands are named, not imported.
_EXPORTER = "careamics_denoisplit_export.cli"

app.command(demo, group=START)
app.command(data := App(name="data", help="Look at images before an hour is spent.", group=START))
data.command(check_data, name="check")
app.command(config, group=START)
app.command(noise := App(name="noise-model", help="Fit and show noise models.", group=WORK))
noise.command(fit)
noise.command(show)
app.command(train, group=WORK)
app.command(predict, group=WORK)
app.command(calibrate, group=WORK)
app.command(evaluate, group=WORK)
app.command(distil, group=WORK)
app.command(report, group=WORK)
app.command(
    f"{_EXPORTER}:export",
    name="export",
    help="Write one bioimage.io package from a run.",
    group=WORK,
)
app.command(
    f"{_EXPORTER}:check",
    name="check",
    help="Check a package against the rules of its consumers.",
    group=WORK,
)
app.command(
    f"{_EXPORTER}:upload",
    name="upload",
    help="Carry a package into the BioImage Model Zoo, always as a draft. It is checked first; the "
    "same command goes on with the same draft. The token is read from the environment variable "
    "HYPHA_TOKEN; bioimage.io/#/api gives one.",
    group=WORK,
)
app.command(trials, group=DEVELOPERS)
app.command(info, group=ABOUT)
app.command(cite, group=ABOUT)
app.command(
    f"{_EXPORTER}:models",
    name="models",
    help="Make the published demonstration models and their model cards, in a clone.",
    group=DEVELOPERS,
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and leave with its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; those of the process by default.
    """
    _keep_streams_usable()
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _terminate)
    code = run(sys.argv[1:] if arguments is None else arguments)
    _flush()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the program inside this process.

    Parameters
    ----------
    arguments : sequence of str
        Words after the program's name.

    Returns
    -------
    int
        Exit code: 0 done, 1 a check failed, 2 wrong input, 3 a fault, 130 Ctrl-C, 143 SIGTERM.
    """
    try:
        app(list(arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place where errors end
        command = arguments[0] if arguments else ""
        return failures.show(error, debug="--debug" in arguments, command=command)
    return 0


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leave on SIGTERM as on an error, so that everything open is closed and cleaned up."""
    raise SystemExit(TERMINATED)


def _keep_streams_usable() -> None:
    """Survive closed streams and characters that the terminal's encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - kept open as the stream
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Flush while a broken pipe can still be ignored."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
