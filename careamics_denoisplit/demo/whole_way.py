"""The whole way on a generated sample: from noisy channels to a checked package.

Everything a user would type happens here in order, on fields of filaments and vesicles that
`careamics_denoisplit.synthetic` draws. Nothing is downloaded and no GPU is needed.
"""

import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from careamics_denoisplit.careamist import DenoiSplitCAREamist
from careamics_denoisplit.config import DenoiSplitConfiguration, create_advanced_denoisplit_config
from careamics_denoisplit.demo.pictures import draw_split, draw_uncertainty
from careamics_denoisplit.files import write_whole
from careamics_denoisplit.metrics import psnr_range_invariant
from careamics_denoisplit.prediction import Prediction
from careamics_denoisplit.synthetic import SyntheticSample, generate_sample
from careamics_denoisplit.training.checkpoint_io import read_checkpoint
from careamics_denoisplit.training.position import read_position
from careamics_denoisplit.training.resume import LAST

RECIPE = """\
# What only a person knows about a model; everything else is measured.
name: denoiSplit demo (filaments and vesicles)
description: >-
  Splits a generated superposition of filaments and vesicles into denoised channels. It was trained
  for minutes on generated images and is of no use for real ones.
authors:
  - name: The careamics-denoisplit developers
license: CC0-1.0
"""

STEPS_PER_EPOCH = 100
"""Steps of training in one epoch."""


class DemoSettings(NamedTuple):
    """How much is done."""

    size: int = 512
    """Height and width of the fields, in pixels."""
    fields: tuple[int, int, int] = (8, 2, 2)
    """Fields for training, validation and test."""
    epochs: int = 14
    """Epochs of training."""
    training_seconds: float = 145.0
    """Time after which training stops even so."""
    patch_size: int = 64
    """Side of the training crops, in pixels."""
    batch_size: int = 8
    """Crops per step."""
    n_samples: int = 16
    """Posterior samples."""
    network: Mapping[str, Any] = MappingProxyType({"filters": 32, "latent_channels": (32,) * 4})
    """Settings of the network that differ from the preset `laptop`."""


DEFAULT_SETTINGS = DemoSettings()
"""Chosen for at most six minutes on two cores."""


