"""Compare a one-pass spread with posterior samples, and say whether it may replace them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from careamics_denoisplit.distillation.record import Gate, Status
from careamics_denoisplit.prediction import Estimate, Progress, Splitter, Tiling, predict_image

SAMPLES = 16
"""Posterior samples that the one pass must be as good as."""

LARGEST_MEAN_ERROR = SAMPLES**-0.5
"""Largest error of the mean in units of the spread: that of as many independent samples.

`predict` draws pairs of opposite noise, whose mean is closer (its error stands beside).
"""

RATIO = (0.9, 1.1)
"""Range of the ratio of mean squares."""

LARGEST_SEAM = 1.0
"""Largest 99.9th percentile of tiles against the whole image, in units of the spread."""

_DECILES = 10


class Estimates(NamedTuple):
    """One region predicted in five ways, in gray values."""

    one_pass: Estimate
    """One pass with the head, the whole region at once."""
    tiled: Estimate
    """The same in tiles."""
    plain: Estimate
    """The pass with posterior means alone, without what the head says."""
    few: Estimate
    """`SAMPLES` posterior samples, none of them among `many`."""
    many: Estimate
    """The reference: many posterior samples."""


def compare(
    trained: Splitter,
    regions: Sequence[Float[np.ndarray, "_ _"]],
    *,
    reference_samples: int,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[Estimates]:
    """Predict regions in one pass and by samples.

    Parameters
    ----------
    trained : Splitter
        Network, statistics and `spread_head`.
    regions : sequence of numpy.ndarray of shape (Y, X)
        Mixtures in gray values.
    reference_samples : int
        Posterior samples of the reference.
    seed : int
        Seed of the reference; the few samples take the next one.
    device : torch.device or str, optional
        Where to compute.
    progress : callable, optional
        Called with (finished, all) passes of the decoder.

    Returns
    -------
    list of Estimates
        One for each region.
    """
    per_region = SAMPLES + reference_samples
    found = []
    for number, region in enumerate(regions):

        def advance(done: int, _total: int, before: int = number * per_region) -> None:
            if progress is not None:
                progress(before + done, len(regions) * per_region)

        def shifted(done: int, total: int) -> None:
            advance(SAMPLES + done, total)

        found.append(
            Estimates(
                one_pass=predict_image(trained, region, spread="distilled", device=device),
                tiled=predict_image(
                    trained,
                    region,
                    spread="distilled",
                    tiling=tiles_for(region.shape, trained.network.size_multiple),
                    device=device,
                ),
                plain=predict_image(trained, region, spread="none", device=device),
                few=predict_image(
                    trained,
                    region,
                    n_samples=SAMPLES,
                    seed=seed + 1,
                    device=device,
                    progress=advance,
                ),
                many=predict_image(
                    trained,
                    region,
                    n_samples=reference_samples,
                    seed=seed,
                    device=device,
                    progress=shifted,
                ),
            )
        )
    return found


def tiles_for(shape: Sequence[int], multiple: int) -> Tiling:
    """Return tiles of about 5/8 of a region, so that each axis has a seam in the middle.

    Parameters
    ----------
    shape : sequence of int
        Height and width of the region in pixels.
    multiple : int
        Tiles are multiples of this.
    """
    tile = (int(shape[0]) * 5 // 8, int(shape[1]) * 5 // 8)
    overlap = (tile[0] * 2 // 5, tile[1] * 2 // 5)
    return Tiling((max(tile[0], 1), max(tile[1], 1)), overlap, blend=min(16, *overlap)).aligned(
        multiple
    )


def gates_of(estimates: Sequence[Estimates], names: Sequence[str]) -> tuple[Gate, ...]:
    """Answer the questions that need no truth.

    Parameters
    ----------
    estimates : sequence of Estimates
        What `compare` returned.
    names : sequence of str
        Name of each channel.

    Returns
    -------
    tuple of Gate
        Ratio of mean squares (overall and by decile), errors of log std and mean beside those of
        few samples, tiles against the whole.
    """
    channels = {name: _Pixels.of(estimates, k) for k, name in enumerate(names)}
    n_many = estimates[0].many.n_samples
    few, many = f"{SAMPLES} samples", f"{n_many} samples"
    low, high = RATIO
    return (
        _gate(
            "mean_square_ratio",
            f"mean square of the spread, one pass / {many}",
            f"{low} to {high}",
            ("ratio",),
            {name: (pixels.ratio(),) for name, pixels in channels.items()},
            lambda row: low <= row[0] <= high,
        ),
        _gate(
            "mean_square_ratio_by_decile",
            f"the same in each tenth of the pixels, sorted by the one-pass spread / {many}",
            f"{low} to {high} in each",
            tuple(f"{10 * k}-{10 * k + 10} %" for k in range(_DECILES)),
            {name: pixels.ratios() for name, pixels in channels.items()},
            lambda row: all(low <= value <= high for value in row),
        ),
        _gate(
            "log_std_error",
            f"RMS error of log std against {many}",
            f"at most that of {few}",
            ("one pass", few),
            {name: pixels.log_std_errors() for name, pixels in channels.items()},
            lambda row: row[0] <= row[1],
        ),
        _gate(
            "mean_error",
            f"RMS error of the mean against {many}, in units of their std",
            f"at most {LARGEST_MEAN_ERROR:g}, that of {SAMPLES} independent samples",
            ("one pass", few, "pass with posterior means"),
            {name: pixels.mean_errors() for name, pixels in channels.items()},
            lambda row: row[0] <= LARGEST_MEAN_ERROR,
        ),
        _gate(
            "tile_against_whole",
            "mean in tiles against the whole region, in units of the one-pass spread",
            f"99.9th percentile at most {LARGEST_SEAM:g}",
            ("median", "99.9 %", "largest"),
            {name: pixels.seams() for name, pixels in channels.items()},
            lambda row: row[1] <= LARGEST_SEAM,
        ),
    )


def _gate(
    name: str,
    title: str,
    limit: str,
    columns: tuple[str, ...],
    figures: Mapping[str, tuple[float, ...]],
    fits: Callable[[tuple[float, ...]], bool],
) -> Gate:
    """Judge the figures of all channels."""
    status: Status = "passed" if all(map(fits, figures.values())) else "failed"
    return Gate(
        name=name, title=title, limit=limit, status=status, columns=columns, figures=dict(figures)
    )


@dataclass(frozen=True)
class _Pixels:
    """Mean and spread of all compared pixels of one channel, gray values."""

    mean: Float[np.ndarray, " n"]
    std: Float[np.ndarray, " n"]
    tiled_mean: Float[np.ndarray, " n"]
    plain_mean: Float[np.ndarray, " n"]
    few_mean: Float[np.ndarray, " n"]
    few_std: Float[np.ndarray, " n"]
    many_mean: Float[np.ndarray, " n"]
    many_std: Float[np.ndarray, " n"]

    @classmethod
    def of(cls, estimates: Sequence[Estimates], channel: int) -> "_Pixels":
        def joined(kind: str, part: str) -> Float[np.ndarray, " n"]:
            values = [getattr(getattr(each, kind), part)[channel].ravel() for each in estimates]
            return np.concatenate(values).astype(np.float64)

        smallest = np.finfo(np.float32).tiny
        return cls(
            mean=joined("one_pass", "mean"),
            std=np.maximum(joined("one_pass", "spread"), smallest),
            tiled_mean=joined("tiled", "mean"),
            plain_mean=joined("plain", "mean"),
            few_mean=joined("few", "mean"),
            few_std=np.maximum(joined("few", "spread"), smallest),
            many_mean=joined("many", "mean"),
            many_std=np.maximum(joined("many", "spread"), smallest),
        )

    def ratio(self) -> float:
        return _mean_square(self.std) / _mean_square(self.many_std)

    def ratios(self) -> tuple[float, ...]:
        """Ratio of mean squares of each tenth, from the lowest to the highest std."""
        tenths = np.array_split(np.argsort(self.std, kind="stable"), _DECILES)
        return tuple(
            _mean_square(self.std[part]) / _mean_square(self.many_std[part])
            for part in tenths
            if part.size
        )

    def log_std_errors(self) -> tuple[float, ...]:
        reference = np.log(self.many_std)
        return tuple(
            _mean_square(np.log(std) - reference) ** 0.5 for std in (self.std, self.few_std)
        )

    def mean_errors(self) -> tuple[float, ...]:
        return tuple(
            _mean_square((mean - self.many_mean) / self.many_std) ** 0.5
            for mean in (self.mean, self.few_mean, self.plain_mean)
        )

    def seams(self) -> tuple[float, ...]:
        difference = np.abs(self.tiled_mean - self.mean) / self.std
        median, high = np.percentile(difference, (50, 99.9))
        return float(median), float(high), float(difference.max())


def _mean_square(values: Float[np.ndarray, " n"]) -> float:
    return float(np.mean(np.square(values)))
