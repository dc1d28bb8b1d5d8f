"""What a later run needs to go on with the same draft: its id, and the mark to find it by."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from careamics_denoisplit.errors import FaultError, PackageError
from careamics_denoisplit.files import (
    lock_run,
    read_json,
    remove_litter,
    safe_stem,
    write_json,
)
from careamics_denoisplit_export.upload.address import require_item_id

FORMAT_VERSION = 1


class Entry(BaseModel):
    """State of one upload; nothing in it is secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format_version: int = FORMAT_VERSION
    """Form of this file."""
    server: str
    """Where the draft is."""
    mark: str
    """Text by which the draft is found where the answer with its id was lost."""
    id: str | None = None
    """Workspace, slash, alias; None as long as it is not known."""
    sha256: str | None = None
    """Package whose bytes are all stored in the draft; None as long as some are missing."""
    was_whole: bool = False
    """Whether the draft has ever held a whole package; such a draft is never removed."""


class Journal:
    """The file that remembers the draft of one package on one server, in a folder beside it.

    Parameters
    ----------
    package : pathlib.Path
        The zip.
    server : str
        Address of the server.
    """

    def __init__(self, package: Path, server: str) -> None:
        self._server = server
        self.folder = package.with_name(f"{package.stem}.upload")
        self.path = self.folder / f"{safe_stem(server.partition('://')[2])}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from uploading the same package at the same time.

        Raises
        ------
        LockedError
            If one does.
        """
        with lock_run(self.folder):
            remove_litter(self.folder)
            yield
        with suppress(OSError):  # a journal is left in it wherever there is a draft
            self.folder.rmdir()

    def read(self) -> Entry:
        """Return what is known of the draft, or a new mark.

        Raises
        ------
        PackageError
            If the file is damaged or speaks of another server.
        """
        if not self.path.exists():
            return self.new_entry()
        advice = (
            f"Restore {self.path}; or delete it to begin a new draft, after you have removed the "
            "old one on the website."
        )
        try:
            entry = Entry.model_validate(read_json(self.path, error=PackageError))
            if entry.id is not None:
                require_item_id(entry.id)
        except (ValidationError, FaultError) as error:
            raise PackageError(f"{self.path} is not a journal of an upload. {advice}") from error
        if entry.format_version != FORMAT_VERSION:
            raise PackageError(f"{self.path} is of a newer version. Update this program.")
        if entry.server != self._server:
            raise PackageError(f"{self.path} speaks of another server, {entry.server}. {advice}")
        return entry

    def new_entry(self) -> Entry:
        """Return an entry with a mark that no item carries."""
        return Entry(server=self._server, mark=secrets.token_hex(16))

    def write(self, entry: Entry) -> None:
        """Remember; the old or the new content is there at any moment.

        Parameters
        ----------
        entry : Entry
            State from now on.
        """
        write_json(self.path, entry.model_dump())

    def forget(self) -> None:
        """Remove the file: there is no draft."""
        self.path.unlink(missing_ok=True)
