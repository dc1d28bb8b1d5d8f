"""What is wrong with data, found before an hour of training is spent."""

import warnings
from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from typing import Any, TypeVar

import numpy as np

from careamics_denoisplit.config import channel_identifier, check_channel_names
from careamics_denoisplit.data.agreement import (
    MixtureWarning,
    describe_mixture,
    require_related,
)
from careamics_denoisplit.data.binning import BIN
from careamics_denoisplit.data.check_report import (
    ChannelFinding,
    CorrelationFinding,
    DataReport,
    ImageFinding,
    MixtureFinding,
)
from careamics_denoisplit.data.mixing import MixtureFit, MixtureFitter
from careamics_denoisplit.data.planes import Plane
from careamics_denoisplit.data.sources import Opened, axes_like, open_channels
from careamics_denoisplit.data.splits import refuse_leak
from careamics_denoisplit.data.statistics import Moments
from careamics_denoisplit.data.study import (
    Small,
    correlation,
    small_pictures,
    structure,
    tile_places,
)
from careamics_denoisplit.errors import AxesError, InputError
from careamics_denoisplit.images import (
    ChannelReport,
    Image,
    SaturationWarning,
    check_pixels,
    find_misplaced,
)

MAX_BYTES = 2**36
"""Pixels that are read of all images together: 64 GiB; of more, evenly spaced blocks."""

