"""NumPy archives of strangers: sizes are checked before memory is taken, no pickle."""

import io
import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from careamics_denoisplit.errors import InputError
from careamics_denoisplit.files.guarded_json import read_capped

MAX_NPZ_BYTES = 64 * 2**20
_MAX_MEMBERS = 1000
_ACCEPTED_KINDS = "biufUS"


def load_npz(
    source: Path | bytes,
    max_bytes: int = MAX_NPZ_BYTES,
    *,
    required: Collection[str] = (),
    allowed: Collection[str] | None = None,
    error: type[InputError] = InputError,
) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of an npz file; nothing in it is executed.

    Parameters
    ----------
    source : pathlib.Path or bytes
        The file, or its content.
    max_bytes : int, default: 64 MiB
        Largest size of the file, and of all its arrays together in memory.
    required : collection of str
        Keys that must be there.
    allowed : collection of str, optional
        Further keys that may be there; by default any.
    error : type of InputError
        What to raise.

    Returns
    -------
    dict of str to numpy.ndarray
        The arrays by key.

    Raises
    ------
    InputError
        If the file is cut, changed, larger than allowed, declares arrays that do not match
        its content, holds Python objects, or lacks or adds keys.
    """
    name = str(source) if isinstance(source, Path) else "The archive"
    data = read_capped(source, max_bytes, error=error) if isinstance(source, Path) else source
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(archive, max_bytes)
            _compare_keys(set(members), set(required), allowed)
            return {key: _read_member(archive, info) for key, info in members.items()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError) as cause:
        raise error(f"{name} cannot be used as an npz file: {_reason(cause)}.") from cause
    except Exception as cause:  # zlib and header parsers raise many kinds on changed bytes
        if isinstance(cause, MemoryError):
            raise
        raise error(f"{name} is damaged: {_reason(cause)}.") from cause


def read_npy_header(
    file: Any,
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read and check the header of an npy file.

    Parameters
    ----------
    file : binary file
        Positioned at its start; afterwards at the first byte of the data.

    Returns
    -------
    shape : tuple of int
        Declared shape.
    fortran_order : bool
        Whether the first axis varies fastest.
    dtype : numpy.dtype
        Declared type, never one of Python objects.

    Raises
    ------
    ValueError
        If it is no npy header, or declares Python objects or negative sizes.
    """
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=10_000)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file, max_header_size=10_000)
    else:
        raise ValueError(f"npy version {version} is not known, expected 1.0 or 2.0")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded")
    if any(size < 0 for size in shape):
        raise ValueError(f"it declares the negative shape {shape}")
    return tuple(shape), bool(fortran), dtype


def _members(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > _MAX_MEMBERS:
        raise ValueError(f"it has {len(infos)} members, at most {_MAX_MEMBERS} are accepted")
    total = sum(info.file_size for info in infos)
    if total > max_bytes:
        raise ValueError(f"it declares {total} bytes, at most {max_bytes} are accepted")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        key = info.filename.removesuffix(".npy")
        if key in members:
            raise ValueError(f"the key {key!r} stands twice")
        if info.flag_bits & 1:
            raise ValueError(f"the member {key!r} is encrypted")
        members[key] = info
    return members


def _compare_keys(found: set[str], required: set[str], allowed: Collection[str] | None) -> None:
    missing = sorted(required - found)
    extra = [] if allowed is None else sorted(found - required - set(allowed))
    if missing or extra:
        raise ValueError(
            f"it has the keys {sorted(found)}; missing are {missing}, unknown are {extra}"
        )


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    with archive.open(info) as member:
        data = member.read(info.file_size + 1)  # reading to the end also checks the CRC
    if len(data) != info.file_size:
        raise ValueError(f"{info.filename} is {len(data)} bytes long, not {info.file_size}")
    buffer = io.BytesIO(data)
    shape, _, dtype = read_npy_header(buffer)
    if dtype.kind not in _ACCEPTED_KINDS:
        raise ValueError(f"{info.filename} holds {dtype}, only numbers and text are accepted")
    declared, there = math.prod(shape) * dtype.itemsize, len(data) - buffer.tell()
    if declared != there:
        raise ValueError(f"{info.filename} declares {declared} bytes, {there} are there")
    buffer.seek(0)
    array: npt.NDArray[Any] = np.lib.format.read_array(buffer, allow_pickle=False)
    return array


def _reason(cause: BaseException) -> str:
    return (" ".join(str(cause).split()) or type(cause).__name__)[:300].rstrip(".")
