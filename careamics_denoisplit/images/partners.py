"""Images that are paired by their order although their names say otherwise."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

from careamics_denoisplit.images.output_names import strip_suffix

_TOKEN = re.compile(r"[0-9]+|[^\W\d_]+")
_KINDS = ("noisy", "clean", "truth", "mixture", "low", "high", "train", "val", "validation")
"""Words that say what an image is, not which."""
_Key = tuple[str, ...]


class Misplaced(NamedTuple):
    """An image whose namesake stands at another place of the other list."""

    name: str
    """The image."""
    partner: str
    """The image at its place of the other list, or an empty text where that list ends."""
    namesake: str
    """The image of the other list that bears its name."""

    def words(self) -> str:
        """Say it in a sentence without a full stop."""
        found = f"is paired with {self.partner}" if self.partner else "has no partner at its place"
        return f"{self.name} {found}, although {self.namesake} bears its name"


def find_misplaced(
    first: Sequence[str], second: Sequence[str], ignored: Sequence[str] = ()
) -> Misplaced | None:
    """Find the first image whose namesake is not at the same place of the other list.

    Names are compared by their numbers and words. What all names of a list have in common, endings
    of files, words such as "noisy" and the ignored ones do not count, so that `er_field_07.tif`
    and `field 7 actin.tif` are namesakes. Lists without common names are not judged.

    Parameters
    ----------
    first, second : sequence of str
        Paths of images that are used as pairs, by their order.
    ignored : sequence of str
        Words that say what an image is, not which: names of channels.

    Returns
    -------
    Misplaced or None
        None where the names do not contradict the order.
    """
    keys = _keys(first, ignored)
    others = _keys(second, ignored)
    places = {key: place for place, key in enumerate(others) if others.count(key) == 1}
    for place, key in enumerate(keys):
        namesake = places.get(key, place)
        if key and keys.count(key) == 1 and namesake != place:
            partner = second[place] if place < len(second) else ""
            return Misplaced(first[place], partner, second[namesake])
    return None


def _keys(names: Sequence[str], ignored: Sequence[str]) -> list[_Key]:
    words = {token for word in (*_KINDS, *ignored) for token in _tokens(word)}
    tokens = [_tokens(strip_suffix(PurePath(name).name)) for name in names]
    if len(names) > 1:
        counts = Counter(token for found in tokens for token in set(found))
        words |= {token for token, count in counts.items() if count == len(names)}
    return [tuple(token for token in found if token not in words) for found in tokens]


def _tokens(name: str) -> list[str]:
    """Words in small letters and numbers without leading zeros."""
    found = _TOKEN.findall(name.casefold())
    return [token.lstrip("0") or "0" if token[0] in "0123456789" else token for token in found]
