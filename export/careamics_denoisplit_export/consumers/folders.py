"""Where the built environments of other tools are kept, so that each is built once."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from careamics_denoisplit.errors import FaultError, StorageError
from careamics_denoisplit.files import write_whole

FOLDER_VARIABLE = "DENOISPLIT_CONSUMERS"
"""Environment variable that names another folder for the built environments."""

BUILD_COMMAND = "denoisplit check --build-consumers"
"""What builds whatever is missing; `make consumers` does the same."""

Say = Callable[[str], None]
"""Shows a line of progress."""

_RECIPE = "recipe.json"


def consumers_folder() -> Path:
    """Return the folder of all built environments; it need not exist."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).absolute()
    return Path(platformdirs.user_cache_dir("careamics-denoisplit", appauthor=False)) / "consumers"


def place_of(name: str, recipe: Mapping[str, Any]) -> Path:
    """Return the folder of one environment; another recipe gets another folder.

    Parameters
    ----------
    name : str
        What it is, with versions; the folder begins with it.
    recipe : mapping
        All that decides about its content, in JSON types.
    """
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return consumers_folder() / f"{name}-{digest[:10]}"


def is_complete(place: Path) -> bool:
    """Whether an environment was built to its end."""
    return (place / _RECIPE).is_file()


@contextmanager
def building(place: Path, recipe: Mapping[str, Any]) -> Iterator[Path]:
    """Give an empty folder that becomes the environment when the block ends without error.

    Parameters
    ----------
    place : pathlib.Path
        Where the environment shall be.
    recipe : mapping
        What it was made of; written into it last, as the sign that it is complete.

    Yields
    ------
    pathlib.Path
        A folder beside `place`; removed if the block fails.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    temporary = place.with_name(f"{place.name}.building-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        write_whole(temporary / _RECIPE, json.dumps(recipe, indent=2).encode())
        if not is_complete(place):  # somebody else may have been faster
            shutil.rmtree(place, ignore_errors=True)
            temporary.rename(place)
    except OSError as error:
        raise StorageError(
            f"Cannot build into {place}: {error.strerror or error}. Make room, or name another "
            f"folder in {FOLDER_VARIABLE}."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def run_build_step(command: Sequence[str], folder: Path) -> None:
    """Run one command of a build.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    folder : pathlib.Path
        Where it runs.

    Raises
    ------
    FaultError
        If the program is missing or fails; the message ends with its last words.
    """
    try:
        finished = subprocess.run(  # noqa: S603 - fixed programs with arguments of ours
            command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise FaultError(
            f"{command[0]} was not found. Install it, then run: {BUILD_COMMAND}"
        ) from error
    if finished.returncode != 0:
        lines = (finished.stdout + finished.stderr).strip().splitlines()
        told = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
        raise FaultError(f"`{' '.join(command[:4])} ...` failed: {told[0][:400]}")
