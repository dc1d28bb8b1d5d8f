"""The process that runs a package's weights, called here in this process."""

import gc
import io
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from careamics_denoisplit_export.rules import probe, running
from careamics_denoisplit_export.rules.subject import open_subject


class Plain(torch.nn.Module):
    """A network that runs at any size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


class Pair(torch.nn.Module):
    """A network that returns two tensors."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def script_of(network: torch.nn.Module) -> bytes:
    file = io.BytesIO()
    traced = torch.jit.trace(network.eval(), torch.ones(1, 1, 8, 8), check_trace=False)
    torch.jit.save(traced, file)
    return file.getvalue()


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


def test_a_small_image_is_reflected_as_often_as_a_size_needs() -> None:
    raw = torch.rand(1, 1, 8, 8)

    larger = probe.resized(raw, 30, 20)

    assert larger.shape == (1, 1, 30, 20)
    expected = np.pad(raw.numpy(), [(0, 0), (0, 0), (0, 22), (0, 12)], mode="reflect")
    assert np.array_equal(larger.numpy(), expected)


def test_a_network_that_fails_on_the_test_input_is_reported() -> None:
    class Picky(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(8, 8)

    findings = probe.run_torch({**job(Picky()), "raw": torch.rand(1, 1, 6, 9)})

    assert findings["error"].startswith("The TorchScript fails on the test input: ")


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
    package: Any, monkeypatch: pytest.MonkeyPatch
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
    good = open_subject(package.path)
    raw = torch.from_numpy(good.array(good.input))
    formats = ["torchscript", "pytorch_state_dict"]
    script = as_tensor(good.files["weights.pt"])

    findings = probe.run_again(
        {
            "script": script,
            "raw": raw,
            "expected": torch.from_numpy(good.array(good.output)),
            "path": str(package.path),
            "formats": formats,
        }
    )

    assert len(runs) == 2
    assert findings["bioimageio"] == dict.fromkeys(formats, "passed")
    assert findings["state_dict_excess"] <= 1.5e-4
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

    findings = probe.run_torch(job(Plain(), file.getvalue()))

    assert findings["state_problem"]
    assert not marker.exists()
