"""The zip of a package, written the same every time."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from careamics_denoisplit.files.zip_members import ZipMembers

_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE = 0o100644 << 16
_UNIX = 3


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
            archive.writestr(_described(name), files[name])
    return target.getvalue()


def copy_members(files: Mapping[str, bytes], path: Path) -> None:
    """Write a copy of a package that was checked; a file that has changed since is an error.

    Parameters
    ----------
    files : mapping of str to bytes
        Content by name; large files of `ZipMembers` are copied block by block.
    path : pathlib.Path
        The copy.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            info = _described(name)
            if not isinstance(files, ZipMembers):
                archive.writestr(info, files[name])
                continue
            info.file_size = files.size(name)
            with archive.open(info, "w") as target:
                for block in files.blocks(name):
                    target.write(block)


def _described(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = _UNIX
    info.external_attr = _READABLE_FILE
    return info
