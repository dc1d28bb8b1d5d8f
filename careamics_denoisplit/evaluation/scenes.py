"""Images to calibrate and to score on: mixture, truth and noisy channels of the same fields."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Real

from careamics_denoisplit.calibration import TruthAlignment, fit_alignment, units_differ
from careamics_denoisplit.data import Plane, Statistics, mix, open_channels
from careamics_denoisplit.data.mixing import MixingRule
from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import Image, SaturationWarning, check_pixels, read_images

_TOLERANCE = 0.05
_GROSS_TOLERANCE = 0.5


@dataclass(frozen=True)
class Scene:
    """One field of view in gray values.

    Attributes
    ----------
    name : str
        For messages and reports.
    mixture : numpy.ndarray of shape (Y, X)
        The input.
    truth : numpy.ndarray of shape (C, Y, X)
        High-SNR or noise-free channels, on their own intensity scale.
    channels : numpy.ndarray of shape (C, Y, X) or None
        The noisy channels, where they were given.
    """

    name: str
    mixture: Float32[np.ndarray, "y x"]
    truth: Float32[np.ndarray, "c y x"]
    channels: Float32[np.ndarray, "c y x"] | None = None


class Scenes:
    """Scenes of a data set, read one at a time; sizes and pixels were checked when opened.

    Build one with `open_scenes`. `pixel_size` is height and width of a pixel in micrometers, None
    where no image tells it, or images differ.
    """

    def __init__(
        self,
        names: Sequence[str],
        truth: Sequence[Sequence[Plane]],
        mixture: Sequence[Plane] | None,
        channels: Sequence[Sequence[Plane]] | None,
        statistics: Statistics,
        messages: Sequence[str],
        pixel_size: tuple[float, float] | None = None,
    ) -> None:
        self.names = tuple(names)
        self.pixel_size = pixel_size
        self.warnings = tuple(messages)
        self._truth = truth
        self._mixture = mixture
        self._channels = channels
        self._statistics = statistics

    @property
    def has_channels(self) -> bool:
        """Whether the noisy channels were given."""
        return self._channels is not None

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.names)

    def __iter__(self) -> Iterator[Scene]:
        """Read the scenes in order."""
        return map(self.read, range(len(self)))

    def read(self, index: int) -> Scene:
        """Read one scene."""
        channels = None
        if self._channels is not None:
            channels = np.stack([_whole(planes[index]) for planes in self._channels])
        if self._mixture is not None:
            mixture = _whole(self._mixture[index])
        else:
            rule: MixingRule = "sum" if self._statistics.mixing == "sum" else "mean"
            mixture = mix(np.asarray(channels), rule, offsets=self._statistics.camera_offsets)
        truth = np.stack([_whole(planes[index]) for planes in self._truth])
        return Scene(self.names[index], mixture, truth, channels)


def open_scenes(
    statistics: Statistics,
    *,
    mixture: Any = None,
    truth: Any,
    channels: Any = None,
    axes: str | None = None,
    what: str = "evaluation",
) -> Scenes:
    """Open mixture, truth and noisy channels, and check all of them before long work.

    Parameters
    ----------
    statistics : Statistics
        Channel names and mixing rule of the training.
    mixture : array, path, list or None
        Superimposed images; None mixes the noisy channels by the rule of the training.
    truth : mapping, array, path or list
        High-SNR channels, by name or all channels in one source.
    channels : mapping, array, path, list or None
        Noisy channels, in the same form.
    axes : str, optional
        Axes of the arrays; inferred by default. Those with C are the axes of sources that hold all
        channels; a mixture's are inferred then.
    what : str
        What the images are for, for messages.

    Raises
    ------
    DataError
        If the truth is missing, neither mixture nor channels are given, numbers or sizes of the
        images differ, or a pixel is NaN or infinite.
    """
    _require_sources(statistics, mixture, truth, channels, what)
    names = statistics.channel_names
    opened = open_channels(truth, None, names, axes=axes, what=f"{what} truth")
    images: list[Image] = list(opened.targets)
    mixed: tuple[Plane, ...] | None = None
    noisy: tuple[tuple[Plane, ...], ...] | None = None
    if channels is not None:
        own = open_channels(channels, None, names, axes=axes, what=what)
        noisy, images = own.channels, [*images, *own.targets]
    if mixture is not None:
        own_axes = None if axes is None or "C" in axes.upper() else axes
        inputs = read_images(mixture, axes=own_axes, name=f"{what} mixture", channels=1)
        mixed = open_channels({"x": inputs}, None, ("x",), what=what).channels[0]
        images += inputs
    for label, planes in zip(names, opened.channels, strict=True):
        _require_same_sizes(f"truth of {label}", planes, opened.channels[0], names[0])
    for label, planes in zip(names, noisy or (), strict=False):
        _require_same_sizes(f"noisy channel {label}", planes, opened.channels[0], names[0])
    if mixed is not None:
        _require_same_sizes("mixture", mixed, opened.channels[0], names[0])
    messages = _check_pixels(images)
    lead = mixed or (noisy or opened.channels)[0]
    sizes = {image.pixel_size for image in images if image.pixel_size is not None}
    pixel_size = sizes.pop() if len(sizes) == 1 else None
    return Scenes(_names(lead), opened.channels, mixed, noisy, statistics, messages, pixel_size)


def align_truth(
    scene: Scene,
    prediction: Real[np.ndarray, "c y x"],
    *,
    align: bool | None = None,
    recorded: Sequence[TruthAlignment] = (),
) -> tuple[TruthAlignment, ...]:
    """Find how the truth of each channel comes to the scale of the prediction.

    With noisy channels the map is their regression on the truth. Without, the map recorded at
    calibration is taken; where there is none either, the prediction is regressed on the truth.

    Parameters
    ----------
    scene : Scene
        Truth and, where known, noisy channels.
    prediction : numpy.ndarray of shape (C, Y, X)
        Predicted means, gray values.
    align : bool, optional
        True aligns, False takes the truth as it is; by default it is aligned where gain or
        offset differ by more than 5 % (50 % where only the prediction can be compared).
    recorded : sequence of TruthAlignment
        What was found at calibration.

    Raises
    ------
    DataError
        If a truth is constant or unrelated to the image, and alignment is asked for.
    """
    if align is False:
        return (TruthAlignment(),) * len(scene.truth)
    if scene.channels is None and align is None and recorded:
        return tuple(recorded)
    return tuple(
        _aligned(scene, prediction, channel, forced=align is True)
        for channel in range(len(scene.truth))
    )


def aligned_truth(scene: Scene, alignment: Sequence[TruthAlignment]) -> Real[np.ndarray, "c y x"]:
    """Bring the truth of each channel to the scale that `align_truth` found.

    Parameters
    ----------
    scene : Scene
        Holds the truth.
    alignment : sequence of C TruthAlignment
        Gain and offset of each channel.
    """
    return np.stack([each.apply(t) for each, t in zip(alignment, scene.truth, strict=True)])


def _aligned(
    scene: Scene, prediction: Real[np.ndarray, "c y x"], channel: int, *, forced: bool
) -> TruthAlignment:
    truth = scene.truth[channel]
    tolerance = _TOLERANCE
    try:
        if scene.channels is not None:
            found = fit_alignment(truth, scene.channels[channel], "noisy channel on truth")
        else:
            found = fit_alignment(truth, prediction[channel], "prediction on truth")
            tolerance = _GROSS_TOLERANCE
    except ValueError as error:
        if forced:
            raise DataError(f"{scene.name}, channel {channel}: {error}") from None
        return TruthAlignment()
    if forced or units_differ(found, truth, tolerance):
        return found
    return TruthAlignment()


def _require_sources(
    statistics: Statistics, mixture: Any, truth: Any, channels: Any, what: str
) -> None:
    if truth is None:
        raise DataError(
            f"No truth was given for the {what}: errors can only be measured against high-SNR "
            "images of the same fields. Give one for each channel (`--truth NAME=PATH`), for "
            "instance the pairs that the noise models were fitted on. Without truth the std stays "
            "an uncalibrated spread, which ranks pixels but is no error bar."
        )
    if mixture is None and channels is None:
        raise DataError(
            f"Nothing to predict for the {what}: give the mixture or the noisy channels, from "
            "which it is mixed."
        )
    if mixture is None and statistics.mixing == "measured":
        raise DataError(
            "The model was trained on measured mixtures, which noisy channels cannot replace. "
            f"Give the mixture for the {what}."
        )


def _require_same_sizes(
    label: str, planes: Sequence[Plane], reference: Sequence[Plane], name: str
) -> None:
    shapes, expected = ([plane.shape for plane in p] for p in (planes, reference))
    if len(shapes) != len(expected):
        raise DataError(
            f"The {label} has {len(shapes)} images, the truth of {name} {len(expected)}. "
            "Give the same fields in the same order."
        )
    for plane, own, other in zip(planes, shapes, expected, strict=True):
        if own != other:
            raise DataError(
                f"The {label} ({plane.name}) has {own} pixels (height, width), the truth of "
                f"{name} {other}. They must show the same field."
            )


def _check_pixels(images: Sequence[Image]) -> tuple[str, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)  # returned, not printed
        reports = [check_pixels(image, image.name) for image in images]
    return tuple(message for report in reports for message in report.warnings())


def _names(planes: Sequence[Plane]) -> tuple[str, ...]:
    """Short names: the file without folders; a number where several planes share it."""
    stems = [Path(str(plane.stack.source).split(", image ")[0]).name for plane in planes]
    return tuple(
        f"{stem} {number}" if stems.count(stem) > 1 else stem for number, stem in enumerate(stems)
    )


def _whole(plane: Plane) -> Float32[np.ndarray, "y x"]:
    return plane.crop(0, 0, *plane.shape)
