"""Who may import whom: the layers of both packages, read from the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[1]
METHOD, EXPORTER = "careamics_denoisplit", "careamics_denoisplit_export"
ROOTS = {METHOD: REPOSITORY / METHOD, EXPORTER: REPOSITORY / "export" / EXPORTER}

# Each row of modules may import its own row, what it names, and what that names.
BASE = ("errors", "files", "config")
VALUES = ("calibration", "metrics")
PREDICTION = ("tile_plans", "prediction", "distillation", "out_of_core")
LEARNING = ("lightning_module", "training")
BELOW_CHECKPOINT = (
    *BASE,
    "network",
    "noise_model",
    "likelihood",
    "losses",
    "images",
    "data",
    *LEARNING,
    *PREDICTION,
    *VALUES,
)
BELOW_CAREAMIST = (*BELOW_CHECKPOINT, "synthetic", "evaluation", "checkpoint", "packages")
METHOD_TABLE: dict[tuple[str, ...], tuple[str, ...]] = {
    ("errors",): (),
    ("threads",): (),
    ("quiet_lightning",): (),
    ("files",): ("errors",),
    ("config",): ("errors", "files"),
    ("network",): (),
    ("images",): ("files", "config"),
    ("noise_model",): ("files", "images", "threads"),  # fitting streams from files
    ("likelihood", "losses"): ("noise_model", "network"),
    ("synthetic",): (),
    ("data",): ("config", "images"),
    LEARNING: (
        "losses",
        "likelihood",
        "network",
        "data",
        "config",
        "files",
        "quiet_lightning",
    ),
    PREDICTION: ("network", "data", "images", "files", "quiet_lightning"),
    VALUES: ("errors", "threads"),
    ("checkpoint",): BELOW_CHECKPOINT,
    ("evaluation", "packages"): (*BELOW_CHECKPOINT, "checkpoint"),
    ("careamist", "report"): BELOW_CAREAMIST,
    ("demo", "bench", "paper", "cli", "__main__"): (*BELOW_CAREAMIST, "careamist", "report"),
}

FROM_METHOD = ("checkpoint", "network", "config", "prediction", "files", "errors", "careamist")
FACTS = (
    "recipe",
    "recipe_template",
    "spread",
    "calibration_layers",
    "graph",
    "tracing",
    "architecture",
)
FILES = ("weights", "rdf", "card", "figures", "package")
CONSUMERS = ("rules", "consumers", "upload", "models", "cli")
EXPORTER_TABLE: dict[tuple[str, ...], tuple[str, ...]] = {
    FACTS: (),
    FILES: FACTS,
    CONSUMERS: (*FACTS, *FILES),
}

# The exporter depends on the method; these two call it back, inside a function.
CALLS_BACK = ("careamist", "demo")
HOST_HOOKS = ("config", "data", "training", "lightning_module", "careamist")
TABLES = {METHOD: METHOD_TABLE, EXPORTER: EXPORTER_TABLE}


class Import(NamedTuple):
    """One import statement."""

    importer: str
    """Module that imports, without its package; empty for the package itself."""
    imported: str
    """Full name of what is imported."""
    line: str
    """File and line, for messages."""
    lazy: bool
    """Whether it stands inside a function."""


def modules(package: str) -> list[Path]:
    return sorted(ROOTS[package].rglob("*.py"))


def group_of(path: Path, package: str) -> str:
    """First level below the package: a module or a folder."""
    first = path.relative_to(ROOTS[package]).parts[0]
    return first.removesuffix(".py").replace("__init__", "")


def imports(package: str) -> Iterator[Import]:
    for path in modules(package):
        yield from imports_of(path, package)


def imports_of(path: Path, package: str) -> Iterator[Import]:
    """Every import of a file; those inside functions and for type checkers only are lazy."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING")
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        for name in imported_names(node):
            where = f"{path.relative_to(REPOSITORY)}:{node.lineno}"
            yield Import(group_of(path, package), name, where, id(node) in inner)


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"relative import in line {node.lineno}"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def closure(table: dict[tuple[str, ...], tuple[str, ...]]) -> dict[str, set[str]]:
    """What each module may import, with what that may import."""
    direct = {module: {*row, *names} for row, names in table.items() for module in row}
    reached = {module: set(names) for module, names in direct.items()}
    for _ in direct:
        for names in reached.values():
            names |= {further for name in names for further in direct[name]}
    return reached


def own_imports(package: str) -> list[Import]:
    """Imports of a package from itself, with the group that is imported."""
    prefix = f"{package}."
    return [
        entry._replace(imported=entry.imported.removeprefix(prefix).split(".")[0])
        for entry in imports(package)
        if entry.imported.startswith(prefix)
    ]


