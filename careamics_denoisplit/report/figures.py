"""Curves of the report as SVG: text as paths, no script, equal bytes for equal numbers."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK: Final = "#1b2a3a"
GRID: Final = "#e3e7ec"
BLUE: Final = "#0072b2"
ORANGE: Final = "#d55e00"
GREEN: Final = "#009e73"
GRAY: Final = "#7a8591"
PURPLE: Final = "#9a5ea1"
CHANNEL_COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE)

_CURVES: Final = {
    "raw": ("spread, not calibrated", GRAY, ":"),
    "scalar": ("scalar factor", BLUE, "-"),
    "joint": ("joint function", GREEN, "-"),
    "intensity_only": ("reference: intensity only", ORANGE, "--"),
    "constant": ("reference: constant", PURPLE, "--"),
    "oracle": ("true error (best possible)", INK, "-"),
}

Rows = Sequence[Mapping[str, Any]]


def draw_training(rows: Sequence[Mapping[str, str]], channel_names: Sequence[str]) -> bytes | None:
    """Draw loss, divergence per level and validation PSNR over epochs; None without rows."""
    if not rows:
        return None
    figure = _figure(3)
    loss, divergence, psnr = figure.axes
    _plot_columns(loss, rows, {"train_loss": "training loss", "val_loss": "validation NLL"})
    loss.set_ylabel("nats per pixel")
    levels = sorted(key for key in rows[-1] if key.startswith("kl_level_"))
    _plot_columns(divergence, rows, {key: f"level {key[9:]}" for key in levels})
    divergence.set_yscale("log")
    divergence.set_ylabel("KL per image, nats")
    scores = {f"val_psnr_{name}": name for name in channel_names}
    _plot_columns(psnr, rows, scores)
    psnr.set_ylabel("validation PSNR, dB")
    for axis, title in zip(figure.axes, ("Loss", "Latent information", "Quality"), strict=True):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(axis, title, "epoch")
    return _svg(figure)


def draw_calibration(channel: Mapping[str, Any]) -> bytes | None:
    """Draw observed against predicted error of one channel, and its sparsification curves.

    None where the channel has no bins.
    """
    calibration = channel["calibration"]
    bins = _filled(calibration["bins"])
    if not bins:
        return None
    figure = _figure(2)
    reliability, sparsification = figure.axes
    name = calibration["method"] or "raw"
    references = calibration.get("reference_bins", {})
    for key, rows in {name: bins, **references}.items():
        label, colour, style = _CURVES[key]
        shown = _filled(rows)
        x, y = ([row[k] for row in shown] for k in ("rmv", "rmse"))
        reliability.plot(
            x, y, color=colour, linestyle=style, marker="o", markersize=3.5, label=label
        )
    _equal_axes(reliability, bins)
    _finish(reliability, f"{channel['name']}: predicted and true error", "predicted std (RMV)")
    reliability.set_ylabel("true error (RMSE), gray values")
    curves = calibration.get("sparsification") or {}
    for key, (label, colour, style) in _CURVES.items():
        if key in curves and key != "raw":
            sparsification.plot(
                curves["fraction"], curves[key], color=colour, linestyle=style, label=label
            )
    _finish(sparsification, f"{channel['name']}: error of the rest", "uncertain pixels left out")
    sparsification.set_ylabel("RMSE of the rest / RMSE of all")
    sparsification.set_ylim(bottom=0.0)
    return _svg(figure)


def draw_noise(models: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> bytes | None:
    """Draw the noise of each channel against its signal: (name, signal, std), gray values."""
    if not models:
        return None
    figure = _figure(1)
    (axis,) = figure.axes
    for (name, signal, std), colour in zip(models, _cycle(len(models)), strict=True):
        axis.plot(signal, std, color=colour, label=name)
    _finish(axis, "Noise by the models", "signal, gray values")
    axis.set_ylabel("noise std, gray values")
    axis.set_ylim(bottom=0.0)
    return _svg(figure)


def _figure(panels: int) -> Figure:
    figure = Figure(figsize=(4.1 * panels, 3.2), facecolor="white", layout="constrained")
    FigureCanvasSVG(figure)
    figure.subplots(1, panels)
    return figure


def _plot_columns(
    axis: Axes, rows: Sequence[Mapping[str, str]], columns: Mapping[str, str]
) -> None:
    for (key, label), colour in zip(columns.items(), _cycle(len(columns)), strict=True):
        points = [(float(row["epoch"]), float(row[key])) for row in rows if row.get(key)]
        if points:
            axis.plot(*zip(*points, strict=True), color=colour, label=label, linewidth=1.5)


def _cycle(count: int) -> list[str]:
    return [CHANNEL_COLOURS[index % len(CHANNEL_COLOURS)] for index in range(count)]


def _filled(rows: Rows) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["rmv"] and row["rmse"] is not None]


def _equal_axes(axis: Axes, bins: Rows) -> None:
    """Show both axes on one logarithmic scale with the line of perfect calibration."""
    values = [row[key] for row in bins for key in ("rmv", "rmse") if row[key] > 0.0]
    if not values:
        return
    low, high = 0.7 * min(values), 1.4 * max(values)
    axis.plot([low, high], [low, high], color=INK, linewidth=0.8, label="perfect")
    axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))


def _finish(axis: Axes, title: str, xlabel: str) -> None:
    axis.set_title(title, loc="left", fontsize=10, color=INK)
    axis.set_xlabel(xlabel, fontsize=9)
    axis.yaxis.label.set_fontsize(9)
    axis.tick_params(labelsize=8, colors=INK, which="both")
    axis.grid(color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7.5, frameon=False)


def _svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "denoisplit"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
