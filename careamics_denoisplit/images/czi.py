"""CZI files, through the optional package pylibCZIrw.

libCZI fills what it cannot find with the background, so the segments of the file are walked
first: a file that was cut does not end where its last segment ends.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images.blocks import FileStamp, Slices
from careamics_denoisplit.images.image import Raw
from careamics_denoisplit.images.limits import require_size
from careamics_denoisplit.images.ome import useful_names

_SEGMENT = struct.Struct("<16sqq")
_SEGMENT_BYTES = 32
_DTYPES = {"Gray8": np.uint8, "Gray16": np.uint16, "Gray32Float": np.float32}
_MICROMETRES_PER_METRE = 1e6


@dataclass(frozen=True)
class CziPlanes:
    """Planes of one scene, read on demand.

    Attributes
    ----------
    stamp : FileStamp
        The file as it was when it was checked.
    scene : int or None
        Number of the scene.
    letters : str
        Letters of the leading axes.
    starts : tuple of int
        First index of each leading axis, then y and x of the upper left corner.
    shape : tuple of int
        Leading axes, then height and width.
    dtype : numpy.dtype
        Type of the values.
    fixed : tuple of tuple
        Letter and index of axes with a single entry.
    """

    stamp: FileStamp
    scene: int | None
    letters: str
    starts: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fixed: tuple[tuple[str, int], ...] = ()

    def read(self, key: Slices) -> npt.NDArray[Any]:
        """Read the planes that are asked for; each axis is kept."""
        ranges = [range(size)[part] for size, part in zip(self.shape, key, strict=True)]
        *leading, rows, columns = ranges
        planes = np.empty([len(numbers) for numbers in ranges], self.dtype)
        self.stamp.require_unchanged()
        with _open(self.stamp.path) as reader:
            for position in np.ndindex(*planes.shape[:-2]):
                plane = dict(self.fixed) | {
                    letter: start + numbers[i]
                    for letter, start, numbers, i in zip(
                        self.letters, self.starts, leading, position, strict=False
                    )
                }
                values = reader.read(roi=self._window(rows, columns), plane=plane, scene=self.scene)
                planes[position] = values[:: rows.step, :: columns.step, 0]
        self.stamp.require_unchanged()
        return planes

    def _window(self, rows: range, columns: range) -> tuple[int, int, int, int]:
        top, left = self.starts[-2:]
        return (
            left + columns.start,
            top + rows.start,
            columns[-1] + 1 - columns.start,
            rows[-1] + 1 - rows.start,
        )


def read_czi(path: Path, *, max_bytes: int) -> Raw:
    """Open a CZI file; `file.czi@1` chooses its second scene.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    max_bytes : int
        Largest declared size.

    Returns
    -------
    Raw
        Pixels that are read on demand, axes, channel names and pixel size.

    Raises
    ------
    DataError
        If pylibCZIrw is not installed, or the file is cut, damaged, in color, too large or holds
        several scenes and none is chosen.
    """
    path, scene = _split_scene(path)
    stamp = FileStamp.of(path)
    _require_package(path)
    _check_segments(stamp)
    with _open(path) as reader:
        box = dict(reader.total_bounding_box_no_pyramid)
        scenes = dict(reader.scenes_bounding_rectangle_no_pyramid)
        scene = _choose_scene(path, scene, scenes)
        window = reader.total_bounding_rectangle_no_pyramid if scene is None else scenes[scene]
        dtype = _dtype(path, dict(reader.pixel_types))
        metadata = reader.metadata
    others = [x for x in box if x not in "STZCYX" and box[x][1] - box[x][0] > 1]
    if others:
        raise DataError(f"{path} has the axes {', '.join(others)}, which cannot be used here.")
    kept = [x for x in "TZC" if x in box and box[x][1] - box[x][0] > 1]
    fixed = tuple((x, box[x][0]) for x in "TZC" if x in box and x not in kept)
    letters = "".join(kept)
    shape = (*(box[x][1] - box[x][0] for x in kept), int(window.h), int(window.w))
    require_size(shape, dtype, max_bytes, str(path))
    starts = (*(box[x][0] for x in kept), int(window.y), int(window.x))
    return Raw(
        block=CziPlanes(stamp, scene, letters, starts, shape, dtype, fixed),
        axes=f"{letters}YX",
        channel_names=_channel_names(metadata),
        pixel_size=_pixel_size(metadata),
    )


def _split_scene(path: Path) -> tuple[Path, int | None]:
    name, at, number = path.name.rpartition("@")
    if at and number.isdigit():
        return path.with_name(name), int(number)
    return path, None


def _require_package(path: Path) -> None:
    try:
        import pylibCZIrw.czi  # noqa: F401  # only tried here, used in `_open`
    except ImportError as error:
        raise DataError(
            f"{path} is a CZI file, and the package that reads them is not installed. Run "
            "`pip install 'careamics-denoisplit[czi]'`, or export the image as OME-TIFF."
        ) from error


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    from pylibCZIrw.czi import open_czi

    try:
        with open_czi(str(path)) as reader:
            yield reader
    except (DataError, MemoryError):
        raise
    except Exception as error:  # libCZI raises RuntimeError and others on damaged files
        raise _damaged(path, str(error)) from error


def _check_segments(stamp: FileStamp) -> None:
    position = 0
    with stamp.path.open("rb") as file:
        while position < stamp.size:
            file.seek(position)
            head = file.read(_SEGMENT_BYTES)
            if len(head) < _SEGMENT_BYTES:
                raise _damaged(stamp.path, f"a segment at byte {position} is incomplete")
            name, allocated, used = _SEGMENT.unpack(head)
            is_first = position == 0
            if (is_first and not name.startswith(b"ZISRAWFILE")) or allocated < 0 or used < 0:
                raise _damaged(stamp.path, f"no CZI segment at byte {position}")
            if not name.startswith((b"ZISRAW", b"DELETED")):
                raise _damaged(stamp.path, f"no CZI segment at byte {position}")
            position += _SEGMENT_BYTES + allocated
    if position != stamp.size:
        raise _damaged(stamp.path, f"{position} bytes are declared, {stamp.size} are there")


def _choose_scene(path: Path, scene: int | None, scenes: Mapping[int, Any]) -> int | None:
    if scene is None and len(scenes) > 1:
        raise DataError(
            f"{path} holds {len(scenes)} scenes. Choose one: {path.name}@0 is the first."
        )
    if scene is not None and scene not in scenes:
        raise DataError(f"{path} has no scene {scene}; there are {sorted(scenes)}.")
    return scene


def _dtype(path: Path, types: Mapping[int, str]) -> np.dtype[Any]:
    kinds = set(types.values())
    if len(kinds) != 1 or not kinds <= set(_DTYPES):
        raise DataError(
            f"{path} holds pixels of type {', '.join(sorted(kinds))}; gray values of one type are "
            "needed. Export one gray image per channel."
        )
    return np.dtype(_DTYPES[kinds.pop()])


def _channel_names(metadata: Mapping[str, Any]) -> tuple[str, ...] | None:
    try:
        image = metadata["ImageDocument"]["Metadata"]["Information"]["Image"]
        channels = image["Dimensions"]["Channels"]["Channel"]
    except (KeyError, TypeError):
        return None
    channels = channels if isinstance(channels, list) else [channels]
    return useful_names([channel.get("@Name") for channel in channels])


def _pixel_size(metadata: Mapping[str, Any]) -> tuple[float, float] | None:
    try:
        distances = metadata["ImageDocument"]["Metadata"]["Scaling"]["Items"]["Distance"]
        found = {
            entry["@Id"]: float(entry["Value"]) * _MICROMETRES_PER_METRE for entry in distances
        }
        size = found["Y"], found["X"]
    except (KeyError, TypeError, ValueError):
        return None
    return size if min(size) > 0 and all(map(math.isfinite, size)) else None


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} is cut off or damaged ({' '.join(reason.split())[:200]}). "
        "Copy or export the file again."
    )
