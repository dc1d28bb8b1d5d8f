"""Run a package's weights: a script for a process of its own, without network access.

Standard input holds a job written by `torch.save`, standard output the findings as JSON.
"""

import hashlib
import io
import json
import os
import sys
import types
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

MEMORY = 48 * 2**30
FILE_SIZE = 2**30
RELATIVE_TOLERANCE = 1e-4
STATISTICS = (
    *("input_gain", "input_offset", "input_mean", "input_std"),
    *("target_means", "target_stds"),
)


def confine() -> None:
    """Limit memory and file sizes where the system can, and refuse every connection."""
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        for kind, limit in (
            (resource.RLIMIT_AS, MEMORY),
            (resource.RLIMIT_FSIZE, FILE_SIZE),
            (resource.RLIMIT_CORE, 0),
        ):
            hard = resource.getrlimit(kind)[1]
            lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (lowest, hard))

    def refuse(event: str, _arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
            # Libraries treat it as a server that does not answer.
            raise TimeoutError("checks make no network access")

    sys.addaudithook(refuse)


def run_torch(job: dict[str, Any]) -> dict[str, Any]:
    """Run the TorchScript and, where its source is given, the eager network beside it.

    Parameters
    ----------
    job : dict
        `script` and `state` (bytes as uint8 tensors, or names of files in the package at `path`),
        `raw`, `expected`, `sizes`, and for a network that may be run also `source`, `callable` and
        `kwargs`.
    """
    raw, expected = job["raw"], job["expected"]
    script = torch.jit.load(_member(job, "script"), map_location="cpu")  # type: ignore[no-untyped-call]  # torch does not annotate it
    findings: dict[str, Any] = {"training": script.training}
    with torch.no_grad():
        try:
            output = script(raw)
        except RuntimeError as error:
            return {
                **findings,
                "error": f"The TorchScript fails on the test input: {last_line(error)}.",
            }
        findings["returned"] = type(output).__name__
        if not isinstance(output, Tensor):
            return {**findings, "error": f"The TorchScript returns a {type(output).__name__}."}
        findings["hash"] = digest(output)
        findings["torchscript_excess"] = excess(output, expected)
        state, problem = _state(job)
        network = None
        if not problem and "source" in job:
            network, problem = _network(job, state)
        findings |= {"state_problem": problem, "compared": network is not None}
        findings["statistics"] = {
            name: state[name].flatten().tolist() for name in STATISTICS if name in state
        }
        findings["sizes"] = {
            f"{height}x{width}": _at_size(script, network, resized(raw, height, width))
            for height, width in job["sizes"]
        }
    return findings


def run_again(job: dict[str, Any]) -> dict[str, Any]:
    """Run bioimageio.core's own test of each weight format, and hash the TorchScript's result.

    Parameters
    ----------
    job : dict
        `script` as in `run_torch`, `raw`, `expected`, the `path` of the package and the `formats`
        to test.
    """
    from bioimageio.core import test_model
    from bioimageio.core.backends.pytorch_backend import PytorchModelAdapter
    from bioimageio.core.backends.torchscript_backend import TorchscriptModelAdapter

    raw: Tensor = job["raw"]
    with (
        shared_runs(TorchscriptModelAdapter) as scripted,
        shared_runs(PytorchModelAdapter) as eager,
    ):
        statuses = {
            name: test_model(job["path"], weight_format=name).status for name in job["formats"]
        }
    findings: dict[str, Any] = {"bioimageio": statuses}
    if (networks := eager.get(_key([raw.numpy()]))) is not None:
        findings["state_dict_excess"] = excess(torch.from_numpy(networks[0]), job["expected"])
    outputs = scripted.get(_key([raw.numpy()]))
    if outputs is None:  # the test ended before it ran anything
        script = torch.jit.load(_member(job, "script"), map_location="cpu")  # type: ignore[no-untyped-call]  # torch does not annotate it
        with torch.no_grad():
            outputs = [script(raw).numpy()]
    return {**findings, "hash_again": digest(torch.from_numpy(outputs[0]))}


@contextmanager
def shared_runs(adapter: Any) -> Iterator[dict[str, list[Any]]]:
    """Let an adapter of bioimageio.core run the network once for each distinct input.

    Its test feeds the same image twice, once to compare the numbers and once the shapes.

    Parameters
    ----------
    adapter : type
        Class whose `_forward_impl(device, model, arrays)` runs one weight format.

    Yields
    ------
    dict
        Output arrays by the hash of the inputs.
    """
    forward = adapter._forward_impl
    known: dict[str, list[Any]] = {}

    def run(self: Any, device: Any, model: Any, input_arrays: Sequence[Any]) -> list[Any]:
        key = _key(input_arrays)
        if key not in known:
            known[key] = forward(self, device, model, input_arrays)
        return [None if each is None else each.copy() for each in known[key]]

    adapter._forward_impl = run
    try:
        yield known
    finally:
        adapter._forward_impl = forward


def _key(arrays: Sequence[Any]) -> str:
    state = hashlib.sha256()
    for array in arrays:
        state.update(b"-" if array is None else f"{array.dtype}{array.shape}".encode())
        state.update(b"" if array is None else array.tobytes())
    return state.hexdigest()


def digest(output: Tensor) -> str:
    """Hash of the bits of a tensor."""
    return hashlib.sha256(output.contiguous().numpy().tobytes()).hexdigest()


def excess(output: Tensor, expected: Tensor) -> float:
    """Largest |a - e| - 1e-4 |e|; infinite where the shapes differ or a number is NaN."""
    if output.shape != expected.shape:
        return 1e30
    beyond = (output - expected).abs() - RELATIVE_TOLERANCE * expected.abs()
    return float(beyond.max()) if bool(torch.isfinite(beyond).all()) else 1e30


def resized(raw: Tensor, height: int, width: int) -> Tensor:
    """Cut or reflect an image (1, 1, Y, X) to another size."""
    rows, columns = raw.shape[-2:]
    missing = [(0, 0)] * (raw.ndim - 2) + [(0, max(0, height - rows)), (0, max(0, width - columns))]
    # Unlike torch, numpy reflects as often as a small image needs.
    padded = torch.from_numpy(np.pad(raw.numpy(), missing, mode="reflect"))
    return padded[..., :height, :width].contiguous()


def last_line(error: Exception) -> str:
    """Return the line in which torch names what is wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")


def _at_size(script: Any, network: Any, image: Tensor) -> float | str:
    """Return how far the trace is from the network, in units of its range, or what failed."""
    try:
        output = script(image)
    except RuntimeError as error:
        return last_line(error)
    if output.shape[-2:] != image.shape[-2:]:
        return f"the result has {tuple(output.shape[-2:])} pixels"
    if network is None:
        return 0.0
    try:
        eager = network(image)
    except Exception as error:  # noqa: BLE001 - whatever the package's own code raises
        return f"the network of the state dict says {last_line(error)}"
    span = float(eager.abs().max())
    difference = float((output - eager).abs().max())
    return difference / max(span, 1e-12)


def _state(job: dict[str, Any]) -> tuple[dict[str, Tensor], str]:
    if "state" not in job:
        return {}, ""
    try:
        state = torch.load(_member(job, "state"), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's file makes torch raise
        return {}, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        return {}, "it is no plain dict of tensors"
    return state, ""


def _network(job: dict[str, Any], state: dict[str, Tensor]) -> tuple[Any, str]:
    module = types.ModuleType("denoisplit_architecture")
    sys.modules[module.__name__] = module
    try:
        exec(compile(job["source"], "architecture.py", "exec"), module.__dict__)  # noqa: S102 - trusted
        network = getattr(module, job["callable"])(**json.loads(job["kwargs"]))
        network.load_state_dict(state)
        return network.eval(), ""
    except Exception as error:  # noqa: BLE001 - whatever the package's own code raises
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _member(job: dict[str, Any], key: str) -> io.BytesIO:
    """Return a file that the job holds, or names in the package."""
    if isinstance(job[key], Tensor):
        return io.BytesIO(job[key].numpy().tobytes())
    with zipfile.ZipFile(job["path"]) as archive:
        return io.BytesIO(archive.read(job[key]))


def main() -> None:
    """Run one job from standard input."""
    # What libraries print must not mix with the findings.
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = torch.load(io.BytesIO(sys.stdin.buffer.read()), weights_only=True)
    confine()
    torch.set_num_threads(job["threads"])
    findings = run_torch(job) if job["kind"] == "torch" else run_again(job)
    json.dump(findings, results)
    results.close()


if __name__ == "__main__":
    main()
