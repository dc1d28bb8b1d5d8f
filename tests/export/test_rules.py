"""Every rule: a good package keeps it, and one fault breaks it."""

import copy
import gc
import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from careamics_denoisplit.files import load_yaml
from careamics_denoisplit_export import Report, check_package
from careamics_denoisplit_export.rdf import to_yaml
from careamics_denoisplit_export.rules import probe, running, testing
from careamics_denoisplit_export.rules.findings import RULES, Finding
from careamics_denoisplit_export.rules.page import to_html
from careamics_denoisplit_export.rules.subject import Subject, open_subject

Content = dict[str, Any]
Repack = Callable[[Mapping[str, bytes | None]], Path]

SKIPPED = {3, 25, 35}
"""Rules of which a part needs engines or environments of their own."""


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def axis(content: Content, tensor: str, name: str) -> Content:
    found: Content = next(a for a in content[tensor][0]["axes"] if a["id"] == name)
    return found


def put(value: Any, *path: Any) -> Callable[[Content], None]:
    """A fault: another value at a place in rdf.yaml."""

    def change(content: Content) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


def drop(*path: Any) -> Callable[[Content], None]:
    """A fault: a key is missing."""

    def change(content: Content) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


def on_axis(tensor: str, name: str, key: str, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        axis(content, tensor, name)[key] = value

    return change


IN, OUT = ("inputs", 0), ("outputs", 0)
TS, SD = ("weights", "torchscript"), ("weights", "pytorch_state_dict")

FAULTS: list[tuple[int, str, Callable[[Content], None]]] = [
    (1, "a newer format", put("0.5.12", "format_version")),
    (2, "documentation as an object", put({"source": "README.md"}, "documentation")),
    (2, "a cover as an object", put([{"source": "cover.png"}], "covers")),
    (2, "a license as a list", put(["MIT"], "license")),
    (3, "a key of 0.5.10", put(True, *SD, "strict")),
    (3, "an operation of later formats", put([{"id": "custom"}], *OUT, "postprocessing")),
    (4, "documents rewritten by the library", put({"source": "README.md"}, "documentation")),
    (5, "no description", put("", "description")),
    (5, "no author", put([], "authors")),
    (5, "a name with a slash", put("er/actin", "name")),
    (5, "a name that Fiji reserves", put("Stardist like", "name")),
    (6, "an address as source", put("https://example.org/w.pt", *TS, "source")),
    (6, "an absolute path as source", put("/etc/hosts", *SD, "source")),
    (7, "no id", drop("id")),
    (7, "config.bioimageio", put({}, "config", "bioimageio")),
    (8, "config.deepimagej", put({"allow_tiling": True}, "config", "deepimagej")),
    (9, "run_mode", put({"name": "deepimagej"}, "run_mode")),
    (9, "a null", put(None, *SD, "architecture", "kwargs", "prior_size")),
    (9, "a large integer", put(2**31, *SD, "architecture", "kwargs", "seed")),
    (10, "two outputs", lambda content: content["outputs"].append(content["outputs"][0])),
    (12, "axes in another order", lambda content: content["inputs"][0]["axes"].reverse()),
    (12, "another axis id", on_axis("outputs", "y", "id", "row")),
    (13, "a name that is no identifier", on_axis("inputs", "channel", "channel_names", ["a-b"])),
    (13, "too few names", on_axis("outputs", "channel", "channel_names", ["er", "actin"])),
    (13, "a name twice", on_axis("outputs", "channel", "channel_names", ["er"] * 4)),
    (14, "no batch size", lambda content: axis(content, "inputs", "batch").pop("size")),
    (15, "a parameterised size", on_axis("inputs", "y", "size", {"min": 64, "step": 64})),
    (15, "another size", on_axis("inputs", "x", "size", 256)),
    (16, "no offset", on_axis("outputs", "y", "size", {"tensor_id": "raw", "axis_id": "y"})),
    (16, "a fixed output size", on_axis("outputs", "x", "size", 512)),
    (17, "a unit", on_axis("inputs", "y", "unit", "micrometer")),
    (17, "a scale", on_axis("outputs", "x", "scale", 0.5)),
    (19, "unequal halos", on_axis("outputs", "x", "halo", 64)),
    (19, "a halo off the stride", on_axis("outputs", "y", "halo", 33)),
    (21, "another type", put("float64", *OUT, "data", "type")),
    (21, "a second step", lambda c: c["inputs"][0]["preprocessing"].append({"id": "clip"})),
    (28, "TorchScript with another ending", put("README.md", *TS, "source")),
    (28, "one file for both formats", put("weights.pt", *SD, "source")),
    (29, "two roots", drop(*TS, "parent")),
    (29, "a parent that is absent", put("onnx", *TS, "parent")),
    (30, "a callable that is not defined", put("build", *SD, "architecture", "callable")),
    (31, "a new ONNX", put({"source": "a", "opset_version": 20, "parent": "x"}, "weights", "onnx")),
    (34, "a tolerance", put({"reproducibility_tolerance": [{}]}, "config", "bioimageio")),
    (36, "a sample tensor", put({"source": "test_input.npy"}, *IN, "sample_tensor")),
    (37, "a local version", put("2.7.1+cpu", *TS, "pytorch_version")),
    (37, "a release that nobody reviewed", put("2.99.0", *SD, "pytorch_version")),
    (38, "a wrong hash", put("0" * 64, *SD, "sha256")),
    (38, "no hash", drop(*IN, "test_tensor", "sha256")),
]


@pytest.fixture(scope="module")
def good(package: Any) -> Subject:
    """The good package, opened but not run."""
    return open_subject(package.path)


def judge(subject: Subject, number: int) -> Finding:
    return RULES[number].judge(subject)


def changed(subject: Subject, **files: bytes) -> Subject:
    """The same package with other files; names are given with `__` for a dot."""
    named = {name.replace("__", "."): data for name, data in files.items()}
    return replace(subject, files={**subject.files, **named})


def test_there_are_39_rules() -> None:
    assert sorted(RULES) == list(range(1, 40))


def test_a_good_package_keeps_every_rule(report: Report) -> None:
    assert [(finding.id, finding.message) for finding in report.failed] == []
    assert report.passed
    assert {finding.id for finding in report.findings if finding.status == "skipped"} == SKIPPED
    assert report.skipped == len(SKIPPED)


def test_the_report_has_the_keys_that_scripts_read(report: Report) -> None:
    read = json.loads(json.dumps(report.to_dict()))

    assert list(read) == ["package", "sha256", "passed", "skipped", "rules", "consumers"]
    assert list(read["rules"][0]) == ["id", "title", "status", "message"]
    assert read["sha256"] == hashlib.sha256(Path(read["package"]).read_bytes()).hexdigest()
    assert read["consumers"] == []


@pytest.mark.parametrize(
    ("number", "fault"), [(n, f) for n, _, f in FAULTS], ids=[f"{n}-{t}" for n, t, _ in FAULTS]
)
def test_one_fault_breaks_its_rule(
    good: Subject, number: int, fault: Callable[[Content], None]
) -> None:
    content = copy.deepcopy(dict(good.content))
    fault(content)
    broken = replace(good, content=content, files={**good.files, "rdf.yaml": to_yaml(content)})

    finding = judge(broken, number)

    assert judge(good, number).status in ("passed", "skipped")
    assert finding.status == "failed", finding
    assert finding.message.endswith((".", "`", "?"))


@pytest.mark.parametrize(
    ("number", "name", "data"),
    [
        (6, "second.yaml", b"a: 1\n"),
        (6, "folder/weights.pt", b"x"),
        (18, "test_output.npy", npy(np.ones((1, 4, 256, 512), np.float32))),
        (30, "architecture.py", b"import monai\ndef build_graph(): ...\n"),
        (30, "architecture.py", b"def build_graph(:\n"),
        (32, "test_input.npy", npy(np.ones((1, 1, 256, 512), np.float32))),
        (32, "test_input.npy", npy(np.ones((1, 1, 512, 512)))),
        (33, "test_output.npy", npy(np.full((1, 4, 512, 512), 1e-3, np.float32))),
        (33, "test_output.npy", npy(np.full((1, 4, 512, 512), -5.0, np.float32))),
        (33, "test_output.npy", npy(np.full((1, 4, 512, 512), np.nan, np.float32))),
        (35, "test_output.npy", npy(np.tile([9e3, 1e-3], (1, 4, 512, 256)).astype(np.float32))),
        (38, "cover.png", None),
    ],
)
def test_one_wrong_file_breaks_its_rule(
    good: Subject, number: int, name: str, data: bytes | None
) -> None:
    if data is None:  # a file with a slot for its hash
        name, data = "architecture.py", b"changed"

    finding = judge(replace(good, files={**good.files, name: data}), number)

    assert finding.status == "failed", finding


def test_an_exponent_in_the_text_breaks_rule_9(good: Subject) -> None:
    text = good.files["rdf.yaml"].replace(b"n_samples: 8", b"n_samples: 8e0", 1)
    assert text != good.files["rdf.yaml"]

    finding = judge(changed(good, rdf__yaml=text), 9)

    assert finding.status == "failed"
    assert "8e0" in finding.message


@pytest.mark.parametrize(
    ("number", "runs"),
    [
        (11, {"returned": "tuple"}),
        (22, {"statistics": {"input_mean": [0.0], "input_std": [1.0]}}),
        (23, {"hash": "a", "hash_again": "b"}),
        (24, {"training": True}),
        (27, {"sizes": {"448x448": 0.0, "576x576": 0.3, "512x768": 0.0}, "compared": True}),
        (27, {"sizes": {"448x448": 0.0, "576x576": "shapes differ", "512x768": 0.0}}),
        (30, {"state_problem": "missing key", "compared": False}),
        (32, {"torchscript_excess": 0.5}),
        (34, {"bioimageio": {"torchscript": "valid-format", "pytorch_state_dict": "passed"}}),
        (34, {"bioimageio": {"torchscript": "passed"}, "torchscript_excess": 1.0}),
        (11, {"error": "Running the weights failed: it crashed"}),
    ],
)
def test_what_a_run_shows_breaks_its_rule(good: Subject, number: int, runs: dict[str, Any]) -> None:
    assert judge(good, number).status == "skipped"
    assert judge(replace(good, runs=runs), number).status == "failed"


@pytest.mark.parametrize(("name", "found"), [("bioimageio.core", "0.10.2"), ("pydantic", "2.14.1")])
def test_another_validator_breaks_rule_39(
    good: Subject, monkeypatch: pytest.MonkeyPatch, name: str, found: str
) -> None:
    real = testing.version
    monkeypatch.setattr(testing, "version", lambda asked: found if asked == name else real(asked))

    finding = judge(good, 39)

    assert finding.status == "failed"
    assert name in finding.message


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
        return x + torch.randn_like(x)


class OnOneDevice(torch.nn.Module):
    """A network in whose trace the device is fixed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.arange(x.shape[-1], device=x.device)


def script_of(network: torch.nn.Module) -> bytes:
    file = io.BytesIO()
    traced = torch.jit.trace(network.eval(), torch.ones(1, 1, 8, 8), check_trace=False)
    torch.jit.save(traced, file)
    return file.getvalue()


def renamed(archive: bytes, old: bytes, new: bytes, only: str = ".py") -> bytes:
    """A TorchScript archive with other text in its code, or another version."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, data.replace(old, new) if name.endswith(only) else data)
    return target.getvalue()


@pytest.mark.parametrize(
    ("number", "make"),
    [
        (20, lambda _: script_of(GroupNormNet())),
        (23, lambda _: script_of(Noisy())),
        (24, lambda _: script_of(OnOneDevice())),
        (25, lambda _: script_of(Noisy())),
        (25, lambda good: renamed(good, b"4", b"11", "/version")),
        (25, lambda good: renamed(good, b"torch.cos(", b"torch.from_file(")),
        (25, lambda good: renamed(good, b"def forward1(", b"def __setstate__(")),
        (25, lambda good: good[: len(good) // 2]),
        (26, lambda good: renamed(good, b"class ExportGraph(", b"class <run_path>(")),
    ],
)
def test_another_torchscript_breaks_its_rule(
    good: Subject, number: int, make: Callable[[bytes], bytes]
) -> None:
    runs = {"training": False}

    assert judge(replace(good, runs=runs), number).status != "failed"
    broken = replace(changed(good, weights__pt=make(good.files["weights.pt"])), runs=runs)
    assert judge(broken, number).status == "failed"


def test_readme_may_explain_layers_that_see_only_the_tile(good: Subject) -> None:
    readme = good.files["README.md"] + b"\nGroup normalisation sees only the tile.\n"
    subject = changed(good, weights__pt=script_of(GroupNormNet()), README__md=readme)

    assert judge(subject, 20).status == "passed"


def job(network: torch.nn.Module, state: bytes | None = None) -> dict[str, Any]:
    raw = torch.rand(1, 1, 8, 8)
    made = {"script": as_tensor(script_of(network)), "raw": raw, "expected": raw, "sizes": [[6, 9]]}
    return made if state is None else {**made, "state": as_tensor(state)}


def as_tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def test_a_run_reports_what_the_network_returns() -> None:
    findings = probe.run_torch(job(Pair()))

    assert findings["returned"] == "tuple"
    assert "error" in findings


def test_a_run_reports_a_size_that_was_fixed_in_the_trace() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(1, 1, 64)[..., :8].reshape(1, 1, 1, 8) + x

    findings = probe.run_torch(job(Fixed()))

    assert isinstance(findings["sizes"]["6x9"], str)


def test_a_run_for_bioimageio_is_shared_by_equal_inputs_only() -> None:
    class Adapter:
        count = 0

        def _forward_impl(self, device: str, model: str, arrays: Sequence[Any]) -> list[Any]:
            Adapter.count += 1
            return [2 * arrays[0]]

    original = Adapter._forward_impl
    image = np.arange(4, dtype=np.float32)
    with probe.shared_runs(Adapter) as known:
        first = Adapter()._forward_impl("cpu", "network", [image])
        first[0][:] = 0  # whoever gets a result may change it
        again = Adapter()._forward_impl("cpu", "network", [image.copy()])
        assert Adapter.count == 1
        Adapter()._forward_impl("cpu", "network", [image.reshape(2, 2)])
        Adapter()._forward_impl("cpu", "network", [image + 1])

    assert Adapter.count == len(known) == 3
    assert np.array_equal(again[0], 2 * image)
    assert Adapter._forward_impl is original


# bioimageio.core leaves the zip open, which matters to no process that ends after its test.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_second_process_runs_each_weight_format_once(
    good: Subject, package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioimageio.core.backends.pytorch_backend import PytorchModelAdapter
    from bioimageio.core.backends.torchscript_backend import TorchscriptModelAdapter

    runs = []
    for adapter in (PytorchModelAdapter, TorchscriptModelAdapter):

        def count(*arguments: Any, forward: Any = adapter._forward_impl) -> list[Any]:
            runs.append(forward)
            outputs: list[Any] = forward(*arguments)
            return outputs

        monkeypatch.setattr(adapter, "_forward_impl", count)
    raw = torch.from_numpy(good.array(good.input))
    formats = ["torchscript", "pytorch_state_dict"]
    script = as_tensor(good.files["weights.pt"])

    findings = probe.run_again(
        {"script": script, "raw": raw, "path": str(package.path), "formats": formats}
    )

    assert len(runs) == 2
    assert findings["bioimageio"] == dict.fromkeys(formats, "passed")
    with torch.no_grad():
        expected = torch.jit.load(io.BytesIO(good.files["weights.pt"]))(raw)
    assert findings["hash_again"] == probe.digest(expected)
    gc.collect()


def test_threads_of_a_run_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    def run(*_: Any, env: dict[str, str], **__: Any) -> subprocess.CompletedProcess[bytes]:
        seen.update(env)
        return subprocess.CompletedProcess([], 0, b"{}", b"")

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(running.subprocess, "run", run)

    assert running._run({}) == {}
    assert seen["OMP_WAIT_POLICY"] == "PASSIVE"


def test_g1_a_state_dict_with_code_is_reported_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    file = io.BytesIO()
    torch.save({"weight": Payload()}, file)

    findings = probe.run_torch(job(OnOneDevice(), file.getvalue()))

    assert findings["state_problem"]
    assert not marker.exists()


def test_g5_a_torchscript_with_foreign_code_is_not_loaded(repack: Repack, good: Subject) -> None:
    foreign = renamed(good.files["weights.pt"], b"torch.cos(", b"torch.from_file(")
    content = copy.deepcopy(dict(good.content))
    content["weights"]["torchscript"]["sha256"] = hashlib.sha256(foreign).hexdigest()
    path = repack({"weights.pt": foreign, "rdf.yaml": to_yaml(content)})

    findings = {finding.id: finding for finding in check_package(path).findings}

    assert findings[25].status == "failed"
    assert "from_file" in findings[25].message
    assert findings[32].status == "skipped"
    assert "--trust" in findings[32].message


def test_g7_a_file_outside_the_zip_is_not_read(repack: Repack, good: Subject) -> None:
    content = copy.deepcopy(dict(good.content))
    content["attachments"].append({"source": "../secret"})

    findings = {f.id: f for f in check_package(repack({"rdf.yaml": to_yaml(content)})).findings}

    assert findings[6].status == "failed"
    assert "../secret" in findings[6].message
    assert findings[34].status == "skipped"


def test_the_page_escapes_what_a_package_says(report: Report) -> None:
    evil = replace(report.findings[0], message="<script>alert(1)</script>", status="failed")

    page = to_html(replace(report, findings=(evil,)))

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "Failed" in page


def test_rdf_yaml_reads_the_same_in_both_versions_of_yaml(good: Subject) -> None:
    text = good.files["rdf.yaml"].decode()

    assert yaml.safe_load(text) == load_yaml(text)
