"""Rules 23 to 31: the weight files, read as text and run in processes of their own."""

import ast
import json
import re
import sys
from typing import Any

from careamics_denoisplit_export.rules.archive import (
    NEWEST_ARCHIVE,
    illegal_classes,
)
from careamics_denoisplit_export.rules.findings import BrokenError, NotRunError, require
from careamics_denoisplit_export.rules.registry import rule
from careamics_denoisplit_export.rules.subject import Subject

SIZES = ((448, 448), (576, 576), (512, 768))
"""Sizes beside 512 x 512 that a trace must run at."""

_RANDOM = re.compile(r"(rand|normal|bernoulli|dropout|multinomial|poisson)")
_FORMATS = frozenset({"torchscript", "pytorch_state_dict", "onnx"})
"""Formats that a package may hold; rule 31 judges the last."""
_DEVICE = re.compile(r"torch\.device\(|device=|\.cuda\(|\.cpu\(")
_TYPES = frozenset({"DoubleStorage", "HalfStorage", "BFloat16Storage"})
_LARGEST_DIFFERENCE = 1e-4


@rule(23, "The result is deterministic")
def is_deterministic(subject: Subject) -> str:
    """No tool seeds the random numbers of a network."""
    random = sorted(name for name in subject.script.operators if _RANDOM.search(name))
    require(
        not random,
        f"Random operators: {', '.join(random)}. Take posterior means, or noise computed from "
        "counters.",
    )
    first, second = subject.run("hash"), subject.run("hash_again")
    require(first == second, "Two processes gave different results. Remove what is random.")
    return "Two processes gave the same bits."


@rule(24, "The TorchScript is a float32 trace without device constants, in evaluation mode")
def trace_is_portable(subject: Subject) -> str:
    """Other machines lack the device that was traced; scripts fail in old engines."""
    constants = sorted(set(_DEVICE.findall(subject.script.code)))
    require(
        not constants,
        f"Devices are fixed in the code: {', '.join(constants)}. Derive tensors from the input "
        "instead of `torch.arange(..., device=...)`.",
    )
    wide = sorted(subject.script.stores & _TYPES)
    require(not wide, f"Numbers are stored as {', '.join(wide)}. Use float32; Macs need it.")
    require(
        not subject.run("training"),
        "The TorchScript is in training mode. Call `.eval()` before tracing.",
    )
    return "float32, no device, evaluation mode."


@rule(25, f"Archive version up to {NEWEST_ARCHIVE}, tested operators only")
def archive_is_old_enough(subject: Subject) -> str:
    """Fiji's engine is libtorch 2.0.0."""
    script = subject.script
    require(
        script.version <= NEWEST_ARCHIVE,
        f"The archive has version {script.version}; libtorch 2.0.0 reads up to {NEWEST_ARCHIVE}.",
    )
    foreign = script.refused
    require(
        not foreign,
        f"Not on the list of tested operators and forms: {', '.join(foreign[:8])}. Replace them, "
        "or load-test them in libtorch 2.0.0, 2.5.1 and 2.7.1 first.",
    )
    raise NotRunError(
        f"Version {script.version}, {len(script.operators)} operators, all tested. Not run: this "
        "archive in libtorch 2.0.0, 2.5.1 and 2.7.1, which need engines of their own."
    )


@rule(26, "Class names in the archive are legal identifiers")
def class_names_are_legal(subject: Subject) -> str:
    """Old engines stop at a class of a module that has no legal name."""
    illegal = illegal_classes(subject.script)
    require(
        not illegal,
        f"Illegal names: {', '.join(illegal[:5])}. Trace classes of an imported module.",
    )
    return f"{len(subject.script.classes)} names are legal."


@rule(27, "The trace gives the right result at other sizes")
def other_sizes_run(subject: Subject) -> str:
    """bioimageio.core feeds whole images by default."""
    runs: dict[str, Any] = subject.run("sizes")
    for height, width in SIZES:
        outcome = runs[f"{height}x{width}"]
        if isinstance(outcome, str):
            raise BrokenError(f"At {height} x {width} px it fails: {outcome}. Trace no sizes.")
        require(
            outcome <= _LARGEST_DIFFERENCE,
            f"At {height} x {width} px it differs from the network by {outcome:.3g} of its range. "
            "A size was fixed while tracing.",
        )
    if not subject.run("compared"):
        raise NotRunError(f"It runs at {len(SIZES)} other sizes. {subject.run('why_not_compared')}")
    return f"Equal to the network at {len(SIZES)} other sizes."


