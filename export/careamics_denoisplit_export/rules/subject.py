"""A package opened for a check: read without unpacking it, nothing executed."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from careamics_denoisplit.errors import ConfigurationError, PackageError
from careamics_denoisplit.files import load_yaml
from careamics_denoisplit.files.zip_members import ZipMembers
from careamics_denoisplit_export.rdf import RDF_FILE
from careamics_denoisplit_export.rules.archive import ScriptText, read_script
from careamics_denoisplit_export.rules.findings import BrokenError, NotRunError, require, words_of

MAX_RDF_BYTES = 2**20
_MAX_ARRAY_BYTES = 2**30
_MAX_TEXT_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Subject:
    """A package whose bytes were read, and what running it has shown.

    Attributes
    ----------
    files : mapping of str to bytes
        Content by name; `ZipMembers` reads large files when they are asked for.
    content : mapping
        `rdf.yaml` as plain data.
    sha256 : str
        Hash of the zip.
    runs : mapping
        What the processes that ran the weights have reported; empty where none did.
    not_run : str
        Why `runs` is empty.
    """

    files: Mapping[str, bytes]
    content: Mapping[str, Any]
    sha256: str
    runs: Mapping[str, Any] = field(default_factory=dict)
    not_run: str = "nothing was run"

    @property
    def input(self) -> Mapping[str, Any]:
        """Description of the first input tensor."""
        tensor: Mapping[str, Any] = self.content["inputs"][0]
        return tensor

    @property
    def output(self) -> Mapping[str, Any]:
        """Description of the first output tensor."""
        tensor: Mapping[str, Any] = self.content["outputs"][0]
        return tensor

    @property
    def weights(self) -> Mapping[str, Any]:
        """Entries of the weight formats."""
        entries: Mapping[str, Any] = self.content["weights"]
        return entries

    def file(self, name: Any) -> bytes:
        """Return a member of the zip by the name that rdf.yaml gives it."""
        return self.files[self.member(name)]

    def text(self, name: Any) -> bytes:
        """Return a member that is a text, of at most 16 MB."""
        size = self.size(name)
        if size > _MAX_TEXT_BYTES:
            raise BrokenError(f"{name} has {size} bytes; it is a text. Export again.")
        return self.file(name)

    def member(self, name: Any) -> str:
        """Return a name of rdf.yaml if it is that of a member of the zip."""
        if not isinstance(name, str) or name not in self.files:
            raise BrokenError(f"The zip has no file {name!r}. Export again.")
        return name

    def opened(self, name: Any) -> AbstractContextManager[BinaryIO]:
        """Open a member as a file; a large one of a zip is not held in memory."""
        if isinstance(self.files, ZipMembers):
            return self.files.opened(self.member(name))
        return io.BytesIO(self.file(name))

    def size(self, name: Any) -> int:
        """Return the number of bytes of a member."""
        if isinstance(self.files, ZipMembers):
            return self.files.size(self.member(name))
        return len(self.file(name))

    def sha256_of(self, name: Any) -> str:
        """Return the hash of a member."""
        if isinstance(self.files, ZipMembers):
            return self.files.sha256(self.member(name))
        return hashlib.sha256(self.file(name)).hexdigest()

    def array(self, tensor: Mapping[str, Any]) -> np.ndarray:
        """Read the test array of a tensor."""
        name = tensor["test_tensor"]["source"]
        size = self.size(name)
        if size > _MAX_ARRAY_BYTES:
            raise BrokenError(f"{name} has {size} bytes; test arrays are small.")
        content = io.BytesIO(self.file(name))
        try:
            array: Any = np.load(content, allow_pickle=False)
        except Exception as error:
            # Headers of strangers make numpy raise errors of many kinds.
            raise BrokenError(
                f"{name} is no plain .npy array: {words_of(error)}. Export again."
            ) from error
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            raise BrokenError(f"{name} is no plain .npy array of numbers. Export again.")
        numbers: np.ndarray = array
        return numbers

    @cached_property
    def script(self) -> ScriptText:
        """Text of the TorchScript archive, read without loading it."""
        with self.opened(self.weights["torchscript"]["source"]) as file:
            return read_script(file)

    def axis(self, tensor: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        """Return an axis of a tensor by its id."""
        for axis in tensor["axes"]:
            if axis.get("id", axis.get("type")) == name:
                found: Mapping[str, Any] = axis
                return found
        raise BrokenError(f"The tensor {tensor.get('id')!r} has no axis {name!r}. Add it.")

    @property
    def stride(self) -> int | None:
        """Stride of the network in pixels, by the arguments of its architecture; None if untold.

        Raises
        ------
        BrokenError
            If the arguments are those of no network.
        """
        entry = self.weights.get("pytorch_state_dict") or {}
        kwargs = entry.get("architecture", {}).get("kwargs") or {}
        if not {"stem_stride", "latent_channels"} <= set(kwargs):
            return None
        stem, levels = kwargs["stem_stride"], kwargs["latent_channels"]
        require(
            isinstance(stem, int) and stem > 0 and isinstance(levels, list),
            f"The architecture has stem_stride {stem!r} and latent_channels {levels!r}, which no "
            "network has. Export again.",
        )
        return int(stem * 2 ** len(levels))

    def run(self, key: str) -> Any:
        """Return what a process has reported.

        Raises
        ------
        NotRunError
            If it was not run, with the reason.
        BrokenError
            If the process failed, with its last words.
        """
        if key in self.runs:
            return self.runs[key]
        if "error" in self.runs:
            raise BrokenError(str(self.runs["error"]))
        raise NotRunError(f"Not run: {self.not_run}.")

    def sources(self) -> Iterator[str]:
        """Yield every file that rdf.yaml names."""
        yield from _sources(self.content)
        documentation, covers = self.content.get("documentation"), self.content.get("covers")
        if isinstance(documentation, str):
            yield documentation
        if isinstance(covers, list):
            yield from (cover for cover in covers if isinstance(cover, str))


def open_subject(path: Path) -> Subject:
    """Read a package of unknown origin.

    Parameters
    ----------
    path : pathlib.Path
        The zip.

    Raises
    ------
    PackageError
        If it is no zip, is unsafe, or has no `rdf.yaml` that is plain YAML.
    """
    files = ZipMembers(Path(path), folders=True)
    if RDF_FILE not in files:
        raise PackageError(
            f"{path} has no {RDF_FILE} at its root. Pack the files themselves, not their folder."
        )
    if files.size(RDF_FILE) > MAX_RDF_BYTES:
        raise PackageError(
            f"{path}: {RDF_FILE} cannot be read: it has {files.size(RDF_FILE)} bytes, more than "
            f"{MAX_RDF_BYTES}."
        )
    try:
        text = files[RDF_FILE].decode("utf-8")
        content = load_yaml(text, MAX_RDF_BYTES)
    except (ConfigurationError, UnicodeDecodeError) as error:
        raise PackageError(f"{path}: {RDF_FILE} cannot be read: {error}") from error
    return Subject(files, content, files.package_sha256)


def _sources(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("source"), str):
            yield node["source"]
        for value in node.values():
            yield from _sources(value)
    elif isinstance(node, list):
        for value in node:
            yield from _sources(value)
