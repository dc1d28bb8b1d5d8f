"""Where the result of each image goes: beside nothing else, and never two in one place."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from careamics_denoisplit.files import safe_stem
from careamics_denoisplit.images.image import Image

# Longest first: "a.ome.tif" is "a", not "a.ome". Other dots belong to the name.
_KNOWN = (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ".zarr", ".czi", ".mrc", ".npy")
_SCENE = re.compile(r"(.+\.czi)@(\d+)", re.IGNORECASE)


def strip_suffix(name: str) -> str:
    """Remove the suffix of an image format, and nothing else.

    Parameters
    ----------
    name : str
        Name of a file.

    Returns
    -------
    str
        The name without one known suffix; dots inside stay.

    Examples
    --------
    >>> strip_suffix("cell.1.v2.ome.tif")
    'cell.1.v2'
    """
    lower = name.lower()
    known = next((s for s in _KNOWN if lower.endswith(s) and len(name) > len(s)), "")
    return name[: len(name) - len(known)]


def output_stems(images: Sequence[Image], root: Path | None = None) -> tuple[Path, ...]:
    """Name the result of each image, relative to the output folder and without ending.

    Folders below `root` are mirrored, arrays are numbered, and names that differ only in upper
    and lower case, or in a suffix, get a number.

    Parameters
    ----------
    images : sequence of Image
        Images in the order in which they are processed.
    root : pathlib.Path, optional
        Folder whose structure is mirrored; by default the common parent of all files.

    Returns
    -------
    tuple of pathlib.Path
        One relative path per image, all different, to which `_mean.ome.tif` is appended.
    """
    root = _common_parent(images) if root is None else Path(root).absolute()
    several = sum(not isinstance(image.source, Path) for image in images) > 1
    stems: list[Path] = []
    taken: set[str] = set()
    for number, image in enumerate(images):
        if isinstance(image.source, Path):
            wanted = _from_path(image.source, root)
        else:
            label = safe_stem(str(image.source or "array"))
            wanted = Path(f"{label}_{number:04d}" if several else label)
        if image.index is not None and isinstance(image.source, Path):
            wanted = wanted.with_name(f"{wanted.name}_{image.index:04d}")
        stems.append(_unused(wanted, taken))
    return tuple(stems)


def _common_parent(images: Sequence[Image]) -> Path:
    parents = [
        str(_store(image.source.absolute()).parent)
        for image in images
        if isinstance(image.source, Path)
    ]
    try:
        return Path(os.path.commonpath(parents))
    except ValueError:  # no file at all, or files on several drives
        return Path()


def _from_path(source: Path, root: Path) -> Path:
    path = source.absolute()
    store = _store(path)
    inner = path.relative_to(store).parts
    scene = _SCENE.fullmatch(store.name)
    name = f"{strip_suffix(scene[1])}_{scene[2]}" if scene else strip_suffix(store.name)
    stem = safe_stem("_".join((name, *inner)))
    if not store.is_relative_to(root):
        return Path(stem)
    folders = [safe_stem(part) for part in store.parent.relative_to(root).parts]
    return Path(*folders, stem)


def _store(path: Path) -> Path:
    """Find the Zarr store that a path of an array in it belongs to."""
    stores = [parent for parent in path.parents if parent.name.lower().endswith(".zarr")]
    return stores[-1] if stores else path


def _unused(wanted: Path, taken: set[str]) -> Path:
    candidate, number = wanted, 2
    while candidate.as_posix().casefold() in taken:
        candidate = wanted.with_name(f"{wanted.name}_{number}")
        number += 1
    taken.add(candidate.as_posix().casefold())
    return candidate
