"""What is wrong with data, found before an hour of training is spent."""

import warnings
from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float64

from careamics_denoisplit.config import channel_identifier, check_channel_names
from careamics_denoisplit.data.agreement import (
    MixtureWarning,
    compare_mixture,
    describe_mixture,
    require_related,
)
from careamics_denoisplit.data.binning import BIN, binned
from careamics_denoisplit.data.check_report import (
    ChannelFinding,
    CorrelationFinding,
    DataReport,
    ImageFinding,
    MixtureFinding,
)
from careamics_denoisplit.data.mixing import MixtureFit
from careamics_denoisplit.data.planes import Plane
from careamics_denoisplit.data.sources import Opened, axes_like, open_channels
from careamics_denoisplit.data.splits import refuse_leak
from careamics_denoisplit.data.statistics import Moments
from careamics_denoisplit.errors import InputError
from careamics_denoisplit.images import (
    ChannelReport,
    Image,
    SaturationWarning,
    check_pixels,
)

_SIMILAR, _EQUAL = 0.9, 0.99
_STRUCTURELESS = 0.1
_LARGEST_STUDY = 16
_CLEARLY = 0.1
Result = TypeVar("Result")


def check_data(
    target: Any,
    channel_names: Sequence[str],
    *,
    mixture: Any = None,
    truth: Any = None,
    validation: Any = None,
    validation_mixture: Any = None,
    axes: str | None = None,
    patch_size: int | None = None,
) -> DataReport:
    """Look for everything that spoils a training; nothing is written and nothing raised.

    Parameters
    ----------
    target : mapping, array, path or list
        Noisy channels, as for training.
    channel_names : sequence of str
        Name of each channel.
    mixture : array, path or list, optional
        Measured mixture of the same fields.
    truth : mapping, array, path or list, optional
        High-quality images of the same fields.
    validation, validation_mixture : optional
        Validation data.
    axes : str, optional
        Axes of all sources; inferred by default.
    patch_size : int, optional
        Side of the training patches in pixels; smaller images are a problem.

    Returns
    -------
    DataReport
        Findings; `passed` is false if there is a problem.
    """
    check = _Check(tuple(channel_names), axes, patch_size)
    if check.attempt(lambda: check_channel_names([channel_identifier(n) for n in channel_names])):
        return check.report()
    check.names = tuple(channel_identifier(name) for name in channel_names)
    training = check.open(target, mixture, "training")
    held = (
        None
        if validation is None
        else check.open(validation, validation_mixture, "validation", training)
    )
    references = None if truth is None else check.open(truth, None, "truth", training)
    if training is not None:
        check.study_channels(training)
        if held is not None:
            check.attempt(lambda: refuse_leak(training.channels, held.channels))
        if references is not None:
            check.compare_truth(training, references)
    return check.report()


