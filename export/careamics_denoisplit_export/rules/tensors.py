"""Rules 10 to 22: tensors, axes, sizes and processing steps."""

import json
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

from careamics_denoisplit_export.rdf import TILE
from careamics_denoisplit_export.rules.archive import SEES_ONLY_THE_TILE
from careamics_denoisplit_export.rules.findings import BrokenError, NotRunError, require
from careamics_denoisplit_export.rules.registry import rule
from careamics_denoisplit_export.rules.subject import Subject

AXES = ["batch", "channel", "y", "x"]
STATISTICS_FILE = "statistics.json"
_TILE_WORDS = "sees only the tile"


@rule(10, "One input tensor and one output tensor")
def one_tensor_each(subject: Subject) -> str:
    """Programs such as deepImageJ take one input, QuPath and ilastik one output."""
    counts = len(subject.content["inputs"]), len(subject.content["outputs"])
    require(
        counts == (1, 1),
        f"{counts[0]} inputs and {counts[1]} outputs. Make all results channels of one output.",
    )
    return "One each."


@rule(11, "The network returns one plain tensor")
def returns_a_tensor(subject: Subject) -> str:
    """QuPath takes the first of a tuple, and the order of a dict is undefined in Java."""
    kind = subject.run("returned")
    require(
        kind == "Tensor", f"The TorchScript returns a {kind}. Return one tensor with all channels."
    )
    return "It returns a tensor."


@rule(12, "Axes are batch, channel, y, x, in this order, on both tensors")
def axes_are_in_order(subject: Subject) -> str:
    """QuPath fails on other orders; ilastik labels the output with the input's axes."""
    for tensor in (subject.input, subject.output):
        found = [axis.get("id", axis["type"]) for axis in tensor["axes"]]
        require(found == AXES, f"The axes of {tensor['id']!r} are {found}; write {AXES}.")
    return "Both have batch, channel, y, x."


@rule(13, "Channel names are unique identifiers, one for each channel")
def channels_are_named(subject: Subject) -> str:
    """Without names Fiji and QuPath fail; older validators want identifiers."""
    for tensor in (subject.input, subject.output):
        names = subject.axis(tensor, "channel")["channel_names"]
        wrong = [name for name in names if not _is_identifier(name)]
        require(
            not wrong,
            f"No identifiers: {wrong}. Use letters, digits and `_`, and no keyword of Python.",
        )
        require(len(set(names)) == len(names), f"Two channels share a name: {names}.")
        count = subject.array(tensor).shape[1]
        require(
            len(names) == count,
            f"{tensor['id']!r} names {len(names)} channels, its test tensor has {count}.",
        )
    return f"{len(names)} output channels are named."


@rule(14, "The batch axis has size 1")
def batch_is_one(subject: Subject) -> str:
    """Where no size is given, validators run a batch of 2."""
    sizes = [
        subject.axis(tensor, "batch").get("size") for tensor in (subject.input, subject.output)
    ]
    require(sizes == [1, 1], f"The batch sizes are {sizes}; write `size: 1` on both.")
    return "The size is 1 on both."


@rule(15, f"The input is {TILE} x {TILE} pixels, fixed")
def input_size_is_fixed(subject: Subject) -> str:
    """At this one size all tools feed the same tile and none hangs."""
    sizes = [subject.axis(subject.input, axis).get("size") for axis in "yx"]
    require(sizes == [TILE, TILE], f"The input sizes are {sizes}; write {TILE} for y and x.")
    return f"{TILE} x {TILE}."


@rule(16, "The output refers to the input's size, with offset 0 written out")
def output_size_refers(subject: Subject) -> str:
    """QuPath reads a missing offset as 1; only referring axes may have a halo."""
    for axis in "yx":
        size = subject.axis(subject.output, axis).get("size")
        expected = {"tensor_id": subject.input["id"], "axis_id": axis, "offset": 0}
        require(size == expected, f"The size of output axis {axis} is {size}; write {expected}.")
    return "y and x refer to the input, offset 0."


@rule(17, "Space axes carry no scale and no unit")
def space_has_no_unit(subject: Subject) -> str:
    """Fiji would halve sizes by the scale, QuPath would resample to 1 micrometre."""
    for tensor in (subject.input, subject.output):
        for axis in "yx":
            extra = sorted({"scale", "unit"} & set(subject.axis(tensor, axis)))
            require(
                not extra,
                f"Axis {axis} of {tensor['id']!r} has {', '.join(extra)}. Remove it, and put the "
                "pixel size into README.md.",
            )
    return "Neither scale nor unit."


@rule(18, "The output has the size of the input")
def sizes_agree(subject: Subject) -> str:
    """Output is cropped in input coordinates by ilastik; QuPath would resize it."""
    found, given = subject.array(subject.output).shape, subject.array(subject.input).shape
    require(found[-2:] == given[-2:], f"The output is {found[-2:]}, the input {given[-2:]} pixels.")
    return f"Both are {given[-2]} x {given[-1]} pixels."


