"""What only a person knows about a package: its name, authors, licence, purpose."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from careamics_denoisplit.config.fields import list_to_tuple
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import load_yaml, safe_name

PLACEHOLDER_AUTHOR = "Unnamed author"
"""Stands where nobody is named; a package that carries it is not fit for the zoo."""

_FORMS = {
    "doi": "must be a DOI such as 10.1234/abc, without https://doi.org/",
    "git_repo": "must be an address that begins with https://",
    "github_user": "must be a name on GitHub, without @ or address",
    "orcid": "must be an ORCID such as 0000-0002-1825-0097",
    "timestamp": "must be a time in UTC such as 2026-11-22T12:00:00Z",
    "url": "must be an address that begins with https://",
    "version": "must be three numbers such as 0.1.0",
}
"""What a text of another form should have been, by the name of its field."""

_FORM_OF_THE_TITLE = "must consist of letters, digits, blanks and _ + - ( )"

_FORBIDDEN_IN_NAMES = "stardist"  # Fiji's engine takes another path for such names


def _named(value: Any) -> Any:
    # A licence or a name such as `1.0` must not arrive as a number.
    if isinstance(value, bool | int | float):
        raise ValueError(f"must be text, got {value!r}; put it in quotes")
    return value


Text = Annotated[
    str,
    BeforeValidator(_named),
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=4096),
]
Line = Annotated[Text, StringConstraints(pattern=r"^[^\r\n\x00-\x1f]*$", max_length=256)]


def _known_licence(value: str) -> str:
    """Refuse what the format of packages does not know: SPDX identifiers."""
    # Importing the format takes a second; recipes without errors need it at export anyway.
    from bioimageio.spec.generic.v0_3 import LicenseId

    try:
        return str(LicenseId(value))
    except ValueError:
        near = difflib.get_close_matches(value, _licences(), n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"must be an SPDX identifier such as CC-BY-4.0{meant}") from None


def _without_claims(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse the tag by which the zoo finds models that CAREamics itself can load."""
    if any(tag.casefold() == "careamics" for tag in tags):
        raise ValueError(
            "must not hold CAREamics: the zoo tests such models with CAREamics, which cannot load "
            "this one; remove the tag"
        )
    return tags


def _real_orcid(value: str) -> str:
    """Refuse an identifier whose last character does not fit the others."""
    from bioimageio.spec.generic.v0_3 import OrcidId

    try:
        return str(OrcidId(value))
    except ValueError:
        raise ValueError("is no ORCID that exists; its last character is a check digit") from None


def _licences() -> list[str]:
    from bioimageio.spec.generic.v0_3 import LicenseId

    return list(TypeAdapter(LicenseId).json_schema()["enum"])


Licence = Annotated[Line, AfterValidator(_known_licence)]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Person(_Facts):
    """An author."""

    name: Annotated[Line, StringConstraints(pattern=r"^[^/\\]+$")]
    """Full name."""
    affiliation: Line | None = None
    """Institute."""
    orcid: (
        Annotated[
            Line,
            StringConstraints(pattern=r"^(\d{4}-){3}\d{3}[\dX]$"),
            AfterValidator(_real_orcid),
        ]
        | None
    ) = None
    """ORCID, such as 0000-0002-1825-0097."""
    github_user: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,39}$")] | None = None
    """Name on GitHub."""


class Maintainer(_Facts):
    """Somebody who answers questions about the package."""

    github_user: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,39}$")]
    """Name on GitHub."""
    name: Annotated[Line, StringConstraints(pattern=r"^[^/\\]+$")] | None = None
    """Full name."""


class Citation(_Facts):
    """Work to cite; `doi` or `url` is needed."""

    text: Line
    """Authors, title, journal, year."""
    doi: Annotated[Line, StringConstraints(pattern=r"^10\.[0-9.]+/\S+$")] | None = None
    """Digital object identifier without the address of a resolver."""
    url: Annotated[Line, StringConstraints(pattern=r"^https://\S+$")] | None = None
    """Address, where there is no DOI."""

    @model_validator(mode="after")
    def _need_a_place(self: Self) -> Self:
        if self.doi is None and self.url is None:
            raise ValueError("give `doi` or `url`")
        return self