@pytest.mark.parametrize("package", list(TABLES))
def test_every_module_imports_only_what_its_row_names(package: str) -> None:
    allowed = closure(TABLES[package])
    found = [entry for entry in own_imports(package) if entry.importer]

    assert found, f"no import was found in {package}"
    wrong = [
        f"{entry.line}: {entry.importer} imports {entry.imported}"
        for entry in found
        if entry.imported not in allowed[entry.importer]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", list(TABLES))
def test_every_module_has_a_row(package: str) -> None:
    present = {group_of(path, package) for path in modules(package)} - {""}

    assert present <= {module for row in TABLES[package] for module in row}


def test_the_method_does_not_import_its_exporter() -> None:
    wrong = [
        entry.line
        for entry in imports(METHOD)
        if entry.imported.split(".")[0] == EXPORTER
        and not (entry.lazy and entry.importer in CALLS_BACK)
    ]

    assert wrong == []


def test_the_exporter_uses_only_its_part_of_the_method() -> None:
    allowed = {name for module in FROM_METHOD for name in closure(METHOD_TABLE)[module]}
    # Commands of the exporter share the options and messages of all commands.
    found = [entry for entry in imports(EXPORTER) if entry.imported.startswith(f"{METHOD}.")]
    wrong = [
        f"{entry.line}: {entry.imported}"
        for entry in found
        if entry.imported.split(".")[1] not in allowed
        and not (entry.importer == "cli" and entry.imported.split(".")[1] == "cli")
    ]

    assert found
    assert wrong == []


def test_the_network_needs_torch_and_jaxtyping_only() -> None:
    allowed = {METHOD, "torch", "jaxtyping", *sys.stdlib_module_names}
    outside = {
        entry.imported.split(".")[0] for entry in imports(METHOD) if entry.importer == "network"
    }

    assert "torch" in outside
    assert outside <= allowed


def test_hooks_of_careamics_are_touched_in_few_modules() -> None:
    """Everywhere else only what careamics exports at its top, and its factories, are imported."""
    wrong = [
        f"{entry.line}: {entry.imported}"
        for package in ROOTS
        for entry in imports(package)
        if entry.imported.startswith("careamics.")
        and len(entry.imported.split(".")) > 2
        and not entry.imported.startswith("careamics.config.create_")
        and not (package == METHOD and entry.importer in HOST_HOOKS)
    ]

    assert wrong == []


def test_no_files_import_each_other_in_a_circle() -> None:
    """Also not by imports inside functions, which only hide a circle."""
    waiting: dict[str, set[str]] = {}
    files = {
        ".".join([package, *path.relative_to(ROOTS[package]).with_suffix("").parts]): path
        for package in ROOTS
        for path in modules(package)
    }
    for name, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wanted = {imported for node in ast.walk(tree) for imported in imported_names(node)}
        wanted |= {imported.rpartition(".")[0] for imported in wanted}
        waiting[name] = wanted & files.keys() - {name}
    assert any(waiting.values())
    while free := {name for name, wanted in waiting.items() if not wanted & waiting.keys()}:
        waiting = {name: wanted for name, wanted in waiting.items() if name not in free}

    assert sorted(waiting) == []


def test_values_and_synthetic_images_stand_alone() -> None:
    for module in (*VALUES, "synthetic", "errors"):
        others = {entry.imported for entry in own_imports(METHOD) if entry.importer == module}
        assert others <= {*VALUES, "errors", "threads", "synthetic"}


@pytest.mark.parametrize("package", list(ROOTS))
def test_the_source_tree_is_not_imported_by_accident(package: str) -> None:
    """An editable install makes these folders importable; a wheel does not have them."""
    tops = {entry.imported.split(".")[0] for entry in imports(package)}

    assert not tops & {"tests", "docs", "export", "benchmarks"}


@pytest.mark.parametrize("package", list(ROOTS))
def test_no_module_is_a_drawer_for_everything(package: str) -> None:
    stems = {path.stem.strip("_") for path in modules(package)}

    assert not stems & {"utils", "util", "helpers", "misc", "common"}


@pytest.mark.parametrize("package", list(ROOTS))
def test_a_package_says_what_is_public(package: str) -> None:
    tree = ast.parse((ROOTS[package] / "__init__.py").read_text(encoding="utf-8"))
    names = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]

    assert "__all__" in names
    assert (ROOTS[package] / "py.typed").is_file()


def test_the_command_line_loads_nothing_heavy() -> None:
    """Follow the imports at the top of files, beginning with the program."""
    heavy = {"torch", "careamics", "lightning", "numpy", "xarray", "zarr", "matplotlib", "scipy"}
    found: set[str] = set()
    waiting, seen = [ROOTS[METHOD] / "cli" / "app.py"], set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for entry in imports_of(path, METHOD):
            if entry.lazy:
                continue
            found.add(entry.imported.split(".")[0])
            inner = ROOTS[METHOD].parent / Path(*entry.imported.split(".")[:3]).with_suffix(".py")
            if "cli" in inner.parts and inner.is_file() and inner not in seen:
                waiting.append(inner)

    assert len(seen) > 5
    assert not found & heavy
