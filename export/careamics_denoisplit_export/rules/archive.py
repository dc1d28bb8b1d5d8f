"""A TorchScript archive as text: what it would do, found out without loading it.

Loading an archive may already execute it, so its code is read as a syntax tree first, in which
only the few forms that tracing writes are accepted, and only operators that were tested.
"""

import ast
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from careamics_denoisplit_export.rules.findings import BrokenError

NEWEST_ARCHIVE = 10
"""Newest version of archives that libtorch 2.0.0 reads."""

ALLOWED_OPERATORS = frozenset(
    # Loaded and compared in libtorch 2.0.0, 2.5.1 and 2.7.1: nets of other kinds,
    {"_convolution", "batch_norm", "group_norm", "instance_norm", "scaled_dot_product_attention"}
    | {"relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus"}
    | {"max_pool2d", "max_pool3d", "avg_pool2d", "upsample_nearest2d", "upsample_bilinear2d"}
    | {"add", "sub", "rsub", "mul", "div", "remainder", "mean", "fft_rfft2", "fft_irfft2"}
    | {"cat", "chunk", "slice", "reshape", "flatten", "transpose", "size", "pad", "pixel_shuffle"}
    # and the graphs that this exporter writes.
    | {"clamp", "cos", "cumsum", "exp", "floor_divide", "ge", "log", "maximum", "minimum", "neg"}
    | {"select", "sigmoid", "sin", "sqrt", "stack", "tanh", "to", "unsqueeze"}
    | {"index_select", "sum"}
)
"""Operators of `aten::` that an archive may use."""

SEES_ONLY_THE_TILE = frozenset(
    {"group_norm", "instance_norm", "layer_norm", "scaled_dot_product_attention", "softmax"}
    | {"adaptive_avg_pool2d", "adaptive_max_pool2d", "mean", "fft_rfft2", "fft_irfft2"}
)
"""Operators whose result at a pixel depends on the whole tile."""

_PRIMITIVES = frozenset({"ops.prim.NumToTensor"})
_FUNCTIONS = frozenset({"getattr", "int", "annotate", "float", "bool"})
_METHOD = re.compile(r"forward\d*")
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NODES = (
    ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Assign, ast.AnnAssign,
    ast.Attribute, ast.Call, ast.Constant, ast.List, ast.Tuple, ast.Name, ast.Load, ast.Store,
    ast.Return, ast.Subscript, ast.UnaryOp, ast.USub, ast.Expr, ast.Pass,
)  # fmt: skip
_MAX_CODE_BYTES = 64 * 2**20
_MAX_MEMBERS = 50_000
# zipfile raises a bare RuntimeError for a member that is encrypted.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True)
class ScriptText:
    """What the text of an archive tells.

    Attributes
    ----------
    version : int
        Version of the archive.
    operators : frozenset of str
        Names of the operators that are called.
    foreign : tuple of str
        Forms and calls that tracing does not write.
    classes : tuple of str
        Names of the classes, and of the parts of the paths that hold them.
    code : str
        All code.
    stores : frozenset of str
        Types of stored numbers, such as "FloatStorage".
    """

    version: int
    operators: frozenset[str]
    foreign: tuple[str, ...]
    classes: tuple[str, ...]
    code: str
    stores: frozenset[str]

    @property
    def refused(self) -> tuple[str, ...]:
        """Everything for which the archive must not be loaded unseen."""
        return (*sorted(self.operators - ALLOWED_OPERATORS), *self.foreign)


def read_script(file: BinaryIO) -> ScriptText:
    """Read the text of a TorchScript archive; its numbers are not read.

    Parameters
    ----------
    file : binary file
        The archive.

    Raises
    ------
    BrokenError
        If it is no such archive.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive)
    except _DAMAGED as error:
        raise BrokenError(f"The TorchScript file is damaged: {error}. Export again.") from error


def _read(archive: zipfile.ZipFile) -> ScriptText:
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS or sum(m.file_size for m in members if _is_code(m)) > (
        _MAX_CODE_BYTES
    ):
        raise BrokenError("The TorchScript file holds far more code than a network needs.")
    names = [member.filename for member in members]
    root = names[0].split("/")[0] if names else ""
    if len(set(names)) < len(names) or any(not name.startswith(f"{root}/") for name in names):
        raise BrokenError("The TorchScript file holds a member twice, or outside its folder.")
    version = f"{root}/version"
    if version not in names:
        raise BrokenError("The TorchScript file has no version: it is no TorchScript archive.")
    sources = {
        member.filename: archive.read(member).decode() for member in members if _is_code(member)
    }
    seen = _Seen()
    for name, source in sources.items():
        seen.add(name, source)
    pickles = b"".join(archive.read(name) for name in names if name.endswith(".pkl"))
    stores = re.findall(rb"torch\n(\w+Storage)\n", pickles)
    return ScriptText(
        version=int(archive.read(version)),
        operators=frozenset(seen.operators),
        foreign=tuple(sorted(seen.foreign)),
        classes=tuple(sorted(seen.classes)),
        code="\n".join(sources.values()),
        stores=frozenset(store.decode() for store in stores),
    )


def _is_code(member: zipfile.ZipInfo) -> bool:
    return "/code/" in member.filename and member.filename.endswith(".py")


class _Seen:
    """Collects what the code of several files calls."""

    def __init__(self) -> None:
        self.operators: set[str] = set()
        self.foreign: set[str] = set()
        self.classes: set[str] = set()

    def add(self, path: str, source: str) -> None:
        """Look at one file of code."""
        self.classes |= set(path.split("/code/")[1].removesuffix(".py").split("/"))
        try:
            tree = ast.parse(source)
        except (SyntaxError, RecursionError, MemoryError):
            # A class of a module without a legal name is no identifier either.
            self.foreign.add("code that is no syntax")
            self.classes |= set(re.findall(r"class ([^(:\s]*)", source))
            return
        for node in ast.walk(tree):
            if not isinstance(node, _NODES):
                self.foreign.add(f"`{type(node).__name__}`")
            elif isinstance(node, ast.ClassDef):
                self.classes.add(node.name)
            elif isinstance(node, ast.FunctionDef) and not _METHOD.fullmatch(node.name):
                self.foreign.add(f"the method {node.name}")
            elif isinstance(node, ast.Call):
                self.take_call(".".join(_dotted(node.func)))

    def take_call(self, called: str) -> None:
        """Sort a call by its name."""
        first, _, rest = called.partition(".")
        if first == "torch":
            self.operators.add(rest)
        elif called in _PRIMITIVES or called in _FUNCTIONS:
            return
        elif not (_METHOD.fullmatch(rest) and first != "ops"):
            self.foreign.add(called)


def _dotted(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield from _dotted(node.value)
        yield node.attr
    elif isinstance(node, ast.Name):
        yield node.id
    else:
        yield f"<{type(node).__name__}>"


def illegal_classes(script: ScriptText) -> list[str]:
    """Return the names that old engines refuse as identifiers."""
    return [name for name in script.classes if not _CLASS.fullmatch(name)]