class _Check:
    """Findings so far."""

    def __init__(self, names: tuple[str, ...], axes: str | None, patch_size: int | None) -> None:
        self.names = names
        self.axes = axes
        self.patch_size = patch_size
        self.images: list[ImageFinding] = []
        self.channels: list[ChannelFinding] = []
        self.correlations: list[CorrelationFinding] = []
        self.mixture: MixtureFinding | None = None
        self.pixels: dict[tuple[str, int], ChannelReport] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def report(self) -> DataReport:
        """Freeze what was found."""
        return DataReport(
            images=tuple(self.images),
            channels=tuple(self.channels),
            correlations=tuple(self.correlations),
            mixture=self.mixture,
            problems=tuple(self.problems),
            warnings=tuple(self.warnings),
        )

    def attempt(self, step: Callable[[], Result]) -> bool:
        """Run a step that may refuse the data; return whether it did."""
        return self._attempt(step)[1]

    def _attempt(self, step: Callable[[], Result]) -> tuple[Result | None, bool]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result, refused = step(), False
            except InputError as error:
                self.problems.append(str(error))
                result, refused = None, True
        for warning in caught:
            if issubclass(warning.category, SaturationWarning | MixtureWarning):
                self.warnings.append(str(warning.message))
        return result, refused

    def open(
        self, target: Any, mixture: Any, what: str, like: Opened | None = None
    ) -> Opened | None:
        """Open data and note how they were understood."""
        known = like.targets if like is not None else ()
        mixed = like.mixtures if like is not None else ()
        opened, _ = self._attempt(
            lambda: open_channels(
                target,
                mixture,
                self.names,
                axes=self.axes or axes_like(target, known),
                mixture_axes=self.axes or axes_like(mixture, mixed),
                what=what,
            )
        )
        if opened is None:
            return None
        roles = [f"{what} channels"] * len(opened.targets) + [f"{what} mixture"] * len(
            opened.mixtures
        )
        for image, role in zip(opened.images, roles, strict=True):
            self.images.append(_image_finding(image, role))
            if image.axes_guessed and len(image.axes) > 3:
                self.warnings.append(
                    f"{image.name}: nothing says what its axes are; they were guessed as "
                    f"{image.axes}. Pass `axes` to be sure."
                )
            self._check_content(image)
        self._check_partners(opened, what)
        return opened

    def _check_content(self, image: Image) -> None:
        """Look for undefined, constant and saturated pixels."""
        report, _ = self._attempt(lambda: check_pixels(image))
        if report is None:
            return
        for index, channel in enumerate(report.channels):
            self.pixels[image.name, index] = channel
        if report.constant_channels:
            self.problems.append(
                f"{image.name}: channel {', '.join(report.constant_channels)} is constant. "
                "Check the export of this channel."
            )

    def _check_partners(self, opened: Opened, what: str) -> None:
        """Compare number and size of the images of a field; look for small ones."""
        counts = {name: len(p) for name, p in zip(self.names, opened.channels, strict=True)}
        if len(set(counts.values())) > 1:
            self.problems.append(
                f"The {what} data have different numbers of images: {counts}. Give one of each "
                "for every field."
            )
        for partners in zip(*opened.channels, strict=False):
            shapes = {plane.shape for plane in partners}
            if len(shapes) > 1:
                self.problems.append(
                    f"{partners[0].name}: the channels of one field differ in size: "
                    f"{sorted(shapes)}."
                )
        small = [
            plane
            for planes in opened.channels
            for plane in planes
            if self.patch_size is not None and min(plane.shape) < self.patch_size
        ]
        if small and what != "truth":
            self.problems.append(
                f"{small[0].name} has {small[0].shape} pixels; patches need at least "
                f"({self.patch_size}, {self.patch_size})."
            )

    def study_channels(self, opened: Opened) -> None:
        """Measure every channel, compare them with each other and with the mixture."""
        means = [[binned(_whole(plane)) for plane in _some(p)] for p in opened.channels]
        for name, planes, small in zip(self.names, opened.channels, means, strict=True):
            self._measure(name, planes, small)
        for (one, first), (two, second) in combinations(zip(self.names, means, strict=True), 2):
            r = _correlation(first, second)
            if r is None:
                continue
            self.correlations.append(CorrelationFinding(first=one, second=two, correlation=r))
            if abs(r) > _SIMILAR:
                found = self.problems if abs(r) > _EQUAL else self.warnings
                found.append(
                    f"The channels {one!r} and {two!r} are nearly the same (correlation {r:.3f}). "
                    "Was one file given twice? Such channels cannot be told apart."
                )
        if opened.mixture is not None:
            mixed = [binned(_whole(plane)) for plane in _some(opened.mixture)]
            self._measure("mixture", opened.mixture, mixed)
            self._compare_mixture(opened)

    def _measure(
        self, name: str, planes: Sequence[Plane], means: Sequence[Float64[np.ndarray, "_ _"]]
    ) -> None:
        """Measure one channel."""
        moments = Moments()
        for plane in planes:
            for block in plane.blocks():
                moments.add(block)
        keys = dict.fromkeys((str(plane.stack.source), plane.channel) for plane in planes)
        found = [self.pixels[key] for key in keys if key in self.pixels]
        if not found or moments.count == 0:
            return
        clipped = sum(channel.saturated_fraction * channel.count for channel in found)
        finding = ChannelFinding(
            name=name,
            minimum=min(channel.minimum for channel in found),
            maximum=max(channel.maximum for channel in found),
            mean=moments.mean,
            std=moments.std,
            saturated_fraction=clipped / sum(channel.count for channel in found),
            structure=_structure(means),
            n_pixels=moments.count,
        )
        self.channels.append(finding)
        if finding.structure is not None and finding.structure < _STRUCTURELESS:
            self.warnings.append(
                f"Channel {name!r} shows no structure (correlation of neighbouring {BIN} x {BIN} "
                f"means {finding.structure:.2f}). Is it the right channel, and was it exposed?"
            )

    def _compare_mixture(self, opened: Opened) -> None:
        """Compare the mixture with sum and mean of the channels."""
        shapes = [
            [plane.shape for plane in planes] for planes in (*opened.channels, opened.mixture or ())
        ]
        if any(other != shapes[0] for other in shapes):
            self.problems.append("Mixture and channels differ in number or size of their images.")
            return
        fit, refused = self._attempt(lambda: compare_mixture(opened.fields()))
        if fit is None or refused:
            return
        self.attempt(lambda: require_related(fit, self.names))
        self.mixture = _mixture_finding(fit, self.names)
        if fit.rule == "measured":
            self.warnings.append(
                f"The mixture is neither sum nor mean of the channels: "
                f"{describe_mixture(fit, self.names)}."
            )

    def compare_truth(self, opened: Opened, truth: Opened) -> None:
        """Correlate every channel with every truth, and look for a better assignment."""
        noisy = [[binned(_whole(p)) for p in _some(planes)] for planes in opened.channels]
        clean = [[binned(_whole(p)) for p in _some(planes)] for planes in truth.channels]
        table = [[_correlation(one, other) for other in clean] for one in noisy]
        if any(entry is None for row in table for entry in row):
            self.problems.append("Truth and channels differ in number or size of their images.")
            return
        values = np.array(table, dtype=np.float64)
        for index, name in enumerate(self.names):
            r = float(values[index, index])
            self.correlations.append(
                CorrelationFinding(first=name, second=f"truth {name}", correlation=r)
            )
        own = float(np.trace(values))
        best = max(
            permutations(range(len(self.names))),
            key=lambda order: sum(values[i, j] for i, j in enumerate(order)),
        )
        if sum(values[i, j] for i, j in enumerate(best)) > own + _CLEARLY:
            order = [self.names[j] for j in best]
            self.problems.append(
                f"The truth fits better in another order: channels {list(self.names)} correlate "
                f"most with truth {order}. Were files swapped?"
            )


