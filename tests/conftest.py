"""Fixtures shared by the tests: real images beside the repository, small inputs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

# Test processes share the cores: threads of theirs would wait for each other. Torch reads it when
# it is imported.
os.environ["OMP_NUM_THREADS"] = "1"

REPOSITORY = Path(__file__).parents[1]
REQUIRED = frozenset(filter(None, os.environ.get("DENOISPLIT_REQUIRE", "").split(",")))
"""What must be present; a test that needs something else that is absent is skipped."""


def skip_or_fail(environment: str, reason: str) -> None:
    """Skip a test whose environment is absent, or fail it where that was required."""
    if environment in REQUIRED:
        pytest.fail(f"{reason} (required by DENOISPLIT_REQUIRE={environment})")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root folder of the project."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images: DENOISPLIT_SHARED_DATA, or ../shared/data beside the repository."""
    given = os.environ.get("DENOISPLIT_SHARED_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not (folder / "nf1_er_actin").is_dir():
        skip_or_fail("shared", f"no real images in {folder}: set DENOISPLIT_SHARED_DATA")
    return folder


@pytest.fixture
def random() -> np.random.Generator:
    """Generator with a fixed seed, new for each test."""
    return np.random.default_rng(20240721)


@pytest.fixture(scope="session")
def zoo_environment() -> Path:
    """Python of the environment that holds the zoo's server: .zoo, or DENOISPLIT_ZOO."""
    folder = Path(os.environ.get("DENOISPLIT_ZOO", REPOSITORY / ".zoo"))
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.is_file():
        skip_or_fail("zoo", f"no rehearsal server in {folder}: run `make zoo`")
    return python


@pytest.fixture(scope="session")
def script_jars() -> Path:
    """Folder with the jars of ImageJ and Groovy: .scripts, or DENOISPLIT_SCRIPTS."""
    folder = Path(os.environ.get("DENOISPLIT_SCRIPTS", REPOSITORY / ".scripts"))
    if not list(folder.glob("ij-*.jar")) or not list(folder.glob("groovy-*.jar")):
        skip_or_fail("consumers", f"no ImageJ and Groovy in {folder}: run `make consumers`")
    if shutil.which("java") is None:
        skip_or_fail("consumers", "no java: install Java 11 or newer")
    return folder


@pytest.fixture(scope="session")
def make_statistics() -> Callable[..., Any]:
    """Statistics of the channels er and actin, of one brightness where nothing else is said."""
    from careamics_denoisplit.data import Statistics

    def make(mean: float, std: float, **changes: Any) -> Statistics:
        values: dict[str, Any] = {
            "input_mean": mean,
            "input_std": std,
            "target_means": (mean, mean),
            "target_stds": (std, std),
            "channel_names": ("er", "actin"),
            "mixing": "mean",
            "input_percentiles": {"50": mean},
            "n_pixels": 4096,
        }
        return Statistics(**values | changes)

    return make


@pytest.fixture(scope="session")
def shorten() -> Callable[[Path, int], None]:
    """Edit a configuration file as a user may, so that training takes seconds."""

    def edit(config: Path, patches: int) -> None:
        values = yaml.safe_load(config.read_text())
        network = values["algorithm_config"]["model"]
        network["latent_channels"], network["filters"] = [4, 4], 4
        values["data_config"]["patching"]["patch_size"] = [64, 64]
        values["data_config"]["patches_per_epoch"] = patches
        values["training_config"]["trainer_params"]["max_epochs"] = 1
        config.write_text(yaml.safe_dump(values))

    return edit
