"""What both packages import is declared, so that nothing works only because another brings it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
OURS = ("careamics_denoisplit", "careamics_denoisplit_export")
ROOTS = (REPOSITORY / OURS[0], REPOSITORY / "export" / OURS[1])
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def plain(requirement: str) -> str:
    """Name of a distribution as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;@]", requirement, maxsplit=1)[0].lower())


REQUIRED = {plain(entry) for entry in PROJECT["dependencies"]}
EXTRAS = {plain(entry) for group in PROJECT["optional-dependencies"].values() for entry in group}


def imports(lazy: bool) -> Iterator[str]:
    """First names of all imports from outside; lazy ones stand inside functions."""
    for path in (file for root in ROOTS for file in root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        inner = {id(node) for function in functions for node in ast.walk(function)}
        for node in ast.walk(tree):
            if (id(node) in inner) is not lazy:
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.split(".")[0]


@pytest.mark.parametrize(
    ("lazy", "declared"),
    [(False, REQUIRED), (True, REQUIRED | EXTRAS)],
    ids=["at the top", "inside functions"],
)
def test_every_imported_package_is_declared(lazy: bool, declared: set[str]) -> None:
    outside = set(imports(lazy)) - {*OURS, *sys.stdlib_module_names}
    providers = packages_distributions()
    # An extra that is not installed has no known provider; its name then has to do.
    undeclared = {
        name: sorted(providers.get(name, [name]))
        for name in outside
        if not {plain(entry) for entry in providers.get(name, [name])} & declared
    }

    assert outside
    assert undeclared == {}
