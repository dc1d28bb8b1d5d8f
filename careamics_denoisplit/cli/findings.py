"""What `denoisplit data check` says about sound data; loaded only when it runs."""

from collections.abc import Iterator
from itertools import groupby

from careamics_denoisplit.data import DataReport
from careamics_denoisplit.data.check_report import ImageFinding


def facts(report: DataReport) -> Iterator[str]:
    """Say in one line each how images were understood and what their pixels say.

    Parameters
    ----------
    report : DataReport
        The findings.

    Yields
    ------
    str
        A line.
    """
    for like, group in groupby(report.images, key=_form):
        images = list(group)
        named = images[0].name if len(images) == 1 else f"{images[0].name} ... {images[-1].name}"
        yield f"{images[0].role}: {len(images)} of {like[1]}: {named}"
    for channel in report.channels:
        yield (
            f"{channel.name}: {channel.minimum:.4g} to {channel.maximum:.4g}, mean "
            f"{channel.mean:.4g}, standard deviation {channel.std:.4g}, "
            f"{channel.saturated_fraction:.2%} saturated"
        )
    for pair in report.correlations:
        yield f"correlation of {pair.first} and {pair.second}: {pair.correlation:.2f}"
    if report.mixture is not None:
        gains = ", ".join(f"{gain:.3g} {name}" for name, gain in report.mixture.gains.items())
        yield (
            f"the mixture is {gains}, plus {report.mixture.offset:.4g} gray values; this explains "
            f"{report.mixture.explained:.0%} of it (nearest rule: {report.mixture.rule})"
        )
        if report.mixture.camera_offset is not None:
            yield (
                "as a sum it holds one camera offset if every image holds "
                f"{report.mixture.camera_offset:.4g} gray values of it; to mix channels in the "
                "same way, set `mixing: sum` and `camera_offset` to the offset of the camera in "
                "`algorithm_config`"
            )


def _form(image: ImageFinding) -> tuple[str, str]:
    """Role and form of an image; neighbours that share them take one line."""
    sizes = " x ".join(
        f"{size} {dim}" for dim, size in zip(image.dims, image.shape, strict=True) if size > 1
    )
    guess = " (a guess)" if image.axes_guessed else ""
    return image.role, f"{sizes}, axes {image.axes}{guess}, {image.dtype}"
