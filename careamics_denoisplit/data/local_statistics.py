"""Local brightness of the training input, and the noise and contrast that go with it."""

from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from pydantic import BaseModel, ConfigDict, Field, model_validator

from careamics_denoisplit.data.local_levels import Surroundings

LOCAL_PERCENTILES = (0.1, 1.0, 5.0, 50.0, 95.0, 99.0, 99.9)
"""Percentiles that are stored."""

_LARGEST_INPUT = 2**24
_LARGEST_SAMPLE = 2**20
_MOST_STEPS = 16
_PIXELS_PER_STEP = 2000

Finite = Annotated[float, Field(allow_inf_nan=False)]
Percentiles = dict[str, Finite]


class LevelsByBrightness(BaseModel):
    """How noisy and how contrasty surroundings of each brightness were in training, gray values.

    A range that holds for all brightnesses misses an offset: a dark place that became bright is as
    bright as others, but has the noise and the contrast of a dark one.

    Raises
    ------
    pydantic.ValidationError
        If the numbers of values differ, the brightness does not ascend, or a range is reversed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    brightness: Annotated[tuple[Finite, ...], Field(min_length=1)]
    """Mean local brightness of each step, ascending; steps hold equal numbers of pixels."""
    least_noise: tuple[Finite, ...]
    """Smallest percentile of the local noise in each step."""
    most_noise: tuple[Finite, ...]
    """Largest percentile of the local noise."""
    least_contrast: tuple[Finite, ...]
    """Smallest percentile of the local contrast in each step."""
    most_contrast: tuple[Finite, ...]
    """Largest percentile of the local contrast."""

    @model_validator(mode="after")
    def _fit_together(self) -> "LevelsByBrightness":
        ranges = (
            (self.least_noise, self.most_noise),
            (self.least_contrast, self.most_contrast),
        )
        if any(len(values) != len(self.brightness) for pair in ranges for values in pair):
            raise ValueError("Noise and contrast must have one value for each brightness.")
        if list(self.brightness) != sorted(self.brightness):
            raise ValueError(f"The brightness must ascend, got {self.brightness}.")
        if any(a > b for low, high in ranges for a, b in zip(low, high, strict=True)):
            raise ValueError("A smallest noise or contrast is above the largest one.")
        return self

    @classmethod
    def of(
        cls,
        brightness: Float64[np.ndarray, " n"],
        noise: Float64[np.ndarray, " n"],
        contrast: Float64[np.ndarray, " n"],
    ) -> "LevelsByBrightness":
        """Sort pixels by brightness into steps, and take the outermost percentiles of each."""
        steps = min(_MOST_STEPS, max(1, brightness.size // _PIXELS_PER_STEP))
        parts = np.array_split(np.argsort(brightness, kind="stable"), steps)
        outermost = (LOCAL_PERCENTILES[0], LOCAL_PERCENTILES[-1])
        noises = np.array([np.percentile(noise[part], outermost) for part in parts])
        contrasts = np.array([np.percentile(contrast[part], outermost) for part in parts])
        return cls(
            brightness=tuple(float(brightness[part].mean()) for part in parts),
            least_noise=tuple(noises[:, 0].tolist()),
            most_noise=tuple(noises[:, 1].tolist()),
            least_contrast=tuple(contrasts[:, 0].tolist()),
            most_contrast=tuple(contrasts[:, 1].tolist()),
        )

    def mapped(self, gain: float, offset: float) -> "LevelsByBrightness":
        """Return what holds of `gain * image + offset`, for a positive gain."""
        scaled = {
            name: tuple(gain * value for value in values)
            for name, values in self.model_dump(exclude={"brightness"}).items()
        }
        return LevelsByBrightness(
            brightness=tuple(gain * value + offset for value in self.brightness), **scaled
        )


class LocalLevels(BaseModel):
    """How bright and how noisy the surroundings of a pixel were in training, in gray values.

    Raises
    ------
    pydantic.ValidationError
        If a percentile is missing, not finite, or they do not ascend.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    intensity: Percentiles
    """Percentiles of the local mean (Gaussian, 7 px) of the input; keys are the percentages."""
    noise: Percentiles
    """Percentiles of the local mean of the roughness of the input."""
    std: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Standard deviation of the pixels of the input; not what it is divided by."""
    by_brightness: LevelsByBrightness | None = None
    """Noise and contrast that go with each brightness; None in runs of earlier versions."""

    @model_validator(mode="after")
    def _ascend(self) -> "LocalLevels":
        for name, found in (("intensity", self.intensity), ("noise", self.noise)):
            values = [found.get(f"{key:g}") for key in LOCAL_PERCENTILES]
            known = [value for value in values if value is not None]
            if len(known) < len(values) or known != sorted(known):
                raise ValueError(
                    f"The percentiles of the local {name} must be {LOCAL_PERCENTILES} and ascend, "
                    f"got {found}."
                )
        return self

    def mapped(self, gain: float, offset: float) -> "LocalLevels":
        """Return the levels of `gain * image + offset`, for a positive gain."""
        known = self.by_brightness
        return LocalLevels(
            intensity={key: gain * value + offset for key, value in self.intensity.items()},
            noise={key: gain * value for key, value in self.noise.items()},
            std=gain * self.std,
            by_brightness=None if known is None else known.mapped(gain, offset),
        )


class LocalSample:
    """Local levels of a stream of input blocks, of at most about 2^24 pixels, evenly spaced.

    Parameters
    ----------
    size : int
        Number of pixels of the whole stream.
    """

    def __init__(self, size: int) -> None:
        self._every = max(1, -(-size // _LARGEST_INPUT))
        # Odd, so that the pixels that are kept do not all lie in the same columns.
        self._step = -(-min(size, _LARGEST_INPUT) // _LARGEST_SAMPLE) | 1
        self._count = 0
        self._surroundings = Surroundings()
        self._kept: list[Float[np.ndarray, "4 _"]] = []

    def add(self, block: Shaped[np.ndarray, "_ _"]) -> None:
        """Take a block (Y, X) into account, or pass over it where there are more than needed."""
        self._count += 1
        if (self._count - 1) % self._every:
            return
        # A copy: blocks of files may be read-only, which torch warns of.
        image = torch.from_numpy(np.array(block, dtype=np.float32, order="C"))[None, None]
        with torch.no_grad():
            seen = torch.cat((*self._surroundings(image), image)).reshape(4, -1)
        self._kept.append(seen[:, :: self._step].numpy().copy())

    def levels(self) -> LocalLevels:
        """Return the percentiles of what was seen."""
        values = np.concatenate(self._kept, axis=1).astype(np.float64)
        intensity, noise = np.percentile(values[:2], LOCAL_PERCENTILES, axis=1).T
        return LocalLevels(
            intensity=_by_percent(intensity),
            noise=_by_percent(noise),
            std=float(values[3].std()),
            by_brightness=LevelsByBrightness.of(*values[:3]),
        )


def _by_percent(values: Float[np.ndarray, " n"]) -> dict[str, float]:
    return {f"{key:g}": float(value) for key, value in zip(LOCAL_PERCENTILES, values, strict=True)}
