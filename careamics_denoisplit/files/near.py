"""What was probably meant by a path where nothing is."""

import difflib
from pathlib import Path


def nearest_path(path: Path) -> Path | None:
    """Return the path that was probably meant, or None.

    The first part of the path that does not exist is compared with what lies beside it; the rest
    must then exist as it was written, or be close to what does.

    Parameters
    ----------
    path : pathlib.Path
        A path; for one that exists nothing else was meant.
    """
    if path.exists():
        return None
    missing = path
    rest: list[str] = []
    while not missing.parent.is_dir():
        if missing.parent == missing:
            return None
        rest.insert(0, missing.name)
        missing = missing.parent
    near = _nearest(missing)
    for name in rest:
        if near is None:
            return None
        near = near / name if (near / name).exists() else _nearest(near / name)
    return near


def did_you_mean(path: Path) -> str:
    """Return a sentence that names the nearest path, with a space before it; else nothing."""
    near = nearest_path(path)
    return "" if near is None else f" Did you mean {str(near)!r}?"


def _nearest(path: Path) -> Path | None:
    """Return what lies in the folder of the path and is called nearly like it."""
    try:
        by_folded = {entry.name.casefold(): entry for entry in path.parent.iterdir()}
    except OSError:
        return None
    near = difflib.get_close_matches(path.name.casefold(), list(by_folded), n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None
