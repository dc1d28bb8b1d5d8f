"""What consumers are compared with: a package's TorchScript in our own torch, and its images."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.images import as_float32, read_images
from careamics_denoisplit_export.consumers.comparing import Planes, Tiles
from careamics_denoisplit_export.consumers.processes import Run
from careamics_denoisplit_export.consumers.python import ask_python
from careamics_denoisplit_export.rules.subject import Subject

IMAGE_SIDE = 2048
"""Side in pixels of the image that every consumer predicts in its own tiles."""

Forward = Callable[[Tiles], list[Planes]]
"""Runs the network on images (Y, X) and returns its output channels (C, Y, X) for each."""


def first_plane(path: Path) -> Float[np.ndarray, "y x"]:
    """Read the first channel of the first plane of an image.

    Parameters
    ----------
    path : pathlib.Path
        Image in any format that prediction reads.

    Raises
    ------
    DataError
        If there is no image that can be read.
    """
    image = next(iter(read_images(path)))
    leading = {dim: 0 for dim in image.data.dims if dim not in ("y", "x")}
    return as_float32(image.data.isel(leading), image.name)


def tested_plane(subject: Subject) -> Float[np.ndarray, "_ _"]:
    """Return the packaged test input as an image (Y, X).

    Raises
    ------
    ConfigurationError
        If it is not one channel.
    """
    array = subject.array(subject.input)
    if array.ndim != 4 or array.shape[:2] != (1, 1):
        raise ConfigurationError(
            f"Consumers are given one channel, but the test input has shape {array.shape}."
        )
    plane: np.ndarray = array[0, 0].astype(np.float32)
    return plane


def continued(plane: Float[np.ndarray, "_ _"]) -> Float[np.ndarray, "_ _"]:
    """Continue an image by reflection to `IMAGE_SIDE` at each side; larger ones stay."""
    return np.pad(plane, [(0, max(0, IMAGE_SIDE - size)) for size in plane.shape], "symmetric")


def declared_tile(subject: Subject) -> tuple[int, int]:
    """Return side and halo in pixels that a package declares.

    Raises
    ------
    ConfigurationError
        If they are not one fixed size and one halo.
    """
    # A size may also be a mapping.
    side, width = (subject.axis(subject.input, axis).get("size") for axis in "yx")
    halo, other = (subject.axis(subject.output, axis).get("halo", 0) for axis in "yx")
    same = (side, halo) == (width, other)
    if same and isinstance(side, int) and isinstance(halo, int) and 0 <= 2 * halo < side:
        return side, halo
    raise ConfigurationError(
        "Consumers are compared on square tiles of one fixed size and one halo below half of it, "
        "which this package does not declare (rules 15 and 19). Export again."
    )


def channel_names(subject: Subject) -> tuple[str, ...]:
    """Return the names of the output channels."""
    return tuple(map(str, subject.axis(subject.output, "channel")["channel_names"]))


def write_weights(subject: Subject, folder: Path) -> Path:
    """Write the TorchScript as it was checked; the package's file may have changed since."""
    weights = folder / "weights.pt"
    script = subject.opened(subject.weights["torchscript"]["source"])
    with script as source, weights.open("wb") as target:
        shutil.copyfileobj(source, target)
    return weights


def reference_forward(weights: Path) -> Forward:
    """Return a function that runs a TorchScript in our torch, each call in a process of its own.

    Parameters
    ----------
    weights : pathlib.Path
        The archive.
    """

    def forward(tiles: Tiles) -> list[Planes]:
        runs = [Run(str(number), tile, "whole", 0, 0) for number, tile in enumerate(tiles)]
        job = {"task": "torch", "model": str(weights)}
        answer = ask_python(Path(sys.executable), job, runs)
        return [answer.outputs[run.name] for run in runs]

    return forward
