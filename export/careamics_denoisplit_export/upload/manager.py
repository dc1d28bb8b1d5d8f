"""The calls of the zoo's artifact manager that a draft needs, and no others: none publishes."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, NamedTuple

from careamics_denoisplit.errors import ConfigurationError, FaultError
from careamics_denoisplit_export.upload.address import (
    PARENT,
    Server,
    require_item_id,
    transfer_address,
)
from careamics_denoisplit_export.upload.secrecy import TOKEN_VARIABLE
from careamics_denoisplit_export.upload.transport import (
    Patience,
    RefusedError,
    TemporaryError,
    UnreachableError,
    Wire,
)

ALIAS = "{animal_adjective}-{animal}"
"""The pattern from which the server draws the name of an item."""

MARK = "careamics_denoisplit_upload"
"""Key of the first manifest by which an item is found again when the answer was lost."""

_SLOWEST = 50_000  # bytes per second, below which a transfer is given up
_LONGEST_LIST = 1000
_REVIEWER_CODES = ("rw", "rw+")
# What storage says of an address whose signature is too old, or made by another clock.
_EXPIRED = ("expired", "requesttimetooskewed", "expiredtoken")


class Item(NamedTuple):
    """One model of the zoo, as its staged state is read."""

    id: str
    """Workspace, slash, alias."""
    manifest: dict[str, Any]
    """Description with `status`."""
    permissions: dict[str, Any]
    """Code by user."""
    versions: tuple[Any, ...]
    """Published versions: none as long as it is a draft."""
    staged: bool
    """Whether it can be changed as a draft."""


class StoredFile(NamedTuple):
    """One file of an item."""

    name: str
    """Name, without folders."""
    size: int
    """Bytes."""


class LocalFile(NamedTuple):
    """One file to be stored."""

    name: str
    """Name, without folders."""
    size: int
    """Bytes."""
    sha256: str
    """Hash of its bytes."""
    is_weights: bool
    """Whether a download of it counts as a download of the model."""
    blocks: Callable[[], Iterator[bytes]]
    """Gives the bytes from the first on, each time anew."""


class ArtifactManager:
    """REST form of the artifact manager.

    There is no call that commits, and every edit is one of the staged state.

    Parameters
    ----------
    server : Server
        Where.
    wire : Wire
        How.
    patience : Patience
        How often and how long.
    """

    def __init__(self, server: Server, wire: Wire, patience: Patience) -> None:
        self._server = server
        self._wire = wire
        self._patience = patience

    def reviewers(self) -> dict[str, str]:
        """Read who reviews drafts of the collection.

        Returns
        -------
        dict of str to str
            `rw+` by user; empty where the server does not tell.
        """
        found = self._call("read", {"artifact_id": PARENT})
        config = found.get("config") if isinstance(found, Mapping) else None
        granted = config.get("permissions") if isinstance(config, Mapping) else None
        codes = granted if isinstance(granted, Mapping) else {}
        return {
            str(who): "rw+"
            for who, code in codes.items()
            if isinstance(code, str) and code in _REVIEWER_CODES and who not in ("*", "@")
        }

    def create(self, manifest: Mapping[str, Any], reviewers: Mapping[str, str], mark: str) -> str:
        """Make one draft, even where the answer is lost, and return its id.

        Parameters
        ----------
        manifest : mapping
            Content of rdf.yaml with `status`.
        reviewers : mapping of str to str
            Permissions, which can be given here only: a later edit of them would publish.
        mark : str
            Text that no other item carries.
        """
        arguments = {
            "parent_id": PARENT,
            "alias": ALIAS,
            "type": "model",
            "manifest": {**manifest, MARK: mark},
            "config": {"permissions": dict(reviewers)},
            "stage": True,
            "overwrite": False,
        }
        attempts = 0

        def once(end: float) -> str:
            nonlocal attempts
            attempts += 1
            # An answer that was lost may belong to a request that was carried out.
            if attempts > 1 and (known := self.marked(mark)):
                return known[0]
            return require_item_id(_field(self._ask("create", arguments, end), "id"))

        try:
            item_id = self._patience.run("Making the draft", once)
        except RefusedError as error:
            if attempts > 1:  # an earlier request may still be carried out
                raise UnreachableError(str(error)) from None
            raise
        if attempts > 1:
            for double in self.marked(mark):
                if double != item_id:
                    self.remove(double)
        return item_id

    def marked(self, mark: str) -> list[str]:
        """Find the items that carry a mark.

        Parameters
        ----------
        mark : str
            As given to `create`.
        """
        found = self._call(
            "list",
            {
                "parent_id": PARENT,
                "filters": {"manifest": {MARK: mark}},
                "stage": "all",
                "limit": _LONGEST_LIST,
                "silent": True,
            },
        )
        items = found if isinstance(found, Sequence) else []
        return [
            require_item_id(item.get("id"))
            for item in items
            if isinstance(item, Mapping)
            # A server that does not know the filter must not make us take another's item.
            and isinstance(manifest := item.get("manifest"), Mapping)
            and manifest.get(MARK) == mark
        ]

    def read(self, item_id: str) -> Item | None:
        """Read the staged state of an item; None where there is none of this id.

        Parameters
        ----------
        item_id : str
            Workspace, slash, alias.
        """
        try:
            found = self._call("read", {"artifact_id": item_id, "stage": True, "silent": True})
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        if require_item_id(_field(found, "id")) != item_id:
            raise FaultError(f"The server answered for another item than {item_id}.")
        manifest, config = _field(found, "manifest"), found.get("config")
        permissions = config.get("permissions") if isinstance(config, Mapping) else None
        return Item(
            item_id,
            dict(manifest) if isinstance(manifest, Mapping) else {},
            dict(permissions) if isinstance(permissions, Mapping) else {},
            tuple(found.get("versions") or ()),
            found.get("staging") is not None,
        )

    def edit(self, item_id: str, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest of the staged state.

        Parameters
        ----------
        item_id : str
            Workspace, slash, alias.
        manifest : mapping
            Content of rdf.yaml with `status`.
        """
        self._call("edit", {"artifact_id": item_id, "manifest": dict(manifest), "stage": True})

    def files(self, item_id: str) -> dict[str, StoredFile]:
        """List the staged files by name.

        Parameters
        ----------
        item_id : str
            Workspace, slash, alias.
        """
        found = self._call(
            "list_files", {"artifact_id": item_id, "stage": True, "limit": _LONGEST_LIST}
        )
        entries = [entry for entry in found or () if isinstance(entry, Mapping)]
        files = [StoredFile(str(entry.get("name")), _size(entry)) for entry in entries]
        return {file.name: file for file in files}

    def remove_file(self, item_id: str, name: str) -> None:
        """Remove a staged file.

        Parameters
        ----------
        item_id : str
            Workspace, slash, alias.
        name : str
            Name of the file.
        """
        self._call("remove_file", {"artifact_id": item_id, "file_path": name})

    def store(self, item_id: str, file: LocalFile) -> None:
        """Store a file and read it back; another try begins with a new address.

        Parameters
        ----------
        item_id : str
            Workspace, slash, alias.
        file : LocalFile
            Its content.

        Raises
        ------
        RefusedError, UnreachableError
            If it cannot be stored, or other bytes come back.
        """
        what = f"Storing {file.name}"

        def once(end: float) -> None:
            url = self._put_address(item_id, file)
            try:
                self._wire.put(what, url, file.blocks(), file.size, end)
            except RefusedError as error:
                if not any(word in error.detail.casefold() for word in _EXPIRED):
                    raise
                raise TemporaryError("the address to store it at has expired") from None
            if not self.holds(item_id, file):
                raise TemporaryError("other bytes came back than were sent")

        self._transfers(file.size).run(what, once)

    def holds(self, item_id: str, file: LocalFile) -> bool:
        """Say whether the bytes of a staged file are those of the package.

        Parameters
        ----------
        item_id : str
            Workspace, slash, alias.
        file : LocalFile
            The file as it should be.
        """
        what = f"Reading {file.name} back"

        def once(end: float) -> str | None:
            try:
                address = self._call(
                    "get_file",
                    {
                        "artifact_id": item_id,
                        "file_path": file.name,
                        "stage": True,
                        "silent": True,
                    },
                )
                url = transfer_address(address, self._server)
                return self._wire.sha256(what, url, file.size, end)
            except RefusedError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                if any(word in error.detail.casefold() for word in _EXPIRED):
                    raise TemporaryError("the address to read it at has expired") from None
                raise

        return self._transfers(file.size).run(what, once) == file.sha256

    def remove(self, item_id: str) -> None:
        """Remove a draft with its files; one that is gone already is no error.

        Parameters
        ----------
        item_id : str
            Workspace, slash, alias.

        Raises
        ------
        RefusedError, UnreachableError
            If it is still there; it is a draft then as before, without its files.
        """
        item = self.read(item_id)
        if item is None:
            return
        if item.versions:
            raise FaultError(f"{item_id} has been published; nothing was removed.")
        if item.staged:
            self._call("discard", {"artifact_id": item_id})
        try:
            self._call("delete", {"artifact_id": item_id, "delete_files": True})
        except RefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                self.edit(item_id, item.manifest)
                raise

    def _call(self, method: str, arguments: Mapping[str, Any]) -> Any:
        return self._patience.run(
            f"The call `{method}` to {self._server.url}",
            lambda end: self._ask(method, arguments, end),
        )

    @property
    def _where_to_take_one(self) -> str:
        if self._server.is_local:
            return "start the server of this machine anew, take the one that it prints"
        return "take a new one from bioimage.io/#/api"

    def _ask(self, method: str, arguments: Mapping[str, Any], end: float) -> Any:
        """Call once."""
        url = f"{self._server.url}/public/services/artifact-manager/{method}"
        body = json.dumps(arguments, allow_nan=False).encode()
        try:
            answer = self._wire.ask(f"The call `{method}`", url, body, end)
        except RefusedError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise ConfigurationError(
                    f"The server does not accept the token (HTTP 401 for `{method}`). It may have "
                    f"expired: {self._where_to_take_one} and set {TOKEN_VARIABLE}."
                ) from None
            raise
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            raise TemporaryError("the answer is not the JSON that was expected") from None

    def _put_address(self, item_id: str, file: LocalFile) -> Any:
        address = self._call(
            "put_file",
            {
                "artifact_id": item_id,
                "file_path": file.name,
                "download_weight": int(file.is_weights),
            },
        )
        return transfer_address(address, self._server)

    def _transfers(self, size: int) -> Patience:
        return replace(self._patience, deadline=self._patience.deadline + size / _SLOWEST)


def _field(found: Any, key: str) -> Any:
    if not isinstance(found, Mapping) or key not in found:
        raise FaultError(
            f"The server's answer has no `{key}`, so it is not the artifact manager that this "
            "version knows. Check --server."
        )
    return found[key]


def _size(entry: Mapping[str, Any]) -> int:
    size = entry.get("size")
    return size if isinstance(size, int) else -1
