"""For every rule a fault after which the rule is broken, and only then."""

import copy
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from careamics_denoisplit.errors import PackageError
from careamics_denoisplit_export import Report, check_package
from careamics_denoisplit_export.rdf import to_yaml
from careamics_denoisplit_export.rules import checking, probe, running, testing
from careamics_denoisplit_export.rules.registry import RULES, Rule
from careamics_denoisplit_export.rules.running import reason_not_to_run
from careamics_denoisplit_export.rules.subject import Subject, open_subject
from careamics_denoisplit_export.rules.weights import SIZES

Content = dict[str, Any]
Weights = dict[str, torch.Tensor]
Change = Callable[[Content], None]
Repack = Callable[[Mapping[str, bytes | None]], Path]


class Fault(NamedTuple):
    """What is wrong with a package, and how to make it so."""

    rule: int
    words: str
    make: Callable[[Subject], Subject]


def put(value: Any, *path: Any) -> Change:
    """Another value at a place in rdf.yaml."""

    def change(content: Content) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


def drop(*path: Any) -> Change:
    """A key of rdf.yaml is missing."""

    def change(content: Content) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


def on_axis(tensor: str, name: str, key: str, value: Any) -> Change:
    """Another value at an axis of a tensor."""

    def change(content: Content) -> None:
        axis = next(a for a in content[tensor][0]["axes"] if a["id"] == name)
        if value is None:
            del axis[key]
        else:
            axis[key] = value

    return change


def in_yaml(rule: int, words: str, change: Change) -> Fault:
    def make(good: Subject) -> Subject:
        content = copy.deepcopy(dict(good.content))
        change(content)
        return replace(good, content=content, files={**good.files, "rdf.yaml": to_yaml(content)})

    return Fault(rule, words, make)


def in_file(rule: int, words: str, name: str, data: bytes) -> Fault:
    return Fault(rule, words, lambda good: replace(good, files={**good.files, name: data}))


def in_array(rule: int, words: str, name: str, array: np.ndarray) -> Fault:
    file = io.BytesIO()
    np.save(file, array)
    return in_file(rule, words, name, file.getvalue())


def in_script(rule: int, words: str, make: Callable[[bytes], bytes]) -> Fault:
    """Another TorchScript, read as text but not run."""

    def change(good: Subject) -> Subject:
        files = {**good.files, "weights.pt": make(good.files["weights.pt"])}
        return replace(good, files=files, runs={"training": False})

    return Fault(rule, words, change)


def in_run(rule: int, words: str, **runs: Any) -> Fault:
    """What a process reports."""
    return Fault(rule, words, lambda good: replace(good, runs=runs))


class FourChannels(torch.nn.Module):
    """A network without weights that returns its input four times."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x, x, x, x), dim=1)


class GroupNormNet(torch.nn.Module):
    """A network that looks at the whole tile."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.GroupNorm(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


class Pair(torch.nn.Module):
    """A network that returns two tensors."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class Noisy(torch.nn.Module):
    """A network that draws random numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x, x, x, x), dim=1) + torch.randn_like(x)


class OnOneDevice(torch.nn.Module):
    """A network in whose trace the device is fixed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.arange(x.shape[-1], device=x.device)


class OfOneSize(torch.nn.Module):
    """A network in whose trace the size is fixed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x, x, x, x), dim=1) + torch.ones(512, 512)


def script_of(network: torch.nn.Module, side: int = 8, *, training: bool = False) -> bytes:
    file = io.BytesIO()
    network.train(training)
    torch.jit.save(torch.jit.trace(network, torch.ones(1, 1, side, side), check_trace=False), file)
    return file.getvalue()


def really_run(
    rule: int,
    words: str,
    script: Callable[[], bytes],
    state: Callable[[Weights], Weights] = dict,
    **job: Any,
) -> Fault:
    """Another TorchScript or state dict, run as a check runs it, in two runs."""

    def make(good: Subject) -> Subject:
        file = io.BytesIO()
        stored = io.BytesIO(good.files["weights_state_dict.pth"])
        torch.save(state(torch.load(stored, weights_only=True)), file)
        first, second = (
            probe.run_torch(
                {
                    "script": as_tensor(script()),
                    "state": as_tensor(file.getvalue()),
                    "raw": torch.from_numpy(good.array(good.input)),
                    "expected": torch.from_numpy(good.array(good.output)),
                    "sizes": SIZES,
                    **job,
                }
            )
            for _ in range(2)
        )
        return replace(good, runs={**first, "hash_again": second.get("hash")})

    return Fault(rule, words, make)