@dataclass
class Demo:
    """Folders and results of one demo."""

    out: Path
    """Folder of everything that is written."""
    values: dict[str, Any] = field(default_factory=dict)
    """The content of `demo.json`, without the keys common to all commands."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration of each step."""

    @property
    def run(self) -> Path:
        """RUN folder."""
        return self.out / "run"

    @property
    def package(self) -> Path:
        """The bioimage.io package."""
        return self.out / "denoisplit_demo.zip"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What a person wants to open."""
        return (
            self.package,
            self.out / "model_card.md",
            self.out / "pictures" / "split.png",
            self.out / "pictures" / "uncertainty.png",
            self.out / "predictions",
            self.run / "report.html",
        )


class Part(NamedTuple):
    """Files of one part of the sample, by channel."""

    noisy: dict[str, list[Path]]
    """One exposure of each channel."""
    truth: dict[str, list[Path]]
    """The same without noise."""
    mixture: list[Path]
    """Means of the noisy channels."""


def run_demo(
    out: Path,
    *,
    settings: DemoSettings = DEFAULT_SETTINGS,
    seed: int = 0,
    device: str = "auto",
    say: Callable[[str], None] = lambda _: None,
    quiet: bool = False,
) -> Demo:
    """Go the whole way and return what came out.

    Parameters
    ----------
    out : pathlib.Path
        Folder; what an earlier demo wrote there is replaced.
    settings : DemoSettings
        How much is done.
    seed : int
        Seed of the sample, of training and of prediction.
    device : str
        "auto", "cpu", "cuda", "cuda:<number>" or "mps".
    say : callable
        Receives a line for the user at every step.
    quiet : bool
        Whether training shows no progress.

    Returns
    -------
    Demo
        Scores, verdict of the check, and the paths of everything.

    Raises
    ------
    DenoiSplitError
        If a step fails.
    """
    demo = Demo(Path(out).absolute())
    step = _Steps(demo, say)
    n_train, n_val = settings.fields[:2]
    with step(f"drawing {sum(settings.fields)} fields of filaments and vesicles"):
        sample = generate_sample(sum(settings.fields), size=settings.size, seed=seed)
        train = write_part(sample, slice(0, n_train), demo.out / "data" / "train")
        val = write_part(sample, slice(n_train, n_train + n_val), demo.out / "data" / "val")
        test = write_part(sample, slice(n_train + n_val, None), demo.out / "data" / "test")
    careamist = DenoiSplitCAREamist(
        _configuration(sample, settings, seed), work_dir=demo.run, enable_progress_bar=not quiet
    )
    with step("fitting noise models to pairs"):
        reports = careamist.fit_noise_models(
            signal=train.truth, observation=train.noisy, overwrite=True
        )
        for report in reports:
            say(f"  {report.words()}")
    with step(f"training for at most {settings.training_seconds:.0f} s"):
        careamist.train(
            train_data_target=train.noisy,
            val_data_target=val.noisy,
            overwrite=True,
            device=device,
        )
    training = _training_done(demo.run)
    with step("calibrating the uncertainty on validation fields"):
        careamist.calibrate(
            channels=val.noisy,
            truth=val.truth,
            n_samples=settings.n_samples,
            seed=seed,
            device=device,
        )
    with step("scoring held-out fields"):
        scores = careamist.evaluate(
            mixture=test.mixture,
            channels=test.noisy,
            truth=test.truth,
            n_samples=settings.n_samples,
            seed=seed,
            device=device,
        )
    with step("splitting held-out fields"):
        careamist.predict_to_disk(
            test.mixture,
            prediction_dir=demo.out / "predictions",
            n_samples=settings.n_samples,
            seed=seed,
            device=device,
            overwrite=True,
        )
        prediction = careamist.predict(
            test.mixture[0], n_samples=settings.n_samples, seed=seed, device=device
        )
        _draw(demo, sample, n_train + n_val, prediction)
    with step("writing the package"):
        _export(careamist, demo, test)
    with step("checking the package"):
        check = _check(demo.package)
    demo.values = {
        **scores,
        "training": training,
        "noisy": _noisy_scores(sample, n_train + n_val),
        "package": str(demo.package),
        "check": check,
        "steps": {name: round(seconds, 1) for name, seconds in demo.seconds.items()},
    }
    return demo


def write_part(sample: SyntheticSample, fields: slice, folder: Path) -> Part:
    """Write some fields of a sample as TIFF files, one folder per channel.

    Parameters
    ----------
    sample : SyntheticSample
        Fields to write.
    fields : slice
        Which of them.
    folder : pathlib.Path
        Becomes the parent of `<channel>_noisy`, `<channel>_truth` and `mixture`.

    Returns
    -------
    Part
        Paths of the files.
    """
    part = Part({}, {}, [])
    noisy, clean = sample.noisy[fields], sample.clean[fields]
    for index, name in enumerate(sample.channel_names):
        for kind, stack, files in (("noisy", noisy, part.noisy), ("truth", clean, part.truth)):
            files[name] = [
                _write(folder / f"{name}_{kind}", number, image[index], sample.pixel_size)
                for number, image in enumerate(stack)
            ]
    mixtures = noisy.mean(axis=1, dtype=np.float32)
    part.mixture.extend(
        _write(folder / "mixture", number, image, sample.pixel_size)
        for number, image in enumerate(mixtures)
    )
    return part


class _Steps:
    """Announces steps and measures them."""

    def __init__(self, demo: Demo, say: Callable[[str], None]) -> None:
        self._demo, self._say = demo, say

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._say(name)
        started = time.monotonic()
        yield
        self._demo.seconds[name.split(" for ")[0]] = time.monotonic() - started


def _configuration(
    sample: SyntheticSample, settings: DemoSettings, seed: int
) -> DenoiSplitConfiguration:
    return create_advanced_denoisplit_config(
        "demo",
        sample.channel_names,
        "laptop",
        axes="YX",
        patch_size=settings.patch_size,
        batch_size=settings.batch_size,
        num_steps=STEPS_PER_EPOCH,
        num_epochs=settings.epochs,
        max_hours=settings.training_seconds / 3600,
        model_params=dict(settings.network),
        seed=seed,
    )


def _training_done(run: Path) -> dict[str, Any]:
    """Read from the last checkpoint how far training came, and whether its time ran out."""
    last = read_checkpoint(run / LAST)
    done, planned = read_position(last).epoch, last["max_epochs"]
    finished = last["ended"] == "early stopping" or done >= planned
    return {"epochs": done, "max_epochs": planned, "out_of_time": not finished}


def _write(folder: Path, number: int, image: NDArray[np.generic], pixel_size: float) -> Path:
    """Write one image as OME-TIFF with its pixel size."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"field_{number}.ome.tif"
    tifffile.imwrite(
        path,
        image,
        metadata={
            "axes": "YX",
            "PhysicalSizeX": pixel_size,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": pixel_size,
            "PhysicalSizeYUnit": "µm",
        },
    )
    return path


def _noisy_scores(sample: SyntheticSample, first_test: int) -> list[dict[str, Any]]:
    """PSNR of the noisy channels of the test fields, in decibels."""
    return [
        {
            "name": name,
            "psnr": float(
                np.mean(
                    [
                        psnr_range_invariant(clean[index], noisy[index].astype(np.float32))
                        for clean, noisy in zip(
                            sample.clean[first_test:], sample.noisy[first_test:], strict=True
                        )
                    ]
                )
            ),
        }
        for index, name in enumerate(sample.channel_names)
    ]


def _export(careamist: DenoiSplitCAREamist, demo: Demo, test: Part) -> None:
    """Write recipe, package and the card that the package holds."""
    recipe = demo.out / "recipe.yaml"
    write_whole(recipe, RECIPE.encode())
    careamist.export_to_bmz(
        demo.package,
        recipe=recipe,
        input_array=tifffile.imread(test.mixture[0]).astype(np.float32),
        overwrite=True,
    )
    with zipfile.ZipFile(demo.package) as package:
        write_whole(demo.out / "model_card.md", package.read("README.md"))


def _check(package: Path) -> dict[str, Any]:
    """Check the package as `denoisplit check` does."""
    # The exporter imports the method; only the demo and the front end call it back.
    from careamics_denoisplit_export import check_package

    return check_package(package).to_dict()


def _draw(
    demo: Demo, sample: SyntheticSample, field_number: int, predicted: Prediction | list[Prediction]
) -> None:
    """Draw what was split, and how sure it is, for the first test field."""
    prediction = predicted[0] if isinstance(predicted, list) else predicted
    pictures = demo.out / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    clean, noisy = sample.clean[field_number], sample.noisy[field_number]
    mean, names = prediction.mean.values, sample.channel_names
    write_whole(pictures / "split.png", draw_split(names, noisy.mean(axis=0), mean, clean))
    if prediction.std is not None:
        picture = draw_uncertainty(names, mean, prediction.std.values, clean)
        write_whole(pictures / "uncertainty.png", picture)
