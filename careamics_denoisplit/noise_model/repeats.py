"""Pairs from repeated acquisitions of one static field."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.noise_model.pairs import Blocks, LazyArray, sample_blocks

ENOUGH_REPEATS: Final = 8
"""Acquisitions below which the mean still holds a noticeable share of the noise."""

MAX_DRIFT: Final = 0.05
"""Relative change of the mean intensity between first and last half that is still static."""


class RepeatBlocks(NamedTuple):
    """Pairs from repeated acquisitions, with what is to be said about them."""

    blocks: Blocks
    """Mean of all acquisitions and one acquisition, its deviation enlarged to be unbiased."""
    warnings: tuple[str, ...]
    """Doubts in words."""


def repeat_blocks(arrays: Sequence[LazyArray], *, max_pairs: int, seed: int) -> RepeatBlocks:
    """Draw blocks at the same places of all acquisitions and compare each with their mean.

    Parameters
    ----------
    arrays : sequence of LazyArray
        Acquisitions in gray values: all leading axes and all arrays count them.
    max_pairs : int
        Largest number of pairs.
    seed : int
        Of the choice of places.

    Raises
    ------
    NoiseModelError
        If there are fewer than two acquisitions, or their shapes differ.
    """
    planes = _planes(arrays)
    count = len(planes)
    if count < 2:
        raise NoiseModelError(
            f"Repeated acquisitions of one field must be at least 2, got {count}. Give an array "
            "(N, Y, X) or N images, or fit from pairs or by bootstrap."
        )
    # The same seed draws the same places from every plane: all have one shape.
    drawn = np.stack(
        [
            sample_blocks(plane, plane, max_pairs=max(1, max_pairs // count), seed=seed).observation
            for plane in planes
        ]
    )
    mean = drawn.mean(axis=0, dtype=np.float64)
    unbiased = mean + (drawn - mean) * np.sqrt(count / (count - 1))
    signal = np.broadcast_to(mean, drawn.shape)
    blocks = Blocks(_joined(signal), _joined(unbiased))
    return RepeatBlocks(blocks, tuple(_warnings(drawn)))


class _Plane:
    """One acquisition of a stack, read only where it is asked for."""

    def __init__(self, stack: LazyArray, index: tuple[int, ...]) -> None:
        self.stack, self.index = stack, index
        self.shape = tuple(stack.shape[-2:])

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[np.generic]:
        return np.asarray(self.stack[(*self.index, *key)])


def _planes(arrays: Sequence[LazyArray]) -> list[_Plane]:
    found = [_Plane(array, index) for array in arrays for index in np.ndindex(*array.shape[:-2])]
    if len({plane.shape for plane in found}) > 1:
        shapes = ", ".join(str(plane.shape) for plane in found[:5])
        raise NoiseModelError(
            f"Repeated acquisitions of one field must have equal shapes, got {shapes}. Give "
            "images of the same field only."
        )
    return found


def _joined(drawn: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return drawn.reshape(-1, *drawn.shape[2:]).astype(np.float32)


def _warnings(drawn: npt.NDArray[np.float32]) -> list[str]:
    count = len(drawn)
    warnings = []
    if count < ENOUGH_REPEATS:
        warnings.append(
            f"only {count} acquisitions: their mean still holds {1 / count:.0%} of the noise "
            f"variance, {ENOUGH_REPEATS} or more are better"
        )
    brightness = drawn.mean(axis=(1, 2, 3), dtype=np.float64)
    change = float(np.ptp(brightness)) / max(float(np.abs(brightness).mean()), 1e-12)
    if change > MAX_DRIFT:
        warnings.append(
            f"the mean intensity changes by {change:.0%} between acquisitions: bleaching or "
            "drift is taken for noise"
        )
    return warnings