_SIMILAR, _EQUAL = 0.9, 0.99
_STRUCTURELESS = 0.1
_CLEARLY = 0.1
_LARGEST_ORDERS = 5
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
    max_bytes: int = MAX_BYTES,
) -> DataReport:
    """Look for everything that spoils a training; nothing is written.

    Images are read in blocks: the check adds some 100 MB, however large they are.

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
    max_bytes : int, default: 64 GiB
        Bytes of pixels to read of all images together; of larger data every n-th block is read.

    Returns
    -------
    DataReport
        Findings; `passed` is false if there is a problem.

    Raises
    ------
    AxesError
        If nothing says what the axes of an image are: give `axes`.
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
    opened = {"training": training, "validation": held, "truth": references}
    check.read({what: data for what, data in opened.items() if data is not None}, max_bytes)
    if training is not None:
        check.study_channels(training)
        if held is not None:
            check.attempt(lambda: refuse_leak(training.channels, held.channels))
            check.compare_amounts(training, held)
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
        self.pixels: dict[tuple[str, int], tuple[ChannelReport, Moments]] = {}
        self.undefined: set[str] = set()
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def report(self) -> DataReport:
        """Freeze what was found, each thing once."""
        return DataReport(
            images=tuple(self.images),
            channels=tuple(self.channels),
            correlations=tuple(self.correlations),
            mixture=self.mixture,
            problems=tuple(dict.fromkeys(self.problems)),
            warnings=tuple(dict.fromkeys(self.warnings)),
        )

    def attempt(self, step: Callable[[], Result]) -> bool:
        """Run a step that may refuse the data; return whether it did."""
        return self._attempt(step)[1]

    def _attempt(self, step: Callable[[], Result]) -> tuple[Result | None, bool]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result, refused = step(), False
            except AxesError:
                raise  # whoever asks can say it, and nothing is known without it
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
                in_memory=False,
                what=what,
            )
        )
        if opened is None:
            return None
        for image, role in _with_roles(opened, what):
            self.images.append(_image_finding(image, role))
            if image.axes_guessed and len(image.axes) > 3:
                self.warnings.append(
                    f"{image.name}: nothing says what its axes are; they were guessed as "
                    f"{image.axes}. Pass `axes` (`--axes`) to be sure."
                )
        self._check_partners(opened, what)
        return opened

    def read(self, opened: dict[str, Opened], max_bytes: int) -> None:
        """Read all pixels once, or evenly spaced blocks of very large data."""
        images = [image for data in opened.values() for image in data.images]
        size = sum(int(image.data.nbytes) for image in images)
        every = max(1, -(-size // max(1, max_bytes)))
        if every > 1:
            self.warnings.append(
                f"The images hold {size / 1e9:.0f} GB; one block of {every} was looked at. "
                "Training itself reads all pixels."
            )
        for image in images:
            self._check_content(image, every)

    def _check_content(self, image: Image, every: int) -> None:
        """Look for undefined, constant and saturated pixels."""
        moments = [Moments() for _ in range(image.n_channels)]
        report, refused = self._attempt(
            lambda: check_pixels(
                image, every=every, visit=lambda channel, block: moments[channel].add_parts(block)
            )
        )
        if report is None or refused:
            self.undefined.add(image.name)
            return
        for index, channel in enumerate(report.channels):
            self.pixels[image.name, index] = channel, moments[index]
        if report.constant_channels:
            self.problems.append(
                f"{image.name}: channel {', '.join(report.constant_channels)} is constant. "
                "Check the export of this channel."
            )

    def _check_partners(self, opened: Opened, what: str) -> None:
        """Compare number, size and names of the images of a field; look for small ones."""
        counts = {name: len(p) for name, p in zip(self.names, opened.channels, strict=True)}
        if len(set(counts.values())) > 1:
            self.warnings.append(
                f"The {what} data have different numbers of planes, {_listed(counts)}; those "
                "beyond the shortest have no partner. Training refuses them unless "
                '`algorithm_config.pairing` is "independent".'
            )
        for partners in zip(*opened.channels, strict=False):
            shapes = {plane.shape for plane in partners}
            if len(shapes) > 1:
                self.problems.append(
                    f"{partners[0].name}: the channels of one field differ in size: "
                    f"{sorted(shapes)}."
                )
        names = [_sources(planes) for planes in opened.channels]
        self._check_order(names[0], names[1:], self.warnings)
        if opened.mixture is not None:
            self._check_order(names[0], [_sources(opened.mixture)], self.problems)
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

    def _check_order(
        self, first: Sequence[str], others: Sequence[Sequence[str]], found: list[str]
    ) -> None:
        """Note images that are paired with one of another name, though their namesake is there."""
        for other in others:
            misplaced = find_misplaced(first, other, self.names)
            if misplaced is not None:
                found.append(
                    f"{misplaced.words()}. Images are paired by their order: give the same fields "
                    "in one order."
                )

    def study_channels(self, opened: Opened) -> None:
        """Measure every channel, compare them with each other and with the mixture."""
        for name, planes in zip(self.names, opened.channels, strict=True):
            self._measure(name, planes)
        if opened.mixture is not None:
            self._measure("mixture", opened.mixture)
        if len(self.names) > 1 and (small := self._together(opened.channels)) is not None:
            for (one, first), (two, second) in combinations(zip(self.names, small, strict=True), 2):
                self._correlate(one, first, two, second)
        if opened.mixture is not None:
            self._compare_mixture(opened.channels, opened.mixture)

    def _correlate(self, one: str, first: Small, two: str, second: Small) -> None:
        r = correlation(first, second)
        if r is None:
            return
        self.correlations.append(CorrelationFinding(first=one, second=two, correlation=r))
        if abs(r) > _SIMILAR:
            found = self.problems if abs(r) > _EQUAL else self.warnings
            found.append(
                f"The channels {one!r} and {two!r} are nearly the same (correlation {r:.3f}). "
                "Was one file given twice? Such channels cannot be told apart."
            )

    def _together(self, channels: Sequence[Sequence[Plane]]) -> list[Small] | None:
        """Small pictures of the same places of all channels; None where they do not fit."""
        fields = list(zip(*channels, strict=False))
        if any(len({plane.shape for plane in field}) > 1 for field in fields) or any(
            plane.stack.source in self.undefined for field in fields for plane in field
        ):
            return None
        places = tile_places([field[0].shape for field in fields])
        found, _ = self._attempt(lambda: [small_pictures(planes, places) for planes in channels])
        return found

    def _measure(self, name: str, planes: Sequence[Plane]) -> None:
        """Sum up what was read of one channel."""
        keys = dict.fromkeys((str(plane.stack.source), plane.channel) for plane in planes)
        found = [self.pixels[key] for key in keys if key in self.pixels]
        moments = Moments()
        for _, part in found:
            moments.merge(part)
        if moments.count == 0 or any(plane.stack.source in self.undefined for plane in planes):
            return
        small = small_pictures(planes, tile_places([plane.shape for plane in planes]))
        clipped = sum(channel.saturated_fraction * channel.count for channel, _ in found)
        finding = ChannelFinding(
            name=name,
            minimum=min(channel.minimum for channel, _ in found),
            maximum=max(channel.maximum for channel, _ in found),
            mean=moments.mean,
            std=moments.std,
            saturated_fraction=clipped / moments.count,
            structure=structure(small),
            n_pixels=moments.count,
        )
        self.channels.append(finding)
        if finding.structure is not None and finding.structure < _STRUCTURELESS:
            self.warnings.append(
                f"Channel {name!r} shows no structure (correlation of neighbouring {BIN} x {BIN} "
                f"means {finding.structure:.2f}). Is it the right channel, and was it exposed?"
            )

    def _compare_mixture(
        self, channels: Sequence[Sequence[Plane]], mixture: Sequence[Plane]
    ) -> None:
        """Compare the mixture with sum and mean of the channels."""
        shapes = [[plane.shape for plane in planes] for planes in (*channels, mixture)]
        if any(other != shapes[0] for other in shapes):
            self.problems.append("Mixture and channels differ in number or size of their images.")
            return
        small = self._together((*channels, mixture))
        if small is None:
            return
        fitter = MixtureFitter(len(channels))
        for *tiles, mixed in zip(*small, strict=True):
            fitter.add(np.stack(tiles), mixed)
        fit = fitter.fit()
        self.attempt(lambda: require_related(fit, self.names))
        self.mixture = _mixture_finding(fit, self.names)
        if fit.rule == "measured":
            self.warnings.append(
                f"The mixture is neither sum nor mean of the channels: "
                f"{describe_mixture(fit, self.names)}."
            )

    def compare_amounts(self, training: Opened, held: Opened) -> None:
        """Training usually has more planes than validation; the reverse is mostly a mistake."""
        trained, kept = (sum(map(len, opened.channels)) for opened in (training, held))
        if kept > trained:
            self.warnings.append(
                f"There are more planes for validation ({kept}) than for training ({trained}). "
                "Are --channel and --val swapped?"
            )

    def compare_truth(self, opened: Opened, truth: Opened) -> None:
        """Correlate every channel with every truth, and look for a better assignment."""
        for planes, clean in zip(opened.channels, truth.channels, strict=True):
            self._check_order(_sources(planes), [_sources(clean)], self.problems)
        everything = (*opened.channels, *truth.channels)
        shapes = [[plane.shape for plane in planes] for planes in everything]
        if any(other != shapes[0] for other in shapes):
            self.problems.append("Truth and channels differ in number or size of their images.")
            return
        small = self._together(everything)
        if small is None:
            return
        count = len(self.names)
        table = [[correlation(one, other) for other in small[count:]] for one in small[:count]]
        for index, name in enumerate(self.names):
            if (r := table[index][index]) is not None:
                self.correlations.append(
                    CorrelationFinding(first=name, second=f"truth {name}", correlation=r)
                )
        values = np.array([[0.0 if r is None else r for r in row] for row in table])
        self._check_assignment(values)

    def _check_assignment(self, values: np.ndarray) -> None:
        """Refuse truths that fit better in another order."""
        count = len(self.names)
        if count > _LARGEST_ORDERS:  # 120 orders are tried, not millions
            return
        best = max(
            permutations(range(count)),
            key=lambda order: sum(values[i, j] for i, j in enumerate(order)),
        )
        if sum(values[i, j] for i, j in enumerate(best)) > float(np.trace(values)) + _CLEARLY:
            order = [self.names[j] for j in best]
            self.problems.append(
                f"The truth fits better in another order: channels {list(self.names)} correlate "
                f"most with truth {order}. Are they swapped?"
            )


def _with_roles(opened: Opened, what: str) -> list[tuple[Image, str]]:
    return [(image, f"{what} channels") for image in opened.targets] + [
        (image, f"{what} mixture") for image in opened.mixtures
    ]


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
        camera_offset=fit.camera_offset,
        rms_from_sum=fit.deviation["sum"],
        rms_from_mean=fit.deviation["mean"],
    )


def _sources(planes: Sequence[Plane]) -> list[str]:
    """Names of the sources of planes, each once, in order."""
    return list(dict.fromkeys(str(plane.stack.source) for plane in planes))


def _listed(values: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
