"""The package's `rdf.yaml`, written by ourselves at the one format that every tool reads.

Numbers in the names of functions below are those of the rules in `rules`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.tile_plans import package_halo
from careamics_denoisplit_export.architecture import CALLABLE
from careamics_denoisplit_export.recipe import Recipe
from careamics_denoisplit_export.weights import STATE_DICT_FILE, TORCHSCRIPT_FILE

FORMAT_VERSION = "0.5.9"
"""Newest format that Fiji, QuPath, ilastik, the zoo and its test service all accept."""

TILE = 512
"""Side of the fixed tile in pixels: the one size that all tools feed alike."""

DECLARED_TORCH = "2.7.1"
"""Release that the package asks for: archives load in it, and conda-forge has it."""

INPUT_ID = "raw"
OUTPUT_ID = "split"
INPUT_CHANNEL = "mixture"
RDF_FILE = "rdf.yaml"
README_FILE = "README.md"
COVER_FILE = "cover.png"
ARCHITECTURE_FILE = "architecture.py"
TEST_INPUT_FILE = "test_input.npy"
TEST_OUTPUT_FILE = "test_output.npy"

_TAGS = (
    "2d",
    "fluorescence-light-microscopy",
    "denoising",
    "image-restoration",
    "channel-unmixing",
    "uncertainty",
    "variational-autoencoder",
    "pytorch",
    "fiji",
    "imagej",
    "deepimagej",
    "ilastik",
    "qupath",
)
_LINKS = ("deepimagej/deepimagej", "ilastik/ilastik")


@dataclass(frozen=True)
class Description:
    """What `rdf.yaml` says, apart from the recipe.

    Attributes
    ----------
    output_channels : tuple of str
        Names of the channels of the output.
    settings : mapping
        Keyword arguments of the callable in architecture.py, plain JSON types.
    size_multiple : int
        Stride of the network in pixels.
    sha256 : mapping of str to str
        Hash of every file of the package but rdf.yaml.
    attachments : tuple of str
        Files beside those that have a field of their own.
    facts : mapping
        What readers of our own may want to know, under `config.careamics_denoisplit`.
    """

    output_channels: tuple[str, ...]
    settings: Mapping[str, Any]
    size_multiple: int
    sha256: Mapping[str, str]
    attachments: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def describe(recipe: Recipe, description: Description) -> dict[str, Any]:
    """Build the content of `rdf.yaml`.

    Parameters
    ----------
    recipe : Recipe
        Facts that a person wrote.
    description : Description
        Everything else.

    Returns
    -------
    dict
        Plain JSON types in the order of writing; no None anywhere.
    """
    file = _Files(description.sha256)
    content = {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "id": recipe.identifier,
        "name": recipe.title,
        "description": recipe.summary,
        "version": recipe.version,
        "version_comment": recipe.version_comment,
        "timestamp": recipe.timestamp,
        "id_emoji": recipe.emoji,
        "icon": recipe.emoji,
        "authors": [_facts(person) for person in recipe.authors],
        "maintainers": [_facts(person) for person in recipe.maintainers],
        "packaged_by": [_facts(person) for person in recipe.packaged_by],
        "license": recipe.license,
        "cite": [_facts(citation) for citation in recipe.cite],
        "git_repo": recipe.git_repo,
        "parent": None if recipe.parent is None else {"id": recipe.parent},
        "training_data": None if recipe.dataset_id is None else {"id": recipe.dataset_id},
        "tags": [*_TAGS, *(tag for tag in recipe.tags if tag not in _TAGS)],
        "links": list(_LINKS),
        "documentation": README_FILE,
        "covers": [COVER_FILE],
        "attachments": [file(name) for name in description.attachments],
        "inputs": [_input(file)],
        "outputs": [_output(file, description)],
        "weights": _weights(file, description.settings, recipe),
        "config": {"careamics_denoisplit": dict(description.facts)},
    }
    return {key: value for key, value in content.items() if value not in (None, [])}


def require_valid(content: Mapping[str, Any]) -> None:
    """Refuse facts that the format of packages does not know.

    Parameters
    ----------
    content : mapping
        What `describe` returned.

    Raises
    ------
    ConfigurationError
        If bioimageio.spec calls it invalid; the message holds its reasons.
    """
    from bioimageio.spec import InvalidDescr, ValidationContext, build_description

    # The files are not written yet; here only what is said of them counts.
    made = build_description(dict(content), context=ValidationContext(perform_io_checks=False))
    if isinstance(made, InvalidDescr):
        reasons = [
            f"`{'.'.join(map(str, error.loc))}`: {error.msg}"
            for detail in made.validation_summary.details
            for error in detail.errors
        ]
        raise ConfigurationError(
            f"This would be no valid package: {'; '.join(reasons[:5])}. Correct the recipe."
        )


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value that is no container, with the nearest key above it.

    Parameters
    ----------
    node : object
        Content of `rdf.yaml`, or a part of it.
    key : str
        The key above it.
    """
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from leaves(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from leaves(value, key)
    else:
        yield key, node


def halo_of(size_multiple: int) -> int:
    """Choose the halo: at least 32 px, twice it a multiple of the network's stride.

    Parameters
    ----------
    size_multiple : int
        Stride of the network in pixels.

    Raises
    ------
    ConfigurationError
        If the stride does not divide the tile, or leaves nothing of it.
    """
    halo = package_halo(size_multiple)
    if TILE % size_multiple or 2 * halo >= TILE:
        raise ConfigurationError(
            f"The network halves images down to one pixel in {size_multiple}, which does not fit "
            f"into tiles of {TILE} px. Packages need a network of fewer levels."
        )
    return halo


def to_yaml(content: Mapping[str, Any]) -> bytes:
    """Write plain data so that YAML 1.1 and 1.2 read the same: all text in quotes.

    Parameters
    ----------
    content : mapping
        Dicts, lists, text, integers, floats, booleans.
    """
    text = yaml.dump(
        dict(content),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=False,
        width=2**20,
        default_flow_style=False,
    )
    return text.encode("ascii")


@dataclass(frozen=True)
class _Files:
    """Makes `{source, sha256}` of a file's name."""

    sha256: Mapping[str, str]

    def __call__(self, name: str) -> dict[str, str]:
        return {"source": name, "sha256": self.sha256[name]}


def _input(file: _Files) -> dict[str, Any]:
    return {
        "id": INPUT_ID,
        "description": "Superimposed structures, raw gray values; README.md says how recorded.",
        "axes": _axes((INPUT_CHANNEL,), {"size": TILE}, {"size": TILE}),
        "data": {"type": "float32"},
        "preprocessing": [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}],
        "test_tensor": file(TEST_INPUT_FILE),
    }