def as_tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def renamed(archive: bytes, old: bytes, new: bytes, only: str = ".py") -> bytes:
    """A TorchScript archive with other text in its code, or another version."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, data.replace(old, new) if name.endswith(only) else data)
    return target.getvalue()


def encrypted(archive: bytes) -> bytes:
    """A TorchScript archive whose members claim to be encrypted."""
    changed = bytearray(archive)
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = changed.find(signature)
        while start >= 0:
            changed[start + flags] |= 1
            start = changed.find(signature, start + 1)
    return bytes(changed)


IN, OUT = ("inputs", 0), ("outputs", 0)
TS, SD = ("weights", "torchscript"), ("weights", "pytorch_state_dict")
CLIP = {"id": "clip"}
OLD_ONNX = {"source": "a", "opset_version": 17, "parent": "pytorch_state_dict"}
NEW_ONNX = {"source": "a", "opset_version": 20, "parent": "x"}

FAULTS: list[Fault] = [
    in_yaml(1, "a newer format", put("0.5.12", "format_version")),
    in_yaml(2, "documentation as an object", put({"source": "README.md"}, "documentation")),
    in_yaml(2, "a cover as an object", put([{"source": "cover.png"}], "covers")),
    in_yaml(2, "a license as a list", put(["MIT"], "license")),
    in_yaml(3, "a key of 0.5.10", put(True, *SD, "strict")),
    in_yaml(3, "a mapping of 0.5.11", put({"mode": "reflect"}, *IN, "pad")),
    in_yaml(
        3,
        "a tolerance for any output",
        put(
            {"reproducibility_tolerance": [{"output_ids": "any_continuous_output"}]},
            "config",
            "bioimageio",
        ),
    ),
    in_yaml(3, "a later operation", put([{"id": "custom"}], *OUT, "postprocessing")),
    in_yaml(4, "rewritten documents", put({"source": "README.md"}, "documentation")),
    in_yaml(5, "no description", put("", "description")),
    in_yaml(5, "no author", put([], "authors")),
    in_yaml(5, "a name with a slash", put("er/actin", "name")),
    in_yaml(5, "a name that Fiji reserves", put("Stardist like", "name")),
    in_yaml(6, "an address as source", put("https://example.org/w.pt", *TS, "source")),
    in_yaml(6, "an absolute path as source", put("/etc/hosts", *SD, "source")),
    in_file(6, "a second yaml", "second.yaml", b"a: 1\n"),
    in_file(6, "a folder", "folder/weights.pt", b"x"),
    in_yaml(7, "no id", drop("id")),
    in_yaml(7, "config.bioimageio", put({}, "config", "bioimageio")),
    in_yaml(8, "config.deepimagej", put({"allow_tiling": True}, "config", "deepimagej")),
    in_yaml(9, "run_mode", put({"name": "deepimagej"}, "run_mode")),
    in_yaml(9, "a null", put(None, *SD, "architecture", "kwargs", "prior_size")),
    in_yaml(9, "a large integer", put(2**31, *SD, "architecture", "kwargs", "seed")),
    in_yaml(10, "two outputs", lambda content: content["outputs"].append(content["outputs"][0])),
    really_run(11, "a tuple", lambda: script_of(Pair())),
    in_run(11, "a crash", error="Running the weights failed: it crashed."),
    in_yaml(12, "another order", lambda content: content["inputs"][0]["axes"].reverse()),
    in_yaml(12, "another axis id", on_axis("outputs", "y", "id", "row")),
    in_yaml(13, "no identifier", on_axis("inputs", "channel", "channel_names", ["a-b"])),
    in_yaml(13, "a keyword", on_axis("inputs", "channel", "channel_names", ["lambda"])),
    in_yaml(13, "too few names", on_axis("outputs", "channel", "channel_names", ["er", "actin"])),
    in_yaml(13, "a name twice", on_axis("outputs", "channel", "channel_names", ["er"] * 4)),
    in_yaml(14, "no batch size", on_axis("inputs", "batch", "size", None)),
    in_yaml(15, "a parameterised size", on_axis("inputs", "y", "size", {"min": 64, "step": 64})),
    in_yaml(15, "another size", on_axis("inputs", "x", "size", 256)),
    in_yaml(16, "no offset", on_axis("outputs", "y", "size", {"tensor_id": "raw", "axis_id": "y"})),
    in_yaml(16, "a fixed output size", on_axis("outputs", "x", "size", 512)),
    in_yaml(17, "a unit", on_axis("inputs", "y", "unit", "micrometer")),
    in_yaml(17, "a scale", on_axis("outputs", "x", "scale", 0.5)),
    in_array(18, "another size", "test_output.npy", np.ones((1, 4, 256, 512), np.float32)),
    in_yaml(19, "unequal halos", on_axis("outputs", "x", "halo", 64)),
    in_yaml(19, "a halo off the stride", on_axis("outputs", "y", "halo", 33)),
    in_yaml(19, "no network's stride", put(0, *SD, "architecture", "kwargs", "stem_stride")),
    in_script(20, "a group norm, unexplained", lambda _: script_of(GroupNormNet())),
    in_yaml(21, "another type", put("float64", *OUT, "data", "type")),
    in_yaml(21, "a second step", lambda c: c["inputs"][0]["preprocessing"].append(CLIP)),
    really_run(
        22,
        "another mean inside",
        lambda: script_of(FourChannels()),
        lambda state: {**state, "input_mean": state["input_mean"] * 2},
    ),
    really_run(
        22,
        "another map of the input inside",
        lambda: script_of(FourChannels()),
        lambda state: {**state, "input_gain": state["input_gain"] * 2},
    ),
    really_run(22, "no statistics inside", lambda: script_of(FourChannels()), lambda _: {}),
    really_run(23, "random numbers that are drawn", lambda: script_of(Noisy())),
    in_run(23, "two results", hash="a", hash_again="b"),
    in_script(24, "a device", lambda _: script_of(OnOneDevice())),
    really_run(24, "training mode", lambda: script_of(FourChannels(), training=True)),
    in_script(25, "an operator that nobody tested", lambda _: script_of(Noisy())),
    in_script(25, "a newer archive", lambda good: renamed(good, b"4", b"11", "/version")),
    in_script(25, "a reader", lambda good: renamed(good, b"torch.cos(", b"torch.from_file(")),
    in_script(25, "a method", lambda good: renamed(good, b"def forward1(", b"def __setstate__(")),
    in_script(25, "a cut archive", lambda good: good[: len(good) // 2]),
    in_script(25, "an encrypted member", lambda good: encrypted(good)),
    in_script(
        26, "no identifier", lambda good: renamed(good, b"class ExportGraph(", b"class <run_path>(")
    ),
    really_run(27, "one size only", lambda: script_of(OfOneSize(), 512)),
    in_run(
        27,
        "another result",
        sizes={f"{y}x{x}": 0.3 if y == 576 else 0.0 for y, x in SIZES},
        compared=True,
    ),
    in_yaml(28, "TorchScript with another ending", put("README.md", *TS, "source")),
    in_yaml(28, "one file for both formats", put("weights.pt", *SD, "source")),
    in_yaml(29, "two roots", drop(*TS, "parent")),
    in_yaml(29, "a parent that is absent", put("onnx", *TS, "parent")),
    in_yaml(29, "a format that tools may prefer", put({"parent": "x"}, "weights", "keras_v3")),
    in_yaml(
        30,
        "a library's network",
        put({"import_from": "monai", "callable": "UNet"}, *SD, "architecture"),
    ),
    in_yaml(30, "an undefined callable", put("build", *SD, "architecture", "callable")),
    in_file(30, "a library", "architecture.py", b"import monai\ndef build_graph(): ...\n"),
    in_file(30, "no Python", "architecture.py", b"def build_graph(:\n"),
    really_run(
        30,
        "weights of another network",
        lambda: script_of(FourChannels()),
        lambda state: {"other": state["input_mean"]},
        source="class N(dict):\n    load_state_dict = dict.__getitem__\ndef f(): return N()",
        callable="f",
        kwargs="{}",
    ),
    in_yaml(
        31, "ONNX", put({"source": "a", "opset_version": 20, "parent": "x"}, "weights", "onnx")
    ),
    in_yaml(
        31,
        "ONNX in two files",
        put({**OLD_ONNX, "external_data": {"source": "b"}}, "weights", "onnx"),
    ),
    in_array(32, "another size", "test_input.npy", np.ones((1, 1, 256, 512), np.float32)),
    in_array(32, "another type", "test_input.npy", np.ones((1, 1, 512, 512))),
    really_run(32, "another network", lambda: script_of(FourChannels())),
    in_array(33, "too dark", "test_output.npy", np.full((1, 4, 512, 512), 1e-3, np.float32)),
    in_array(33, "negative", "test_output.npy", np.full((1, 4, 512, 512), -5.0, np.float32)),
    in_array(33, "undefined", "test_output.npy", np.full((1, 4, 512, 512), np.nan, np.float32)),
    in_yaml(34, "a tolerance", put({"reproducibility_tolerance": [{}]}, "config", "bioimageio")),
    in_run(34, "not run", bioimageio={"torchscript": "valid-format"}),
    in_run(34, "too far", bioimageio={"torchscript": "passed"}, torchscript_excess=1.0),
    in_array(
        35,
        "near zero beside large",
        "test_output.npy",
        np.tile([9e3, 1e-3], (1, 4, 512, 256)).astype(np.float32),
    ),
    in_yaml(36, "a sample tensor", put({"source": "test_input.npy"}, *IN, "sample_tensor")),
    in_yaml(37, "a local version", put("2.7.1+cpu", *TS, "pytorch_version")),
    in_yaml(37, "a release that nobody reviewed", put("2.99.0", *SD, "pytorch_version")),
    in_yaml(37, "no weights", put({}, "weights")),
    in_yaml(38, "a wrong hash", put("0" * 64, *SD, "sha256")),
    in_yaml(38, "no hash", drop(*IN, "test_tensor", "sha256")),
    in_file(38, "a changed file", "architecture.py", b"changed"),
]


@pytest.fixture(scope="module")
def good(package: Any) -> Subject:
    """The good package, opened but not run."""
    return open_subject(package.path)


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{f.rule}-{f.words}" for f in FAULTS])
def test_one_fault_breaks_its_rule(good: Subject, report: Report, fault: Fault) -> None:
    finding = RULES[fault.rule].judge(fault.make(good))

    assert report.findings[fault.rule - 1].id == fault.rule
    assert report.findings[fault.rule - 1].status != "failed"
    assert finding.status == "failed", finding
    assert finding.message.endswith((".", "`", "?"))


@pytest.mark.parametrize(("name", "found"), [("bioimageio.core", "0.10.2"), ("pydantic", "2.14.1")])
def test_another_validator_breaks_rule_39(
    good: Subject, monkeypatch: pytest.MonkeyPatch, name: str, found: str
) -> None:
    real = testing.version
    monkeypatch.setattr(testing, "version", lambda asked: found if asked == name else real(asked))

    finding = RULES[39].judge(good)

    assert finding.status == "failed"
    assert name in finding.message


def test_every_rule_has_a_fault() -> None:
    assert sorted({fault.rule for fault in FAULTS} | {39}) == sorted(RULES)


def test_an_exponent_in_the_text_breaks_rule_9(good: Subject) -> None:
    text = good.files["rdf.yaml"].replace(b"n_samples: 8", b"n_samples: 8e0", 1)
    assert text != good.files["rdf.yaml"]

    finding = RULES[9].judge(replace(good, files={**good.files, "rdf.yaml": text}))

    assert finding.status == "failed"
    assert "8e0" in finding.message


def changed(good: Subject, *changes: Change) -> Subject:
    """The good package with other content of rdf.yaml."""
    content = copy.deepcopy(dict(good.content))
    for change in changes:
        change(content)
    return replace(good, content=content)


def test_names_of_an_author_are_not_taken_for_newer_forms(good: Subject) -> None:
    names = ["any_tubulin", "er", "er_std", "any_tubulin_std"]
    named = on_axis("outputs", "channel", "channel_names", names)
    free = put({"pad": {"strict": True}}, *SD, "architecture", "kwargs")

    finding = RULES[3].judge(changed(good, named, free, put({"pad": [1]}, "config", "mine")))

    assert finding.status == "skipped", finding


def test_a_package_of_torchscript_alone_is_not_judged_by_a_state_dict(good: Subject) -> None:
    alone = changed(good, drop(*SD), drop(*TS, "parent"))
    alone = replace(alone, runs={"statistics": {}, "state_problem": "", "compared": False})

    assert [RULES[number].judge(alone).status for number in (29, 30)] == ["passed", "passed"]
    halo, normalisation = RULES[19].judge(alone), RULES[22].judge(alone)
    assert (halo.status, normalisation.status) == ("skipped", "skipped")
    assert "stride" in halo.message
    assert "no state dict" in normalisation.message
    wide = changed(alone, *(on_axis("outputs", axis, "halo", 256) for axis in "yx"))
    assert RULES[19].judge(wide).status == "failed"


def test_statistics_that_nobody_packed_are_not_compared(good: Subject) -> None:
    files = {name: data for name, data in good.files.items() if name != "statistics.json"}
    runs = {"statistics": {}, "state_problem": ""}
    theirs = replace(changed(good, drop("config")), files=files, runs=runs)

    assert RULES[22].judge(theirs).status == "skipped"
    assert RULES[22].judge(replace(good, files=files, runs=runs)).status == "failed"


def test_onnx_that_was_asked_for_is_left_to_its_own_rule(good: Subject) -> None:
    both = changed(good, put(OLD_ONNX, "weights", "onnx"))

    assert RULES[29].judge(both).status == "passed"
    assert RULES[31].judge(both).status == "skipped"


@pytest.mark.parametrize("value", [None, 7, "text", [], {}, [None], {"axes": {"id": 1}}])
@pytest.mark.parametrize("key", ["inputs", "outputs", "weights", "config", "authors", "covers"])
def test_any_form_of_rdf_yaml_is_judged_by_every_rule(good: Subject, key: str, value: Any) -> None:
    strange = changed(good, put(value, key))

    statuses = {rule.judge(strange).status for rule in RULES.values()}

    assert statuses <= {"passed", "failed", "skipped"}
    assert isinstance(reason_not_to_run(strange, trust=True), str)


def test_a_fault_of_the_check_itself_is_no_verdict(good: Subject) -> None:
    def stop(_: Subject) -> str:
        raise PackageError("it changed")

    def trip(_: Subject) -> str:
        raise RuntimeError("padding of 3 rows")

    with pytest.raises(PackageError, match="it changed"):
        Rule(1, "title", stop).judge(good)
    assert "padding of 3 rows" in Rule(1, "title", trip).judge(good).message


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\x93NUMPY\x01\x00\x04\x00{'a\n", "no plain .npy"), (None, "of numbers")],
)
def test_a_test_tensor_that_is_no_array_of_numbers_is_not_run(
    good: Subject, content: bytes | None, words: str
) -> None:
    file = io.BytesIO()
    np.savez(file, np.ones(3))
    files = {**good.files, "test_input.npy": content or file.getvalue()}

    assert words in reason_not_to_run(replace(good, files=files), trust=True)


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ({"import_from": "monai", "callable": "UNet"}, "lies in the library monai"),
        ({"callable": "f"}, "cannot be read ('source' is missing)"),
        ("text", "cannot be read"),
    ],
)
def test_a_network_that_is_no_file_of_the_package_is_not_run(
    good: Subject, monkeypatch: pytest.MonkeyPatch, architecture: Any, words: str
) -> None:
    jobs: list[dict[str, Any]] = []
    monkeypatch.setattr(running, "_run", lambda job: jobs.append(job) or {})

    theirs = changed(good, put(architecture, *SD, "architecture"))
    runs = running.run_weights(theirs, trust=True)

    assert words in runs["why_not_compared"]
    assert not running.may_run_source(theirs, trust=True)
    assert "source" not in jobs[0]
    assert jobs[0]["state"] == "weights_state_dict.pth"
    assert jobs[1]["formats"] == ["torchscript"]


def test_readme_may_explain_layers_that_see_only_the_tile(good: Subject) -> None:
    readme = good.files["README.md"] + b"\nGroup normalisation sees only the tile.\n"
    files = {**good.files, "weights.pt": script_of(GroupNormNet()), "README.md": readme}

    assert RULES[20].judge(replace(good, files=files)).status == "passed"


def test_a_broken_package_fails_its_check_as_a_whole(
    good: Subject, repack: Repack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "run_weights", lambda *_: {"error": "Running failed."})
    content = copy.deepcopy(dict(good.content))
    put("0.5.12", "format_version")(content)

    report = check_package(repack({"rdf.yaml": to_yaml(content)}))

    assert not report.passed
    assert {1, 4} <= {finding.id for finding in report.failed}
