"""Patches by number: each follows from the seed and its number alone."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch.utils.data import Dataset, Sampler

from careamics_denoisplit.data.dimming import Light, dimmed, draw_brightness
from careamics_denoisplit.data.mixing import MixingRule, mix, mixing_weights
from careamics_denoisplit.data.planes import Plane
from careamics_denoisplit.data.statistics import Statistics
from careamics_denoisplit.errors import DataError

_ORDER = 1
"""Distinguishes draws for an epoch's order from those for a patch."""


class Batch(NamedTuple):
    """Normalised input (B, 1, Y, X) and normalised target (B, C, Y, X), float32."""

    input: torch.Tensor
    target: torch.Tensor


class Field(NamedTuple):
    """One field of view: a plane for each channel, and a measured mixture if there is one."""

    channels: tuple[Plane, ...]
    """The planes of the channels."""
    mixture: Plane | None = None
    """The plane of the measured mixture."""


class Recipe(NamedTuple):
    """How a patch is made from fields."""

    patch: int
    """Side in pixels."""
    rule: MixingRule | None
    """Mean or sum; None if the mixture was measured."""
    jitter: float
    """Half width of the mixing weights."""
    independent: float
    """Probability that each channel comes from a place of its own."""
    augment: bool
    """Random flips and rotations."""
    seed: int
    """Seed of all draws."""
    dimming: float = 0.0
    """Largest share of a channel's light that is taken away."""


class TrainingPatches(Dataset[Batch]):
    """Random patches; number n is drawn from a generator seeded with (seed, n).

    Epoch e consists of the numbers from e times the length on. Which field a patch comes from
    follows from a permutation of all slots of the epoch, seeded with (seed, epoch), so that every
    epoch takes as many patches from a field as fit beside each other into it.

    Parameters
    ----------
    planes : sequence of C sequences of Plane
        Planes of each channel; of equal number and size unless all patches are independent.
    mixture : sequence of Plane or None
        Planes of the measured mixture.
    statistics : Statistics
        For normalisation.
    recipe : Recipe
        How patches are made.
    length : int, optional
        Patches of one epoch; by default as many as fit beside each other into the first channel.
    """

    def __init__(
        self,
        planes: Sequence[Sequence[Plane]],
        mixture: Sequence[Plane] | None,
        statistics: Statistics,
        recipe: Recipe,
        length: int | None = None,
    ) -> None:
        self.planes = tuple(tuple(channel) for channel in planes)
        self.mixture = None if mixture is None else tuple(mixture)
        self.statistics = statistics
        self.recipe = recipe
        self._slots = tuple(_slots(channel, recipe.patch) for channel in self.planes)
        self.length = len(self._slots[0]) if length is None else length
        self.lights: tuple[Light, ...] = ()
        """Dark level and noise of each channel; needed where channels are dimmed."""
        self._order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        """Return the number of patches of one epoch."""
        return self.length

    def __getitem__(self, number: int) -> Batch:
        """Make patch `number`, counted over all epochs."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, number])
        slot = self._slot(number)
        if rng.random() < recipe.independent:
            target = np.stack(
                [
                    _turn(self._anywhere(channel, slot, rng), _orientation(rng, recipe.augment))
                    for channel in range(len(self.planes))
                ]
            )
            mixture = None
        else:
            index = self._slots[0][slot]
            y, x = _corner(self.planes[0][index].shape, recipe.patch, rng)
            orientation = _orientation(rng, recipe.augment)
            target = np.stack(
                [_turn(self._crop(channel[index], y, x), orientation) for channel in self.planes]
            )
            mixture = (
                None
                if self.mixture is None
                else _turn(self._crop(self.mixture[index], y, x), orientation)
            )
        if recipe.dimming:
            target = np.stack(
                [
                    dimmed(channel, draw_brightness(rng, recipe.dimming), light, rng)
                    for channel, light in zip(target, self.lights, strict=True)
                ]
            )
        if mixture is None:
            mixture = self._mix(target, rng)
        return _normalised(mixture, target, self.statistics)

    def _slot(self, number: int) -> int:
        """Place of a patch in the order of its epoch."""
        epoch, position = divmod(number, self.length)
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng([self.recipe.seed, _ORDER, epoch])
            count = len(self._slots[0])
            rounds = -(-self.length // count)
            order = np.concatenate([rng.permutation(count) for _ in range(rounds)])
            self._order = (epoch, order)
        return int(self._order[1][position])

    def _anywhere(
        self, channel: int, slot: int, rng: np.random.Generator
    ) -> Float32[np.ndarray, "p p"]:
        """Crop one channel at a place of its own; the first channel keeps its field."""
        slots = self._slots[channel]
        index = slots[slot] if channel == 0 else slots[int(rng.integers(len(slots)))]
        plane = self.planes[channel][index]
        return self._crop(plane, *_corner(plane.shape, self.recipe.patch, rng))

    def _crop(self, plane: Plane, y: int, x: int) -> Float32[np.ndarray, "p p"]:
        return plane.crop(y, x, self.recipe.patch, self.recipe.patch)

    def _mix(
        self, target: Float32[np.ndarray, "c p p"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "p p"]:
        """Superimpose the channels of one patch."""
        rule = self.recipe.rule
        if rule is None:
            raise DataError("A measured mixture was announced, but none was given.")
        jitter = self.recipe.jitter
        weights = mixing_weights(rng, len(target), jitter) if jitter else None
        return mix(target, rule, weights, self.statistics.camera_offsets)


class GridPatches(Dataset[Batch]):
    """All patches of a fixed grid; the rest at the right and lower border is unused.

    Parameters
    ----------
    fields : sequence of Field
        Fields of view.
    statistics : Statistics
        For normalisation; those of the training data.
    patch : int
        Side in pixels.
    rule : {"mean", "sum"} or None
        How the input is made; None if the mixture was measured.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        statistics: Statistics,
        patch: int,
        rule: MixingRule | None,
    ) -> None:
        self.fields = tuple(fields)
        self.statistics = statistics
        self.patch = patch
        self.rule = rule
        self.places = tuple(
            (index, y, x)
            for index, field in enumerate(self.fields)
            for y, x in grid_corners(_common_shape(field), patch)
        )

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.places)

    def __getitem__(self, number: int) -> Batch:
        """Make patch `number` of the grid."""
        index, y, x = self.places[number]
        field = self.fields[index]
        target = np.stack([plane.crop(y, x, self.patch, self.patch) for plane in field.channels])
        if self.rule is not None:
            mixture = mix(target, self.rule, offsets=self.statistics.camera_offsets)
        elif field.mixture is not None:
            mixture = field.mixture.crop(y, x, self.patch, self.patch)
        else:
            raise DataError("A measured mixture was announced, but none was given.")
        return _normalised(mixture, target, self.statistics)


