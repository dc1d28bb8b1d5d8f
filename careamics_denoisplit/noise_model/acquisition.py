"""How images were taken, as far as it changes their noise."""

import dataclasses

from careamics_denoisplit.noise_model.model import NoiseModelInfo

RELATIVE_TOLERANCE = 0.01
"""Relative difference of gain or exposure below which two settings are the same."""


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
