"""Decide what of a package may be run, and run it in processes of its own."""

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from careamics_denoisplit.errors import DenoiSplitError
from careamics_denoisplit_export.architecture import architecture_source
from careamics_denoisplit_export.package import copy_members
from careamics_denoisplit_export.rules import probe
from careamics_denoisplit_export.rules.findings import BrokenError, words_of
from careamics_denoisplit_export.rules.subject import Subject
from careamics_denoisplit_export.rules.weights import SIZES

TIME_LIMIT = 3600.0
"""Seconds after which a process is stopped."""

_UNKNOWN_ARCHITECTURE = (
    "The architecture is not the file that this version writes, so it was not run; pass `--trust` "
    "to run it, if you trust its author"
)


def reason_not_to_run(subject: Subject, trust: bool) -> str:
    """Say why the weights of a package must not be loaded; empty where they may.

    Parameters
    ----------
    subject : Subject
        The package.
    trust : bool
        Whether the user answers for it.
    """
    outside = [source for source in subject.sources() if source not in subject.files]
    if outside:
        return "rdf.yaml names files outside the zip (rule 6)"
    try:
        refused = subject.script.refused
        subject.array(subject.input)
        subject.array(subject.output)
    except (DenoiSplitError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's yaml may hold anything
        return f"test tensors or TorchScript cannot be read ({words_of(error)})"
    if refused and not trust:
        return (
            f"the TorchScript holds what was never tested ({', '.join(refused[:3])}, rule 25); "
            "loading it could execute it: look at it, then pass `--trust`"
        )
    return ""


def run_weights(subject: Subject, trust: bool) -> dict[str, Any]:
    """Run both weight formats and bioimageio.core's test in two processes.

    Parameters
    ----------
    subject : Subject
        A package for which `reason_not_to_run` is empty.
    trust : bool
        Whether an unknown `architecture.py` may be run, too.

    Returns
    -------
    dict
        Findings of `probe`; `error` where a process failed.
    """
    job: dict[str, Any] = {
        "script": subject.member(subject.weights["torchscript"]["source"]),
        "raw": _tensor(subject.array(subject.input)),
        "expected": _tensor(subject.array(subject.output)),
        "threads": torch.get_num_threads(),
    }
    first = {
        **job,
        "kind": "torch",
        "sizes": [list(size) for size in SIZES],
    }
    network, why_not_compared = _eager_network(subject, trust)
    formats = ["torchscript", *(["pytorch_state_dict"] if "source" in network else [])]
    first |= network
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # The bytes that were checked, not the file, which may have changed since.
        path = Path(folder) / "package.zip"
        copy_members(subject.files, path)
        findings = _run({**first, "path": str(path)})
        findings["why_not_compared"] = why_not_compared
        if "error" in findings:
            return findings
        return findings | _run({**job, "kind": "again", "path": str(path), "formats": formats})


def may_run_source(subject: Subject, trust: bool) -> bool:
    """Say whether the package has a source file of its network that may be run.

    Parameters
    ----------
    subject : Subject
        The package.
    trust : bool
        Whether the user answers for a file that this version does not write.
    """
    return "source" in _eager_network(subject, trust)[0]


def _eager_network(subject: Subject, trust: bool) -> tuple[dict[str, str], str]:
    """Return what `probe` needs of the state dict, or why it is not compared."""
    entry = subject.weights.get("pytorch_state_dict")
    if entry is None:
        return {}, "There is no state dict to compare it with."
    job = {}
    try:
        job["state"] = subject.member(entry["source"])
        architecture = entry["architecture"]
        if "import_from" in architecture:
            library = architecture["import_from"]
            return job, f"The architecture lies in the library {library}, which is not run."
        source = subject.text(architecture["source"])
        if not trust and source != architecture_source().encode():
            return job, f"{_UNKNOWN_ARCHITECTURE}."
        network = {
            "source": source.decode(),
            "callable": architecture["callable"],
            "kwargs": json.dumps(architecture.get("kwargs") or {}),
        }
    except (BrokenError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        return job, f"The architecture cannot be read ({words_of(error)})."
    return job | network, ""


def _run(job: dict[str, Any]) -> dict[str, Any]:
    content = io.BytesIO()
    torch.save(job, content)
    # Devices of this machine play no part, and -P keeps our folder from shadowing modules. Threads
    # that wait sleep: spinning, they burn the time of others where the cores are shared.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "CUDA_VISIBLE_DEVICES": ""}
    try:
        process = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-P", str(Path(probe.__file__))],
            input=content.getvalue(),
            capture_output=True,
            check=False,
            env=environment,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"Running the weights took more than {TIME_LIMIT:.0f} s."}
    if process.returncode != 0:
        lines = process.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        return {"error": f"Running the weights failed: {lines[-1][:400]}"}
    findings: dict[str, Any] = json.loads(process.stdout)
    return findings


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
