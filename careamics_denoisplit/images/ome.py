"""Channel names, pixel size and acquisition from OME-XML and from ImageJ's header."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from careamics_denoisplit.errors import DataError

# Micrometers per unit, as OME, ImageJ and xarray users write them.
MICROMETRES = {
    "m": 1e6,
    "meter": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "inch": 25400.0,
    "in": 25400.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "um": 1.0,
    "\N{MICRO SIGN}m": 1.0,
    "\N{GREEK SMALL LETTER MU}m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "pm": 1e-6,
    "\N{ANGSTROM SIGN}": 1e-4,
    "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}": 1e-4,
    "angstrom": 1e-4,
}
_NUMBERED = re.compile(r"(channel|ch|c)?[\s:_]*\d+([\s:_]+\d+)*", re.IGNORECASE)


@dataclass(frozen=True)
class OmeImage:
    """One `Image` element of OME-XML.

    Attributes
    ----------
    sizes : mapping of str to int
        Declared size of each of the axes X, Y, Z, C, T.
    dtype : str
        Declared type, in the words of OME.
    channel_names, pixel_size, acquisition
        As in `careamics_denoisplit.images.Image`.
    files : tuple of str
        Names of the files that hold the planes, where several files belong together.
    """

    sizes: Mapping[str, int]
    dtype: str
    channel_names: tuple[str, ...] | None = None
    pixel_size: tuple[float, float] | None = None
    acquisition: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()


def parse_ome(text: str, what: str) -> tuple[OmeImage, ...]:
    """Read the images of an OME-XML text.

    Parameters
    ----------
    text : str
        OME-XML.
    what : str
        Name of the file, for messages.

    Returns
    -------
    tuple of OmeImage
        One per `Image` element.

    Raises
    ------
    DataError
        If it is not well-formed, declares entities, or a size is no whole number.
    """
    root = _parse(text, what)
    models = {
        element.get("ID"): element.get("Model", "")
        for element in root.iter()
        if _tag(element) == "Detector"
    }
    try:
        return tuple(_read_image(element, models) for element in root if _tag(element) == "Image")
    except (ValueError, KeyError, StopIteration) as error:
        raise DataError(
            f"{what}: its OME metadata are damaged ({error!r}). Export the file again."
        ) from error


def companion_of(text: str, what: str) -> str | None:
    """Name the companion file that holds the metadata, if the text only refers to one.

    Parameters
    ----------
    text : str
        OME-XML.
    what : str
        Name of the file, for messages.
    """
    for element in _parse(text, what):
        if _tag(element) == "BinaryOnly":
            return element.get("MetadataFile")
    return None


def useful_names(names: list[str | None]) -> tuple[str, ...] | None:
    """Keep channel names only if each channel has one and they are more than numbers.

    Parameters
    ----------
    names : list of str or None
        Names as written in a file.
    """
    kept = tuple(name.strip() for name in names if name and name.strip())
    if not kept or len(kept) != len(names) or all(_NUMBERED.fullmatch(name) for name in kept):
        return None
    return kept


def micrometres(value: Any, unit: str) -> float | None:
    """Convert a pixel size to micrometers; None where it is no length.

    Parameters
    ----------
    value : object
        Number or text.
    unit : str
        Unit as written in a file.
    """
    factor = MICROMETRES.get(unit.strip()) or MICROMETRES.get(unit.strip().lower())
    try:
        size = float(value) * (factor or 0.0)
    except (TypeError, ValueError):
        return None
    return size if 0.0 < size < 1e6 else None


def imagej_pixel_size(
    metadata: Mapping[str, Any], resolution: tuple[Any, Any]
) -> tuple[float, float] | None:
    """Compute the pixel size of an ImageJ file in micrometers.

    Parameters
    ----------
    metadata : mapping of str to object
        ImageJ's own header.
    resolution : tuple
        The tags YResolution and XResolution, as (numerator, denominator) pairs.
    """
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "\N{MICRO SIGN}")
    sizes = [
        micrometres(r[1] / r[0], unit) if isinstance(r, tuple) and r[0] else None
        for r in resolution
    ]
    if sizes[0] is None or sizes[1] is None:
        return None
    return sizes[0], sizes[1]


def _parse(text: str, what: str) -> ElementTree.Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{what}: its OME metadata declare XML entities, which are not accepted.")
    try:
        return ElementTree.fromstring(text)  # noqa: S314  # entities are refused above
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(
            f"{what}: its OME metadata are not well-formed ({error}). Export the file again."
        ) from error


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ElementTree.Element, tag: str) -> Iterator[ElementTree.Element]:
    return (child for child in element if _tag(child) == tag)


def _read_image(image: ElementTree.Element, models: Mapping[str | None, str]) -> OmeImage:
    pixels = next(_children(image, "Pixels"))
    channels = list(_children(pixels, "Channel"))
    sizes = [
        micrometres(
            pixels.get(f"PhysicalSize{axis}"),
            pixels.get(f"PhysicalSize{axis}Unit", "um"),
        )
        for axis in "YX"
    ]
    files = {element.get("FileName", "") for element in pixels.iter() if _tag(element) == "UUID"}
    has_size = sizes[0] is not None and sizes[1] is not None
    return OmeImage(
        sizes={axis: int(pixels.attrib[f"Size{axis}"]) for axis in "XYZCT"},
        dtype=pixels.attrib["Type"],
        channel_names=useful_names([c.get("Name") for c in channels]) if channels else None,
        pixel_size=(sizes[0], sizes[1]) if has_size else None,  # type: ignore[arg-type]  # checked
        acquisition=_acquisition(image, pixels, channels, models),
        files=tuple(sorted(files - {""})),
    )


def _acquisition(
    image: ElementTree.Element,
    pixels: ElementTree.Element,
    channels: list[ElementTree.Element],
    models: Mapping[str | None, str],
) -> dict[str, str]:
    found: dict[str, str | None] = {}
    for settings in (s for c in channels for s in _children(c, "DetectorSettings")):
        found.setdefault("camera", models.get(settings.get("ID")))
        found.setdefault("gain", settings.get("Gain"))
    for plane in _children(pixels, "Plane"):
        if plane.get("ExposureTime"):
            unit = plane.get("ExposureTimeUnit", "s")
            found.setdefault("exposure", f"{plane.get('ExposureTime')} {unit}")
    for date in _children(image, "AcquisitionDate"):
        found["date"] = (date.text or "").strip()
    if "camera" not in found and len(set(models.values())) == 1:
        found["camera"] = next(iter(models.values()))
    return {key: value for key, value in found.items() if value}
