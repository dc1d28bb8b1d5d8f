"""Options that several commands share, and the `NAME=PATH` syntax of channels."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.files import did_you_mean

WILDCARDS = frozenset("*?[")

NamedPaths = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]
"""One option with any number of `NAME=PATH` or `PATH`, which may itself be repeated."""

SomePaths = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]
"""One option with any number of paths, which may itself be repeated."""

Flag = Annotated[bool, Parameter(negative="")]
"""A switch without its opposite."""


@Parameter(name="*")
@dataclass(frozen=True)
class CommonOptions:
    """Options of every command that works for a while."""

    seed: int | None = None
    """Seed of everything that is drawn; without it the seed of the configuration, or 0."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:N or mps."""
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """Write the result as JSON to this file; `-` is standard output."""
    quiet: Flag = False
    """Say nothing but warnings and errors."""
    overwrite: Flag = False
    """Replace outputs that are already there."""
    debug: Flag = False
    """Show the traceback of an error."""


DEFAULTS = CommonOptions()


def named_paths(
    tokens: Sequence[str] | None, option: str, known: Sequence[str] | None = None
) -> dict[str, list[Path]]:
    """Sort `NAME=PATH` and `PATH` words by channel.

    A word begins a channel where the text before its first `=` is a known name; any other word
    is a further path of the channel begun last. Without known names every word with a `=`
    that is not itself a file begins a channel. Words with wildcards that are no files are
    expanded.

    Parameters
    ----------
    tokens : sequence of str, optional
        Words as typed, of all repetitions of the option.
    option : str
        Name of the option, for messages.
    known : sequence of str, optional
        Channels of the configuration.

    Returns
    -------
    dict of str to list of pathlib.Path
        Paths per channel, in the order of the configuration, else as typed.

    Raises
    ------
    ConfigurationError
        If a path has no channel, or a channel is not one of the configuration.
    DataError
        If a file does not exist.
    """
    found: dict[str, list[Path]] = {}
    current: str | None = None
    for token in tokens or ():
        name, path = _begin(token, option, known)
        if name is not None:
            current = name
            found.setdefault(name, [])
        if current is None:
            raise ConfigurationError(
                f"{option} must begin with the name of a channel, got {token!r}. "
                f"Write {option} {known[0] if known else 'NAME'}={token}."
            )
        found[current] += existing_paths([path], f"{option} {current}=")
    if known is None:
        return found
    return {name: found[name] for name in known if name in found}


def existing_paths(tokens: Sequence[str], option: str) -> list[Path]:
    """Turn words into paths that exist; wildcards that the shell left are expanded.

    Raises
    ------
    DataError
        If nothing is there.
    """
    paths: list[Path] = []
    for token in tokens:
        path = Path(token).expanduser()
        if path.exists():
            paths.append(path)
            continue
        matches = _expand(path) if WILDCARDS & set(token) else []
        if not matches:
            raise DataError(f"{option}: there is no file or folder {token!r}.{_nearest_file(path)}")
        paths += matches
    return paths


def require_all(
    found: Mapping[str, Sequence[Path]], known: Sequence[str], option: str
) -> dict[str, list[Path]]:
    """Refuse an option that leaves out a channel of the configuration.

    Raises
    ------
    ConfigurationError
        If a channel has no path.
    """
    missing = [name for name in known if name not in found]
    if missing:
        raise ConfigurationError(
            f"{option} names {', '.join(found) or 'no channel'}, but the configuration has "
            f"{', '.join(known)}. Add {' '.join(f'{option} {name}=PATH' for name in missing)}."
        )
    return {name: list(found[name]) for name in known}


def _begin(token: str, option: str, known: Sequence[str] | None) -> tuple[str | None, str]:
    """Split a word into the channel it begins, if any, and its path."""
    name, equals, path = token.partition("=")
    if not equals:
        return None, token
    if known is None:
        is_name = bool(name) and "/" not in name and "\\" not in name and not Path(token).exists()
        return (name, path) if is_name else (None, token)
    by_folded = {label.casefold(): label for label in known}
    if name in known:
        return name, path
    if Path(token).exists() or not name.replace("-", "_").isidentifier():
        return None, token
    near = difflib.get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=0.5)
    hint = f"Did you mean {by_folded[near[0]]}=?" if near else f"Channels: {', '.join(known)}."
    raise ConfigurationError(f"{option}: {name!r} is not a channel of the configuration. {hint}")


def _expand(pattern: Path) -> list[Path]:
    """Files that match a pattern, sorted by name."""
    anchor = Path(pattern.anchor) if pattern.anchor else Path()
    relative = pattern.relative_to(anchor) if pattern.anchor else pattern
    return sorted(anchor.glob(str(relative)))


def _nearest_file(path: Path) -> str:
    """Name a file that was probably meant."""
    if near := did_you_mean(path):
        return near
    if not path.parent.is_dir():
        return f" The folder {str(path.parent)!r} does not exist either."
    return " Check the path."
