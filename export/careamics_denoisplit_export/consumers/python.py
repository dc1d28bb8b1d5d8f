"""Python programs that read packages: bioimageio.core and its validator in other versions."""

import os
import platform
import shutil
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from careamics_denoisplit.errors import FaultError
from careamics_denoisplit.tile_plans import Tool
from careamics_denoisplit_export.consumers import driver
from careamics_denoisplit_export.consumers.folders import (
    Say,
    building,
    is_complete,
    place_of,
    run_build_step,
)
from careamics_denoisplit_export.consumers.processes import Answer, Run, ask

_SHARED = (
    "torch",
    "torchgen",
    "functorch",
    "torch-*.dist-info",
    "sympy",
    "mpmath",
    "networkx",
    "jinja2",
    "markupsafe",
    "filelock",
    "fsspec",
    "nvidia",
    "triton",
    "cuda",
)
"""What torch consists of and needs: linked from our environment instead of installed anew."""


@dataclass(frozen=True)
class Options:
    """What the tests of a package may do.

    Attributes
    ----------
    formats : tuple of str
        Weight formats that may be run; source code of strangers is not among them.
    """

    formats: tuple[str, ...] = ("torchscript",)


@dataclass(frozen=True)
class PythonConsumer:
    """One set of versions of bioimageio, in an environment and a process of its own.

    Attributes
    ----------
    name : str
        What the tool is.
    requirements : tuple of str
        What pip installs; empty for the environment that we run in.
    task : {"reader", "core", "ilastik"}
        What `driver` does in it.
    tools : tuple of str
        Whose tiles it runs.
    determinism : str
        Passed on to the test of bioimageio.core, if not empty.
    """

    name: str
    requirements: tuple[str, ...]
    task: Literal["reader", "core", "ilastik"]
    tools: tuple[Tool, ...] = ()
    determinism: str = ""

    @property
    def engine(self) -> str:
        """The engine with its versions."""
        wanted = self.requirements or tuple(
            f"{name}=={version(name)}" for name in ("bioimageio.core", "bioimageio.spec")
        )
        exact = [each.replace("==", " ") for each in wanted if "==" in each]
        return ", ".join([*exact, *(f"torch {version('torch')}" for _ in self.tools[:1])])

    @property
    def place(self) -> Path:
        """Folder of the environment."""
        return place_of(self.name, self._recipe())

    def is_built(self) -> bool:
        """Whether the environment is there."""
        return not self.requirements or is_complete(self.place)

    def build(self, say: Say) -> None:
        """Install the environment; torch is that of ours.

        Parameters
        ----------
        say : callable
            Shows a line of progress.

        Raises
        ------
        FaultError
            If pip fails.
        StorageError
            If the folder cannot be written.
        """
        if self.is_built():
            return
        say(f"{self.name}: installing {', '.join(self.requirements)} ...")
        with building(self.place, self._recipe()) as folder:
            venv.create(folder, symlinks=os.name != "nt", with_pip=False)
            run_build_step(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "--python",
                    str(_interpreter(folder)),
                    "install",
                    "--quiet",
                    *self.requirements,
                ],
                folder,
            )
            if self.tools:
                _share_torch(folder)

    def run(self, package: Path, weights: Path, runs: Sequence[Run], options: Options) -> Answer:
        """Test the package and predict images with it.

        Parameters
        ----------
        package : pathlib.Path
            The zip.
        weights : pathlib.Path
            The TorchScript; this consumer reads it from the zip.
        runs : sequence of Run
            Images and tiles; a reader predicts none.
        options : Options
            What may be run.

        Raises
        ------
        FaultError
            If the program fails.
        """
        del weights
        formats = options.formats if self.determinism else options.formats[:1]
        job = {
            "task": self.task,
            "package": str(package),
            "formats": list(formats),
            "determinism": self.determinism,
        }
        interpreter = _interpreter(self.place) if self.requirements else Path(sys.executable)
        return ask_python(interpreter, job, runs)

    def _recipe(self) -> dict[str, Any]:
        recipe: dict[str, Any] = {
            "requirements": list(self.requirements),
            "python": platform.python_version(),
        }
        if self.tools:
            recipe["torch"] = version("torch")
            recipe["shared"] = str(_packages_beside_torch())
        return recipe


def ask_python(interpreter: Path, job: dict[str, Any], runs: Sequence[Run]) -> Answer:
    """Let the driver do a job in some environment.

    Parameters
    ----------
    interpreter : pathlib.Path
        Python of the environment.
    job : dict
        As `driver` takes it.
    runs : sequence of Run
        Images to predict.

    Raises
    ------
    FaultError
        If the process fails.
    """
    # -I keeps the user's own modules and variables out.
    command = [str(interpreter), "-I", str(Path(driver.__file__))]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {"BIOIMAGEIO_CACHE_PATH": str(Path(folder) / "cache")}
        return ask(command, Path(folder), job, runs, environment)


def _interpreter(environment: Path) -> Path:
    if os.name == "nt":
        return environment / "Scripts" / "python.exe"
    return environment / "bin" / "python"


def _packages_beside_torch() -> Path:
    """Return our own site-packages."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:  # without torch nothing of ours could run
        raise FaultError("torch is not installed beside careamics-denoisplit. Install it again.")
    return Path(spec.origin).parents[1]


def _share_torch(environment: Path) -> None:
    """Link our torch into an environment, and nothing else of ours."""
    ours = _packages_beside_torch()
    shared = environment / "shared"
    shared.mkdir()
    for pattern in _SHARED:
        for source in ours.glob(pattern):
            target = shared / source.name
            try:
                target.symlink_to(source, target_is_directory=source.is_dir())
            except OSError:  # Windows lets only developers make links
                shutil.copytree(source, target)
    (packages,) = environment.rglob("site-packages")
    line = os.path.relpath(shared, packages)
    (packages / "shared_torch.pth").write_text(f"{line}\n", encoding="utf-8")


ILASTIK = PythonConsumer(
    "ilastik",
    ("bioimageio.core==0.10.2", "bioimageio.spec==0.5.9.1", "pydantic<2.12"),
    "ilastik",
    ("ilastik",),
)
"""tiktorch 26.5.0's reader and runner, with the blocks of ilastik."""

ZOO = PythonConsumer("zoo", (), "core", ("core",), determinism="full")
"""What the model zoo runs today; its versions are those that this package itself requires."""

BIOENGINE = PythonConsumer(
    "bioengine",
    ("bioimageio.core==0.10.4", "bioimageio.spec==0.5.10.2", "pydantic<2.12", "numpy==1.26.4"),
    "core",
    ("core",),
)
"""The shared runtime of the zoo's test button and demo."""

OLD_READER = PythonConsumer(
    "reader-0.5.7.4", ("bioimageio.spec==0.5.7.4", "pydantic<2.12"), "reader"
)
"""The oldest validator in use."""

NEW_READER = PythonConsumer("reader-0.5.14.3", ("bioimageio.spec==0.5.14.3",), "reader")
"""The newest format rules."""
