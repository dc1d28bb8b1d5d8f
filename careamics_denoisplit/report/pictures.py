"""The standard picture of a result: mixture, channels, their uncertainty and the truth."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from careamics_denoisplit.evaluation import Example
from careamics_denoisplit.files import write_whole

RESULT: Final = Path("logs") / "result.png"
"""File within a run."""

INK: Final = "#1b2a3a"
PERCENTILES: Final = (0.5, 99.7)
"""Gray values that become black and white."""

_INCHES = 2.6
_DPI = 150
_BAR_SHARE = 0.25


class Panel(NamedTuple):
    """One image of the picture."""

    title: str
    """What it shows."""
    image: Real[np.ndarray, "_ _"]
    """Gray values."""
    limits: tuple[float, float]
    """Gray values of black and white."""
    colours: str
    """Name of matplotlib's colour map."""


def write_result(run: Path | str, example: Example) -> Path:
    """Write the picture of a scored image into a run; an earlier one is replaced.

    Returns
    -------
    pathlib.Path
        Absolute path of the PNG.

    Raises
    ------
    StorageError
        If it cannot be written; the earlier one is kept.
    """
    path = Path(run).absolute() / RESULT
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = draw_result(
        example.mixture,
        example.mean,
        example.std,
        example.channel_names,
        truth=example.truth,
        calibrated=example.calibrated,
        pixel_size=example.pixel_size,
    )
    write_whole(path, picture)
    return path


def draw_result(
    mixture: Real[np.ndarray, "y x"],
    mean: Real[np.ndarray, "c y x"],
    std: Real[np.ndarray, "c y x"] | None,
    channel_names: Sequence[str],
    *,
    truth: Real[np.ndarray, "c y x"] | None = None,
    calibrated: bool = False,
    pixel_size: tuple[float, float] | None = None,
    crop: int | None = 384,
) -> bytes:
    """Draw mixture, predicted channels, their std and, where known, the truth and the error.

    One row for each channel. Prediction and truth of a channel share their contrast limits, so do
    error and std, which begin at zero. The limits are written below each image.

    Parameters
    ----------
    mixture : numpy.ndarray of shape (Y, X)
        The input, gray values.
    mean : numpy.ndarray of shape (C, Y, X)
        Predicted channels, gray values.
    std : numpy.ndarray of shape (C, Y, X) or None
        Their standard deviation, gray values.
    channel_names : sequence of str
        Name of each channel.
    truth : numpy.ndarray of shape (C, Y, X), optional
        True channels on the scale of the prediction.
    calibrated : bool
        Whether `std` is calibrated; it is called spread otherwise.
    pixel_size : tuple of float, optional
        Height and width of a pixel in micrometers, for the scale bar.
    crop : int or None
        Side of the shown square around the most structured part; None shows all.

    Returns
    -------
    bytes
        A PNG.
    """
    window = np.s_[...] if crop is None else most_structured(mean.sum(axis=0), crop)
    width = "std" if calibrated else "spread"
    rows: list[list[Panel | None]] = []
    for k, name in enumerate(channel_names):
        shown = mean[k][window]
        limits = _limits(shown if truth is None else truth[k][window])
        first = None if k else _panel("mixture", mixture[window], "gray")
        row = [first, Panel(f"{name}, predicted", shown, limits, "gray")]
        if truth is not None:
            row.append(Panel(f"{name}, truth", truth[k][window], limits, "gray"))
        widths = {} if std is None else {width: std[k][window]}
        if truth is not None:
            widths = {"error": np.abs(shown - truth[k][window]), **widths}
        top = max((float(np.percentile(w, PERCENTILES[1])) for w in widths.values()), default=0.0)
        row += [Panel(f"{name}, {kind}", w, (0.0, top), "magma") for kind, w in widths.items()]
        rows.append(row)
    return _draw(rows, mixture[window].shape, pixel_size)


def most_structured(image: Real[np.ndarray, "y x"], side: int) -> tuple[slice, slice]:
    """Find the square of `side` pixels, on a coarse grid, whose contrast is highest."""
    height, width = image.shape
    rows, columns = min(side, height), min(side, width)
    places = [
        (y, x)
        for y in np.linspace(0, height - rows, 5).astype(int).tolist()
        for x in np.linspace(0, width - columns, 5).astype(int).tolist()
    ]
    y, x = max(
        places, key=lambda p: float(np.std(image[p[0] : p[0] + rows, p[1] : p[1] + columns]))
    )
    return np.s_[y : y + rows, x : x + columns]


def _draw(
    rows: Sequence[Sequence[Panel | None]],
    shape: tuple[int, ...],
    pixel_size: tuple[float, float] | None,
) -> bytes:
    height, width = shape
    size = (_INCHES * len(rows[0]), (_INCHES * height / width + 0.3) * len(rows))
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for line, panels in zip(axes, rows, strict=True):
        for axis, panel in zip(line, panels, strict=True):
            if panel is None:
                axis.axis("off")
            else:
                _show(axis, panel)
    if pixel_size is not None:
        _scale_bar(axes[0, 0], width, pixel_size[1])
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _show(axis: Axes, panel: Panel) -> None:
    low, high = panel.limits
    axis.imshow(panel.image, cmap=panel.colours, vmin=low, vmax=high, interpolation="nearest")
    axis.set_title(panel.title, fontsize=9, color=INK, loc="left")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(f"{low:.4g} to {high:.4g} gray values", fontsize=7, color="#5f6b76")
    for spine in axis.spines.values():
        spine.set_visible(False)


def _scale_bar(axis: Axes, width: int, micrometers: float) -> None:
    """Draw the longest bar of 1, 2 or 5 times a power of ten within a quarter of the width."""
    longest = _BAR_SHARE * width * micrometers
    power = 10.0 ** np.floor(np.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    right, bottom = 0.95 * width, 0.94 * axis.get_ylim()[0]
    axis.plot([right - length / micrometers, right], [bottom, bottom], color="white", linewidth=3)
    axis.text(
        right - length / micrometers / 2,
        bottom - 0.02 * width,
        f"{length:g} µm",
        color="white",
        fontsize=8,
        ha="center",
        va="bottom",
    )


def _panel(title: str, image: np.ndarray, colours: str) -> Panel:
    return Panel(title, image, _limits(image), colours)


def _limits(image: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(image, PERCENTILES).tolist()
    return low, max(high, low + 1e-6 * (abs(low) + 1.0))
