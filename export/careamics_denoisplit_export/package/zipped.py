"""The zip of a package: written the same every time, read without trusting it."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from careamics_denoisplit.errors import PackageError

MAX_FILES = 200
"""Largest number of members of a package that is read."""

MAX_BYTES = 4 * 2**30
"""Largest size of all members together, unpacked."""

MAX_RATIO = 200
"""Largest ratio of unpacked to packed size of a member above one megabyte."""

_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE = 0o100644 << 16
_UNIX = 3
_BLOCK = 2**20
_ENCRYPTED = 0x1


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """Pack files so that equal files give equal bytes.

    Members are sorted, carry a fixed date and permissions, and are stored as they are: weights
    hardly shrink, and the bytes then depend on no version of zlib.

    Parameters
    ----------
    files : mapping of str to bytes
        Content by name.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = _UNIX
            info.external_attr = _READABLE_FILE
            archive.writestr(info, files[name])
    return target.getvalue()


def read_zip(source: Path | bytes, name: str = "", *, folders: bool = False) -> dict[str, bytes]:
    """Read all members of a package into memory; nothing is unpacked to disk.

    Parameters
    ----------
    source : pathlib.Path or bytes
        The zip.
    name : str
        How messages call it; by default its path.
    folders : bool
        Whether members may lie in folders; none is ever made.

    Returns
    -------
    dict of str to bytes
        Content by name.

    Raises
    ------
    PackageError
        If it is no zip, has a member in a folder, an unsafe or double name, a link, an encrypted
        member, too many members, more bytes than it declares, or unpacks to too much.
    """
    name = name or str(source if isinstance(source, Path) else "The package")
    try:
        file = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    except OSError as error:
        raise PackageError(f"Cannot read {name}: {error.strerror or error}.") from error
    try:
        with file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _require_sane(members, name, folders)
            return {info.filename: _read(archive, info, name) for info in members}
    except _DAMAGED as error:
        raise PackageError(f"{name} is no zip, or damaged: {error}. Get it again.") from error


_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    UnicodeDecodeError,
)


def _require_sane(members: list[zipfile.ZipInfo], name: str, folders: bool) -> None:
    if len(members) > MAX_FILES:
        raise PackageError(f"{name} has {len(members)} members; packages have at most {MAX_FILES}.")
    seen: set[str] = set()
    for info in members:
        _require_plain_name(info, name, folders)
        folded = info.filename.casefold()
        if folded in seen:
            raise PackageError(f"{name} holds {info.filename!r} twice; one would hide the other.")
        seen.add(folded)
        if info.flag_bits & _ENCRYPTED:
            raise PackageError(f"{name}: the member {info.filename!r} is encrypted.")
        large = info.file_size > _BLOCK
        if large and info.file_size > MAX_RATIO * max(info.compress_size, 1):
            raise PackageError(
                f"{name}: the member {info.filename!r} unpacks {info.compress_size} bytes to "
                f"{info.file_size}; this is no package but a trap."
            )
    total = sum(info.file_size for info in members)
    if total > MAX_BYTES:
        raise PackageError(f"{name} unpacks to {total} bytes; at most {MAX_BYTES} are read.")


def _require_plain_name(info: zipfile.ZipInfo, name: str, folders: bool) -> None:
    """Refuse folders, absolute and climbing paths, links: packages are flat."""
    # zipfile cuts names at NUL and turns backslashes into slashes on Windows only.
    original = info.orig_filename
    parts = original.removesuffix("/").split("/") if folders else [original]
    is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
    unsafe = (
        not original.isprintable()
        or any(letter in part for part in parts for letter in '/\\:*?"<>|')
        or any(part in ("", ".", "..") for part in parts)
    )
    if unsafe or is_link:
        what = "a link" if is_link else "not a plain file name"
        raise PackageError(
            f"{name}: the member {original!r} is {what}. Packages are flat: every file lies at "
            "the root, without folders."
        )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    """Read one member, never more than it declares."""
    parts = []
    left = info.file_size
    with archive.open(info) as member:
        while block := member.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise PackageError(f"{name}: {info.filename!r} is larger than it declares.")
            parts.append(block)
    if left:
        raise PackageError(f"{name}: {info.filename!r} is smaller than it declares.")
    return b"".join(parts)
