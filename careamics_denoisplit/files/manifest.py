"""A list of hashes, so that a changed or missing file is named instead of read."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

from careamics_denoisplit.errors import CheckpointError
from careamics_denoisplit.files.guarded_json import read_json, write_json
from careamics_denoisplit.files.whole import is_temporary

FORMAT_VERSION = 1


def write_manifest(folder: Path, name: str = "manifest.json") -> None:
    """List the SHA-256 of each file in a folder and its subfolders.

    Parameters
    ----------
    folder : pathlib.Path
        Folder whose files are listed.
    name : str, default: "manifest.json"
        The list itself, written into the folder.

    Raises
    ------
    StorageError
        If the list cannot be written.
    """
    folder = Path(folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in paths
        if path != folder / name and not is_temporary(path)
    }
    write_json(folder / name, {"format_version": FORMAT_VERSION, "sha256": hashes})


def verify_manifest(folder: Path, name: str = "manifest.json") -> tuple[str, ...]:
    """Compare each listed file with its hash.

    Files that are not in the list are left alone: systems drop their own files into folders.

    Parameters
    ----------
    folder : pathlib.Path
        Folder that holds the list.
    name : str, default: "manifest.json"
        The list.

    Returns
    -------
    tuple of str
        Names of the files that were compared, with `/` between folders.

    Raises
    ------
    CheckpointError
        If the list is missing or malformed, or a file is missing or differs.
    """
    folder = Path(folder)
    hashes = _listed(read_json(folder / name, error=CheckpointError), folder / name)
    for relative, expected in hashes.items():
        path = folder / relative
        if not path.is_file():
            raise CheckpointError(f"{path} is missing. Copy the folder again as a whole.")
        if sha256_of(path) != expected:
            raise CheckpointError(
                f"{path} is not the file that was saved: its SHA-256 differs from {name}. "
                "Copy the folder again as a whole."
            )
    return tuple(hashes)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Parameters
    ----------
    path : pathlib.Path
        File to read, in blocks.

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror or error}.") from error


def _listed(value: Any, path: Path) -> dict[str, str]:
    version = value.get("format_version") if isinstance(value, dict) else None
    if version != FORMAT_VERSION or not isinstance(value.get("sha256"), dict):
        raise CheckpointError(
            f"{path} is not a list of hashes of format {FORMAT_VERSION} (found {version}). "
            "It may come from a newer version; update this package."
        )
    for relative, expected in value["sha256"].items():
        parts = PurePosixPath(relative).parts
        is_inside = bool(parts) and parts[0] != "/" and ".." not in parts
        if not is_inside or "\\" in relative or ":" in relative or not isinstance(expected, str):
            raise CheckpointError(f"{path} lists {relative!r}, which is no file of its folder.")
    return dict(value["sha256"])
