"""A signal for images that were never taken clean: careamics' Noise2Void denoises them."""

import contextlib
import io
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.noise_model.pairs import LazyArray

MAX_PLANES: Final = 8
MAX_SIDE: Final = 512
"""Largest side of an image that is denoised, in pixels: enough for a noise model."""

EPOCHS: Final = 4
STEPS_PER_EPOCH: Final = 100

PATCH: Final = 64
BATCH: Final = 8
VALIDATION: Final = 8
FILTERS: Final = 16
LEARNING_RATE: Final = 1e-3

Planes = list[npt.NDArray[np.float32]]


@runtime_checkable
class Denoiser(Protocol):
    """Denoises images without knowing clean ones."""

    def __call__(self, images: Planes, seed: int) -> Planes:
        """Return the denoised versions of images (Y, X), in gray values."""
        ...


def bootstrap_planes(arrays: Sequence[LazyArray], seed: int) -> Planes:
    """Choose parts (Y, X) of noisy images that are small enough to denoise.

    Parameters
    ----------
    arrays : sequence of LazyArray
        Noisy images (..., Y, X) in gray values.
    seed : int
        Of the choice.

    Returns
    -------
    list of arrays (Y, X)
        At most 8 parts of at most 512 x 512 pixels.

    Raises
    ------
    NoiseModelError
        If an image is smaller than a patch of 64 pixels, or not finite.
    """
    rng = np.random.default_rng([seed, 2])
    places = [(array, plane) for array in arrays for plane in np.ndindex(*array.shape[:-2])]
    if not places:
        raise NoiseModelError("A bootstrap needs at least one noisy image, got none.")
    chosen = np.linspace(0, len(places), min(len(places), MAX_PLANES), endpoint=False)
    return [_part(*places[int(number)], rng) for number in chosen]


def denoise_by_noise2void(
    images: Planes,
    seed: int,
    *,
    epochs: int = EPOCHS,
    steps_per_epoch: int = STEPS_PER_EPOCH,
) -> Planes:
    """Train careamics' Noise2Void on noisy images and return their denoised versions.

    Parameters
    ----------
    images : list of arrays (Y, X)
        Noisy images in gray values, at least 64 x 64 pixels.
    seed : int
        Of the training.
    epochs, steps_per_epoch : int
        Length of the training.
    """
    from careamics import CAREamist  # careamics and Lightning are slow to import
    from careamics.config import create_advanced_n2v_config

    with tempfile.TemporaryDirectory() as folder, _quiet(), _own_randomness():
        configuration = create_advanced_n2v_config(
            experiment_name="noise_model_bootstrap",
            data_type="array",
            axes="YX",
            patch_size=(PATCH, PATCH),
            batch_size=BATCH,
            num_epochs=epochs,
            num_steps=steps_per_epoch,
            num_workers=0,
            n_val_patches=VALIDATION,
            model_params={"depth": 2, "num_channels_init": FILTERS},
            optimizer_params={"lr": LEARNING_RATE},
            seed=seed + 1,  # careamics asks for a positive one
        )
        careamist = CAREamist(configuration, work_dir=Path(folder), enable_progress_bar=False)
        careamist.train(train_data=_repeated(images, steps_per_epoch))
        predicted, _ = careamist.predict(images)
    return [
        np.asarray(prediction, dtype=np.float32).reshape(image.shape)
        for prediction, image in zip(predicted, images, strict=True)
    ]


def _repeated(images: Planes, steps: int) -> Planes:
    """Repeat images so often that an epoch has the steps: careamics visits each patch once."""
    patches = sum((image.shape[0] // PATCH) * (image.shape[1] // PATCH) for image in images)
    times = math.ceil((steps * BATCH + VALIDATION) / patches)
    return [image for _ in range(times) for image in images]


def _part(
    array: LazyArray, plane: tuple[int, ...], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    height, width = array.shape[-2:]
    if min(height, width) < PATCH:
        raise NoiseModelError(
            f"Images to denoise must have at least {PATCH} x {PATCH} pixels, got "
            f"{height} x {width}. Give whole images."
        )
    sizes = min(height, MAX_SIDE), min(width, MAX_SIDE)
    y, x = (
        int(rng.integers(whole - size + 1))
        for whole, size in zip((height, width), sizes, strict=True)
    )
    part = np.asarray(array[(*plane, slice(y, y + sizes[0]), slice(x, x + sizes[1]))])
    values = part.astype(np.float32)
    if not np.isfinite(values).all():
        raise NoiseModelError(
            f"The observation must be finite, got {int((~np.isfinite(values)).sum())} NaN or "
            "infinite pixels. Remove these images or pixels."
        )
    return values


@contextlib.contextmanager
def _own_randomness() -> Iterator[None]:
    """Give back all random states and settings that a careamics training replaces."""
    from lightning.pytorch.utilities.seed import isolate_rng

    names = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    before = {name: os.environ.get(name) for name in names}
    try:
        with isolate_rng():
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the denoiser's own chatter away from the user; errors still get through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
