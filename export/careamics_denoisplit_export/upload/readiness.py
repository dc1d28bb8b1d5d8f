"""What a package still lacks before reviewers of the zoo should look at it."""

import re
from collections.abc import Mapping
from typing import Any

from careamics_denoisplit.errors import PackageError
from careamics_denoisplit_export.rdf import leaves
from careamics_denoisplit_export.recipe import PLACEHOLDER_AUTHOR
from careamics_denoisplit_export.recipe_template import SAMPLES, VALIDATION_SAMPLES
from careamics_denoisplit_export.upload.contents import Contents

_PLACEHOLDERS = frozenset(
    {PLACEHOLDER_AUTHOR.casefold(), "author", "name", "your name", "firstname lastname", "unknown"}
    | {"anonymous", "nobody", "jane doe", "john doe", "todo", "username", "your-github-name"}
    | {"github-user", "your-github-user", "maintainer", "unnamed maintainer"}
)
_HEADING = re.compile(r"^(#{1,6})\s+(.*)$", re.MULTILINE)
_CODE = re.compile(r"```.*?```", re.DOTALL)
_NO_VALIDATION = re.compile(r"(?i)states no validation|not (been )?validated|no validation")


def require_ready_for_review(contents: Contents) -> None:
    """Refuse to ask for review where a reviewer would only send it back.

    Parameters
    ----------
    contents : Contents
        The package.

    Raises
    ------
    PackageError
        If something is missing; the message names all of it.
    """
    obstacles = obstacles_to_review(contents)
    if obstacles:
        raise PackageError(
            f"{contents.path} is not ready for review: {'; '.join(obstacles)}. Nothing was sent. "
            "Put it right in the recipe and export again, or leave out --submit for a draft."
        )


def obstacles_to_review(contents: Contents) -> tuple[str, ...]:
    """Say what keeps a package from being offered to reviewers.

    Parameters
    ----------
    contents : Contents
        The package.

    Returns
    -------
    tuple of str
        One clause for each obstacle; empty where there is none.
    """
    rdf = contents.rdf
    found = []
    if _is_demonstration(contents):
        found.append("it calls itself a demonstration")
    for key, field in (("authors", "name"), ("maintainers", "github_user")):
        people = _people(rdf, key)
        if not people:
            found.append(f"it names no {key}")
        elif any(_is_placeholder(person.get(field)) for person in people):
            found.append(f"its {key} are placeholders")
    if not _states_validation(contents.readme):
        found.append(
            "its model card states no validation on images beside those of the training "
            "(`validation` or `external_validation` of the recipe)"
        )
    elif any(sample in " ".join(contents.readme.split()) for sample in VALIDATION_SAMPLES):
        found.append("its validation is the sample of the recipe template")
    for _, value in leaves(rdf):
        if isinstance(value, str) and value in SAMPLES:
            found.append(f"its `{SAMPLES[value]}` is the sample of the recipe template")
    return tuple(dict.fromkeys(found))


def _is_demonstration(contents: Contents) -> bool:
    rdf = contents.rdf
    own = rdf.get("config", {}) if isinstance(rdf.get("config"), Mapping) else {}
    facts = own.get("careamics_denoisplit")
    status = facts.get("status") if isinstance(facts, Mapping) else None
    first_lines = "\n".join(contents.readme.splitlines()[:5])
    told = f"{rdf.get('name')}\n{rdf.get('description')}\n{first_lines}"
    return status == "demonstration" or "demonstration" in told.casefold()


def _people(rdf: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    people = rdf.get(key)
    return [person for person in people or () if isinstance(person, Mapping)]


def _is_placeholder(name: Any) -> bool:
    return not isinstance(name, str) or name.strip().casefold() in _PLACEHOLDERS | {""}


def _states_validation(card: str) -> bool:
    """Whether a chapter about validation says something of its own."""
    text = _CODE.sub("", card)
    headings = list(_HEADING.finditer(text))
    for heading in headings:
        if "validation" not in heading[2].casefold():
            continue
        deeper = len(heading[1])
        ends = (
            other.start()
            for other in headings
            if other.start() > heading.start() and len(other[1]) <= deeper
        )
        chapter = text[heading.end() : next(ends, len(text))]
        if re.search(r"\w", chapter) and not _NO_VALIDATION.search(chapter):
            return True
    return False
