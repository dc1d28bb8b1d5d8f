"""What is in the wheel, and what the project says about itself."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("careamics_denoisplit", "careamics_denoisplit_export")


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without network."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=repository,
        check=True,
        capture_output=True,
    )
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_holds_every_source_file(wheel: zipfile.ZipFile, repository: Path) -> None:
    sources = {
        path.relative_to(root).as_posix()
        for root in (repository, repository / "export")
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert sources <= set(wheel.namelist())


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_says_that_it_is_typed(wheel: zipfile.ZipFile, package: str) -> None:
    assert f"{package}/py.typed" in wheel.namelist()


def test_the_wheel_installs_the_program_and_its_license(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    (points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))

    assert "denoisplit = careamics_denoisplit.cli:main" in wheel.read(points).decode()
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_metadata_pins_the_validator_of_packages(repository: Path) -> None:
    """These three versions agree; others call every package invalid."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]

    assert {
        "bioimageio.core==0.11.0",
        "bioimageio.spec==0.5.12.0",
        "careamics>=0.3.5,<0.4",
    } <= set(project["dependencies"])
    assert any(
        requirement.startswith("pydantic") and "<2.14" in requirement
        for requirement in project["dependencies"]
    )


def test_version_and_changelog_agree(repository: Path) -> None:
    version = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    changelog = (repository / "CHANGELOG.md").read_text()
    citation = (repository / "CITATION.cff").read_text()

    assert f"## {version}" in changelog
    assert f"version: {version}" in citation
