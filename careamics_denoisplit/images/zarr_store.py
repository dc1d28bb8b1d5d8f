"""Zarr and OME-Zarr: a chunk that is missing or damaged is an error that names its key.

zarr itself returns the fill value for a chunk that is not there.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images.blocks import FileStamp, Slices
from careamics_denoisplit.images.image import Raw
from careamics_denoisplit.images.limits import require_size
from careamics_denoisplit.images.ome import micrometres, useful_names

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
_ABSENT = 2**64 - 1
_LISTED = 3


@dataclass(frozen=True)
class ZarrBlock:
    """An array of a Zarr store on disk.

    Attributes
    ----------
    path : pathlib.Path
        Folder of the array.
    dtype : numpy.dtype
        Type of the values.
    shape : tuple of int
        Size of each axis.
    """

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def read(self, key: Slices) -> npt.NDArray[Any]:
        """Read the chunks that are asked for; each axis is kept."""
        array = _open_array(self.path)
        names = list(_keys(array, key))
        missing = [name for name in names if not (self.path / name).is_file()]
        if missing:
            raise _missing(self.path, missing)
        if _is_blosc(array):
            _require_blosc_lengths(self.path, names)
        try:
            return np.asarray(array[key])
        except MemoryError:
            raise
        except Exception as error:  # each codec raises its own kind of error
            name = _first_damaged(array, key)
            raise DataError(
                f"{self.path / name} is damaged ({' '.join(str(error).split())[:160]}). "
                "Copy the store again."
            ) from error


def read_zarr(path: Path, *, max_bytes: int) -> Raw:
    """Open a Zarr array, or the full resolution of an OME-Zarr image.

    Parameters
    ----------
    path : pathlib.Path
        Store, group or array; format 2 or 3.
    max_bytes : int
        Largest declared size.

    Returns
    -------
    Raw
        Pixels that are read on demand; axes, channel names and pixel size of OME metadata.

    Raises
    ------
    DataError
        If metadata are damaged, chunks are missing, there is no array or more than one.
    """
    node = _open_node(path)
    if isinstance(node, zarr.Group):
        ome = _ome_attributes(node, path)
        inner = _level_zero(ome) if ome else _only_array(node, path)
        array = _open_array(path / inner)
        described = _describe(ome, array.ndim, path)
        path = path / inner
    else:
        array, described = node, (None, None, None)
    require_size(array.shape, array.dtype, max_bytes, str(path))
    _require_chunks(array, path)
    axes, names, pixel_size = described
    block = ZarrBlock(path, np.dtype(array.dtype), tuple(map(int, array.shape)))
    chunk = tuple(map(int, array.chunks))
    return Raw(block, axes, channel_names=names, pixel_size=pixel_size, chunk=chunk)


def _open_node(path: Path) -> Any:
    for name in _METADATA:
        if (path / name).is_file():
            FileStamp.of(path / name)
    try:
        if (path / _METADATA[0]).is_file():
            _require_node_type(path / _METADATA[0])
        return zarr.open(store=str(path), mode="r", use_consolidated=False)
    except MemoryError:
        raise
    except Exception as error:  # zarr and its json parser raise many kinds of errors
        raise _bad_metadata(path, error) from error


def _require_node_type(path: Path) -> None:
    # zarr takes a file without it for a group without attributes.
    if json.loads(path.read_bytes()).get("node_type") not in {"array", "group"}:
        raise ValueError("no node_type in it")


def _open_array(path: Path) -> Any:
    node = _open_node(path)
    if not isinstance(node, zarr.Array):
        raise DataError(f"{path / _METADATA[0]} describes no array. Copy the store again.")
    return node


def _bad_metadata(path: Path, error: BaseException) -> DataError:
    where = path / _damaged_metadata(path)
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return DataError(f"{where} is missing or damaged ({reason}). Copy the store again.")


def _damaged_metadata(path: Path) -> str:
    present = [name for name in _METADATA if (path / name).is_file()]
    for name in present:
        try:
            json.loads((path / name).read_bytes())
        except (ValueError, OSError, RecursionError):
            return name
    has_format_2 = any(name.startswith(".z") for name in present)
    return " or ".join(_METADATA[1:3]) if has_format_2 else _METADATA[0]


def _is_blosc(array: Any) -> bool:
    return any("blosc" in type(codec).__name__.lower() for codec in array.compressors)


def _require_blosc_lengths(path: Path, names: list[str]) -> None:
    # The decoder reads beyond the end of a chunk that was cut, and sometimes returns numbers.
    for name in names:
        with (path / name).open("rb") as file:
            head = file.read(16)
        size = (path / name).stat().st_size
        if len(head) < 16 or int.from_bytes(head[12:16], "little") != size:
            raise DataError(f"{path / name} is cut off or damaged. Copy the store again.")


def _only_array(group: zarr.Group, path: Path) -> str:
    try:
        arrays = sorted(group.array_keys())
    except Exception as error:  # a member with damaged metadata
        raise _bad_metadata(path, error) from error
    if len(arrays) == 1:
        return arrays[0]
    listed = ", ".join(arrays[:6]) or "none"
    groups = ", ".join(sorted(group.group_keys())[:6])
    raise DataError(
        f"{path} holds {len(arrays)} arrays ({listed})"
        f"{f' and the groups {groups}' if groups else ''}; one is needed. Pass the path of the "
        f"array, such as {path / (arrays[0] if arrays else 'name')}."
    )


def _ome_attributes(group: zarr.Group, path: Path) -> dict[str, Any]:
    attributes = dict(group.attrs)
    ome = attributes.get("ome", attributes)
    if not isinstance(ome, dict) or "multiscales" not in ome:
        if isinstance(ome, dict) and ("plate" in ome or "well" in ome):
            raise DataError(f"{path} is a plate or well. Pass the path of one field in it.")
        return {}
    if len(ome["multiscales"]) != 1:
        raise DataError(f"{path} holds {len(ome['multiscales'])} images. Save one per store.")
    return ome


def _level_zero(ome: dict[str, Any]) -> str:
    try:
        return str(ome["multiscales"][0]["datasets"][0]["path"])
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(
            "The OME metadata of the Zarr store list no dataset. Export the image again."
        ) from error


def _describe(
    ome: dict[str, Any], n_axes: int, path: Path
) -> tuple[str | None, tuple[str, ...] | None, tuple[float, float] | None]:
    if not ome:
        return None, None, None
    multiscale = ome["multiscales"][0]
    try:
        axes = [_axis(axis) for axis in multiscale.get("axes", "tczyx"[-n_axes:])]
        letters = "".join(name for name, _ in axes)
        scale = _scale(multiscale)
        units = [unit for _, unit in axes]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: its OME metadata are damaged ({error!r}).") from error
    if len(letters) != n_axes:
        raise DataError(
            f"{path}: OME metadata name the axes {letters}, the array has {n_axes}. "
            "Export the image again."
        )
    pixel_size = None
    if scale is not None and {"Y", "X"} <= set(letters) and len(scale) == n_axes:
        y, x = (micrometres(scale[i], units[i]) for i in (letters.index("Y"), letters.index("X")))
        pixel_size = (y, x) if y is not None and x is not None else None
    return letters, _omero_names(ome), pixel_size


def _axis(axis: Any) -> tuple[str, str]:
    if isinstance(axis, str):
        return axis.upper(), ""
    return str(axis["name"]).upper(), str(axis.get("unit", ""))


def _scale(multiscale: dict[str, Any]) -> list[float] | None:
    # The transformation of the level comes first, then the one of the whole image.
    factors: list[float] | None = None
    for owner in (multiscale["datasets"][0], multiscale):
        for transformation in owner.get("coordinateTransformations", ()):
            if transformation.get("type") == "scale":
                scale = [float(value) for value in transformation["scale"]]
                factors = (
                    scale
                    if factors is None
                    else [a * b for a, b in zip(factors, scale, strict=True)]
                )
    return factors


def _omero_names(ome: dict[str, Any]) -> tuple[str, ...] | None:
    channels = ome.get("omero", {}).get("channels", ())
    return useful_names([channel.get("label") for channel in channels]) if channels else None


def _require_chunks(array: Any, path: Path) -> None:
    everything = tuple(slice(0, size) for size in array.shape)
    missing = [name for name in _keys(array, everything) if not (path / name).is_file()]
    if missing:
        raise _missing(path, missing)
    if array.shards is not None:
        for at in _coordinates(array, everything):
            _require_inner_chunks(array, path, at)


def _missing(path: Path, names: list[str]) -> DataError:
    listed = ", ".join(str(path / name) for name in names[:_LISTED])
    return DataError(
        f"{len(names)} chunks of {path} are missing: {listed}. Copy the store again; if its writer "
        "leaves out chunks of zeros, write it with `write_empty_chunks=True`."
    )


def _grid(array: Any) -> tuple[int, ...]:
    return tuple(array.shards if array.shards is not None else array.chunks)


def _coordinates(array: Any, key: Slices) -> Iterator[tuple[int, ...]]:
    ranges = []
    for part, size, step in zip(key, array.shape, _grid(array), strict=True):
        indices = range(size)[part]
        ranges.append(sorted({index // step for index in indices}))
    for position in np.ndindex(*(len(numbers) for numbers in ranges)):
        yield tuple(numbers[i] for numbers, i in zip(ranges, position, strict=True))


def _keys(array: Any, key: Slices) -> Iterator[str]:
    return (array.metadata.encode_chunk_key(at) for at in _coordinates(array, key))


def _first_damaged(array: Any, key: Slices) -> str:
    grid = _grid(array)
    for at in _coordinates(array, key):
        window = tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, grid, strict=True))
        try:
            array[window]
        except Exception:  # noqa: BLE001  # the same error again: here only its place is wanted
            return str(array.metadata.encode_chunk_key(at))
    return "a chunk"


def _require_inner_chunks(array: Any, path: Path, at: tuple[int, ...]) -> None:
    """Find inner chunks that a shard leaves out, in the index at its end."""
    name = str(array.metadata.encode_chunk_key(at))
    inner = tuple(array.chunks)
    per_shard = tuple(n // i for n, i in zip(_grid(array), inner, strict=True))
    count = math.prod(per_shard)
    index_bytes = 16 * count + 4  # offset and length of each inner chunk, then crc32c
    data = _tail(path / name, index_bytes)
    if len(data) < index_bytes:
        raise DataError(f"{path / name} is cut off: its index is missing. Copy the store again.")
    index = np.frombuffer(data[-index_bytes:-4], "<u8").reshape(*per_shard, 2)
    for local in zip(*np.nonzero((index == _ABSENT).all(-1)), strict=True):
        first = [
            (a * n + int(i)) * c for a, n, i, c in zip(at, per_shard, local, inner, strict=True)
        ]
        if all(f < size for f, size in zip(first, array.shape, strict=True)):
            raise DataError(
                f"{path / name}: the inner chunk at {tuple(map(int, local))} is missing. Copy the "
                "store again; if its writer leaves out chunks of zeros, write it with "
                "`write_empty_chunks=True`."
            )


def _tail(path: Path, count: int) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - count))
        return file.read()
