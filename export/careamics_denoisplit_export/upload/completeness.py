"""How much of what the zoo counts a description gives: a quarter of the score that it shows."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

ALLOWED = (
    "authors",
    "cite",
    "covers",
    "git_repo",
    "icon",
    "id_emoji",
    "license",
    "links",
    "maintainers",
    "packaged_by",
    "parent",
    "tags",
    "timestamp",
    "training_data",
    "version",
    "version_comment",
    "weights.pytorch_state_dict.authors",
    "weights.pytorch_state_dict.comment",
    "weights.torchscript.authors",
    "weights.torchscript.comment",
)
"""Keys that count and that every consumer of the package reads; the others break a rule."""


IN_RECIPES = {"icon": "emoji", "id_emoji": "emoji", "training_data": "dataset_id"}
"""Fields of recipes that are called otherwise than the keys of the format."""


class Completeness(NamedTuple):
    """Count of the keys of a description, as the zoo counts them."""

    share: float
    """Keys that are given, of all that the format knows; 0 where the format is not valid."""
    missing: tuple[str, ...]
    """Keys that could be given without breaking a rule."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of a recipe that give them."""
        return tuple(dict.fromkeys(IN_RECIPES.get(key, key) for key in self.missing))

    @property
    def words(self) -> str:
        """Both in one line."""
        applicable = ", ".join(self.fields)
        more = f"; where it applies, a recipe could give: {applicable}" if applicable else ""
        return f"metadata: {self.share:.0%} of the keys that the zoo counts{more}"


def metadata_completeness(rdf: Mapping[str, Any]) -> Completeness:
    """Count the keys of a description with bioimageio.spec, whose number the zoo takes.

    Parameters
    ----------
    rdf : mapping
        Content of rdf.yaml.
    """
    from bioimageio.spec import ValidationContext, build_description

    # The files are those of a package that was checked; here only keys count.
    description = build_description(dict(rdf), context=ValidationContext(perform_io_checks=False))
    share = description.validation_summary.metadata_completeness
    given = set(_keys(rdf))
    missing = tuple(
        key
        for key in ALLOWED
        if key not in given and ("." not in key or key.rpartition(".")[0] in given)
    )
    return Completeness(float(share), missing)


def _keys(node: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{key}.")
