"""The images that published models are trained and scored on, split as their README fixes it."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from jaxtyping import Shaped

from careamics_denoisplit.errors import DataError, FaultError

NF1_FIELDS: Mapping[str, tuple[str, ...]] = {
    "train": ("B7", "D6", "D7"),
    "val": ("F7",),
    "test": ("H12",),
}
"""Fields of nf1_er_actin."""

HAGEN_ROWS: Mapping[str, tuple[int, int]] = {
    "train": (0, 1280),
    "val": (1280, 1536),
    "test": (1536, 2048),
}
"""Rows of the 20x images of hagen_actin_mito."""


class Part(NamedTuple):
    """Files of training, validation or test."""

    noisy: dict[str, list[Path]]
    """Noisy images of each channel."""
    truth: dict[str, list[Path]]
    """The same fields with little noise, or none."""
    mixture: list[Path]
    """Means of the noisy channels."""

    @property
    def files(self) -> list[Path]:
        """All files."""
        groups = [*self.noisy.values(), *self.truth.values(), self.mixture]
        return [path for group in groups for path in group]


class Fields(NamedTuple):
    """All files of one model."""

    train: Part
    val: Part
    test: Part
    third: Path | None = None
    """A clean image of a structure that the model does not know, of the size of the test field."""

    @property
    def files(self) -> list[Path]:
        """All files."""
        third = [] if self.third is None else [self.third]
        return [*self.train.files, *self.val.files, *self.test.files, *third]


def noisy_nf1(shared: Path, folder: Path) -> Fields:
    """Add the noise of protocol N2 to ER and nuclei; what is there already is kept.

    Parameters
    ----------
    shared : pathlib.Path
        Folder of the shared images.
    folder : pathlib.Path
        Where the noisy ones are written.

    Raises
    ------
    DataError
        If the images are not there.
    FaultError
        If the script beside them fails.
    """
    names = ("er", "nuclei")
    parts = {
        part: Part(
            {name: [folder / f"{field}_{name}_noisy.tif" for field in fields] for name in names},
            {name: [folder / f"{field}_{name}_clean.tif" for field in fields] for name in names},
            [folder / f"{field}_mixture.tif" for field in fields],
        )
        for part, fields in NF1_FIELDS.items()
    }
    third = folder / "H12_actin_clean.tif"
    fields = Fields(parts["train"], parts["val"], parts["test"], third)
    if all(path.is_file() for path in fields.files):
        return fields
    script = shared / "make_noisy.py"
    source = shared / "nf1_er_actin" / "H12_actin.tif"
    _require([script, source])
    noise = ["--pair", *names, "--sigma", "1", "--poisson", "50", "--out", str(folder)]
    done = subprocess.run([sys.executable, str(script), *noise], check=False)  # noqa: S603 - the script of the shared images
    if done.returncode:
        raise FaultError(f"{script} failed with exit code {done.returncode}.")
    # The script's own unit: 20 counts for each gray value, above an offset of 200.
    tifffile.imwrite(third, tifffile.imread(source).astype(np.float32) * 20 + 200)
    return fields


def rows_of_hagen(shared: Path, folder: Path) -> Fields:
    """Cut the 20x images of actin and mitochondria into their rows; what is there is kept.

    Parameters
    ----------
    shared : pathlib.Path
        Folder of the shared images.
    folder : pathlib.Path
        Where the parts are written.

    Raises
    ------
    DataError
        If the images are not there.
    """
    names, source = ("actin", "mito"), shared / "hagen_actin_mito"
    parts = {
        part: Part(
            {name: [folder / f"{part}_{name}_low.tif"] for name in names},
            {name: [folder / f"{part}_{name}_high.tif"] for name in names},
            [folder / f"{part}_mixture.tif"],
        )
        for part in HAGEN_ROWS
    }
    fields = Fields(parts["train"], parts["val"], parts["test"])
    if all(path.is_file() for path in fields.files):
        return fields
    whole = {
        (name, light): source / f"20x_{name}_{light}.tif"
        for name in names
        for light in ("low", "high")
    }
    _require(list(whole.values()))
    images = {key: tifffile.imread(path) for key, path in whole.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for part, (first, end) in HAGEN_ROWS.items():
        for (name, light), image in images.items():
            tifffile.imwrite(folder / f"{part}_{name}_{light}.tif", image[first:end])
        low = np.stack([images[name, "low"][first:end] for name in names])
        tifffile.imwrite(folder / f"{part}_mixture.tif", _mean(low))
    return fields


def _mean(channels: Shaped[np.ndarray, "c y x"]) -> Shaped[np.ndarray, "y x"]:
    mixed: np.ndarray = channels.mean(axis=0, dtype=np.float32)
    return mixed


def _require(paths: Sequence[Path]) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"There is no {missing[0]}. Name the folder of the shared images with --data."
        )
