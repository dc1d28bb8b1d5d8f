"""The source of one self-contained `architecture.py`, written from our own network code.

Readers of state dicts want one file that imports torch and the standard library only. It is
merged from the syntax trees of `careamics_denoisplit.network` and `graph`: own imports and the
shape annotations of jaxtyping go, and so does every definition that the graph does not reach.
"""

import ast
import importlib.util
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from careamics_denoisplit.errors import FaultError

ENTRY_MODULE = "careamics_denoisplit_export.graph"
CALLABLE = "build_graph"
"""Name of the callable in `architecture.py` that builds the graph from its settings."""

_OWN = ("careamics_denoisplit", "careamics_denoisplit_export")
_SHAPES = "jaxtyping"
_HEADER = '''\
"""The network of this package, from a raw image to channels and their uncertainty.

Self-contained: needs torch only. Written by careamics-denoisplit from its own source code,
BSD-3-Clause. `{callable}(**kwargs)` with the kwargs of rdf.yaml builds the module that the
state dict fits; it maps gray values (1, 1, Y, X) to (1, N, Y, X): means, widths, warnings.
"""

from __future__ import annotations
'''


@dataclass
class _Merged:
    """Definitions and imports collected so far, each under the name that it binds."""

    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    imports: dict[str, ast.stmt] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


def architecture_source() -> str:
    """Write the source of `architecture.py`; equal code gives equal text.

    Returns
    -------
    str
        Python source that imports torch and the standard library only.

    Raises
    ------
    FaultError
        If two modules define one name differently, or a module imports a third library.
    """
    merged = _Merged()
    _collect(ENTRY_MODULE, merged)
    body = [node for name, node in merged.definitions.items() if name in _reached(merged)]
    used = {name for node in body for name in _names(node)}
    imports = {name: node for name, node in merged.imports.items() if name in used}
    parts = [
        _HEADER.format(callable=CALLABLE),
        "\n".join(sorted({ast.unparse(node) for node in imports.values()})) + "\n",
        *("\n" + ast.unparse(node) + "\n" for node in body),
    ]
    return "\n".join(parts)


def load_architecture(source: str, name: str = "denoisplit_architecture") -> types.ModuleType:
    """Run source that `architecture_source` wrote and return it as a module.

    The module gets a legal name, because a TorchScript archive stores it in its class names
    and old engines refuse those that are no identifiers.

    Parameters
    ----------
    source : str
        Our own source; never that of a stranger's package.
    name : str
        Name of the module.
    """
    module = types.ModuleType(name)
    # Dataclasses and torch look a class's module up by name.
    sys.modules[name] = module
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)  # noqa: S102 - our own source
    return module


def _collect(module: str, merged: _Merged) -> None:
    """Add a module's definitions after those of the own modules that it imports."""
    if module in merged.seen:
        return
    merged.seen.add(module)
    tree = ast.parse(_path_of(module).read_text(encoding="utf-8"))
    shapes = _ShapeAnnotations(tree)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and _is_own(node.module):
            _collect(str(node.module), merged)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            _add_imports(node, module, merged)
        else:
            for name in _bound_names(node):
                if name in merged.definitions:
                    raise FaultError(
                        f"{module} defines {name!r} a second time, so the network's files cannot "
                        "become one file. Rename one of them."
                    )
                merged.definitions[name] = shapes.visit(node)


def _path_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise FaultError(f"The source of {module} was not found; install the package again.")
    return Path(spec.origin)


def _is_own(module: str | None) -> bool:
    return module is not None and module.split(".")[0] in _OWN


def _add_imports(node: ast.Import | ast.ImportFrom, module: str, merged: _Merged) -> None:
    source = node.module if isinstance(node, ast.ImportFrom) else None
    for alias in node.names:
        library = (source or alias.name).split(".")[0]
        if library == _SHAPES:
            continue
        if library != "torch" and library not in sys.stdlib_module_names:
            raise FaultError(
                f"{module} imports {library}, which readers of packages may not have. "
                "The network may import torch and the standard library only."
            )
        single: ast.stmt = (
            ast.ImportFrom(source, [alias], 0) if source is not None else ast.Import([alias])
        )
        merged.imports[alias.asname or alias.name.split(".")[0]] = single


def _bound_names(node: ast.stmt) -> tuple[str, ...]:
    """Names that a top-level statement binds; docstrings bind none and are dropped."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return (node.target.id,)
    if isinstance(node, ast.Assign):
        return tuple(target.id for target in node.targets if isinstance(target, ast.Name))
    return ()


def _names(node: ast.AST) -> Iterator[str]:
    return (part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def _reached(merged: _Merged) -> set[str]:
    """Names of the definitions that the callable needs, directly or through others."""
    reached: set[str] = set()
    waiting = [CALLABLE]
    while waiting:
        name = waiting.pop()
        if name in merged.definitions and name not in reached:
            reached.add(name)
            waiting.extend(_names(merged.definitions[name]))
    return reached


class _ShapeAnnotations(ast.NodeTransformer):
    """Replace `Float[Tensor, "b c y x"]` by `Tensor`."""

    def __init__(self, tree: ast.Module) -> None:
        self.types = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module == _SHAPES
            for alias in node.names
        }

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """Keep the array type, drop the shape."""
        self.generic_visit(node)
        is_shape = isinstance(node.value, ast.Name) and node.value.id in self.types
        if is_shape and isinstance(node.slice, ast.Tuple):
            return node.slice.elts[0]
        return node
