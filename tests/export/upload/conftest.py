"""A zoo in memory that answers as the real one was measured to, and the real one, here."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from careamics_denoisplit_export.package import zip_bytes
from careamics_denoisplit_export.rdf import to_yaml
from careamics_denoisplit_export.upload import Contents, open_contents

HERE = Path(__file__).parent

CARD = """# Tiny

## Validation

On three fields of another dish: 30 dB.
"""
DESCRIPTION: dict[str, Any] = {
    "format_version": "0.5.9",
    "type": "model",
    "id": "tiny",
    "name": "Tiny model",
    "description": "Splits er and actin.",
    "authors": [{"name": "Ada Example"}],
    "maintainers": [{"github_user": "ada-example"}],
    "documentation": "README.md",
    "weights": {"torchscript": {"source": "weights.pt"}},
    "scale": 0.5,
}


def load(name: str) -> ModuleType:
    """Import a file of this folder, once."""
    full = f"upload_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


def build_package(path: Path, changes: dict[str, bytes] | None = None, **rdf: Any) -> Contents:
    """Write and open a package of three small files."""
    files = {
        "rdf.yaml": to_yaml({**DESCRIPTION, **rdf}),
        "README.md": CARD.encode(),
        "weights.pt": bytes(range(256)) * 2000,
    }
    path.write_bytes(zip_bytes({**files, **(changes or {})}))
    return open_contents(path)


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    return build_package(tmp_path / "tiny.zip")


@pytest.fixture
def make_package(tmp_path: Path) -> Callable[..., Contents]:
    def build(changes: dict[str, bytes] | None = None, **rdf: Any) -> Contents:
        return build_package(tmp_path / "tiny.zip", changes, **rdf)

    return build


@pytest.fixture
def zoo() -> Any:
    """An empty zoo in memory."""
    return load("zoo_in_memory").Zoo()


@pytest.fixture
def served(zoo: Any) -> Iterator[Any]:
    """The same behind an address of this machine."""
    with load("zoo_in_memory").serving(zoo):
        yield zoo


@pytest.fixture(scope="session")
def rehearsal(zoo_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The zoo's own server software on this machine, with a collection and an uploader."""
    with load("rehearsal").rehearsing(zoo_environment, tmp_path_factory.mktemp("zoo")) as server:
        yield server
