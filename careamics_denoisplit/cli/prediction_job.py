"""What `denoisplit predict` does to each image; loaded only when it runs."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from careamics_denoisplit.calibration import estimator_name
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.evaluation import Familiarity, familiarity_of
from careamics_denoisplit.files import require_absent, write_whole
from careamics_denoisplit.images import (
    Image,
    output_stems,
    read_images,
    write_prediction_tiff,
    write_prediction_zarr,
)
from careamics_denoisplit.prediction import (
    Estimator,
    Monitors,
    Precision,
    Spread,
    Tiling,
    Workload,
    predict_stack,
    reduced_type,
    sample_stack,
    tiles_of,
    whole_image,
)
from careamics_denoisplit.prediction.decoding import spread_head_of
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


class Predicted(NamedTuple):
    """One image that was predicted."""

    files: tuple[Path, ...]
    """Absolute paths of what was written."""
    familiarity: Familiarity
    """Warning maps and trust."""


class PredictionJob:
    """Predicts images one by one with the same settings and writes the results.

    Parameters
    ----------
    trained : TrainedModel
        Network, statistics and calibrations.
    n_samples : int
        Posterior samples.
    spread : {"samples", "distilled", "none"}
        What is estimated.
    seed : int
        Seed of the posterior noise.
    channel : int or None
        Number of the input channel; None where images have one.
    device : str
        "auto", "cpu", "cuda", "cuda:<number>" or "mps".
    precision : {"auto", "32", "bf16", "16"}
        Digits of the network's arithmetic.
    tiles : TileOptions
        How images are cut.
    warnings : bool
        Whether the warning maps are written, too.
    save_samples : bool
        Whether the single samples are written, too.

    Raises
    ------
    ConfigurationError
        If the device is not there, or does not compute in this precision, or the model has no
        such spread.
    """

    def __init__(
        self,
        trained: TrainedModel,
        *,
        n_samples: int,
        spread: Spread,
        seed: int,
        channel: int | None,
        device: str,
        precision: Precision = "auto",
        tiles: TileOptions,
        warnings: bool = False,
        save_samples: bool = False,
    ) -> None:
        self._trained = trained
        self._n_samples, self._spread, self._seed = n_samples, spread, seed
        self._channel = channel or 0
        # Without a number, leading planes are a series and not channels.
        self._channels = 1 if channel is None else None
        self._tiles = tiles
        self._device = device_name(device)
        reduced_type(precision, self._device)
        if spread == "distilled":
            spread_head_of(trained)
        self._precision: Precision = precision
        self._estimator_name = estimator_name(spread, n_samples)
        monitors = Monitors.of(trained)
        self._written_maps = monitors.names if warnings else ()
        self._save = save_samples
        self.why_no_consistency = monitors.why_not

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
            samples = f"--samples {self._n_samples}"
            option = samples if self._spread == "samples" else f"--spread {self._spread}"
            known = ", ".join(self._trained.calibrations.estimators) or "none"
            raise ConfigurationError(
                f"There is no calibration for {self._estimator_name} (there is: {known}). Run "
                f"denoisplit calibrate with {option}."
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
        images = [
            image
            for path in paths
            for image in read_images(path, axes=axes, channels=self._channels)
        ]
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

    def run(self, image: Image, target: Path) -> Predicted:
        """Predict one image and write its result."""
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
        familiarity = familiarity_of(
            self._trained,
            image,
            prediction,
            channel=self._channel,
            keep_maps=bool(self._written_maps),
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        written = [*prediction.save(target, overwrite=True)]
        if prediction.std is None and not target.name.endswith(ENDINGS["zarr"]):
            _beside(target, "std").unlink(missing_ok=True)  # that of the mean which was replaced
        for name, values in familiarity.maps.items():
            path = _beside(target, name).absolute()
            if path.name.endswith(ENDINGS["zarr"]):
                write_prediction_zarr(path, values, name=name)
            else:
                write_prediction_tiff(path, values, name=name)
            written.append(path)
        if self._save:
            written.append(self._save_samples(image, target, estimator))
        return Predicted(tuple(written), familiarity)

    def _save_samples(self, image: Image, target: Path, estimator: Estimator) -> Path:
        samples = sample_stack(self._trained, image, estimator, channel=self._channel)
        path = _samples_path(target).absolute()
        content = io.BytesIO()
        np.save(content, samples.values.astype(np.float32), allow_pickle=False)
        write_whole(path, content.getvalue())
        return path

    def _calibrate(
        self, mean: Float[np.ndarray, "c y x"], spread: Float[np.ndarray, "c y x"]
    ) -> Float[np.ndarray, "c y x"] | None:
        """Scale the spread where there is a calibration for it."""
        std = self._trained.calibrations.std(mean, spread, self._estimator_name)
        return None if std is None else std.astype(np.float32)

    def _files(self, target: Path) -> list[Path]:
        """Everything that may be written for one image."""
        more = [_beside(target, name) for name in self._written_maps]
        if self._save:
            more.append(_samples_path(target))
        if target.name.endswith(ENDINGS["zarr"]):
            return [target, *more]
        return [*(_beside(target, end) for end in ("mean", "std")), *more]


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


def _beside(target: Path, what: str) -> Path:
    """Return the path of another result of the same image, in the same format."""
    ending = next(each for each in ENDINGS.values() if target.name.endswith(each))
    return target.with_name(f"{target.name.removesuffix(ending)}_{what}{ending}")


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
