"""Which images a run was trained on: noted down where they were given as paths."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from careamics_denoisplit.errors import CheckpointError, DataError
from careamics_denoisplit.files import read_json, write_json
from careamics_denoisplit.images.folders import expand

IMAGES = Path("logs") / "images.json"
"""File within a run; it stays on this machine, since paths say more than packages should."""

_FORMAT_VERSION = 1


class GivenImages(NamedTuple):
    """What a training was given; None where it was not given."""

    channels: Any = None
    """Noisy channels: paths by name, or paths of images that hold all channels."""
    mixture: Any = None
    """Measured mixtures."""
    val_channels: Any = None
    """Noisy channels for validation."""
    val_mixture: Any = None
    """Measured mixtures for validation."""


def remember_images(run: Path, given: GivenImages | None) -> None:
    """Note down the images of a training, if all of them are paths.

    Parameters
    ----------
    run : pathlib.Path
        Run folder.
    given : GivenImages or None
        Arguments of the training; arrays cannot be noted down. None where other readers than
        our own read them.
    """
    known = {} if given is None else given._asdict()
    plain = {name: _paths(source) for name, source in known.items() if source is not None}
    if any(source is None for source in plain.values()):
        plain = {}
    target = Path(run) / IMAGES
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, {"format_version": _FORMAT_VERSION, "images": plain})


def remembered_images(run: Path) -> GivenImages | None:
    """Return the images that a run was trained on, None where they were not noted down.

    Raises
    ------
    DataError
        If one of them is no longer there; the message names it.
    CheckpointError
        If the note cannot be read.
    """
    path = Path(run) / IMAGES
    if not path.is_file():
        return None
    noted = read_json(path, error=CheckpointError)
    images = noted.get("images") if isinstance(noted, dict) else None
    known = isinstance(images, dict) and set(images) <= set(GivenImages._fields)
    if not known or noted.get("format_version") != _FORMAT_VERSION:
        raise CheckpointError(f"{path} is not the note that training writes. Delete it.")
    if not images:
        return None
    for each in _leaves(images):
        if not _is_there(each):
            raise DataError(
                f"{run} was trained on {each}, which is no longer there. Give the images again: "
                "--channel NAME=PATH... and --val NAME=PATH... (in Python `channels=` and "
                "`val_channels=`), or --mixture and --val-mixture."
            )
    return GivenImages(**images)


def _paths(source: Any) -> Any:
    """Return the same structure with absolute paths as text; None where something is no path."""
    if isinstance(source, str | Path):
        return str(Path(source).absolute())
    if isinstance(source, Mapping):
        inner = {str(name): _paths(each) for name, each in source.items()}
        return None if None in inner.values() else inner
    if isinstance(source, list | tuple):
        parts = [_paths(each) for each in source]
        return None if None in parts else parts
    return None


def _is_there(source: str) -> bool:
    """Say whether a path exists, a pattern finds images, or the file of a CZI scene exists."""
    if Path(source).exists():
        return True
    try:
        found = expand(source)
    except DataError:
        return False
    # A scene, `file.czi@0`, is not looked for before it is read.
    return all(each.exists() or Path(str(each).rpartition("@")[0]).exists() for each in found)


def _leaves(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [str(value)]
