"""Pictures of a split: what went in, what came out, what is true, and how sure it is."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

DETAIL = 256
"""Side of the shown part, in pixels."""
INCHES = 2.2
DOTS_PER_INCH = 110
LIMITS = (0.5, 99.8)
"""Percentiles of the gray values that become black and white."""
BINS = 20


def draw_split(
    channel_names: Sequence[str],
    mixture: Shaped[np.ndarray, "y x"],
    mean: Shaped[np.ndarray, "c y x"],
    truth: Shaped[np.ndarray, "c y x"],
) -> bytes:
    """Draw the mixture, and each predicted channel above its truth.

    Parameters
    ----------
    channel_names : sequence of str
        Name of each channel.
    mixture : numpy.ndarray of shape (Y, X)
        Noisy input, in gray values.
    mean, truth : numpy.ndarray of shape (C, Y, X)
        Predicted and noise-free channels, in gray values.

    Returns
    -------
    bytes
        A PNG.
    """
    count = len(channel_names)
    figure, axes = _figure(2, count + 1)
    _show(axes[0][0], mixture, "noisy mixture")
    axes[1][0].axis("off")
    for index, name in enumerate(channel_names):
        _show(axes[0][index + 1], mean[index], f"{name}, split")
        _show(axes[1][index + 1], truth[index], f"{name}, truth")
    return _png(figure)


def draw_uncertainty(
    channel_names: Sequence[str],
    mean: Shaped[np.ndarray, "c y x"],
    std: Shaped[np.ndarray, "c y x"],
    truth: Shaped[np.ndarray, "c y x"],
) -> bytes:
    """Draw error and standard deviation of each channel, and one against the other.

    Parameters
    ----------
    channel_names : sequence of str
        Name of each channel.
    mean, std, truth : numpy.ndarray of shape (C, Y, X)
        Prediction, its standard deviation and the noise-free channels, in gray values.

    Returns
    -------
    bytes
        A PNG.
    """
    figure, axes = _figure(len(channel_names), 3)
    for row, name, estimate, width, clean in zip(
        axes, channel_names, mean, std, truth, strict=True
    ):
        error = np.abs(estimate - clean)
        top = float(np.percentile(error, LIMITS[1]))
        _show(row[0], error, f"{name}, error", limits=(0.0, top))
        _show(row[1], width, f"{name}, std", limits=(0.0, top))
        _plot_bins(row[2], width, error)
    return _png(figure)


def _plot_bins(axes: Axes, width: NDArray[np.generic], error: NDArray[np.generic]) -> None:
    """Plot the error of pixels of equal standard deviation; a calibrated one lies on the line."""
    order = np.argsort(width, axis=None)
    expected, found = (
        [
            float(np.sqrt(np.mean(np.square(part, dtype=np.float64))))
            for part in np.array_split(values.ravel()[order], BINS)
        ]
        for values in (width, error)
    )
    top = 1.05 * max(*expected, *found)
    axes.plot([0, top], [0, top], color="0.7", linewidth=1)
    axes.plot(expected, found, "o", markersize=3)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="std", ylabel="error", box_aspect=1)
    axes.tick_params(labelsize=6)


def _figure(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure that needs no display."""
    figure = Figure(figsize=(INCHES * columns, INCHES * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[list[Axes]] = figure.subplots(rows, columns, squeeze=False).tolist()
    return figure, axes


def _show(
    axes: Axes,
    image: Shaped[np.ndarray, "y x"],
    title: str,
    limits: tuple[float, float] | None = None,
) -> None:
    """Show the upper left part of an image."""
    part = image[:DETAIL, :DETAIL]
    low, high = np.percentile(part, LIMITS) if limits is None else limits
    axes.imshow(part, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.axis("off")


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()
