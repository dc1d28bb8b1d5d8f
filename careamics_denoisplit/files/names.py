"""Names that are safe as identifiers and as parts of file names on every system."""

import hashlib
import keyword
import re
import unicodedata
from collections.abc import Sequence

from careamics_denoisplit.errors import ConfigurationError

MAX_NAME_LENGTH = 64
MAX_STEM_BYTES = 180

_LETTER = re.compile(r"(LATIN|GREEK) (SMALL|CAPITAL) LETTER (FINAL )?([A-Z]+)( WITH .*)?")
_SPELLED = {"\N{MICRO SIGN}": "mu", "\N{LATIN SMALL LETTER SHARP S}": "ss"}
_UNSAFE = frozenset('<>:"/\\|?*')
_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{device}{number}" for device in ("com", "lpt") for number in range(10)
}


def safe_name(label: str) -> str:
    """Turn a label into a name of ASCII letters, digits and `_`.

    Accents are dropped, Greek letters spelled out, everything else becomes `_`. The result is
    a Python identifier and no device name of Windows, and a fixed point of this function.

    Parameters
    ----------
    label : str
        Any text, such as "F-actin" or "Ångström (488 nm)".

    Returns
    -------
    str
        Such as "F_actin" or "Angstrom_488_nm"; at most 64 characters.

    Raises
    ------
    ConfigurationError
        If no letter or digit is left.

    Examples
    --------
    >>> safe_name("F-actin")
    'F_actin'
    >>> safe_name("488 nm")
    'ch_488_nm'
    """
    spelled = "".join(_spell(letter) for letter in unicodedata.normalize("NFKC", label))
    slug = re.sub(r"[^A-Za-z0-9]+", "_", spelled).strip("_")
    if not slug:
        raise ConfigurationError(
            f"The name {label!r} has no letter or digit that is safe in a file name. "
            "Use letters A-Z, digits and `_`."
        )
    if slug[0].isdigit():
        slug = f"ch_{slug}"
    slug = slug[:MAX_NAME_LENGTH].rstrip("_")
    if slug.casefold() in _DEVICES or keyword.iskeyword(slug):
        slug = f"{slug}_x"
    return slug


def safe_stem(name: str) -> str:
    """Make a name usable in file names of Linux, macOS and Windows, changing as little as needed.

    Spaces inside, dots inside and letters of all scripts stay. Composed letters are used (NFC).

    Parameters
    ----------
    name : str
        Name of an input without its suffix.

    Returns
    -------
    str
        At most 180 bytes in UTF-8, so that there is room for endings; longer names are cut and
        made unique by a hash.
    """
    composed = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8"))
    stem = "".join("_" if _is_unsafe(letter) else letter for letter in composed)
    stem = stem.strip(" ").rstrip(". ") or "image"
    if stem.startswith("."):
        stem = f"_{stem[1:]}"
    if stem.partition(".")[0].rstrip(" ").casefold() in _DEVICES:
        stem = f"_{stem}"
    encoded = stem.encode("utf-8")
    if len(encoded) > MAX_STEM_BYTES:
        digest = hashlib.sha256(encoded).hexdigest()[:8]
        kept = encoded[: MAX_STEM_BYTES - 9].decode("utf-8", "ignore").rstrip(". ")
        stem = unicodedata.normalize("NFC", f"{kept}_{digest}")
    return stem


def safe_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Turn labels into safe names that stay different on every file system.

    Parameters
    ----------
    labels : sequence of str
        Labels, one per channel or file.

    Returns
    -------
    tuple of str
        One name per label, in the same order.

    Raises
    ------
    ConfigurationError
        If two labels give names that differ in nothing but upper and lower case.
    """
    names = tuple(safe_name(label) for label in labels)
    first: dict[str, str] = {}
    for label, name in zip(labels, names, strict=True):
        twin = first.setdefault(name.casefold(), label)
        if twin is not label:
            raise ConfigurationError(
                f"The names {twin!r} and {label!r} both become {name!r} in file names. Rename one."
            )
    return names


def _is_unsafe(letter: str) -> bool:
    return letter in _UNSAFE or unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _spell(letter: str) -> str:
    if letter.isascii():
        return letter
    if letter in _SPELLED:
        return _SPELLED[letter]
    base = unicodedata.normalize("NFKD", letter)[0]
    if base.isascii():
        return base if base.isalnum() else "_"
    match = _LETTER.fullmatch(unicodedata.name(base, ""))
    if match is None:
        return "_"
    return match[4].capitalize() if match[2] == "CAPITAL" else match[4].lower()
