"""Mixtures to fit and judge a spread head on: read, or mixed from channels, crop by crop."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.utils.data import Dataset

from careamics_denoisplit.data import Field, Plane, Statistics, mix, split_by_rows
from careamics_denoisplit.data.mixing import MixingRule
from careamics_denoisplit.errors import DataError


@dataclass(frozen=True)
class Mixture:
    """Input of the network for one field of view; no truth is needed.

    Attributes
    ----------
    field : Field
        Channels that are mixed by the rule of the training, or a measured mixture.
    statistics : Statistics
        Mixing rule and camera offsets.
    """

    field: Field
    statistics: Statistics

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels that all planes have."""
        shapes = [plane.shape for plane in self.planes]
        return min(height for height, _ in shapes), min(width for _, width in shapes)

    @property
    def name(self) -> str:
        """Name of the file, or of the array."""
        return Path(self.planes[0].name.split(", sample ")[0]).name

    def crop(self, y: int, x: int, height: int, width: int) -> Float32[np.ndarray, "y x"]:
        """Read a part of the mixture in gray values.

        Parameters
        ----------
        y, x : int
            Upper left corner in pixels.
        height, width : int
            Size in pixels; the part must lie within the field.
        """
        return self.mixed([plane.crop(y, x, height, width) for plane in self.planes])

    def mixed(self, crops: Sequence[Float32[np.ndarray, "y x"]]) -> Float32[np.ndarray, "y x"]:
        """Superimpose crops of the planes by the rule of the training.

        Parameters
        ----------
        crops : sequence of numpy.ndarray of shape (Y, X)
            Gray values of each plane; a measured mixture stays as it is.
        """
        if self.is_measured:
            return crops[0]
        rule: MixingRule = "sum" if self.statistics.mixing == "sum" else "mean"
        return mix(np.stack(crops), rule, offsets=self.statistics.camera_offsets)

    @property
    def is_measured(self) -> bool:
        """Whether the mixture was imaged as such, so that its channels cannot change places."""
        return self.field.mixture is not None

    @property
    def planes(self) -> tuple[Plane, ...]:
        """What is read: the measured mixture where there is one."""
        return self.field.channels if self.field.mixture is None else (self.field.mixture,)


def mixtures_of(fields: Sequence[Field], statistics: Statistics) -> tuple[Mixture, ...]:
    """Make the input of each field.

    Raises
    ------
    DataError
        If the model was trained on measured mixtures and a field has none.
    """
    if statistics.mixing == "measured" and any(field.mixture is None for field in fields):
        raise DataError(
            "This model was trained on measured mixtures, which cannot be mixed from channels. "
            "Give the mixtures: --mixture PATH... (in Python `mixture=`)."
        )
    return tuple(Mixture(field, statistics) for field in fields)


def set_aside(
    mixtures: Sequence[Mixture], fraction: float, gap: int
) -> tuple[tuple[Mixture, ...], tuple[Mixture, ...]]:
    """Split mixtures into a part to fit on and one to validate on, by their rows.

    Parameters
    ----------
    mixtures : sequence of Mixture
        All there are.
    fraction : float
        Share of the rows to set aside.
    gap : int
        Rows between the parts that belong to neither.

    Raises
    ------
    DataError
        If an image has fewer than three times `gap` rows.
    """
    fitted: list[Mixture] = []
    held: list[Mixture] = []
    for each in mixtures:
        split = split_by_rows([(plane,) for plane in each.planes], fraction, gap)
        for part, kept in ((fitted, split.training), (held, split.validation)):
            planes = tuple(channel[0] for channel in kept)
            field = Field(planes) if each.field.mixture is None else Field((), planes[0])
            part.append(Mixture(field, each.statistics))
    return tuple(fitted), tuple(held)


