"""The program as a whole: help, exit codes, one line for each error, JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from careamics_denoisplit.cli import failures
from careamics_denoisplit.cli.app import app, run
from careamics_denoisplit.errors import (
    CheckFailedError,
    DataError,
    DenoiSplitError,
    NonFiniteError,
    StoppedError,
    StorageError,
)

COMMANDS = (
    ["demo"],
    ["data", "check"],
    ["config"],
    ["noise-model", "fit"],
    ["noise-model", "show"],
    ["train"],
    ["predict"],
    ["calibrate"],
    ["distil"],
    ["trials"],
    ["models"],
    ["evaluate"],
    ["report"],
    ["export"],
    ["check"],
    ["upload"],
    ["info"],
    ["cite"],
)


def start(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]  # options of any kind
        [sys.executable, "-m", "careamics_denoisplit", *arguments],
        capture_output=True,
        text=True,
        **options,
    )


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\n"
        "from careamics_denoisplit.cli.app import run\n"
        "run(['--help'])\n"
        "heavy = {'torch', 'careamics', 'lightning', 'xarray', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "noise-model" in done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--help"]) == 0
    assert "Usage: denoisplit" in capsys.readouterr().out


def test_the_table_of_commands_is_complete() -> None:
    groups = {
        name: {n for n in app[name] if not n.startswith("-")} for name in ("data", "noise-model")
    }
    names = {
        " ".join([name, *([inner] if inner else [])])
        for name in app
        if not name.startswith("-")
        for inner in groups.get(name, {""})
    }

    assert names == {" ".join(command) for command in COMMANDS}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["trian"], "Unknown command 'trian'. Did you mean 'train'?"),
        (["noise-modle", "fit"], "Did you mean 'noise-model'?"),
        (["noise-model", "fti"], "Did you mean 'fit'?"),
        (["config", "--chanel-names", "er,actin"], "Did you mean --channel-names"),
        (["config", "--channel-names", "er,actin", "--preset", "labtop"], 'Did you mean "laptop"?'),
        (["config", "--channel-names", "er,actin", "--epochs", "many"], "--epochs"),
        (["predict", "run", "x.tif", "--out", "o", "--sampels", "4"], "Did you mean --samples?"),
        (["evaluate", "run", "--thruth", "er=a"], "Did you mean --truth?"),
        (["predict"], "requires an argument"),
        (["xyz"], "Commands:"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistyped_word_is_answered_in_one_line_with_the_nearest_name(
    typed: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(typed) == 2

    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DataError("bad\n  image"), 2, "bad image"),
        (CheckFailedError("rule 7"), 1, "rule 7"),
        (StorageError("disk full"), 3, "disk full"),
        (NonFiniteError("loss at step 3"), 3, "step 3"),
        (StoppedError("stopped"), 130, "stopped"),
        (KeyboardInterrupt(), 130, "Ctrl-C"),
        (FileNotFoundError(2, "No such file", "a.tif"), 2, "'a.tif'"),
        (PermissionError(13, "Permission denied", "/x"), 2, "Permission denied"),
        (OSError(28, "No space left on device"), 3, "No space left"),
        (MemoryError(), 3, "Out of memory"),
        (OutOfMemoryError("CUDA"), 3, "Out of memory: CUDA"),
        (ZeroDivisionError("division"), 3, "Internal error, ZeroDivisionError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_has_its_exit_code_and_one_line(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failures.show(error, debug=False) == code

    shown = capsys.readouterr().err
    assert words in shown
    assert shown.count("\n") == 1
    assert "Traceback" not in shown


def test_every_named_error_has_one_of_the_promised_exit_codes() -> None:
    def kinds(kind: type[DenoiSplitError]) -> set[type[DenoiSplitError]]:
        return {kind} | {other for child in kind.__subclasses__() for other in kinds(child)}

    assert {kind.exit_code for kind in kinds(DenoiSplitError)} <= {1, 2, 3, 130}


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["noise-model", "show", "missing.npz", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_config_writes_a_file_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "config.yaml"

    assert run(["config", "--channel-names", "er,F-actin", "--out", str(out), "--seed", "3"]) == 0

    assert str(out) in capsys.readouterr().out
    assert "F_actin" in out.read_text()
    assert "seed: 3" in out.read_text()


def test_nothing_is_overwritten_without_being_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "config.yaml"
    out.write_text("mine")
    arguments = ["config", "--channel-names", "er,actin", "--out", str(out)]

    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert run([*arguments, "--overwrite"]) == 0
    assert out.read_text() != "mine"


def test_json_goes_to_a_file_or_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "cite.json"

    assert run(["cite", "--json", str(target)]) == 0
    capsys.readouterr()
    assert run(["cite", "--json", "-"]) == 0

    printed = json.loads(capsys.readouterr().out)
    stored = json.loads(target.read_text())
    assert stored["bibtex"] == printed["bibtex"]
    assert {"version", "command", "seed", "seconds"} <= set(stored)


def test_an_existing_json_file_is_refused_before_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "cite.json"
    target.write_text("mine")

    assert run(["cite", "--json", str(target)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert target.read_text() == "mine"


def test_quiet_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c.yaml"

    assert run(["config", "--channel-names", "er,actin", "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_info_names_versions_and_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--json", "-"]) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["packages"]["careamics"].startswith("0.3")
    assert "cpu" in shown["devices"]


def test_citing_names_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cite"]) == 0
    assert "Jug" in capsys.readouterr().out


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "tr_TR.UTF-8"},
        {"TERM": "dumb", "COLUMNS": "20"},
    ],
    ids=["locale-c", "locale-tr", "narrow-terminal"],
)
def test_i2_unusual_environments_do_not_matter(environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "ä cite.json"

    done = start("cite", "--json", str(out), env={**os.environ, **environment})

    assert done.returncode == 0, done.stderr
    assert out.is_file()


def test_i2_an_unwritable_home_does_not_matter(tmp_path: Path) -> None:
    out = tmp_path / "config.yaml"

    done = start(
        *("config", "--channel-names", "er,F-actin", "--out", str(out)),
        env={**os.environ, "HOME": "/nonexistent", "LC_ALL": "C"},
    )

    assert done.returncode == 0, done.stderr
    assert out.is_file()


@pytest.mark.skipif(os.name == "nt", reason="descriptors are closed by the shell")
def test_i2_a_closed_standard_output_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "cite.json"
    command = f'"{sys.executable}" -m careamics_denoisplit cite --json "{out}"'

    closed = subprocess.run(["sh", "-c", f"{command} >&- 2>&-"])
    broken = subprocess.run(["sh", "-c", f"{command} --overwrite | true"])

    assert closed.returncode == 0
    assert broken.returncode == 0
    assert out.is_file()


@pytest.mark.skipif(os.name == "nt", reason="umask is a matter of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_i2_files_follow_the_umask(umask: int, tmp_path: Path) -> None:
    out = tmp_path / "config.yaml"
    before = os.umask(umask)
    try:
        assert run(["config", "--channel-names", "a,b", "--out", str(out)]) == 0
    finally:
        os.umask(before)

    assert out.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_sigterm_ends_the_program_with_143() -> None:
    code = (
        "import sys, time\n"
        "import careamics_denoisplit.cli.app\n"
        "module = sys.modules['careamics_denoisplit.cli.app']\n"
        "def wait(_):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "module.app = wait\n"
        "module.main([])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert process.returncode == 143