def _output(file: _Files, description: Description) -> dict[str, Any]:
    y, x = (
        {
            "size": {"tensor_id": INPUT_ID, "axis_id": axis, "offset": 0},
            "halo": halo_of(description.size_multiple),
        }
        for axis in "yx"
    )
    return {
        "id": OUTPUT_ID,
        "description": "Denoised channels and their uncertainty, in gray values; then warnings.",
        "axes": _axes(description.output_channels, y, x),
        "data": {"type": "float32"},
        "test_tensor": file(TEST_OUTPUT_FILE),
    }


def _axes(
    channels: Sequence[str], y: Mapping[str, Any], x: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return [
        {"type": "batch", "id": "batch", "size": 1},
        {"type": "channel", "id": "channel", "channel_names": list(channels)},
        {"type": "space", "id": "y", **y},
        {"type": "space", "id": "x", **x},
    ]


def _weights(file: _Files, settings: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    authors = [_facts(person) for person in recipe.authors]
    return {
        "pytorch_state_dict": {
            **file(STATE_DICT_FILE),
            "authors": authors,
            "comment": "The whole graph from gray values to gray values, as it was trained.",
            "pytorch_version": DECLARED_TORCH,
            "architecture": {
                **file(ARCHITECTURE_FILE),
                "callable": CALLABLE,
                "kwargs": dict(settings),
            },
        },
        "torchscript": {
            **file(TORCHSCRIPT_FILE),
            "authors": [_facts(person) for person in recipe.packaged_by] or authors,
            "comment": "Traced from the state dict for tiles of one size; others run as well.",
            "pytorch_version": DECLARED_TORCH,
            "parent": "pytorch_state_dict",
        },
    }


def _facts(model: Any) -> dict[str, Any]:
    facts: dict[str, Any] = model.model_dump(mode="json", exclude_none=True)
    return facts


class _Dumper(yaml.SafeDumper):
    """Quotes text, never refers back, writes floats without an exponent."""

    def ignore_aliases(self, data: Any) -> bool:
        """Repeat what occurs twice instead of referring to it."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_key_like = text.isidentifier() and text.islower()
    # Keys stay plain for readers; no key of ours is a word that YAML 1.1 takes for a boolean.
    style = None if is_key_like and text not in _BOOLEAN_WORDS else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    plain = np.format_float_positional(value, trim="0")
    return dumper.represent_scalar("tag:yaml.org,2002:float", plain)


_BOOLEAN_WORDS = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}
)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)
