"""Percentiles of local brightness and local noise over the training input."""

from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Shaped
from pydantic import BaseModel, ConfigDict, Field, model_validator

from careamics_denoisplit.data.local_levels import LocalMean, Roughness

LOCAL_PERCENTILES = (0.1, 1.0, 5.0, 50.0, 95.0, 99.0, 99.9)
"""Percentiles that are stored."""

_LARGEST_INPUT = 2**24
_KEPT_PER_BLOCK = 2**14

Percentiles = dict[str, Annotated[float, Field(allow_inf_nan=False)]]


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
        return LocalLevels(
            intensity={key: gain * value + offset for key, value in self.intensity.items()},
            noise={key: gain * value for key, value in self.noise.items()},
            std=gain * self.std,
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
        self._count = 0
        self._mean, self._roughness = LocalMean(), Roughness()
        self._kept: list[Float[np.ndarray, "3 _"]] = []

    def add(self, block: Shaped[np.ndarray, "_ _"]) -> None:
        """Take a block (Y, X) into account, or pass over it where there are more than needed."""
        self._count += 1
        if (self._count - 1) % self._every:
            return
        # A copy: blocks of files may be read-only, which torch warns of.
        image = torch.from_numpy(np.array(block, dtype=np.float32, order="C"))[None, None]
        with torch.no_grad():
            levels = self._mean(torch.cat((image, self._roughness(image))))
        step = max(1, block.size // _KEPT_PER_BLOCK)
        seen = torch.cat((levels, image)).reshape(3, -1)[:, ::step]
        self._kept.append(seen.numpy().copy())

    def levels(self) -> LocalLevels:
        """Return the percentiles of what was seen."""
        values = np.concatenate(self._kept, axis=1).astype(np.float64)
        intensity, noise = np.percentile(values[:2], LOCAL_PERCENTILES, axis=1).T
        return LocalLevels(
            intensity=_by_percent(intensity), noise=_by_percent(noise), std=float(values[2].std())
        )


def _by_percent(values: Float[np.ndarray, " n"]) -> dict[str, float]:
    return {f"{key:g}": float(value) for key, value in zip(LOCAL_PERCENTILES, values, strict=True)}
