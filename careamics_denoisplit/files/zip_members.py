"""Members of a package that is larger than memory should be: checked once, read when asked for."""

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from careamics_denoisplit.errors import PackageError
from careamics_denoisplit.files.guarded_zip import (
    DAMAGED,
    MAX_FILES,
    blocks_of,
    require_sane,
    unreadable,
)

KEPT_BYTES = 32 * 2**20
"""Bytes of small members that are kept in memory, all together."""

_LARGEST_KEPT = 8 * 2**20
_BLOCK = 2**20


class ZipMembers(Mapping[str, bytes]):
    """Content of a zip of a stranger by name; nothing is unpacked, and few bytes are held.

    Every member is read once, block by block, when the object is made: its size and its checksum
    are what the zip declares. What is read later is what was read then, or an error.

    Parameters
    ----------
    path : pathlib.Path
        The zip.
    folders : bool
        Whether members may lie in folders; none is ever made.

    Attributes
    ----------
    path : pathlib.Path
        The zip.
    package_sha256 : str
        Hash of the zip itself.

    Raises
    ------
    PackageError
        As `read_zip`, or if the file changes while it is read.
    """

    def __init__(self, path: Path, *, folders: bool = False) -> None:
        self.path = Path(path)
        self._kept: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}
        self._hashes: dict[str, str] = {}
        try:
            before = self._fingerprint()
            with self.path.open("rb") as file:
                self.package_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(str(path), error) from error
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
                require_sane(members, str(self.path), folders, MAX_FILES)
                for info in members:
                    self._take(info, blocks_of(archive, info, str(self.path)))
        except DAMAGED as error:
            raise PackageError(
                f"{self.path} is no zip, or damaged: {error}. Get it again."
            ) from error
        if self._fingerprint() != before:
            raise self._changed()

    def __getitem__(self, name: str) -> bytes:
        """Return the content of a member."""
        if name in self._kept:
            return self._kept[name]
        return b"".join(self.blocks(name))

    def __iter__(self) -> Iterator[str]:
        """Yield the names in the order of the zip."""
        return iter(self._sizes)

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._sizes)

    def size(self, name: str) -> int:
        """Return the number of bytes of a member."""
        return self._sizes[name]

    def sha256(self, name: str) -> str:
        """Return the hash of a member."""
        return self._hashes[name]

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member from its first byte on, each time anew.

        Raises
        ------
        PackageError
            If it is no longer what it was; after the last block at the latest.
        """
        if name in self._kept:
            yield self._kept[name]
            return
        expected, found = self._hashes[name], hashlib.sha256()
        try:
            with zipfile.ZipFile(self.path) as archive:
                for block in blocks_of(archive, archive.getinfo(name), str(self.path)):
                    found.update(block)
                    yield block
        except (*DAMAGED, KeyError) as error:
            raise self._changed() from error
        if found.hexdigest() != expected:
            raise self._changed()

    @contextmanager
    def opened(self, name: str) -> Iterator[BinaryIO]:
        """Give a member as a file that can be sought; a large one lies on disk, without a name.

        Parameters
        ----------
        name : str
            Name of the member.
        """
        if self._sizes[name] <= _LARGEST_KEPT:
            yield io.BytesIO(self[name])
            return
        with tempfile.TemporaryFile() as file:
            for block in self.blocks(name):
                file.write(block)
            file.seek(0)
            yield file

    def _take(self, info: zipfile.ZipInfo, blocks: Iterator[bytes]) -> None:
        """Hash a member, and keep it where it is small."""
        room = KEPT_BYTES - sum(map(len, self._kept.values()))
        is_kept = info.file_size <= min(_LARGEST_KEPT, room)
        found, parts = hashlib.sha256(), []
        for block in blocks:
            found.update(block)
            if is_kept:
                parts.append(block)
        if is_kept:
            self._kept[info.filename] = b"".join(parts)
        self._sizes[info.filename] = info.file_size
        self._hashes[info.filename] = found.hexdigest()

    def _fingerprint(self) -> tuple[int, int, int]:
        seen = self.path.stat()
        return seen.st_ino, seen.st_size, seen.st_mtime_ns

    def _changed(self) -> PackageError:
        return PackageError(
            f"{self.path} has changed while it was read. Leave it alone and run the command again."
        )
