"""The files of a package, read from the zip as they are sent."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from careamics_denoisplit.errors import ConfigurationError, FaultError, PackageError
from careamics_denoisplit.files import load_yaml
from careamics_denoisplit.files.zip_members import ZipMembers
from careamics_denoisplit_export.rdf import RDF_FILE, README_FILE
from careamics_denoisplit_export.upload.manager import LocalFile

_BLOCK = 2**18
_MAX_TEXT_BYTES = 2**20
KEPT_BY_THE_ZOO = frozenset({"comments.json"})
"""Files that the zoo adds to a draft by itself: what reviewers and authors say about it."""


@dataclass(frozen=True)
class Contents:
    """A package that is about to be uploaded.

    Attributes
    ----------
    path : pathlib.Path
        The zip.
    sha256 : str
        Its hash.
    rdf_text : str
        `rdf.yaml` as it stands in the zip.
    rdf : mapping
        The same as plain data.
    readme : str
        The model card; empty where there is none.
    members : tuple of LocalFile
        Every file but `rdf.yaml`, by name.
    """

    path: Path
    sha256: str
    rdf_text: str
    rdf: Mapping[str, Any]
    readme: str
    members: tuple[LocalFile, ...]

    @property
    def own_rdf(self) -> LocalFile:
        """`rdf.yaml` as it stands in the zip."""
        return _from_bytes(RDF_FILE, self.rdf_text.encode())

    def with_id(self, alias: str) -> tuple[Mapping[str, Any], LocalFile]:
        """Put the name that the server has drawn into `rdf.yaml`; nothing else changes.

        Parameters
        ----------
        alias : str
            The part of the item's id after the slash.

        Returns
        -------
        rdf : mapping
            The changed description.
        file : LocalFile
            `rdf.yaml` with it.

        Raises
        ------
        PackageError
            If the id cannot be replaced.
        """
        rdf = {**self.rdf, "id": alias}
        text = _replaced_id(self.rdf_text, alias)
        if text is None or load_yaml(text, 2 * _MAX_TEXT_BYTES) != rdf:
            raise PackageError(
                f"{self.path}: the `id` in {RDF_FILE} cannot be replaced by that of the zoo. "
                "Write it as plain text at the top level."
            )
        return rdf, _from_bytes(RDF_FILE, text.encode())


def open_contents(path: Path) -> Contents:
    """Read a package.

    Parameters
    ----------
    path : pathlib.Path
        The zip.

    Raises
    ------
    PackageError
        If it is no zip, is unsafe, has no readable `rdf.yaml`, or a file of a name that the zoo
        keeps for itself.
    """
    path = Path(path).absolute()
    files = ZipMembers(path)
    if RDF_FILE not in files:
        raise PackageError(f"{path} has no {RDF_FILE} at its root. Give an exported package.")
    reserved = sorted(KEPT_BY_THE_ZOO & set(files))
    if reserved:
        raise PackageError(
            f"{path}: the zoo keeps the name {reserved[0]} for itself. Rename the file."
        )
    text = _text(files, RDF_FILE)
    try:
        rdf = load_yaml(text, _MAX_TEXT_BYTES)
    except ConfigurationError as error:
        raise PackageError(f"{path}: {RDF_FILE} cannot be read: {error}") from error
    weights = _weight_files(rdf)
    members = tuple(
        LocalFile(
            name,
            files.size(name),
            files.sha256(name),
            name in weights,
            partial(_blocks, files, name),
        )
        for name in sorted(files)
        if name != RDF_FILE
    )
    readme = _text(files, README_FILE) if README_FILE in files else ""
    contents = Contents(path, files.package_sha256, text, rdf, readme, members)
    contents.with_id("some-name")  # better refused now than when there is a draft
    return contents


def _blocks(files: ZipMembers, name: str) -> Iterator[bytes]:
    try:
        for block in files.blocks(name):
            for first in range(0, len(block), _BLOCK):
                yield block[first : first + _BLOCK]
    except PackageError as error:
        raise FaultError(
            f"{name} can no longer be read from {files.path}: {error} Do not change the package "
            "while it is uploaded."
        ) from error


def _from_bytes(name: str, content: bytes) -> LocalFile:
    digest = hashlib.sha256(content).hexdigest()
    return LocalFile(name, len(content), digest, False, lambda: iter((content,)))


def _text(files: ZipMembers, name: str) -> str:
    size = files.size(name)
    if size > _MAX_TEXT_BYTES:
        raise PackageError(f"{files.path}: {name} has {size} bytes; it is a text of a few pages.")
    try:
        return files[name].decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"{files.path}: {name} is not UTF-8 text (byte {error.start})."
        raise PackageError(message) from error


def _weight_files(rdf: Mapping[str, Any]) -> frozenset[str]:
    weights = rdf.get("weights")
    entries = weights.values() if isinstance(weights, Mapping) else ()
    sources = [entry.get("source") for entry in entries if isinstance(entry, Mapping)]
    return frozenset(source for source in sources if isinstance(source, str))


def _replaced_id(text: str, alias: str) -> str | None:
    """Replace the value of the key `id` at the top level, byte for byte otherwise."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return None
    for key, value in root.value:
        if key.value == "id" and isinstance(value, yaml.ScalarNode):
            start, end = value.start_mark.index, value.end_mark.index
            return f'{text[:start]}"{alias}"{text[end:]}'
    return None