DENOISPLIT = Citation(
    text="Ashesh and Jug: denoiSplit: a method for joint microscopy image splitting and "
    "unsupervised denoising, ECCV 2024",
    doi="10.48550/arXiv.2403.11854",
)


class Dataset(_Facts):
    """Images that a model was trained on, as a reader of the package can find them."""

    name: Annotated[Line, StringConstraints(min_length=5, max_length=128)]
    """Title of the data set."""
    description: Annotated[Line, StringConstraints(max_length=1024)]
    """What the images show, and how many there are."""
    authors: Annotated[tuple[Person, ...], BeforeValidator(list_to_tuple), Field(min_length=1)]
    """Who made the images."""
    license: Licence
    """SPDX identifier of the images' licence."""
    cite: Annotated[tuple[Citation, ...], BeforeValidator(list_to_tuple), Field(min_length=1)]
    """Where the images were published."""


class Recipe(_Facts):
    """Facts about one package that no file of a training run contains.

    Everything else in the package is measured or copied from the run.
    """

    name: Annotated[
        Line, StringConstraints(min_length=5, max_length=128, pattern=r"^[A-Za-z0-9_+\- ()]+$")
    ]
    """Name shown to users: letters, digits, blanks and `_ + - ( )`."""
    description: Annotated[Line, StringConstraints(max_length=1024)]
    """One or two sentences: what is separated, in which images."""
    authors: Annotated[tuple[Person, ...], BeforeValidator(list_to_tuple), Field(min_length=1)] = (
        Person(name=PLACEHOLDER_AUTHOR),
    )
    """Who made the model."""
    maintainers: Annotated[tuple[Maintainer, ...], BeforeValidator(list_to_tuple)] = ()
    """Who answers questions."""
    license: Licence = "CC-BY-4.0"
    """SPDX identifier of the weights' licence."""
    cite: Annotated[tuple[Citation, ...], BeforeValidator(list_to_tuple)] = (DENOISPLIT,)
    """Work to cite."""
    id: Annotated[Line, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")] | None = None
    """Identifier; the zoo replaces it. None makes one from the name."""
    version: Annotated[Line, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")] = "0.1.0"
    """Semantic version of the model."""
    tags: Annotated[
        tuple[Line, ...], BeforeValidator(list_to_tuple), AfterValidator(_without_claims)
    ] = ()
    """Search words beside those that every package gets."""
    git_repo: Annotated[Line, StringConstraints(pattern=r"^https://\S+$")] | None = None
    """Address of the source code or of the training protocol."""
    packaged_by: Annotated[tuple[Person, ...], BeforeValidator(list_to_tuple)] = ()
    """Who made the package, where that is not the authors."""
    version_comment: Annotated[Line, StringConstraints(max_length=512)] | None = None
    """What is new in this version."""
    timestamp: (
        Annotated[Line, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")] | None
    ) = None
    """When the model was made, in UTC, such as 2026-11-22T12:00:00Z."""
    emoji: Annotated[Line, StringConstraints(min_length=1, max_length=2)] | None = None
    """One emoji that stands beside the name."""
    parent: Annotated[Line, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_./-]*$")] | None = None
    """Identifier in the zoo of the model that this one was trained from."""
    dataset: Dataset | None = None
    """The published images that the model was trained on, for the model card."""
    dataset_id: Annotated[Line, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_./-]*$")] | None = None
    """Identifier in the zoo of the data set that the model was trained on."""
    training_data: Text | None = None
    """Which images the model was trained on and where they come from."""
    validation: Text | None = None
    """How the model was validated, on which images, with which result."""
    independence: Text | None = None
    """What images of training, validation and test share: cells, dishes, days."""
    external_validation: Text | None = None
    """How the model did on images of another origin, such as another laboratory."""
    uses: Text | None = None
    """What the model is meant for."""
    limits: Text | None = None
    """What the model must not be used for, beyond the general limits."""
    specimen: Line | None = None
    """Organism, cells and stains of the training images."""
    modality: Line | None = None
    """Microscope, such as "spinning disk confocal"."""
    objective: Line | None = None
    """Objective, magnification and numerical aperture."""
    pixel_size: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Pixel size of the training images in micrometres."""
    acquisition: Text | None = None
    """How the mixture is acquired: exposure, filters, averaging."""
    camera_offset: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Gray value of a pixel without light."""
    gain: Line | None = None
    """Gain of the camera, such as "0.46 electrons per gray value" or "EM 300"."""
    bit_depth: Annotated[int, Field(ge=1, le=64)] | None = None
    """Bits per pixel of the images as they are saved."""
    status: Literal["demonstration", "research"] = "research"
    """`demonstration` is stated at every place where a user looks first."""
    test_image: Path | None = None
    """TIFF or NPY image (Y, X) in gray values for the test tensors; relative to the recipe."""

    @model_validator(mode="after")
    def _allow_every_engine(self: Self) -> Self:
        if _FORBIDDEN_IN_NAMES in self.name.lower():
            raise ValueError(f"`name` must not contain {_FORBIDDEN_IN_NAMES!r}: Fiji reserves it")
        return self

    @property
    def identifier(self) -> str:
        """Identifier of the package: as given, or the name in lower case."""
        return self.id or safe_name(self.name).lower().replace("_", "-")

    @property
    def title(self) -> str:
        """Name as shown, with the word "demonstration" where the package is one."""
        if self.status == "demonstration" and "demonstration" not in self.name.lower():
            return f"{self.name} (demonstration)"
        return self.name

    @property
    def summary(self) -> str:
        """Description, which begins with that word where the package is a demonstration."""
        if self.status == "demonstration" and "demonstration" not in self.description.lower():
            return f"Demonstration: {self.description}"
        return self.description


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from YAML.

    Parameters
    ----------
    path : pathlib.Path
        YAML file with the fields of `Recipe`.

    Raises
    ------
    ConfigurationError
        If the file is no plain YAML, or a field is unknown, missing or wrong; the message names
        each field.
    """
    return recipe_from(load_yaml(Path(path)), name=str(path), folder=Path(path).parent)


def recipe_from(facts: dict[str, Any], *, name: str = "recipe", folder: Path = Path()) -> Recipe:
    """Check facts given as a dict; see `load_recipe`.

    Parameters
    ----------
    facts : dict
        Fields of `Recipe`.
    name : str
        How error messages call it.
    folder : pathlib.Path
        What a relative `test_image` is relative to.
    """
    if isinstance(facts.get("test_image"), str):
        facts = {**facts, "test_image": folder / facts["test_image"]}
    try:
        return Recipe.model_validate(facts)
    except ValidationError as error:
        wrong = "; ".join(_in_words(entry) for entry in error.errors())
        raise ConfigurationError(f"{name}: {wrong}. Correct these fields.") from error


def default_recipe(channel_names: tuple[str, ...]) -> Recipe:
    """Return the recipe of a package for which nobody wrote one.

    Parameters
    ----------
    channel_names : tuple of str
        Identifiers of the channels.
    """
    named = re.sub(r"[^A-Za-z0-9_+\- ()]", "_", " ".join(channel_names))[:80]
    return Recipe(
        name=f"denoiSplit {named}",
        description=f"Splits one fluorescence image into denoised {_listed(channel_names)}, "
        "with the uncertainty of each.",
    )


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _in_words(entry: Any) -> str:
    place = ".".join(str(part) for part in entry["loc"]) or "the whole"
    message = str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place, list(Recipe.model_fields), n=1)
        meant = f", did you mean `{near[0]}`?" if near else ""
        return f"`{place}` is no field of a recipe{meant}"
    if entry["type"] == "missing":
        return f"`{place}` is missing"
    if entry["type"] == "string_pattern_mismatch":
        form = _FORM_OF_THE_TITLE if place == "name" else message
        message = _FORMS.get(str(entry["loc"][-1]), form)
    if entry["type"] in ("too_short", "string_too_short") and not entry["input"]:
        return f"`{place}` is empty; fill it in, or remove the field"
    return f"`{place}`: {message}, got {str(entry['input'])[:60]!r}"