@rule(28, "TorchScript is a .pt file, the state dict another .pt or .pth")
def weight_files_are_named(subject: Subject) -> str:
    """Fiji wants `.pt` in the name of TorchScript weights."""
    script = subject.weights["torchscript"]["source"]
    require(script.endswith(".pt"), f"{script} must end in .pt.")
    if "pytorch_state_dict" in subject.weights:
        state = subject.weights["pytorch_state_dict"]["source"]
        require(
            state.endswith((".pt", ".pth")) and state != script,
            f"The state dict is {state}; it needs a name of its own that ends in .pt or .pth.",
        )
    return "The names are as readers want them."


@rule(29, "TorchScript is there, and exactly one entry has no parent")
def has_one_root(subject: Subject) -> str:
    """Two roots make validators warn; a parent that is absent is dropped."""
    entries = subject.weights
    require("torchscript" in entries, "There is no TorchScript, which Fiji and QuPath run. Add it.")
    foreign = sorted(set(entries) - _FORMATS)
    require(
        not foreign,
        f"There are weights of {', '.join(foreign)}, which tools may take instead of the "
        "TorchScript. Ship that, and at most a state dict beside it.",
    )
    roots = [name for name, entry in entries.items() if "parent" not in entry]
    require(len(roots) == 1, f"Entries without `parent`: {roots}; let all but one name theirs.")
    lost = [e["parent"] for e in entries.values() if e.get("parent", roots[0]) not in entries]
    require(not lost, f"These parents are absent: {', '.join(lost)}.")
    return f"{', '.join(entries)}; the root is {roots[0]}."


@rule(30, "The state dict is plain, its architecture one self-contained file")
def architecture_is_self_contained(subject: Subject) -> str:
    """Neither careamics nor this package is there in ilastik."""
    if "pytorch_state_dict" not in subject.weights:
        return "There is no state dict."
    entry = subject.weights["pytorch_state_dict"]
    subject.member(entry["source"])
    architecture = entry["architecture"]
    require(
        "import_from" not in architecture,
        f"The architecture is imported from {architecture.get('import_from')}, which readers do "
        "not have. Pack one source file, and name it with its callable and kwargs.",
    )
    try:
        tree = ast.parse(subject.text(architecture["source"]))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BrokenError(f"{architecture['source']} is no Python: {error}.") from error
    foreign = sorted(_imported(tree) - {"torch"} - set(sys.stdlib_module_names))
    require(
        not foreign,
        f"{architecture['source']} imports {', '.join(foreign)}; torch and the standard library "
        "are all that readers have.",
    )
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    require(
        architecture["callable"] in defined,
        f"{architecture['source']} defines no {architecture['callable']!r}.",
    )
    json.dumps(architecture["kwargs"], allow_nan=False)
    problem = subject.run("state_problem")
    require(not problem, f"The state dict does not load: {problem}. Export again.")
    if not subject.run("compared"):
        raise NotRunError(f"It loads. {subject.run('why_not_compared')}")
    return "It loads with `weights_only=True` and fits the architecture."


@rule(31, "ONNX is absent, or of opset 17")
def onnx_is_old(subject: Subject) -> str:
    """Fiji's ONNX engine reads nothing newer, and picks formats by chance."""
    entry = subject.weights.get("onnx")
    if entry is None:
        return "There is no ONNX file."
    require(
        entry.get("opset_version") == 17,
        f"ONNX has opset {entry.get('opset_version')}; Fiji reads 17. Leave ONNX out.",
    )
    require(
        "external_data" not in entry,
        "The ONNX weights lie in a second file, which Fiji does not read. Leave ONNX out.",
    )
    raise NotRunError("opset 17, one file. Not run: the file in onnxruntime 1.12.1.")


def _imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." if node.level else str(node.module).split(".")[0])
    return names
