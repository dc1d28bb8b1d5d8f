"""Which files of a folder are images, and which are left out."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from careamics_denoisplit.errors import DataError

_LOGGER = logging.getLogger(__name__)
_SUFFIXES = {
    ".tif": "tiff",
    ".tiff": "tiff",
    ".czi": "czi",
    ".mrc": "mrc",
    ".npy": "npy",
}
ZARR_SUFFIXES = (".ome.zarr", ".zarr")
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
_PATTERN_LETTERS = frozenset("*?[")
_LISTED = 8


class Folder(NamedTuple):
    """Images of a folder and its subfolders, and what else lies there."""

    images: tuple[Path, ...]
    """Files and Zarr stores that can be read, by name."""
    skipped: tuple[Path, ...]
    """Everything else."""


def file_kind(path: Path) -> str | None:
    """Name the reader of a path: "tiff", "zarr", "czi", "mrc", "npy" or None.

    Parameters
    ----------
    path : pathlib.Path
        File, or folder of a Zarr store or of an array in it.
    """
    if is_zarr(path):
        return "zarr"
    # A scene of a CZI file is chosen by `file.czi@0`, as in careamics.
    return _SUFFIXES.get(Path(path.name.partition("@")[0]).suffix.lower())


def is_zarr(path: Path) -> bool:
    """Say whether a folder is a Zarr store, or an array or group in one."""
    return path.is_dir() and (
        path.name.lower().endswith(".zarr") or any((path / name).is_file() for name in _ZARR_FILES)
    )


def expand(source: str | Path) -> list[Path]:
    """Turn a path, folder or pattern into the paths of images.

    Parameters
    ----------
    source : str or pathlib.Path
        A file, a folder, or a pattern with `*`, `?` or `[...]`. A path that exists is never
        taken for a pattern.

    Returns
    -------
    list of pathlib.Path
        Sorted by name.

    Raises
    ------
    DataError
        If nothing is found, or if a folder holds images of different kinds.
    """
    path = Path(source)
    if is_zarr(path) or path.is_file():
        return [path]
    if path.is_dir():
        return _images_of_folder(path)
    if "://" in str(source):
        raise DataError(f"{source} is not a local path. Download the file first.")
    if _PATTERN_LETTERS & set(str(source)):
        return _matches(path)
    if "@" in path.name and file_kind(path) == "czi":
        return [path]
    raise DataError(f"{path} does not exist (looked in {path.absolute().parent}).")


def list_folder(folder: Path) -> Folder:
    """Find the images of a folder and its subfolders.

    Hidden files, such as `._x.tif` of macOS, are no images. A Zarr store is one image.

    Parameters
    ----------
    folder : pathlib.Path
        Folder to search.
    """
    images: list[Path] = []
    skipped: list[Path] = []
    for path in _walk(folder):
        is_image = not path.name.startswith(".") and file_kind(path) is not None
        (images if is_image else skipped).append(path)
    return Folder(tuple(images), tuple(skipped))


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not is_zarr(path):
            if not path.name.startswith("."):
                yield from _walk(path)
        else:
            yield path


def _images_of_folder(folder: Path) -> list[Path]:
    found = list_folder(folder)
    if found.skipped:
        _LOGGER.warning("%s: %s", folder, _list_skipped(found.skipped))
    if not found.images:
        rest = f" ({_list_skipped(found.skipped)})" if found.skipped else ""
        raise DataError(f"The folder {folder} holds no image{rest}. Name the folder of the images.")
    _require_one_kind(found.images, str(folder))
    return list(found.images)


def _matches(pattern: Path) -> list[Path]:
    anchor = Path(pattern.anchor) if pattern.is_absolute() else Path()
    relative = str(pattern.relative_to(pattern.anchor)) if pattern.is_absolute() else str(pattern)
    try:
        found = sorted(path for path in anchor.glob(relative) if not path.name.startswith("."))
    except ValueError as error:  # `**` beside other letters
        raise DataError(
            f"{pattern} is no pattern: {error}. Write `**` as a folder of its own, such as "
            "`data/**/*.tif`."
        ) from error
    images = [path for path in found if file_kind(path) is not None]
    if not images:
        rest = f" ({_list_skipped(tuple(found))})" if found else ""
        raise DataError(f"No image matches {pattern}{rest}.")
    if len(found) > len(images):
        others = tuple(path for path in found if path not in images)
        _LOGGER.warning("%s: %s", pattern, _list_skipped(others))
    return images


def _require_one_kind(images: tuple[Path, ...], what: str) -> None:
    first: dict[str, Path] = {}
    for path in images:
        first.setdefault(str(file_kind(path)), path)
    if len(first) > 1:
        examples = ", ".join(path.name for path in first.values())
        raise DataError(
            f"{what} holds images of {len(first)} kinds ({examples}); which are meant is not "
            "clear. Pass a pattern, such as '*.tif'."
        )


def _list_skipped(paths: tuple[Path, ...]) -> str:
    names = ", ".join(path.name for path in paths[:_LISTED])
    more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
    return f"skipped {len(paths)} files that are no images: {names}{more}"
