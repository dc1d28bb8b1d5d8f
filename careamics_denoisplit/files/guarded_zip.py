"""Zips of strangers: read in memory, with names and sizes that are checked before."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from careamics_denoisplit.errors import PackageError

MAX_FILES = 200
"""Largest number of members of a package that is read."""

MAX_BYTES = 4 * 2**30
"""Largest size of all members together, unpacked."""

MAX_RATIO = 200
"""Largest ratio of unpacked to packed size of a member above one megabyte."""

MAX_INNER_FILES = 50_000
"""Largest number of members of a zip inside: each tensor of a state dict is one."""

_BLOCK = 2**20
_ENCRYPTED = 0x1


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
        raise unreadable(name, error) from error
    try:
        with file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            require_sane(members, name, folders, MAX_FILES)
            return {info.filename: b"".join(blocks_of(archive, info, name)) for info in members}
    except DAMAGED as error:
        raise PackageError(f"{name} is no zip, or damaged: {error}. Get it again.") from error


def unreadable(name: str, error: OSError) -> PackageError:
    """Say why a package cannot be opened.

    Parameters
    ----------
    name : str
        How the message calls it.
    error : OSError
        What came of opening it.
    """
    if isinstance(error, IsADirectoryError):
        return PackageError(f"{name} is a folder. Give the package itself, a .zip file.")
    return PackageError(f"Cannot read {name}: {error.strerror or error}.")


def require_sane_zip(data: bytes, name: str) -> None:
    """Refuse a zip inside a package, such as that of weights, whose members are traps.

    Parameters
    ----------
    data : bytes
        The zip; members may lie in folders.
    name : str
        How messages call it.

    Raises
    ------
    PackageError
        As `read_zip`; more members are allowed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            require_sane(archive.infolist(), name, folders=True, most=MAX_INNER_FILES)
    except DAMAGED as error:
        raise PackageError(f"{name} is damaged: {error}. Get it again.") from error


DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    UnicodeDecodeError,
)
"""What zipfile raises where a zip is damaged."""


def require_sane(members: list[zipfile.ZipInfo], name: str, folders: bool, most: int) -> None:
    """Refuse members whose names or declared sizes are traps, before any is read.

    Parameters
    ----------
    members : list of zipfile.ZipInfo
        The zip's own list.
    name : str
        How messages call the zip.
    folders : bool
        Whether members may lie in folders.
    most : int
        Largest number of members.

    Raises
    ------
    PackageError
        As `read_zip`.
    """
    if len(members) > most:
        raise PackageError(f"{name} has {len(members)} members; at most {most} are read.")
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


def blocks_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    """Read one member block by block, never more than it declares.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The zip.
    info : zipfile.ZipInfo
        The member.
    name : str
        How messages call the zip.

    Raises
    ------
    PackageError
        If it is larger or smaller than it declares.
    """
    left = info.file_size
    with archive.open(info) as member:
        while block := member.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise PackageError(f"{name}: {info.filename!r} is larger than it declares.")
            yield block
    if left:
        raise PackageError(f"{name}: {info.filename!r} is smaller than it declares.")
