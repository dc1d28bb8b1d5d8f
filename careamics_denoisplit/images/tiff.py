"""TIFF, OME-TIFF and ImageJ files: what they declare is compared with what is there.

tifffile returns fewer pages, or zeros, where a file was cut, and only logs it. Here such a log
record is an error, and pages, axes and bytes are counted.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images.blocks import Block, FileStamp, RawFileBlock, Slices
from careamics_denoisplit.images.image import Raw
from careamics_denoisplit.images.limits import require_size
from careamics_denoisplit.images.ome import (
    OmeImage,
    companion_of,
    imagej_pixel_size,
    parse_ome,
    useful_names,
)

# Letters of tifffile that are plain series of planes.
_LETTERS = {"I": "?", "Q": "?", "R": "S", "P": "S", "H": "S", "V": "S"}
_COLORS = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
_OTHER_FILES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"\x89HDF": "HDF5",
    b"ZISRAWFI": "CZI",
    b"PK\x03\x04": "ZIP",
}
_OME_TYPES = {"float": "float32", "double": "float64", "bit": "bool"}


@dataclass(frozen=True)
class TiffPages:
    """Compressed planes of a TIFF file, decoded one at a time.

    Attributes
    ----------
    stamp : FileStamp
        The file as it was when it was checked.
    dtype : numpy.dtype
        Type of the values.
    shape : tuple of int
        Leading axes, then height and width.
    coding : tuple of int
        Compression and predictor.
    places : tuple of tuple
        File of each plane and where its directory begins, so that one plane of a long series is
        found without walking through all others.
    """

    stamp: FileStamp
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    coding: tuple[int, int]
    places: tuple[tuple[Path, int], ...]

    def read(self, key: Slices) -> npt.NDArray[Any]:
        """Decode the planes that are asked for; each axis is kept."""
        *leading, rows, columns = key
        wanted = [range(size)[part] for size, part in zip(self.shape, leading, strict=False)]
        sizes = [len(numbers) for numbers in wanted]
        height, width = (
            len(range(size)[part])
            for size, part in zip(self.shape[-2:], (rows, columns), strict=True)
        )
        planes = np.empty((*sizes, height, width), self.dtype)
        self.stamp.require_unchanged()
        for position in np.ndindex(*sizes):
            at = [numbers[i] for numbers, i in zip(wanted, position, strict=True)]
            number = int(np.ravel_multi_index(at, self.shape[:-2])) if at else 0
            planes[position] = self._decode(number)[rows, columns]
        self.stamp.require_unchanged()
        return planes

    def _decode(self, number: int) -> npt.NDArray[Any]:
        path, place = self.places[number]
        with open_tiff(path, walk=False) as tiff:
            tiff.filehandle.seek(place)
            page = tifffile.TiffPage(tiff, index=number)
            # Compared before anything is decoded, for the size may be a lie.
            found, expected = _form(page), (self.shape[-2:], self.dtype, *self.coding)
            if found != expected:
                raise DataError(
                    f"{path}: page {number} is {found}, the first one {expected} (shape, type, "
                    "compression, predictor). The file is damaged, or holds several images."
                )
            plane: npt.NDArray[Any] = page.asarray()
        if plane.shape != self.shape[-2:]:
            raise _damaged(path, f"page {number} holds {plane.size} pixels")
        return plane


@dataclass(frozen=True)
class TiffSeries:
    """A series whose pages are not plain planes, decoded as a whole."""

    stamp: FileStamp
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def read(self, key: Slices) -> npt.NDArray[Any]:
        """Decode everything and take the part that is asked for; each axis is kept."""
        self.stamp.require_unchanged()
        with open_tiff(self.stamp.path) as tiff:
            series = _only_series(tiff, self.stamp.path)
            values: npt.NDArray[Any] = np.asarray(series.asarray()).reshape(self.shape)
        self.stamp.require_unchanged()
        return values[key]


def read_tiff(path: Path, *, max_bytes: int) -> Raw:
    """Open a TIFF file and compare what it declares with what is there.

    Parameters
    ----------
    path : pathlib.Path
        TIFF, BigTIFF, OME-TIFF or ImageJ file.
    max_bytes : int
        Largest declared size in memory.

    Returns
    -------
    Raw
        Pixels that are decoded on demand, axes, channel names and pixel size.

    Raises
    ------
    DataError
        If it is cut, damaged, too large, in color, holds several series, or if a file of its OME
        set is missing.
    """
    stamp = FileStamp.of(path)
    with open_tiff(path) as tiff:
        ome = _ome_image(tiff, path)
        series = _only_series(tiff, path)
        require_size(series.shape, series.dtype, max_bytes, str(path))
        _check_pages(series, stamp)
        _check_declared(tiff, series, ome, path)
        names, pixel_size, acquisition = _describe(tiff, series, ome)
        return Raw(
            block=_block(tiff, series, stamp),
            axes=_axes(series),
            is_color=_is_color(series),
            channel_names=names,
            pixel_size=pixel_size,
            acquisition=acquisition,
            files=frozenset(ome.files) if ome is not None and len(ome.files) > 1 else frozenset(),
        )


@contextmanager
def open_tiff(path: Path, *, walk: bool = True) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file; whatever tifffile raises or logs as an error becomes one error.

    Parameters
    ----------
    path : pathlib.Path
        TIFF file.
    walk : bool, default: True
        Whether to follow the chain of pages to its end, where a cut shows.

    Yields
    ------
    tifffile.TiffFile
        The open file.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    with _error_records() as records:
        try:
            with tifffile.TiffFile(path) as tiff:
                if walk:
                    len(tiff.pages)
                yield tiff
        except (DataError, MemoryError):
            raise
        except Exception as error:  # tifffile raises seven kinds of errors on damaged files
            if (kind := _kind_of_other_file(path)) is not None:
                raise DataError(
                    f"{path} has the name of a TIFF file but is a {kind} file; renaming converts "
                    "nothing. Export the raw image as TIFF."
                ) from error
            raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if records:
        raise _damaged(path, records[0])


@contextmanager
def _error_records() -> Iterator[list[str]]:
    records: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    logger = logging.getLogger("tifffile")
    collector = Collector(level=logging.WARNING)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield records
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagates


def _kind_of_other_file(path: Path) -> str | None:
    """Name the format of a file that was only renamed, or None."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return None
    return next((kind for mark, kind in _OTHER_FILES.items() if start.startswith(mark)), None)


