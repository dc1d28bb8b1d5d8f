"""Run a package in another program: a job as a file, a report as a file, one process."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from careamics_denoisplit.errors import FaultError

TIME_LIMIT = 3600.0
"""Seconds after which a process is stopped."""

_FLOAT = np.dtype("<f4")


@dataclass(frozen=True)
class Run:
    """One image that a program shall predict.

    Attributes
    ----------
    name : str
        What it is called in messages and file names.
    image : numpy.ndarray of shape (Y, X)
        Raw gray values.
    tiles : str
        Whose tiling: "whole", "fiji", "qupath", "ilastik" or "core".
    side, halo : int
        Side of the tiles and pixels that are cut from each side of them.
    """

    name: str
    image: Float[np.ndarray, "y x"]
    tiles: str
    side: int
    halo: int


class Cost(NamedTuple):
    """What a run took; None where the program does not tell."""

    seconds: float | None = None
    """Time of the whole run."""
    peak_bytes: int | None = None
    """Most memory that the process had held by its end."""


@dataclass(frozen=True)
class Answer:
    """What a program reported.

    Attributes
    ----------
    versions : mapping of str to str
        Versions that it found itself to have.
    outputs : mapping of str to numpy.ndarray of shape (C, Y, X)
        Results by the name of the run.
    tiles : mapping of str to int
        Number of tiles by the name of the run.
    problems : tuple of str
        What its own tests of the package found wrong.
    costs : mapping of str to Cost
        Time and memory by the name of the run.
    refused : tuple of str
        Why it could not read the package; then nothing was predicted.
    """

    versions: Mapping[str, str]
    outputs: Mapping[str, Float[np.ndarray, "_ _ _"]] = field(default_factory=dict)
    tiles: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    costs: Mapping[str, Cost] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


def ask(
    command: Sequence[str],
    folder: Path,
    job: Mapping[str, Any],
    runs: Sequence[Run],
    environment: Mapping[str, str] | None = None,
    time_limit: float = TIME_LIMIT,
) -> Answer:
    """Give a job to a program and read its answer.

    Parameters
    ----------
    command : sequence of str
        Program and its arguments; the path of the job is added.
    folder : pathlib.Path
        Empty folder for the files of the job.
    job : mapping
        What the program shall do, in JSON types; `runs` and `report` are added.
    runs : sequence of Run
        Images to predict.
    environment : mapping of str to str, optional
        Variables beside those that every program needs.
    time_limit : float
        Seconds that it may take.

    Returns
    -------
    Answer
        Its versions and results.

    Raises
    ------
    FaultError
        If the program is missing, fails, takes too long, or answers nonsense.
    """
    report = folder / "report.json"
    listed = []
    for number, run in enumerate(runs):
        source, target = folder / f"input{number}.f32", folder / f"output{number}.f32"
        np.ascontiguousarray(run.image, _FLOAT).tofile(source)
        height, width = run.image.shape
        listed.append(
            {
                "input": str(source),
                "output": str(target),
                "height": height,
                "width": width,
                "tiles": run.tiles,
                "side": run.side,
                "halo": run.halo,
            }
        )
    path = folder / "job.json"
    path.write_text(json.dumps({**job, "report": str(report), "runs": listed}), encoding="utf-8")
    _run([*command, str(path)], folder, {**_surroundings(), **(environment or {})}, time_limit)
    return _read(report, runs, [Path(each["output"]) for each in listed])


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], time_limit: float
) -> None:
    try:
        finished = subprocess.run(  # noqa: S603 - programs that we built
            command,
            cwd=folder,
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=time_limit,
        )
    except FileNotFoundError as error:
        raise FaultError(f"{command[0]} was not found.") from error
    except subprocess.TimeoutExpired as error:
        raise FaultError(f"it took more than {time_limit:.0f} s.") from error
    if finished.returncode != 0:
        raise FaultError(f"it failed: {_last_words(finished.stderr or finished.stdout)}")


def _last_words(text: str) -> str:
    """Return the line that names the error: Java tells it first, Python last."""
    lines = [line.strip() for line in text.strip().splitlines()] or ["no message"]
    for line in lines:
        if line.startswith(("Exception in thread", "Caused by")):
            return line[:400]
    return lines[-1][:400]


def _surroundings() -> dict[str, str]:
    """Variables that programs need to start; nothing of the user's that changes results."""
    kept = ("PATH", "HOME", "JAVA_HOME", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG")
    threads = os.environ.get("OMP_NUM_THREADS")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        **({"OMP_NUM_THREADS": threads} if threads else {}),
        # No device of this machine plays a part, and threads that wait sleep.
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _read(report: Path, runs: Sequence[Run], paths: Sequence[Path]) -> Answer:
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        refused = tuple(str(each) for each in content.get("refused", ()))
        if refused:
            runs, paths = (), ()
        finished = content["runs"]
        outputs = {
            run.name: _array(path, int(each["channels"]), run.image.shape)
            for run, path, each in zip(runs, paths, finished, strict=True)
        }
        tiles = {run.name: int(each["tiles"]) for run, each in zip(runs, finished, strict=True)}
        costs = {run.name: _cost(each) for run, each in zip(runs, finished, strict=True)}
        versions = {str(key): str(value) for key, value in content["versions"].items()}
        problems = tuple(str(each) for each in content.get("problems", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FaultError(f"its answer cannot be read: {error}") from error
    return Answer(versions, outputs, tiles, problems, costs, refused)


def _cost(told: Mapping[str, Any]) -> Cost:
    seconds, peak = told.get("seconds"), told.get("peak_bytes")
    return Cost(None if seconds is None else float(seconds), None if peak is None else int(peak))


def _array(path: Path, channels: int, shape: tuple[int, ...]) -> Float[np.ndarray, "_ _ _"]:
    values = np.fromfile(path, _FLOAT)
    return values.reshape(channels, *shape).astype(np.float32, copy=False)
