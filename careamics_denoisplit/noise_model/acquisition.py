"""How images were taken, as far as it changes their noise."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from careamics_denoisplit.noise_model.model import NoiseModelInfo

RELATIVE_TOLERANCE = 0.01
"""Relative difference of gain or exposure below which two settings are the same."""


_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "min": 60.0}


@dataclasses.dataclass(frozen=True)
class Acquisition:
    """Camera settings of a set of images; `None` where unknown."""

    camera: str | None = None
    """Name of the camera."""
    gain: float | None = None
    """Gain, as its vendor states it."""
    exposure: float | None = None
    """Exposure time of one image, in seconds."""
    date: str | None = None
    """When the images were taken."""


def acquisition_from(values: Mapping[Any, Any], *, one_channel: bool = True) -> Acquisition:
    """Take camera settings from what a file or an array says of itself.

    Parameters
    ----------
    values : mapping
        Entries such as `camera`, `gain`, `exposure` ("100 ms" or seconds) and `date`; others, and
        values that cannot be read, are left alone.
    one_channel : bool
        Whether they belong to one channel; gain and exposure of one among several do not count.
    """
    texts = {key: text.strip() for key, text in values.items() if isinstance(text, str)}
    gain = _number(values.get("gain")) if one_channel else None
    exposure = _number(values.get("exposure"), _SECONDS) if one_channel else None
    return Acquisition(texts.get("camera") or None, gain, exposure, texts.get("date") or None)


def shared_acquisition(
    known: Sequence[Acquisition], given: Acquisition | None = None
) -> tuple[Acquisition, tuple[str, ...]]:
    """Join the settings of several images, and say in words where they differ.

    Parameters
    ----------
    known : sequence of Acquisition
        Of each image.
    given : Acquisition, optional
        What the user says; it is believed.

    Returns
    -------
    Acquisition
        What was given, else what all images that know it have in common.
    tuple of str
        One doubt for each setting that differs.
    """
    found: dict[str, Any] = {}
    doubts = []
    for field in dataclasses.fields(Acquisition):
        if given is not None and getattr(given, field.name) is not None:
            found[field.name] = getattr(given, field.name)
            continue
        values = [v for one in known if (v := getattr(one, field.name)) is not None]
        if not values:
            continue
        other = next((value for value in values if not _same(values[0], value)), None)
        if other is None:
            found[field.name] = values[0]
        elif field.name != "date":
            doubts.append(
                f"the images were not taken alike: {field.name} {values[0]} and {other}, "
                "their noise may differ"
            )
    return Acquisition(**found), tuple(doubts)


def _number(value: Any, units: Mapping[str, float] | None = None) -> float | None:
    """Read a number, with one of the units where there are any; None where it is none."""
    match = re.fullmatch(r"([-+.0-9eE]+)\s*([^\s0-9.]*)", str(value).strip())
    factor = (units or {"": 1.0}).get(match[2]) if match else None
    if match is None or factor is None:
        return None
    try:
        number = float(match[1]) * factor
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def acquisition_warnings(info: NoiseModelInfo, images: Acquisition) -> tuple[str, ...]:
    """Say in words where a noise model and images were not taken alike.

    Settings that either side does not know are not compared; neither are dates.

    Parameters
    ----------
    info : NoiseModelInfo
        Of the noise model.
    images : Acquisition
        Of the images it is to be used with.
    """
    channel = "this channel" if info.channel is None else repr(info.channel)
    compared = {
        "camera": (info.camera, images.camera),
        "gain": (info.gain, images.gain),
        "exposure": (info.exposure, images.exposure),
    }
    return tuple(
        f"The noise model of {channel} was fitted on images with the {name} {fitted}, these "
        f"images have {used}. Fit it on images of the same settings."
        for name, (fitted, used) in compared.items()
        if fitted is not None and used is not None and not _same(fitted, used)
    )


def _same(first: str | float, second: str | float) -> bool:
    if isinstance(first, str) or isinstance(second, str):
        return str(first).strip().casefold() == str(second).strip().casefold()
    return abs(first - second) <= RELATIVE_TOLERANCE * max(abs(first), abs(second))
