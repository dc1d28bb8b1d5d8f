"""Rules 1 to 9: what rdf.yaml says about the package as a whole."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from careamics_denoisplit_export.rdf import FORMAT_VERSION, RDF_FILE, leaves
from careamics_denoisplit_export.rules.findings import NotRunError, require
from careamics_denoisplit_export.rules.registry import rule
from careamics_denoisplit_export.rules.subject import Subject

_NAME = re.compile(r"[A-Za-z0-9_+\- ()]{5,128}")
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_NEWER_KEYS = frozenset({"strict", "pad", "output_of"})
_OPERATIONS = frozenset(
    {"ensure_dtype", "binarize", "clip", "sigmoid", "softmax"}
    | {"scale_linear", "scale_mean_variance", "scale_range"}
    | {"fixed_zero_mean_unit_variance", "zero_mean_unit_variance"}
)
_FREE = frozenset({"config", "kwargs"})
"""Mappings whose keys the format leaves to authors."""
_LARGEST_INTEGER = 2**31 - 1
_TEXTS = ("name", "description", "license", "documentation")
_PERSON = ("name", "affiliation", "orcid", "github_user", "email")


@rule(1, "rdf.yaml is written at format 0.5.9")
def format_is_read_everywhere(subject: Subject) -> str:
    """Newer forms break QuPath, ilastik and BioEngine; 0.5.0 breaks QuPath."""
    found = subject.content.get("format_version")
    require(
        found == FORMAT_VERSION,
        f"format_version is {found!r}; older readers refuse it. Write {FORMAT_VERSION!r}, and do "
        "not pass the package through `bioimageio package` or `update-format`.",
    )
    return f"format_version is {FORMAT_VERSION}."


@rule(2, "documentation, covers, icon and license are plain strings")
def documents_are_strings(subject: Subject) -> str:
    """QuPath, Fiji's parser and older validators refuse {source, sha256} there."""
    content = subject.content
    places = {key: content[key] for key in ("documentation", "license", "icon") if key in content}
    places |= {f"covers[{i}]": cover for i, cover in enumerate(content.get("covers", []))}
    for i, person in enumerate([*content["authors"], *content.get("maintainers", [])]):
        places |= {f"person {i}, {key}": person[key] for key in _PERSON if key in person}
    wrong = [place for place, value in places.items() if not isinstance(value, str)]
    require(not wrong, f"Not plain text: {', '.join(wrong)}. Write the file's name alone.")
    return f"{len(places)} fields are plain text."


@rule(3, "Nothing in rdf.yaml is newer than 0.5.9")
def nothing_is_newer(subject: Subject) -> str:
    """Newer forms stop ilastik, which reads with bioimageio.spec 0.5.9.1."""
    newer = sorted(_NEWER_KEYS & {key for key, _ in _entries(subject.content, _FREE)})
    require(not newer, f"These keys came after 0.5.9: {', '.join(newer)}. Leave them out.")
    operations = _operations(subject)
    unknown = sorted(operations - _OPERATIONS)
    require(not unknown, f"These operations came after 0.5.9: {', '.join(unknown)}.")
    wild = [
        value
        for key, value in _entries(subject.content)
        if key == "output_ids" and isinstance(value, str) and value.startswith("any_")
    ]
    require(not wild, f"Tolerances for {', '.join(wild)} came after 0.5.9. Declare none.")
    raise NotRunError(
        "Nothing newer was found. Not run: reading with bioimageio.spec 0.5.9.1 and 0.5.14.3, "
        "which need environments of their own."
    )


@rule(4, "The package was not rewritten by bioimageio.spec 0.5.11 or later")
def was_not_rewritten(subject: Subject) -> str:
    """`bioimageio package` of core 0.11.0 turns documents into objects and raises the format."""
    rewritten = subject.content.get("format_version") != FORMAT_VERSION or isinstance(
        subject.content.get("documentation"), dict
    )
    require(
        not rewritten,
        "The yaml in this zip is not the one that was exported. Give away the exported file "
        "itself, never what `bioimageio package`, `update-format` or "
        "`save_bioimageio_package` made of it.",
    )
    return "The yaml in the zip has its exported form."


