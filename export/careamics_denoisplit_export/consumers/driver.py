"""Run a package in bioimageio.core of any version: a script for environments without us.

The only argument is a job as `processes.ask` writes it. It knows the standard library, numpy and
what the task needs: "reader" the validator, "core" and "ilastik" bioimageio.core, "torch" torch.
"""

import contextlib
import importlib.metadata
import inspect
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Forward = Callable[[Any], Any]
"""Runs the network on an image (Y, X) and returns (C, Y, X)."""

_PACKAGES = ("bioimageio.core", "bioimageio.spec", "pydantic", "numpy", "torch")


def confine() -> None:
    """Refuse every connection: a check makes no network access."""

    def refuse(event: str, _arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
            # Libraries treat it as a server that does not answer.
            raise TimeoutError("checks make no network access")

    sys.addaudithook(refuse)


def versions() -> dict[str, str]:
    """Return the versions of what is installed here."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def refusals(description: Any) -> list[str]:
    """Return what the validator found wrong when it read the package."""
    summary = description.validation_summary
    if summary.status in ("passed", "valid-format"):
        return []
    told = [
        f"{'.'.join(map(str, error.loc))}: {error.msg}"
        for detail in summary.details
        for error in detail.errors
    ]
    return [f"the package is {summary.status}: {'; '.join(told)[:600]}"]


def examine(job: dict[str, Any], description: Any) -> list[str]:
    """Run bioimageio.core's own test of each format; return which failed."""
    from bioimageio.core import test_model

    problems = []
    for name in job["formats"]:
        options = {"determinism": job["determinism"]} if job.get("determinism") else {}
        summary = test_model(description, weight_format=name, **options)
        if summary.status != "passed":
            told = [error.msg for detail in summary.details for error in detail.errors]
            problems.append(f"its test of {name} says {summary.status}: {'; '.join(told)[:400]}")
    return problems


class Pipeline:
    """bioimageio.core's prediction with the packaged TorchScript."""

    def __init__(self, description: Any) -> None:
        from bioimageio.core import create_prediction_pipeline

        self.pipeline = create_prediction_pipeline(description, weight_format="torchscript")
        self.input: Any = description.inputs[0].id
        self.output: Any = description.outputs[0].id

    def sample(self, image: Any) -> Any:
        """Wrap an image (Y, X) as the package's input."""
        from bioimageio.core import Sample, Tensor

        tensor = Tensor.from_numpy(image[None, None], dims=("batch", "channel", "y", "x"))
        return Sample(members={self.input: tensor}, stat={}, id="image")

    def values(self, sample: Any) -> Any:
        """Unwrap the package's output (C, Y, X)."""
        return np.asarray(sample.members[self.output].data)[0]

    def whole(self, image: Any) -> Any:
        """Predict an image as it is, without padding."""
        method = self.pipeline.predict_sample_without_blocking
        known = inspect.signature(method).parameters
        options = {
            name: True for name in ("skip_input_padding", "skip_output_cropping") if name in known
        }
        return self.values(method(self.sample(image), **options))

    def blockwise(self, image: Any) -> Any:
        """Predict an image in the blocks that bioimageio.core chooses."""
        return self.values(self.pipeline.predict_sample_with_blocking(self.sample(image)))


def ilastik(image: Any, side: int, halo: int, forward: Forward) -> tuple[Any, int]:
    """Predict block by block as ilastik and tiktorch do.

    Blocks lie on a grid of side - 2 halo and are clipped by the image; halo, then an even
    extension to the whole tile, then reflection of what was read.
    """
    shape = np.array(image.shape)
    block = side - 2 * halo
    result, count = None, 0
    for origin in np.ndindex(*(-(-shape // block))):
        start = np.array(origin) * block
        stop = np.minimum(start + block, shape)
        upstream = np.array([start - halo, stop + halo])
        missing = side - (upstream[1] - upstream[0])
        upstream[0] -= (missing + 1) // 2
        upstream[1] += missing // 2
        wanted = np.array([start, stop]) - upstream[0]
        padding = [
            (max(0, -first), max(0, last - size))
            for first, last, size in zip(*upstream, shape)  # noqa: B905 - also runs on Python 3.9
        ]
        (y0, x0), (y1, x1) = np.maximum(upstream[0], 0), np.minimum(upstream[1], shape)
        tile = np.pad(image[y0:y1, x0:x1], padding, mode="reflect")
        if tile.shape != (side, side):
            raise ValueError(f"tiktorch takes tiles of {side} px only, got {tile.shape}")
        piece = forward(tile)
        if result is None:
            result = np.empty((len(piece), *image.shape), np.float32)
        (top, left), (bottom, right) = wanted
        result[:, start[0] : stop[0], start[1] : stop[1]] = piece[:, top:bottom, left:right]
        count += 1
    return result, count


def torch_forward(path: str) -> Forward:
    """Return a function that runs the TorchScript in this process."""
    import torch

    script = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]  # torch does not annotate it

    def forward(image: Any) -> Any:
        with torch.no_grad():
            return script(torch.from_numpy(image)[None, None])[0].numpy()

    return forward


def perform(job: dict[str, Any]) -> dict[str, Any]:
    """Do the task of a job; return what the reader refuses, what is wrong, what was predicted."""
    if job["task"] == "torch":
        forward = torch_forward(job["model"])
        return {"runs": [finish(run, forward(load(run)), 1) for run in job["runs"]]}
    from bioimageio.spec import load_description

    description = load_description(job["package"])
    refused = refusals(description)
    if refused or job["task"] == "reader":
        return {"refused": refused, "runs": []}
    problems = examine(job, description)
    pipeline = Pipeline(description)
    with pipeline.pipeline:
        return {"problems": problems, "runs": list(predicted(job["runs"], pipeline))}


def predicted(runs: list[dict[str, Any]], pipeline: Pipeline) -> Iterator[dict[str, int]]:
    """Predict the images of all runs, each with its tiles."""
    for run in runs:
        image = load(run)
        if run["tiles"] == "ilastik":
            result, count = ilastik(image, run["side"], run["halo"], pipeline.whole)
        elif run["tiles"] == "core":
            inner = run["side"] - 2 * run["halo"]
            result = pipeline.blockwise(image)
            count = int(np.prod([-(-size // inner) for size in image.shape]))
        else:
            result, count = pipeline.whole(image), 1
        yield finish(run, result, count)


def load(run: dict[str, Any]) -> Any:
    """Read the image of a run."""
    return np.fromfile(run["input"], "<f4").reshape(run["height"], run["width"])


def finish(run: dict[str, Any], result: Any, count: int) -> dict[str, int]:
    """Write the result of a run."""
    np.ascontiguousarray(result, "<f4").tofile(run["output"])
    return {"tiles": count, "channels": len(result)}


def main() -> None:
    """Do one job."""
    confine()
    job = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    report = {"versions": versions(), **perform(job)}
    pathlib.Path(job["report"]).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