def _image_finding(image: Image, role: str) -> ImageFinding:
    return ImageFinding(
        name=image.name,
        role=role,
        shape=tuple(image.data.shape),
        dims=tuple(str(dim) for dim in image.data.dims),
        axes=image.axes,
        axes_guessed=image.axes_guessed,
        dtype=str(image.data.dtype),
        channel_names=image.channel_names,
        pixel_size=image.pixel_size,
    )


def _mixture_finding(fit: MixtureFit, names: tuple[str, ...]) -> MixtureFinding:
    return MixtureFinding(
        gains=dict(zip(names, fit.gains, strict=True)),
        offset=fit.offset,
        explained=fit.explained,
        rule=fit.rule,
        rms_from_sum=fit.deviation["sum"],
        rms_from_mean=fit.deviation["mean"],
    )


def _whole(plane: Plane) -> Any:
    return np.concatenate(list(plane.blocks()))


def _some(planes: Sequence[Plane]) -> list[Plane]:
    """At most 16 planes, evenly spaced: enough for correlations."""
    step = -(-len(planes) // _LARGEST_STUDY)
    return list(planes[:: max(step, 1)])


def _correlation(
    first: Sequence[Float64[np.ndarray, "_ _"]],
    second: Sequence[Float64[np.ndarray, "_ _"]],
) -> float | None:
    """Correlation over all planes; None if they do not fit together."""
    if [one.shape for one in first] != [two.shape for two in second]:
        return None
    a = np.concatenate([one.ravel() for one in first])
    b = np.concatenate([two.ravel() for two in second])
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else None


def _structure(means: Sequence[Float64[np.ndarray, "_ _"]]) -> float | None:
    """Correlation of neighbouring block means."""
    large = [plane for plane in means if plane.shape[1] > 2]
    return _correlation([p[:, :-1] for p in large], [p[:, 1:] for p in large]) if large else None
