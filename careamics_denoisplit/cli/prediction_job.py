"""What `denoisplit predict` does to each image; loaded only when it runs."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from careamics_denoisplit.calibration import estimator_name
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import require_absent, write_whole
from careamics_denoisplit.images import Image, output_stems, read_images
from careamics_denoisplit.prediction import (
    Estimator,
    Precision,
    Tiling,
    Workload,
    predict_stack,
    reduced_type,
    sample_stack,
    tiles_of,
    whole_image,
)
from careamics_denoisplit.prediction.tool_tiling import tool_tiling
from careamics_denoisplit.tile_plans import Tool, package_halo
from careamics_denoisplit.training.hardware import choose_device

AUTO = "auto"
ENDINGS = {"tiff": ".ome.tif", "zarr": ".ome.zarr"}


@dataclass(frozen=True)
class TileOptions:
    """Options about tiles as they were typed; "auto" or a whole number."""

    plan: Literal["auto", "whole"] | Tool = "auto"
    """Tiles where memory asks for them, always whole images, or the tiles of a tool."""
    tile: str = AUTO
    """Side of a tile in pixels."""
    overlap: str = AUTO
    """Pixels that neighbouring tiles share."""
    batch: str = AUTO
    """Tiles that are computed together."""

    def tiling(self, shape: Sequence[int], multiple: int) -> Tiling | None:
        """Tiles for an image of this shape; None leaves the choice to the free memory.

        Raises
        ------
        ConfigurationError
            If a number is wrong, a plan is asked for together with tiles, or the tool of the plan
            refuses such an image.
        """
        if self.plan != "auto" and (self.tile, self.overlap) != (AUTO, AUTO):
            raise ConfigurationError(
                f"--tile-plan {self.plan} takes no --tile and no --overlap. Leave them out."
            )
        if self.plan == "whole":
            return whole_image(shape, multiple)
        if self.plan != "auto":
            tiling = tool_tiling(self.plan, package_halo(multiple)).aligned(multiple)
            tiling.plan(shape)
            return tiling
        if self.tile == AUTO:
            if self.overlap != AUTO:
                raise ConfigurationError("--overlap needs --tile. Give both, or neither.")
            return None
        tiles = tiles_of(_number(self.tile, "--tile"), multiple)
        if self.overlap == AUTO:
            return tiles
        overlap = _number(self.overlap, "--overlap", least=0)
        return Tiling(tiles.tile, (overlap, overlap), blend=min(tiles.blend, overlap)).aligned(
            multiple
        )

    @property
    def batch_size(self) -> int:
        """Number of tiles that are computed together."""
        return 1 if self.batch == AUTO else _number(self.batch, "--batch")


class PredictionJob:
    """Predicts images one by one with the same settings and writes the results.

    Parameters
    ----------
    trained : TrainedModel
        Network, statistics and calibrations.
    n_samples : int
        Posterior samples.
    spread : {"samples", "none"}
        What is estimated.
    seed : int
        Seed of the posterior noise.
    channel : int
        Number of the input channel.
    device : str
        "auto", "cpu", "cuda", "cuda:<number>" or "mps".
    precision : {"auto", "32", "bf16", "16"}
        Digits of the network's arithmetic.
    tiles : TileOptions
        How images are cut.

    Raises
    ------
    ConfigurationError
        If the device is not there, or does not compute in this precision.
    """

    def __init__(
        self,
        trained: TrainedModel,
        *,
        n_samples: int,
        spread: Literal["samples", "none"],
        seed: int,
        channel: int,
        device: str,
        precision: Precision = "auto",
        tiles: TileOptions,
    ) -> None:
        self._trained = trained
        self._n_samples, self._spread, self._seed = n_samples, spread, seed
        self._channel = channel
        self._tiles = tiles
        self._device = device_name(device)
        reduced_type(precision, self._device)
        self._precision: Precision = precision
        self._estimator_name = estimator_name(spread, n_samples)

    @property
    def is_calibrated(self) -> bool:
        """Whether the model holds a calibration for these samples."""
        return self._trained.calibrations.factors(self._estimator_name) is not None

    def require_calibration(self) -> None:
        """Refuse to go on without a matching calibration.

        Raises
        ------
        ConfigurationError
            Naming the calibrations that there are.
        """
        if not self.is_calibrated:
            known = ", ".join(self._trained.calibrations.estimators) or "none"
            raise ConfigurationError(
                f"There is no calibration for {self._estimator_name} (there is: {known}). Run "
                f"denoisplit calibrate with --samples {self._n_samples}."
            )

    def plan(
        self,
        paths: Sequence[Path],
        out: Path,
        *,
        image_format: Literal["auto", "tiff", "zarr"],
        axes: str | None,
        overwrite: bool,
    ) -> list[tuple[Image, Path]]:
        """Open all images and find where each result goes, before the first is predicted.

        Parameters
        ----------
        paths : sequence of pathlib.Path
            Images and folders.
        out : pathlib.Path
            Folder for the results; the structure of a single input folder is mirrored.
        image_format : {"auto", "tiff", "zarr"}
            Format of the results; auto is that of each image.
        axes : str, optional
            Axes of the images; inferred by default.
        overwrite : bool
            Whether results that are there are replaced.

        Returns
        -------
        list of (Image, pathlib.Path)
            Images with the path that `Prediction.save` takes.
        """
        images = [image for path in paths for image in read_images(path, axes=axes)]
        root = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
        root = None if root is not None and _is_zarr(root) else root
        targets = []
        for image, stem in zip(images, output_stems(images, root), strict=True):
            kind = image_format
            if kind == "auto":
                kind = "zarr" if _is_zarr(image.source) else "tiff"
            target = out / stem.with_name(stem.name + ENDINGS[kind])
            for path in self._files(target):
                require_absent(path, overwrite)
            self._tiles.tiling(image.height_width, self._trained.network.size_multiple)
            targets.append((image, target))
        return targets

    def run(self, image: Image, target: Path, *, keep_samples: bool) -> tuple[Path, ...]:
        """Predict one image and write its result.

        Returns
        -------
        tuple of pathlib.Path
            Absolute paths of what was written.
        """
        estimator = Estimator(
            n_samples=self._n_samples,
            spread=self._spread,
            seed=self._seed,
            workload=Workload(
                tiling=self._tiles.tiling(image.height_width, self._trained.network.size_multiple),
                batch=self._tiles.batch_size,
                device=self._device,
                precision=self._precision,
            ),
        )
        prediction = predict_stack(
            self._trained, image, estimator, channel=self._channel, calibrate=self._calibrate
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        written = prediction.save(target, overwrite=True)
        if not keep_samples:
            return written
        samples = sample_stack(self._trained, image, estimator, channel=self._channel)
        path = _samples_path(target).absolute()
        content = io.BytesIO()
        np.save(content, samples.values.astype(np.float32), allow_pickle=False)
        write_whole(path, content.getvalue())
        return (*written, path)

    def _calibrate(
        self, mean: Float[np.ndarray, "c y x"], spread: Float[np.ndarray, "c y x"]
    ) -> Float[np.ndarray, "c y x"] | None:
        """Scale the spread where there is a calibration for it."""
        std = self._trained.calibrations.std(mean, spread, self._estimator_name)
        return None if std is None else std.astype(np.float32)

    def _files(self, target: Path) -> list[Path]:
        """Everything that may be written for one image."""
        if target.name.endswith(ENDINGS["zarr"]):
            return [target]
        stem = target.name.removesuffix(ENDINGS["tiff"])
        return [target.with_name(f"{stem}_{end}.ome.tif") for end in ("mean", "std")]


def device_name(device: str) -> str:
    """Find the device that was asked for, by torch's name.

    Raises
    ------
    ConfigurationError
        If the device is not there.
    """
    chosen = choose_device(device)
    if isinstance(chosen.devices, list):
        return f"{chosen.accelerator}:{chosen.devices[0]}"
    return chosen.accelerator


def _samples_path(target: Path) -> Path:
    stem = target.name.removesuffix(ENDINGS["zarr"]).removesuffix(ENDINGS["tiff"])
    return target.with_name(f"{stem}_samples.npy")


def _is_zarr(source: object) -> bool:
    return isinstance(source, Path) and any(part.lower().endswith(".zarr") for part in source.parts)


def _number(text: str, option: str, least: int = 1) -> int:
    """Read a whole number."""
    if not text.isdecimal() or int(text) < least:
        raise ConfigurationError(
            f"{option} must be auto or a number of at least {least}, got {text!r}."
        )
    return int(text)
