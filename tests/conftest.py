"""Fixtures shared by the tests: real images beside the repository, small inputs."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

# Test processes share the cores: threads of theirs would wait for each other. Read by torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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