def _damaged(path: Path, reason: str) -> DataError:
    text = " ".join(reason.replace(str(path), "").split())[:200]
    return DataError(
        f"{path} is cut off or damaged ({text}). Copy or export the file again; if a program is "
        "still writing it, wait for its end."
    )


def _only_series(tiff: tifffile.TiffFile, path: Path) -> Any:
    found = tiff.series
    if not found:
        raise _damaged(path, "no image in it")
    if len(found) > 1:
        listed = ", ".join(f"{s.name or s.index} {s.shape}" for s in found[:6])
        raise DataError(
            f"{path} holds {len(found)} image series ({listed}). Save the one to be used as a file "
            "of its own."
        )
    return found[0]


def _check_pages(series: Any, stamp: FileStamp) -> None:
    pages = list(series.pages)
    if not pages or any(page is None for page in pages):
        missing = sum(page is None for page in pages)
        raise _damaged(stamp.path, f"{missing} of {len(pages)} pages are missing")
    segments = math.prod(series.keyframe.chunked)
    for number, page in enumerate(pages):
        if len(page.dataoffsets) != segments or len(page.databytecounts) != segments:
            raise _damaged(
                stamp.path, f"page {number} has {len(page.dataoffsets)} of {segments} segments"
            )
        _check_segments(page, number, stamp)
    if series.dataoffset is not None:
        end = series.dataoffset + math.prod(series.shape) * series.dtype.itemsize
        if end > stamp.size:
            raise _damaged(stamp.path, f"{end} bytes are declared, {stamp.size} are there")


def _check_segments(page: Any, number: int, stamp: FileStamp) -> None:
    if page.parent.filehandle.path != str(stamp.path):
        stamp = FileStamp.of(Path(page.parent.filehandle.path))  # another file of an OME set
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if count <= 0 or offset <= 0 or offset + count > stamp.size:
            raise _damaged(
                stamp.path,
                f"page {number} reaches to byte {offset + count} of {stamp.size}",
            )
    key = page.keyframe
    if key.compression == 1 and not key.is_tiled:
        needed = math.prod(key.shape) * key.bitspersample // 8
        if sum(page.databytecounts) < needed:
            raise _damaged(
                stamp.path,
                f"page {number} needs {needed} bytes, {sum(page.databytecounts)} are declared",
            )


