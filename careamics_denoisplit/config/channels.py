"""Names of channels: what people type, and the identifiers that packages need."""

import unicodedata
from collections.abc import Sequence

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files.names import MAX_NAME_LENGTH, safe_name

RESERVED_OUTPUTS = ("consistency", "input_range")
"""Names of outputs of a package that are not channels."""

DERIVED_SUFFIXES = ("_std", "_spread")
"""Endings of the outputs that accompany each channel."""


def channel_identifier(label: object) -> str:
    """Turn the label of a channel into an identifier for packages and file names.

    Accents are removed, Greek letters spelled out, everything else that is not a letter or
    a digit becomes an underscore; a leading digit is preceded by ``ch_``.

    Parameters
    ----------
    label : str
        What the user calls the channel.

    Returns
    -------
    str
        An ASCII identifier of at most 64 characters, equal on every operating system.

    Raises
    ------
    ConfigurationError
        If the label is not text, if nothing is left of it, or if it is a word that Python or
        Windows reserves.

    Examples
    --------
    >>> channel_identifier("F-actin")
    'F_actin'
    >>> channel_identifier("488 nm")
    'ch_488_nm'
    """
    if not isinstance(label, str):
        raise ConfigurationError(
            f"A channel name must be text, got {label!r} ({type(label).__name__}). "
            "In YAML put it in quotes."
        )
    if any(unicodedata.category(letter) == "Cc" for letter in label):
        raise ConfigurationError(
            f"The channel name {label!r} contains control characters. Remove them."
        )
    if len(label) > MAX_NAME_LENGTH:
        raise ConfigurationError(
            f"The channel name {label[:20]!r}... has {len(label)} characters; at most "
            f"{MAX_NAME_LENGTH} fit into file names. Shorten it."
        )
    name = safe_name(label)
    if name.casefold().removesuffix("_x") == label.casefold() != name.casefold():
        raise ConfigurationError(
            f"The channel name {label!r} is reserved, by Windows for a device or by Python as a "
            f"word. Call it for example '{label}_channel'."
        )
    return name


def check_channel_names(names: Sequence[str]) -> None:
    """Refuse names that collide with each other or with outputs derived from them.

    Parameters
    ----------
    names : sequence of str
        Identifiers of all channels, in order.

    Raises
    ------
    ConfigurationError
        If there is no name, if two are equal (also if only capitals differ), or if one equals
        ``<other>_std``, ``<other>_spread``, ``consistency`` or ``input_range``.
    """
    if not names:
        raise ConfigurationError("No channel names were given. Name every channel.")
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(name.casefold(), name)
        if twin is not name or list(names).count(name) > 1:
            raise ConfigurationError(
                f"The channel names {twin!r} and {name!r} are equal, or differ in capitals only, "
                "and would share a file. Give each channel its own name."
            )
    for reserved in RESERVED_OUTPUTS:
        if reserved in seen:
            raise ConfigurationError(
                f"The channel name {seen[reserved]!r} is the name of an output of packages. "
                "Choose another name."
            )
    for folded, name in seen.items():
        for suffix in DERIVED_SUFFIXES:
            taken = seen.get(folded + suffix)
            if taken is not None:
                raise ConfigurationError(
                    f"The channel name {taken!r} is also the name of an output of channel "
                    f"{name!r}. Choose another name."
                )