class IndexedSampler(Sampler[int]):
    """Yields the number of each patch of an epoch, counted over all epochs.

    Parameters
    ----------
    length : int
        Patches of one epoch.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.epoch = 0
        self.position = 0

    def __len__(self) -> int:
        """Return the number of patches of a whole epoch."""
        return self.length

    def __iter__(self) -> Iterator[int]:
        """Yield numbers from the position to the end of the epoch."""
        first = self.epoch * self.length
        yield from range(first + self.position, first + self.length)

    def set_position(self, epoch: int, position: int) -> None:
        """Continue in an epoch after some of its patches.

        Parameters
        ----------
        epoch : int
            Epoch to continue, from 0.
        position : int
            Patches of that epoch that were used before.
        """
        if epoch < 0 or not 0 <= position <= self.length:
            raise ValueError(
                f"Epoch and position must lie in 0... and 0...{self.length}, got "
                f"{epoch} and {position}."
            )
        self.epoch, self.position = epoch, position

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch; Lightning calls this before each one.

        It calls it also for an epoch that is continued, after the first iterator was made; the
        position is kept then.
        """
        if epoch != self.epoch:
            self.set_position(epoch, 0)


def grid_corners(shape: tuple[int, int], patch: int) -> list[tuple[int, int]]:
    """List the upper left corners (y, x) of the patches that fit beside each other."""
    height, width = shape
    return [
        (y, x)
        for y in range(0, height - patch + 1, patch)
        for x in range(0, width - patch + 1, patch)
    ]


def collate(patches: Sequence[Batch]) -> Batch:
    """Stack patches to a batch."""
    return Batch(
        torch.stack([patch.input for patch in patches]),
        torch.stack([patch.target for patch in patches]),
    )


def _common_shape(field: Field) -> tuple[int, int]:
    """Height and width that all planes of a field have."""
    shapes = [plane.shape for plane in field.channels]
    return min(height for height, _ in shapes), min(width for _, width in shapes)


def _slots(planes: Sequence[Plane], patch: int) -> tuple[int, ...]:
    """Index of a plane for each patch that fits beside the others into it."""
    return tuple(
        index
        for index, plane in enumerate(planes)
        for _ in range((plane.shape[0] // patch) * (plane.shape[1] // patch))
    )


def _corner(shape: tuple[int, int], patch: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw an upper left corner uniformly."""
    return (
        int(rng.integers(shape[0] - patch + 1)),
        int(rng.integers(shape[1] - patch + 1)),
    )


def _orientation(rng: np.random.Generator, augment: bool) -> int:
    """Draw one of the 8 orientations of a square; 0 leaves it as it is."""
    return int(rng.integers(8)) if augment else 0


def _turn(patch: Float32[np.ndarray, "p p"], orientation: int) -> Float32[np.ndarray, "p p"]:
    """Rotate by quarter turns, and flip if the orientation is at least 4."""
    turned = np.rot90(patch, orientation % 4)
    return turned[:, ::-1] if orientation >= 4 else turned


def _normalised(
    mixture: Float32[np.ndarray, "p p"],
    target: Float32[np.ndarray, "c p p"],
    statistics: Statistics,
) -> Batch:
    """Normalise one patch and hand it to torch."""
    return Batch(
        torch.from_numpy(
            np.ascontiguousarray(statistics.normalise_input(mixture)[None], dtype=np.float32)
        ),
        torch.from_numpy(
            np.ascontiguousarray(statistics.normalise_target(target), dtype=np.float32)
        ),
    )
