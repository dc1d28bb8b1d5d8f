"""Pairs of images whose noise is known."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest


class Pair(NamedTuple):
    """A clean image, a noisy one, and the true standard deviation of each pixel."""

    signal: npt.NDArray[np.float32]
    observation: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]


def make_pair(
    seed: int = 0, shape: tuple[int, ...] = (192, 192), slope: float = 2.0, level: float = 50.0
) -> Pair:
    """Waves with noise of the variance `slope * (signal + 200) + level`; some are negative."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    wave = 300 + 320 * np.sin(x / 17) * np.cos(y / 13) + 100 * np.sin((x + y) / 29)
    signal = np.broadcast_to(wave, shape).astype(np.float32)
    std = np.sqrt(slope * np.maximum(signal + 200, 0) + level).astype(np.float32)
    observation = (signal + std * rng.standard_normal(shape)).astype(np.float32)
    return Pair(signal, observation, std)


@pytest.fixture(scope="session")
def pair() -> Pair:
    """A pair with shot and read noise."""
    return make_pair()


@pytest.fixture(scope="session")
def pair_maker() -> Callable[..., Pair]:
    """Pairs of other sizes and noise."""
    return make_pair
