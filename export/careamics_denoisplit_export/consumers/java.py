"""The Java engines of Fiji and QuPath: DJL with the libtorch that each of them uses."""

import platform
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from careamics_denoisplit.errors import FaultError
from careamics_denoisplit.tile_plans import Tool
from careamics_denoisplit_export.consumers.folders import (
    BUILD_COMMAND,
    Say,
    building,
    is_complete,
    place_of,
    run_build_step,
)
from careamics_denoisplit_export.consumers.processes import Answer, Run, ask

_SOURCES = ("Runner.java", "pom.xml")
_PLATFORMS = {
    ("Linux", "x86_64"): "linux-x86_64",
    ("Darwin", "x86_64"): "osx-x86_64",
    ("Darwin", "arm64"): "osx-aarch64",
    ("Windows", "AMD64"): "win-x86_64",
}
_MEMORY = "-Xmx3g"


@dataclass(frozen=True)
class JavaConsumer:
    """One release of DJL with one release of libtorch, in a Java process of its own.

    Attributes
    ----------
    name : str
        What the tool is.
    djl, libtorch : str
        Releases on Maven Central.
    tools : tuple of str
        Whose tiles it runs.
    """

    name: str
    djl: str
    libtorch: str
    tools: tuple[Tool, ...]

    @property
    def engine(self) -> str:
        """The engine with its versions."""
        return f"DJL {self.djl}, libtorch {self.libtorch}"

    @property
    def place(self) -> Path:
        """Folder of the built runner."""
        return place_of(f"{self.name}-djl{self.djl}-libtorch{self.libtorch}", self._recipe())

    def is_built(self) -> bool:
        """Whether the runner is there."""
        return is_complete(self.place)

    def build(self, say: Say) -> None:
        """Fetch the jars from Maven Central, compile the runner, and start it once.

        Parameters
        ----------
        say : callable
            Shows a line of progress.

        Raises
        ------
        FaultError
            If there is no Java or Maven, no libtorch for this system, or a step fails.
        StorageError
            If the folder cannot be written.
        """
        if self.is_built():
            return
        say(f"{self.name}: building the runner with {self.engine} (about 130 MB) ...")
        recipe = self._recipe()
        if not recipe["platform"]:
            raise FaultError(
                f"{self.name}: Maven Central has no libtorch {self.libtorch} for "
                f"{platform.system()} on {platform.machine()}."
            )
        with building(self.place, recipe) as folder:
            for name in _SOURCES:
                (folder / name).write_text(recipe["sources"][name], encoding="utf-8")
            run_build_step(
                [
                    shutil.which("mvn") or "mvn",
                    "--batch-mode",
                    "--quiet",
                    f"-Ddjl={self.djl}",
                    f"-Dlibtorch={self.libtorch}",
                    f"-Dplatform={recipe['platform']}",
                    "package",
                ],
                folder,
            )
            jars = folder / "jars"
            (folder / "target" / "jars").rename(jars)
            (folder / "target" / "runner.jar").rename(jars / "runner.jar")
            shutil.rmtree(folder / "target")
            # The first start unpacks the native libraries.
            self._ask(folder, {}, ())

    def run(self, package: Path, weights: Path, runs: Sequence[Run], options: Any) -> Answer:
        """Predict images with the packaged TorchScript.

        Parameters
        ----------
        package : pathlib.Path
            The zip; this consumer does not read it.
        weights : pathlib.Path
            The TorchScript.
        runs : sequence of Run
            Images and tiles.
        options : object
            Nothing that this consumer knows.

        Raises
        ------
        FaultError
            If the engine refuses the network.
        """
        del package, options
        return self._ask(self.place, {"model": str(weights)}, runs)

    def _ask(self, place: Path, job: dict[str, str], runs: Sequence[Run]) -> Answer:
        java = shutil.which("java")
        if java is None:
            raise FaultError(f"java was not found. Install Java 11 or newer, then: {BUILD_COMMAND}")
        command = [java, _MEMORY, "-Dai.djl.offline=true", "-cp", str(place / "jars" / "*")]
        environment = {"OPT_OUT_TRACKING": "true", "DJL_CACHE_DIR": str(place / "native")}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return ask([*command, "Runner"], Path(folder), job, runs, environment)

    def _recipe(self) -> dict[str, Any]:
        templates = files("careamics_denoisplit_export") / "templates" / "runner"
        return {
            "djl": self.djl,
            "libtorch": self.libtorch,
            "platform": _PLATFORMS.get((platform.system(), platform.machine()), ""),
            "sources": {name: (templates / name).read_text("utf-8") for name in _SOURCES},
        }


FIJI = JavaConsumer("fiji", "0.22.1", "2.0.0", ("fiji",))
"""DeepImageJ with JDLL 0.6.1."""

QUPATH_06 = JavaConsumer("qupath-0.6", "0.32.0", "2.5.1", ("qupath-script",))
"""QuPath 0.6, and the libtorch of BioEngine; its own DJL 0.33.0 has no runner for 2.5.1."""

QUPATH_07 = JavaConsumer("qupath-0.7", "0.35.1", "2.7.1", ("qupath",))
"""QuPath 0.7; its own DJL 0.36.0 has no runner for 2.7.1."""
