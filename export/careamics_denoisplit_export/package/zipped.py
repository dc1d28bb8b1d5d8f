"""The zip of a package, written the same every time."""

import io
import zipfile
from collections.abc import Mapping

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
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = _UNIX
            info.external_attr = _READABLE_FILE
            archive.writestr(info, files[name])
    return target.getvalue()