@rule(19, "The halo is equal on y and x and fits the network's stride")
def halo_fits(subject: Subject) -> str:
    """Fiji fails on unequal halos; newer validators feed size + 2 halo."""
    halos = [subject.axis(subject.output, axis).get("halo") for axis in "yx"]
    halo = halos[0]
    if not isinstance(halo, int) or halo <= 0 or halo != halos[1]:
        raise BrokenError(f"The halos are {halos}; declare one positive number on both axes.")
    require(2 * halo < TILE, f"Twice the halo of {halo} px must be below {TILE}. Declare less.")
    stride = subject.stride
    if stride is None:
        raise NotRunError(
            f"The halo is {halo} px. Not compared with the network's stride, which no arguments of "
            "an architecture tell."
        )
    require(
        2 * halo % stride == 0,
        f"Twice the halo of {halo} px must be a multiple of the stride of {stride} px. Declare "
        "such a halo.",
    )
    return f"The halo is {halo} px, the stride {stride} px; seams are not measured here."


@rule(20, "README.md says so where layers see only the tile")
def tile_layers_are_documented(subject: Subject) -> str:
    """Group norms, attention and global pooling make seams that no halo removes."""
    found = sorted(subject.script.operators & SEES_ONLY_THE_TILE)
    if not found:
        return "No operator looks at the whole tile."
    readme = subject.text(subject.content["documentation"]).decode(errors="replace")
    require(
        _TILE_WORDS in " ".join(readme.split()),
        f"{', '.join(found)}: each {_TILE_WORDS}, so tiles differ whatever the halo. Say so in "
        f"README.md, with the words {_TILE_WORDS!r}.",
    )
    return f"README.md says what {', '.join(found)} means for tiles."


@rule(21, "float32 in and out, ensure_dtype first and nothing else")
def processing_is_none(subject: Subject) -> str:
    """No operation with parameters or statistics is right in all tools."""
    types = [tensor["data"]["type"] for tensor in (subject.input, subject.output)]
    require(types == ["float32", "float32"], f"The types are {types}; write float32 for both.")
    steps = subject.input.get("preprocessing", [])
    expected = [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}]
    require(steps == expected, f"preprocessing is {steps}; write {expected} and nothing else.")
    late = [key for key in ("postprocessing",) if subject.output.get(key)]
    require(not late, "postprocessing is not read alike everywhere. Put it into the network.")
    return "ensure_dtype only."


@rule(22, "Normalisation is inside the network")
def normalisation_is_inside(subject: Subject) -> str:
    """Raw gray values go in, gray values of each channel come out."""
    inside: dict[str, list[float]] = subject.run("statistics")
    if "pytorch_state_dict" not in subject.weights:
        raise NotRunError("Not compared: there is no state dict, which would name the statistics.")
    if STATISTICS_FILE not in subject.files and not _facts(subject):
        raise NotRunError(
            f"Not compared: the package holds no {STATISTICS_FILE} of its training data."
        )
    problem = subject.runs.get("state_problem")
    require(bool(inside) or not problem, f"The state dict does not load: {problem}. Export again.")
    stored = _statistics(subject)
    for name, values in stored.items():
        require(
            name in inside and _close(inside[name], values),
            f"`{name}` in the weights is {inside.get(name)}, in the package's files {values}. "
            "Export again, so that the network normalises as in training.",
        )
    return "The weights hold the statistics of the training data."


def _statistics(subject: Subject) -> dict[str, list[float]]:
    try:
        stored: Any = json.loads(subject.text(STATISTICS_FILE))
    except (ValueError, RecursionError) as error:
        raise BrokenError(f"{STATISTICS_FILE} is no JSON: {error}. Export again.") from error
    mapped = _facts(subject).get("input")  # packages of earlier versions have none
    built_in = (
        {f"input_{name}": [float(mapped[name])] for name in ("gain", "offset")} if mapped else {}
    )
    return {
        **built_in,
        "input_mean": [float(stored["input_mean"])],
        "input_std": [float(stored["input_std"])],
        "target_means": [float(value) for value in stored["target_means"]],
        "target_stds": [float(value) for value in stored["target_stds"]],
    }


def _facts(subject: Subject) -> Mapping[str, Any]:
    """Return what our own exporter wrote for itself; empty in packages of others."""
    return (subject.content.get("config") or {}).get("careamics_denoisplit") or {}


def _is_identifier(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and not iskeyword(name)


def _close(found: list[float], expected: list[float]) -> bool:
    return len(found) == len(expected) and all(
        abs(a - e) <= 1e-5 * abs(e) + 1e-12 for a, e in zip(found, expected, strict=True)
    )