def _check_declared(tiff: tifffile.TiffFile, series: Any, ome: OmeImage | None, path: Path) -> None:
    declared, there = None, math.prod(series.shape)
    if ome is not None:
        declared = math.prod(ome.sizes.values())
        dtype = _OME_TYPES.get(ome.dtype, ome.dtype)
        if dtype != series.dtype.name:
            raise _damaged(path, f"OME metadata say {dtype}, the pages are {series.dtype.name}")
    elif tiff.is_imagej and tiff.imagej_metadata:
        plane = math.prod(tiff.pages.first.shape)
        declared = int(tiff.imagej_metadata.get("images", 1)) * plane
    elif tiff.shaped_metadata:
        shapes = [entry.get("shape", ()) for entry in tiff.shaped_metadata]
        declared = sum(math.prod(shape) for shape in shapes)
    if declared is not None and declared != there:
        raise _damaged(path, f"{declared} values are declared, {there} are there")


def _ome_image(tiff: tifffile.TiffFile, path: Path) -> OmeImage | None:
    if not tiff.is_ome:
        return None
    text = tiff.ome_metadata or ""
    companion = companion_of(text, str(path))
    if companion is not None:
        _require_file(path, companion)
        text = (path.parent / Path(companion).name).read_text(encoding="utf-8", errors="replace")
    images = parse_ome(text, str(path))
    for name in {name for image in images for name in image.files}:
        if name != path.name and _is_set(images):
            _require_file(path, name)
    return images[0] if len(images) == 1 else None


def _is_set(images: tuple[OmeImage, ...]) -> bool:
    # One name that is not this file's own only means that the file was renamed.
    return len({name for image in images for name in image.files}) > 1


def _require_file(path: Path, name: str) -> None:
    if not (path.parent / Path(name).name).is_file():
        raise DataError(
            f"{path} belongs to a set of OME files, and {name} is missing beside it. Copy all "
            "files of the set, or save the image as one file."
        )


def _is_color(series: Any) -> bool:
    samples_last = series.axes[-1:] == "S" and series.shape[-1] in (3, 4)
    return series.keyframe.photometric in _COLORS or samples_last


def _axes(series: Any) -> str | None:
    letters = series.axes
    if "S" in letters and "C" not in letters:
        letters = letters.replace("S", "C")
    letters = "".join(_LETTERS.get(x, x if x in "STCZYX" else "?") for x in letters)
    known = letters.replace("?", "")
    return letters if len(set(known)) == len(known) else None


def _block(tiff: tifffile.TiffFile, series: Any, stamp: FileStamp) -> Block:
    dtype = np.dtype(series.dtype)
    shape = tuple(int(size) for size in series.shape)
    if series.dataoffset is not None:
        order = ">" if tiff.byteorder == ">" else "<"
        return RawFileBlock(stamp, series.dataoffset, dtype.newbyteorder(order), shape)
    page = series.keyframe
    if page.shape == shape[-2:] and len(series.pages) == math.prod(shape[:-2]):
        places = tuple((Path(p.parent.filehandle.path), int(p.offset)) for p in series.pages)
        coding = int(page.compression), int(page.predictor)
        return TiffPages(stamp, dtype, shape, coding, places)
    return TiffSeries(stamp, dtype, shape)


def _form(page: Any) -> tuple[Any, ...]:
    return tuple(page.shape), page.dtype, int(page.compression), int(page.predictor)


def _describe(
    tiff: tifffile.TiffFile, series: Any, ome: OmeImage | None
) -> tuple[tuple[str, ...] | None, tuple[float, float] | None, dict[str, str]]:
    if ome is not None:
        return ome.channel_names, ome.pixel_size, dict(ome.acquisition)
    metadata = tiff.imagej_metadata
    if not metadata:
        return None, None, {}
    tags = series.keyframe.tags
    resolution = [
        tags[name].value if name in tags else None for name in ("YResolution", "XResolution")
    ]
    labels = metadata.get("Labels")
    names = useful_names(list(labels)) if isinstance(labels, list) else None
    return names, imagej_pixel_size(metadata, (resolution[0], resolution[1])), {}
