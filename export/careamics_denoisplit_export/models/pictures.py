"""Pictures of published models: what is split, and where it goes wrong."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from careamics_denoisplit.evaluation import Example

_SIDE = 320
_CROP = 128
_INCHES = 2.2
_RANGE = (0.5, 99.8)
# Magenta and green are told apart by people who confuse red and green.
_COLOURS = (
    *((1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.8, 1.0)),
    *((1.0, 0.8, 0.0), (1.0, 0.3, 0.3), (0.4, 0.4, 1.0)),
)


class Crop(NamedTuple):
    """A part of a test image."""

    example: int
    """Number of the image."""
    y: int
    """First row."""
    x: int
    """First column."""
    side: int
    """Height and width in pixels."""
    relative_error: float
    """Root of the mean squared error over all channels, in standard deviations of the truth."""
    predicted_relative_error: float | None
    """The same of the predicted standard deviation."""


def worst_crops(examples: Sequence[Example], count: int = 3, side: int = _CROP) -> list[Crop]:
    """Find the parts with the largest error that do not overlap.

    Parameters
    ----------
    examples : sequence of Example
        Test images.
    count : int
        How many parts.
    side : int
        Their height and width in pixels; an image that is smaller is one part.
    """
    found = []
    for number, example in enumerate(examples):
        contrast = example.truth.std(axis=(1, 2), dtype=np.float64)[:, None, None]
        error = ((example.mean - example.truth) / contrast) ** 2
        spread = None if example.std is None else (example.std / contrast) ** 2
        height, width = error.shape[1:]
        for y in range(0, max(height - side, 0) + 1, max(side // 2, 1)):
            for x in range(0, max(width - side, 0) + 1, max(side // 2, 1)):
                part = np.s_[:, y : y + side, x : x + side]
                predicted = None if spread is None else float(np.sqrt(spread[part].mean()))
                crop = Crop(number, y, x, side, float(np.sqrt(error[part].mean())), predicted)
                found.append(crop)
    chosen: list[Crop] = []
    for crop in sorted(found, key=lambda crop: -crop.relative_error):
        if len(chosen) < count and not any(_overlap(crop, other) for other in chosen):
            chosen.append(crop)
    return chosen


def draw_split(example: Example) -> bytes:
    """Draw the middle of an image: mixture, channels, truth, uncertainty; returns a PNG."""
    names = example.channel_names
    part = _middle(example.mixture.shape)
    figure, axes = _grid(3, len(names) + 1)
    truth, mean = example.truth[:, *part], example.mean[:, *part]
    ranges = [np.percentile(channel, _RANGE) for channel in truth]
    _gray(axes[0][0], example.mixture[part], np.percentile(example.mixture[part], _RANGE))
    axes[0][0].set_title("mixture")
    axes[1][0].imshow(_overlay(mean, ranges), interpolation="nearest")
    axes[1][0].set_title("split, superimposed")
    axes[2][0].imshow(_overlay(truth, ranges), interpolation="nearest")
    axes[2][0].set_title("truth, superimposed")
    for column, name in enumerate(names, start=1):
        channel, colour = column - 1, _COLOURS[(column - 1) % len(_COLOURS)]
        colours = LinearSegmentedColormap.from_list(name, [(0, 0, 0), colour])
        for row, what, values in ((0, "split", mean), (2, "truth", truth)):
            low, high = ranges[channel]
            axes[row][column].imshow(
                values[channel], cmap=colours, vmin=low, vmax=high, interpolation="nearest"
            )
            axes[row][column].set_title(f"{name}, {what}")
        _uncertainty(axes[1][column], example, channel, part)
    return _png(figure)


def draw_worst(examples: Sequence[Example], crops: Sequence[Crop]) -> bytes:
    """Draw crops, one a row: mixture, and of each channel prediction, truth and error; a PNG."""
    names = examples[0].channel_names
    figure, axes = _grid(len(crops), 1 + 3 * len(names))
    for row, crop in zip(axes, crops, strict=True):
        example = examples[crop.example]
        part = np.s_[crop.y : crop.y + crop.side, crop.x : crop.x + crop.side]
        _gray(row[0], example.mixture[part], np.percentile(example.mixture[part], _RANGE))
        row[0].set_title("mixture")
        for channel, name in enumerate(names):
            truth, mean = example.truth[channel][part], example.mean[channel][part]
            limits = np.percentile(example.truth[channel], _RANGE)
            first = 1 + 3 * channel
            for place, what, values in ((0, "split", mean), (1, "truth", truth)):
                _gray(row[first + place], values, limits)
                row[first + place].set_title(f"{name}, {what}")
            contrast = float(example.truth[channel].std(dtype=np.float64))
            row[first + 2].imshow(
                (mean - truth) / contrast, cmap="RdBu_r", vmin=-2, vmax=2, interpolation="nearest"
            )
            row[first + 2].set_title("error, ±2 std")
    return _png(figure)


def _overlap(crop: Crop, other: Crop) -> bool:
    return (
        crop.example == other.example
        and abs(crop.y - other.y) < crop.side
        and abs(crop.x - other.x) < crop.side
    )


def _middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    height, width = shape
    top, left = max(0, (height - _SIDE) // 2), max(0, (width - _SIDE) // 2)
    return slice(top, top + _SIDE), slice(left, left + _SIDE)


def _overlay(
    channels: Real[np.ndarray, "c y x"], ranges: Sequence[Float[np.ndarray, "2"]]
) -> Float[np.ndarray, "y x 3"]:
    """Superimpose channels in their colours, each stretched to its range."""
    mixed = np.zeros((*channels.shape[1:], 3))
    for number, (channel, (low, high)) in enumerate(zip(channels, ranges, strict=True)):
        share = np.clip((channel - low) / max(high - low, 1e-12), 0, 1)
        mixed += share[..., None] * np.array(_COLOURS[number % len(_COLOURS)])
    clipped: np.ndarray = np.clip(mixed, 0, 1)
    return clipped


def _uncertainty(axes: Axes, example: Example, channel: int, part: tuple[slice, slice]) -> None:
    name = example.channel_names[channel]
    if example.std is None:
        axes.axis("off")
        return
    std = example.std[channel][part]
    axes.imshow(
        std, cmap="inferno", vmin=0, vmax=np.percentile(std, _RANGE[1]), interpolation="nearest"
    )
    axes.set_title(f"{name}, {'uncertainty' if example.calibrated else 'spread'}")


def _gray(axes: Axes, image: Real[np.ndarray, "y x"], limits: Float[np.ndarray, "2"]) -> None:
    axes.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")


def _grid(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    """Build a figure of squares without ticks."""
    figure = Figure(figsize=(_INCHES * columns, (_INCHES + 0.25) * rows), dpi=110)
    FigureCanvasAgg(figure)
    axes = [
        [figure.add_subplot(rows, columns, row * columns + column + 1) for column in range(columns)]
        for row in range(rows)
    ]
    for line in axes:
        for each in line:
            each.set_xticks([])
            each.set_yticks([])
            each.title.set_fontsize(9)
    return figure, axes


def _png(figure: Figure) -> bytes:
    figure.subplots_adjust(
        left=0.005, right=0.995, bottom=0.005, top=0.965, wspace=0.02, hspace=0.1
    )
    file = io.BytesIO()
    # Neither date nor version of matplotlib: the same picture has the same bytes.
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