@rule(5, "Name, description, license, documentation and an author are given")
def texts_are_present(subject: Subject) -> str:
    """QuPath refuses a package in which one is missing."""
    content = subject.content
    empty = [key for key in _TEXTS if not content.get(key)]
    if not any(person.get("name") for person in content.get("authors") or []):
        empty.append("authors")
    require(not empty, f"Missing or empty: {', '.join(empty)}. Fill them in the recipe.")
    name = content["name"]
    require(
        bool(_NAME.fullmatch(name)),
        f"The name {name!r} must have 5 to 128 letters, digits, blanks or `_ + - ( )`.",
    )
    require("stardist" not in name.lower(), "Fiji takes another path for names with `stardist`.")
    return "All required texts are there."


@rule(6, "The zip is flat: rdf.yaml, the only yaml, and all files at the root")
def zip_is_flat(subject: Subject) -> str:
    """Fiji and QuPath look nowhere else; only members of the zip may be named."""
    nested = [name for name in subject.files if "/" in name]
    require(not nested, f"These lie in folders: {', '.join(nested[:5])}. Move them to the root.")
    yamls = [name for name in subject.files if re.fullmatch(r".*\.ya?ml", name, re.IGNORECASE)]
    require(yamls == [RDF_FILE], f"Exactly one yaml is allowed, found {yamls}. Drop the others.")
    outside = sorted({source for source in subject.sources() if source not in subject.files})
    require(
        not outside,
        f"rdf.yaml names files that are not in the zip: {', '.join(outside[:5])}. Pack them; "
        "paths and addresses are not followed.",
    )
    return f"{len(subject.files)} files at the root."


@rule(7, "There is an id, and no config.bioimageio")
def has_an_id(subject: Subject) -> str:
    """Fiji's parser fails without an id where config.bioimageio is empty; the zoo drops it."""
    found = subject.content.get("id")
    require(isinstance(found, str) and bool(found), f"`id` is {found!r}; write a text.")
    require(
        "bioimageio" not in (subject.content.get("config") or {}),
        "`config.bioimageio` is there; the zoo deletes it. Put its facts into README.md.",
    )
    return f"id is {found}."


@rule(8, "There is no config.deepimagej")
def has_no_deepimagej(subject: Subject) -> str:
    """Fiji would switch tiling off."""
    require(
        "deepimagej" not in (subject.content.get("config") or {}),
        "`config.deepimagej` switches tiling off in Fiji. Remove it.",
    )
    return "config.deepimagej is absent."


@rule(9, "No run_mode, no null, no exponent and no number beyond 2^31")
def values_are_read_by_java(subject: Subject) -> str:
    """Java's YAML 1.1 readers turn them into errors, texts or refused types."""
    require("run_mode" not in subject.content, "`run_mode` makes validators warn. Remove it.")
    nulls = [key for key, value in leaves(subject.content) if value is None]
    require(not nulls, f"These are null: {', '.join(nulls)}. Leave the keys out.")
    large = [
        f"{key}: {value}"
        for key, value in leaves(subject.content)
        if isinstance(value, int) and abs(value) > _LARGEST_INTEGER
    ]
    require(not large, f"These exceed 2^31: {', '.join(large)}. Use smaller numbers.")
    plain = _plain_scalars(subject.files[RDF_FILE].decode())
    exponents = [text for text in plain if _EXPONENT.fullmatch(text)]
    require(
        not exponents, f"Numbers with exponents: {', '.join(exponents)}. Write them in decimals."
    )
    return "All values are read alike."


def _entries(node: Any, closed: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, also where that is a container; not from below `closed`."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield name, value
            if name not in closed:
                yield from _entries(value, closed)
    elif isinstance(node, list):
        for value in node:
            yield from _entries(value, closed)


def _operations(subject: Subject) -> set[str]:
    tensors = [*subject.content["inputs"], *subject.content["outputs"]]
    return {
        operation["id"]
        for tensor in tensors
        for key in ("preprocessing", "postprocessing")
        for operation in tensor.get(key, [])
    }


def _plain_scalars(text: str) -> list[str]:
    """Return the scalars without quotes, whose type each reader guesses."""
    return [
        token.value
        for token in yaml.scan(text, Loader=yaml.SafeLoader)
        if isinstance(token, yaml.ScalarToken) and token.plain
    ]
