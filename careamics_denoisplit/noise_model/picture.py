"""The picture of a quality report: noise against signal, uniformity, and the verdict."""

import io
import textwrap
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from careamics_denoisplit.noise_model.report import NoiseModelReport

INK: Final = "#1b2a3a"
FOUND: Final = "#d1495b"
MODEL: Final = "#00798c"
GRID: Final = "#d9dee4"
VERDICT_COLOURS: Final = {
    "pass": "#2a7f4f",
    "warn": "#b26a00",
    "fail": "#b3261e",
    "unknown": "#5f6b76",
}


def draw_report(report: NoiseModelReport) -> bytes:
    """Draw a report as a PNG image of 1500 x 750 pixels; no display is needed."""
    figure = Figure(figsize=(10, 5), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.075, right=0.975, top=0.73, bottom=0.12, wspace=0.24)
    left, right = figure.subplots(1, 2)
    _draw_heading(figure, report)
    _draw_sigma_curve(left, report)
    _draw_uniformity(right, report)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw_heading(figure: Figure, report: NoiseModelReport) -> None:
    figure.text(
        0.025,
        0.935,
        f"Noise model of {_plain(report.channel)}",
        fontsize=15,
        color=INK,
        weight="bold",
        va="center",
    )
    figure.text(
        0.975,
        0.935,
        report.verdict.upper(),
        fontsize=13,
        color="white",
        weight="bold",
        ha="right",
        va="center",
        bbox={
            "boxstyle": "round,pad=0.45",
            "facecolor": VERDICT_COLOURS[report.verdict],
            "edgecolor": "none",
        },
    )
    reasons = textwrap.fill(_plain("; ".join(report.reasons)), width=150, max_lines=3)
    figure.text(0.025, 0.885, reasons, fontsize=8.5, color=INK, va="top", linespacing=1.35)


def _draw_sigma_curve(axes: Axes, report: NoiseModelReport) -> None:
    signal = [point.signal for point in report.sigma_curve]
    axes.plot(
        signal,
        [point.empirical_std for point in report.sigma_curve],
        "o",
        color=FOUND,
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.5,
        label="held-out pixels",
        zorder=3,
    )
    axes.plot(
        signal,
        [point.model_std for point in report.sigma_curve],
        color=MODEL,
        linewidth=2,
        label=f"model ({report.n_gaussians} Gaussian{'s' * (report.n_gaussians > 1)})",
    )
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    _style(axes, "Noise against signal", "signal (gray values)", "noise std (gray values)")


def _draw_uniformity(axes: Axes, report: NoiseModelReport) -> None:
    shares = report.pit.histogram
    bins = len(shares)
    heights = [share * bins for share in shares]
    places = [(index + 0.5) / bins for index in range(bins)]
    axes.bar(places, heights, width=0.92 / bins, color=MODEL, alpha=0.75)
    axes.axhline(1, color=INK, linewidth=1.2, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(1.6, 1.1 * max(heights)))
    axes.text(
        0.98,
        0.95,
        f"distance to uniform {report.pit.kolmogorov_smirnov:.3f}\n"
        f"held-out NLL {report.heldout_nll:.3f} (constant width {report.constant_nll:.3f})\n"
        f"correlation of neighbours {report.autocorrelation.largest:.2f}",
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=8.5,
        color=INK,
        linespacing=1.4,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 3},
    )
    _style(
        axes,
        "Is the shape right? (flat is ideal)",
        "probability of a darker observation",
        "relative frequency",
    )


def _style(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10.5, color=INK, loc="left", pad=8)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK, length=3)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)


def _plain(text: str) -> str:
    """Keep matplotlib from reading dollar signs of a name as mathematics."""
    return text.replace("$", r"\$")