class Crops(Dataset[Tensor]):
    """Random crops of mixtures, normalised; crop n follows from the seed and n alone.

    Parameters
    ----------
    mixtures : sequence of Mixture
        Fields; each is drawn in proportion to its pixels.
    side : int
        Side of a crop in pixels; where a field is smaller, all crops are.
    count : int
        Number of crops.
    multiple : int
        Sides are multiples of this, where a field is large enough.
    seed : int
        Seed of fields, places and orientations.
    pairing : float
        Share of the crops whose channels come from different places: structures meet that never
        met in the few images there are.

    Raises
    ------
    DataError
        If there is no field.
    """

    def __init__(
        self,
        mixtures: Sequence[Mixture],
        side: int,
        count: int,
        *,
        multiple: int,
        seed: int,
        pairing: float = 0.0,
    ) -> None:
        if not mixtures:
            raise DataError("There is no image to fit the one-pass spread on. Give at least one.")
        self.mixtures = tuple(mixtures)
        self.count = count
        self.seed = seed
        self.pairing = pairing
        smallest = min(min(each.shape) for each in self.mixtures)
        whole = min(side, smallest)
        self.side = whole // multiple * multiple or whole
        areas = np.array([np.prod(each.shape) for each in self.mixtures], np.float64)
        self._shares = areas / areas.sum()

    def __len__(self) -> int:
        """Return the number of crops."""
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        """Make crop `number`, shape (1, Y, X)."""
        random = np.random.default_rng([self.seed, number])
        chosen = self._drawn(random)
        if not chosen.is_measured and random.random() < self.pairing:
            crop = chosen.mixed(self._apart(chosen, random))
        else:
            y, x = self._place(chosen, random)
            crop = chosen.crop(y, x, self.side, self.side)
        normalised = chosen.statistics.normalise_input(_turned(crop, random))
        return torch.from_numpy(normalised[None].astype(np.float32))

    def _apart(
        self, chosen: Mixture, random: np.random.Generator
    ) -> list[Float32[np.ndarray, "y x"]]:
        """Cut every channel from a place of its own."""
        crops = []
        for channel in range(len(chosen.planes)):
            source = self._drawn(random)
            if source.is_measured:
                source = chosen
            y, x = self._place(source, random)
            crops.append(_turned(source.planes[channel].crop(y, x, self.side, self.side), random))
        return crops

    def _drawn(self, random: np.random.Generator) -> Mixture:
        return self.mixtures[int(random.choice(len(self.mixtures), p=self._shares))]

    def _place(self, mixture: Mixture, random: np.random.Generator) -> tuple[int, int]:
        y, x = (int(random.integers(size - self.side + 1)) for size in mixture.shape)
        return y, x


def _turned(
    crop: Float32[np.ndarray, "y x"], random: np.random.Generator
) -> Float32[np.ndarray, "y x"]:
    """Turn a crop by a multiple of 90 degrees, and mirror every second one."""
    turned = np.rot90(crop, int(random.integers(4)))
    if random.integers(2):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def middles(
    mixtures: Sequence[Mixture], pixels: int, multiple: int, largest: int = 4
) -> list[tuple[str, Float32[np.ndarray, "y x"]]]:
    """Cut the middle out of a few mixtures, `pixels` in all, to compare estimates there.

    Parameters
    ----------
    mixtures : sequence of Mixture
        Fields; of many, evenly spaced ones are taken.
    pixels : int
        Pixels in all, about.
    multiple : int
        Sides are multiples of this, where a field is large enough.
    largest : int
        Number of fields at most.

    Returns
    -------
    list of (str, numpy.ndarray of shape (Y, X))
        Names and gray values.
    """
    count = min(len(mixtures), largest)
    numbers = np.linspace(0, len(mixtures) - 1, count).round().astype(int)
    side = int((pixels / count) ** 0.5)
    found = []
    for number in dict.fromkeys(numbers.tolist()):
        each = mixtures[number]
        height, width = (
            min(size, side) // multiple * multiple or min(size, side) for size in each.shape
        )
        y, x = (each.shape[0] - height) // 2, (each.shape[1] - width) // 2
        found.append((each.name, each.crop(y, x, height, width)))
    return found
