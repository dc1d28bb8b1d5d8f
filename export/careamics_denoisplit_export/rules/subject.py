"""A package opened for a check: read in memory, nothing executed."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from careamics_denoisplit.errors import ConfigurationError, PackageError
from careamics_denoisplit.files import load_yaml
from careamics_denoisplit_export.package import read_zip
from careamics_denoisplit_export.rdf import RDF_FILE
from careamics_denoisplit_export.rules.archive import ScriptText, read_script
from careamics_denoisplit_export.rules.findings import BrokenError, NotRunError

MAX_RDF_BYTES = 2**20
_MAX_ARRAY_BYTES = 2**30


@dataclass(frozen=True)
class Subject:
    """A package whose bytes were read, and what running it has shown.

    Attributes
    ----------
    files : mapping of str to bytes
        Content by name.
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
        if not isinstance(name, str) or name not in self.files:
            raise BrokenError(f"The zip has no file {name!r}. Export again.")
        return self.files[name]

    def array(self, tensor: Mapping[str, Any]) -> np.ndarray:
        """Read the test array of a tensor."""
        name = tensor["test_tensor"]["source"]
        data = self.file(name)
        if len(data) > _MAX_ARRAY_BYTES:
            raise BrokenError(f"{name} has {len(data)} bytes; test arrays are small.")
        try:
            array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, OSError, EOFError, MemoryError) as error:
            raise BrokenError(f"{name} is no plain .npy array: {error}. Export again.") from error
        return array

    @cached_property
    def script(self) -> ScriptText:
        """Text of the TorchScript archive, read without loading it."""
        return read_script(self.file(self.weights["torchscript"]["source"]))

    def axis(self, tensor: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        """Return an axis of a tensor by its id."""
        for axis in tensor["axes"]:
            if axis.get("id", axis.get("type")) == name:
                found: Mapping[str, Any] = axis
                return found
        raise BrokenError(f"The tensor {tensor.get('id')!r} has no axis {name!r}. Add it.")

    @property
    def stride(self) -> int:
        """Stride of the network in pixels, by the arguments of its architecture."""
        kwargs = self.weights["pytorch_state_dict"]["architecture"]["kwargs"]
        return int(kwargs["stem_stride"]) * int(2 ** len(kwargs["latent_channels"]))

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
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise PackageError(f"Cannot read {path}: {error.strerror or error}.") from error
    files = read_zip(data, str(path), folders=True)
    if RDF_FILE not in files:
        raise PackageError(
            f"{path} has no {RDF_FILE} at its root. Pack the files themselves, not their folder."
        )
    try:
        text = files[RDF_FILE].decode("utf-8")
        content = load_yaml(text, MAX_RDF_BYTES)
    except (ConfigurationError, UnicodeDecodeError) as error:
        raise PackageError(f"{path}: {RDF_FILE} cannot be read: {error}") from error
    return Subject(files, content, hashlib.sha256(data).hexdigest())


def _sources(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("source"), str):
            yield node["source"]
        for value in node.values():
            yield from _sources(value)
    elif isinstance(node, list):
        for value in node:
            yield from _sources(value)
