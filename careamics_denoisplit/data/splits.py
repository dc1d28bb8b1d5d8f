"""Training and validation data that share no pixel, nor neighbouring ones."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from careamics_denoisplit.data.planes import Plane
from careamics_denoisplit.errors import DataError

_PROBE = 64
_LARGEST_SEARCH = 2**27


class Split(NamedTuple):
    """Planes for training and for validation, by channel."""

    training: tuple[tuple[Plane, ...], ...]
    """Planes of each channel for training."""
    validation: tuple[tuple[Plane, ...], ...]
    """Planes of each channel for validation."""


def split_by_frame(channels: Sequence[Sequence[Plane]], fraction: float) -> Split:
    """Set aside the last planes of each channel.

    Parameters
    ----------
    channels : sequence of C sequences of Plane
        Planes of each channel; of channels of unequal number all are used.
    fraction : float
        Share of planes (of the shortest channel) to set aside; at least one is.

    Returns
    -------
    Split
        Both parts.

    Raises
    ------
    DataError
        If there are fewer than two planes.
    """
    count = min(len(planes) for planes in channels)
    held = max(1, round(count * fraction))
    if count < 2:
        raise DataError(
            f"There is {count} image per channel; splitting by frames needs at least 2. "
            'Split by rows (`validation_split: "rows"`), or give validation data.'
        )
    return Split(
        tuple(tuple(planes[:-held]) for planes in channels),
        tuple(tuple(planes[-held:]) for planes in channels),
    )


def split_by_rows(channels: Sequence[Sequence[Plane]], fraction: float, gap: int) -> Split:
    """Set aside the lower rows of every plane, and drop a band between the parts.

    Parameters
    ----------
    channels : sequence of C sequences of Plane
        Planes of each channel.
    fraction : float
        Share of rows to set aside; at least `gap` rows are.
    gap : int
        Rows between the parts that belong to neither, in pixels: the side of a patch.

    Returns
    -------
    Split
        Both parts.

    Raises
    ------
    DataError
        If a plane has fewer than three times `gap` rows.
    """
    return Split(
        tuple(tuple(_upper(p, fraction, gap) for p in planes) for planes in channels),
        tuple(tuple(_lower(p, fraction, gap) for p in planes) for planes in channels),
    )


def refuse_leak(training: Sequence[Sequence[Plane]], validation: Sequence[Sequence[Plane]]) -> None:
    """Refuse validation data that contain training data.

    Planes are compared by their pixels: a square in the centre of each validation plane is looked
    for in the centre of every training plane, and then at every place of as many training planes
    as 134 million compared pixels allow.

    Parameters
    ----------
    training, validation : sequence of C sequences of Plane
        Planes of each channel.

    Raises
    ------
    DataError
        If a validation plane is, or is a part of, a training plane.
    """
    planes = max(sum(len(held) for held in validation), 1)
    budget = _LARGEST_SEARCH // planes
    for known, held in zip(training, validation, strict=True):
        prints = {_fingerprint(plane): plane for plane in known}
        for plane in held:
            twin = prints.get(_fingerprint(plane)) or _containing(plane, known, budget)
            if twin is not None:
                raise DataError(
                    f"Validation data equal training data: {plane.name} is contained in "
                    f"{twin.name}. Give images that were not trained on, or set "
                    "`data_config.validation_split`."
                )


def _bounds(plane: Plane, fraction: float, gap: int) -> tuple[int, int, int, int]:
    """First row, end of training, start of validation, end."""
    first = plane.rows[0] if plane.rows else 0
    height = plane.shape[0]
    held = max(gap, min(round(height * fraction), height - 2 * gap))
    upper = height - held - gap
    if upper < gap:
        raise DataError(
            f"{plane.name} has {height} rows; a split by rows with a gap of one patch needs at "
            f"least {3 * gap}. Use a smaller patch, or give validation data."
        )
    return first, first + upper, first + upper + gap, first + height


def _upper(plane: Plane, fraction: float, gap: int) -> Plane:
    first, end, _, _ = _bounds(plane, fraction, gap)
    return plane._replace(rows=(first, end))


def _lower(plane: Plane, fraction: float, gap: int) -> Plane:
    _, _, start, last = _bounds(plane, fraction, gap)
    return plane._replace(rows=(start, last))


def _fingerprint(plane: Plane) -> tuple[tuple[int, int], str]:
    """Shape and hash of the pixels in the centre."""
    height, width = plane.shape
    side_y, side_x = min(_PROBE, height), min(_PROBE, width)
    probe = plane.crop((height - side_y) // 2, (width - side_x) // 2, side_y, side_x)
    return plane.shape, hashlib.sha256(probe.tobytes()).hexdigest()


def _containing(plane: Plane, known: Sequence[Plane], budget: int) -> Plane | None:
    """Find a training plane that shares a region with this one, within a number of pixels."""
    for other in known:
        small, large = sorted((plane, other), key=_area)
        budget -= _area(large)
        if budget < 0:
            return None
        if _is_part(small, large):
            return other
    return None


def _area(plane: Plane) -> int:
    return plane.shape[0] * plane.shape[1]


def _is_part(small: Plane, large: Plane) -> bool:
    """Whether the centre of one plane occurs anywhere in the other."""
    side = min(_PROBE // 4, *small.shape)
    y, x = ((length - side) // 2 for length in small.shape)
    probe = small.crop(y, x, side, side)
    if np.ptp(probe) == 0:
        return False
    # A line of zeros begins at every place of a dark background, the most varied one rarely.
    rarest = int(np.argmax([np.unique(line).size for line in probe]))
    top = -rarest
    for block in large.blocks():
        for row, column in _starts(block, probe[rarest]):
            if not 0 <= top + row <= large.shape[0] - side:
                continue
            if np.array_equal(large.crop(top + row, column, side, side), probe):
                return True
        top += block.shape[0]
    return False


def _starts(
    block: Float32[np.ndarray, "_ _"], line: Float32[np.ndarray, " n"]
) -> list[tuple[int, int]]:
    """Places where a line of pixels begins."""
    width = block.shape[1] - len(line) + 1
    match = np.ones((block.shape[0], max(width, 0)), dtype=np.bool_)
    for offset, value in enumerate(line):
        match &= block[:, offset : offset + width] == value
        if not match.any():
            return []
    return [(int(row), int(column)) for row, column in np.argwhere(match)]
