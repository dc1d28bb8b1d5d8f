"""A recipe to fill in: every field with its meaning, and what the run knows already."""

import json
import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit_export.recipe import (
    DENOISPLIT,
    PLACEHOLDER_AUTHOR,
    Recipe,
    default_recipe,
)

_EXAMPLES: dict[str, Any] = {
    "affiliation": "Institute, City",
    "orcid": "0000-0002-1825-0097",
    "github_user": "name",
    "id": "er-nuclei",
    "tags": ["endoplasmic-reticulum", "nuclei"],
    "git_repo": "https://github.com/name/repository",
    "training_data": "30 fields of 3 wells, imaged one after the other on one day; DOI",
    "validation": "PSNR per channel on 5 fields of another day, beside the mixture itself",
    "version_comment": "Trained on twice as many fields",
    "timestamp": "2026-11-22T12:00:00Z",
    "emoji": "\N{DNA DOUBLE HELIX}",
    "parent": "affable-otter",
    "dataset_id": "humorous-owl",
    "independence": "Other dishes of the same day in training, validation and test",
    "external_validation": "2 dB less on 4 fields of another laboratory",
    "uses": "Showing both structures in live cells that carry one label",
    "specimen": "HeLa cells, ER-GFP and Hoechst",
    "limits": "Not for cells in mitosis, of which there were none",
    "modality": "spinning disk confocal",
    "objective": "60x, NA 1.4, oil",
    "pixel_size": 0.108,
    "acquisition": "Exposure 50 ms, 488 and 561 nm together, one camera",
    "camera_offset": 100.0,
    "gain": "0.46 electrons per gray value",
    "bit_depth": 16,
    "test_image": "mixture.tif",
}
_SAMPLE_PERSON = "Full name"

VALIDATION_SAMPLES = (_EXAMPLES["validation"], _EXAMPLES["external_validation"])
"""What a template shows in place of a validation; a card must say something of its own."""

SAMPLES: Mapping[str, str] = MappingProxyType(
    {
        _SAMPLE_PERSON: "packaged_by",
        **{_EXAMPLES[name]: name for name in ("orcid", "git_repo", "parent", "dataset_id")},
    }
)
"""What a template shows in place of facts that name somebody or something, by field."""

_COMMENTED = {
    "packaged_by": f'# packaged_by:\n#   - name: "{_SAMPLE_PERSON}"\n',
    "dataset": """\
# dataset:
#   name: "ER and nuclei of HeLa cells"
#   description: "30 fields of 3 wells, each structure recorded alone"
#   authors:
#     - name: "Full name"
#   license: "CC-BY-4.0"
#   cite:
#     - text: "Authors, title, repository, year"
#       doi: "10.5281/zenodo.1"
""",
}
_HEAD = """\
# Recipe of a package: what no file of the training knows. Fill in what you can, and delete `# ` in
# front of every line that you fill in. Then:
#   denoisplit export RUN --recipe {name} --out package.zip
"""


def recipe_template(trained: TrainedModel, name: str = "recipe.yaml") -> str:
    """Write a commented recipe; fields that nobody knows yet are comments.

    Parameters
    ----------
    trained : TrainedModel
        The model whose facts are filled in.
    name : str
        How the file will be called.

    Returns
    -------
    str
        YAML that `load_recipe` reads as it is.
    """
    known = known_facts(trained)
    parts = [_HEAD.format(name=name)]
    for field, info in Recipe.model_fields.items():
        parts.append(_comment(info.description or field))
        if field == "authors":
            parts.append(_people("authors", ("affiliation", "orcid", "github_user")))
        elif field == "maintainers":
            parts.append('# maintainers:\n#   - github_user: "name"\n')
        elif field == "cite":
            parts.append(_citation())
        elif field in ("packaged_by", "dataset"):
            parts.append(_COMMENTED[field])
        elif field in known:
            parts.append(f"{field}: {_scalar(known[field])}\n")
        else:
            parts.append(f"# {field}: {_scalar(_EXAMPLES[field])}\n")
    return "\n".join(parts)


def known_facts(trained: TrainedModel) -> dict[str, Any]:
    """Collect what the run knows of a recipe's fields.

    Parameters
    ----------
    trained : TrainedModel
        The model.
    """
    made_up = default_recipe(trained.channel_names)
    facts: dict[str, Any] = {
        "name": made_up.name,
        "description": made_up.description,
        "license": made_up.license,
        "version": made_up.version,
        "status": made_up.status,
    }
    offsets = trained.config.algorithm_config.channel_offsets
    if offsets is not None:
        facts["camera_offset"] = float(np.mean(offsets))
    infos = [model.info for model in trained.noise_models]
    gains = {info.gain for info in infos} - {None}
    if gains:
        facts["gain"] = " and ".join(f"{gain:g}" for gain in sorted(filter(None, gains)))
    words = [
        ", ".join(
            text
            for text in (
                f"camera {info.camera}" if info.camera else "",
                f"exposure {info.exposure:g} s" if info.exposure else "",
                f"recorded {info.date}" if info.date else "",
            )
            if text
        )
        for info in infos
    ]
    acquisition = [
        f"{channel}: {text}"
        for channel, text in zip(trained.channel_names, words, strict=False)
        if text
    ]
    if acquisition:
        facts["acquisition"] = "; ".join(acquisition)
    return facts


def _comment(text: str) -> str:
    plain = " ".join(text.replace("`", "").split())
    return textwrap.fill(plain, 96, initial_indent="# ", subsequent_indent="# ")


def _people(field: str, further: tuple[str, ...]) -> str:
    lines = [f"{field}:", f"  - name: {_scalar(PLACEHOLDER_AUTHOR)}"]
    lines += [f"#     {key}: {_scalar(_EXAMPLES[key])}" for key in further]
    return "\n".join(lines) + "\n"


def _citation() -> str:
    return f"cite:\n  - text: {_scalar(DENOISPLIT.text)}\n    doi: {_scalar(DENOISPLIT.doi)}\n"


def _scalar(value: Any) -> str:
    """Write a value so that YAML reads it as it was: text in quotes, lists in brackets."""
    return json.dumps(value, ensure_ascii=False)
