"""How a latent is drawn: from torch, from a counter, given, or not at all."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

PRIME = 2147483579
"""Prime below 2^31 that is 2 modulo 3, so that cubing modulo it is a bijection."""


@runtime_checkable
class Noise(Protocol):
    """Standard-normal numbers for one latent level."""

    def __call__(self, level: int, mean: Float[Tensor, "b z y x"]) -> Float[Tensor, "b z y x"]:
        """Return noise of the shape, type and device of `mean`."""


class TorchNoise:
    """Draw from torch's random numbers, as in training.

    Parameters
    ----------
    generator : torch.Generator or None
        Source of the draws; None is torch's global one.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def __call__(self, level: int, mean: Float[Tensor, "b z y x"]) -> Float[Tensor, "b z y x"]:
        """Return fresh normal draws; `level` plays no part."""
        return torch.empty_like(mean).normal_(generator=self.generator)


class PosteriorMean:
    """Take the mean of each posterior instead of a draw."""

    def __call__(self, level: int, mean: Float[Tensor, "b z y x"]) -> Float[Tensor, "b z y x"]:
        """Return zeros."""
        return mean * 0


class GivenNoise:
    """Use given numbers.

    Parameters
    ----------
    levels : sequence of torch.Tensor
        Noise of each level, finest first, each of the latent's shape (B, Z, Y, X).
    """

    def __init__(self, levels: Sequence[Tensor]) -> None:
        self.levels = tuple(levels)

    def __call__(self, level: int, mean: Float[Tensor, "b z y x"]) -> Float[Tensor, "b z y x"]:
        """Return the given noise of `level`.

        Raises
        ------
        ValueError
            If its shape is not that of the latent.
        """
        given = self.levels[level]
        if given.shape != mean.shape:
            raise ValueError(
                f"Noise of level {level} has shape {tuple(given.shape)}, the latent "
                f"{tuple(mean.shape)}. Give one tensor per level, finest first."
            )
        return given.to(mean)


class CounterNoise:
    """Draw noise that depends on nothing but its own coordinates.

    A draw is a function of (seed, sample, level, channel, absolute y, absolute x). Tiles that
    overlap therefore draw the same noise where they overlap, whatever the order, the batch or
    the number of workers. Samples 2k and 2k + 1 are antithetic: equal up to the sign.

    Parameters
    ----------
    seed : int
        Seed of the draws.
    samples : sequence of int
        Number of the posterior sample, one for each batch item.
    origins : sequence of (int, int)
        Pixel position (y, x) of the top-left corner of each batch item in the whole image;
        multiples of `size_multiple`.
    size_multiple : int
        Pixels per latent of the top level; the tile origins must be multiples of it.
    levels : int
        Number of latent levels.
    """

    def __init__(
        self,
        seed: int,
        samples: Sequence[int],
        origins: Sequence[tuple[int, int]],
        *,
        size_multiple: int,
        levels: int,
    ) -> None:
        if len(samples) != len(origins):
            raise ValueError(
                f"Got {len(samples)} sample numbers for {len(origins)} origins. "
                "Give one of each for every batch item."
            )
        if any(y % size_multiple or x % size_multiple for y, x in origins):
            raise ValueError(
                f"Tile origins must be multiples of {size_multiple} pixels, got "
                f"{list(origins)}. Move the tiles to the network's grid."
            )
        self.seed = seed
        self.samples = tuple(samples)
        self.origins = tuple(origins)
        self.size_multiple = size_multiple
        self.levels = levels

    def __call__(self, level: int, mean: Float[Tensor, "b z y x"]) -> Float[Tensor, "b z y x"]:
        """Return the noise at the latents' absolute positions."""
        stride = self.size_multiple // 2 ** (self.levels - 1 - level)
        drawn: dict[tuple[int, int, int], Tensor] = {}
        items = []
        for sample, (y, x) in zip(self.samples, self.origins, strict=True):
            key = (sample // 2, y // stride, x // stride)
            if key not in drawn:
                drawn[key] = counter_normal(mean[0], self.seed, key[0], level, key[1:])
            items.append(-drawn[key] if sample % 2 else drawn[key])
        return torch.stack(items).to(mean.dtype)


def counter_normal(
    like: Float[Tensor, "z y x"],
    seed: int,
    pair: int,
    level: int,
    origin: tuple[int, int],
) -> Float[Tensor, "z y x"]:
    """Standard-normal numbers as a pure function of their coordinates (Box-Muller).

    Only exact integer arithmetic below 2^62 comes before the last step, so every machine and
    every version of torch computes the same uniform numbers. It can be traced at any size.

    Parameters
    ----------
    like : torch.Tensor of shape (Z, Y, X)
        Gives shape and device; finite.
    seed, pair, level : int
        Seed, number of the antithetic pair, number of the latent level.
    origin : tuple of int
        Absolute (y, x) of the first latent, in latents of this level.

    Returns
    -------
    torch.Tensor of shape (Z, Y, X)
        float32; no magnitude exceeds 6.7.
    """
    channels = like.shape[0]
    half = (channels + 1) // 2
    key = scalar_hash(seed, pair, level)
    hashed_channel = mix(positions(like[:half, 0, 0]) + (key + 101) % PRIME)
    hashed_row = mix(positions(like[0, :, 0]) + origin[0] % PRIME + (key + 257) % PRIME)
    hashed_column = mix(positions(like[0, 0, :]) + origin[1] % PRIME + (key + 911) % PRIME)
    plane = mix(hashed_channel[:, None, None] + hashed_row[None, :, None])
    first = mix(mix(plane + hashed_column[None, None, :]) + key)
    second = mix(first + 1299709)
    radius = (-2 * to_uniform(first).log()).sqrt()
    angle = 2 * math.pi * to_uniform(second)
    both = torch.cat((radius * angle.cos(), radius * angle.sin()), dim=0)
    return both[:channels]


def scalar_hash(*numbers: int) -> int:
    """Hash integers to one below `PRIME`, in plain Python."""
    state = 104729
    for number in numbers:
        # A seed may need more than 31 bits: fold every 31-bit digit and the sign.
        digits = [abs(number) % PRIME, abs(number) // PRIME % PRIME, int(number < 0)]
        for digit in digits:
            state = pow((state + digit + 15485863) % PRIME, 3, PRIME)
    return state


def mix(value: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Scramble integers below 2^62 by cubing modulo `PRIME` after a shift."""
    reduced = (value + 15485863) % PRIME
    return reduced * reduced % PRIME * reduced % PRIME


def positions(line: Float[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """0, 1, 2, ... along a line of finite numbers.

    A traced `arange` would carry the device of the machine that traced it.
    """
    return (line * 0 >= -1).to(torch.int64).cumsum(0) - 1


def to_uniform(value: Int64[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Map hashes to float32 in (0, 1]."""
    return (value.to(torch.float32) + 0.5) / PRIME
