"""The way of a package into the zoo: one draft, filled, compared, and on request sent to review."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import httpx

from careamics_denoisplit.errors import (
    DenoiSplitError,
    FaultError,
    InputError,
    PackageError,
)
from careamics_denoisplit_export.upload.address import Server
from careamics_denoisplit_export.upload.completeness import Completeness, metadata_completeness
from careamics_denoisplit_export.upload.contents import KEPT_BY_THE_ZOO, Contents
from careamics_denoisplit_export.upload.journal import Entry, Journal
from careamics_denoisplit_export.upload.manager import ArtifactManager, Item, LocalFile, StoredFile
from careamics_denoisplit_export.upload.readiness import obstacles_to_review
from careamics_denoisplit_export.upload.secrecy import Token, quiet_libraries
from careamics_denoisplit_export.upload.transport import (
    TIMEOUT,
    Patience,
    RefusedError,
    UnreachableError,
    Wire,
)

Status = Literal["draft", "in-review"]
Say = Callable[[str], None]

DRAFT: Status = "draft"
IN_REVIEW: Status = "in-review"

_CLEANING_TRIES = 2
_MEGABYTE = 1e6
_BYTES_PER_FILE = 1_000_000


@dataclass(frozen=True)
class Draft:
    """What is on the server afterwards.

    Attributes
    ----------
    contents : Contents
        The package.
    server : str
        Address of the server.
    id : str or None
        Workspace, slash, name; None where nothing was sent.
    status : str or None
        `draft`, `in-review`, or `in-revision` where a reviewer asked for changes.
    files : tuple of LocalFile
        What is stored; without an id that of `rdf.yaml` is still the package's own.
    sent : tuple of str
        Files that were sent by this call; the others were there already.
    """

    contents: Contents
    server: str
    id: str | None
    status: str | None
    files: tuple[LocalFile, ...]
    sent: tuple[str, ...]

    @property
    def obstacles(self) -> tuple[str, ...]:
        """What keeps the package from being offered to reviewers."""
        return obstacles_to_review(self.contents)

    @cached_property
    def completeness(self) -> Completeness:
        """How much of what the zoo counts its description gives."""
        return metadata_completeness(self.contents.rdf)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "package": str(self.contents.path),
            "sha256": self.contents.sha256,
            "server": self.server,
            "id": self.id,
            "status": self.status,
            "files": [
                {"name": file.name, "bytes": file.size, "sha256": file.sha256,
                 "sent": file.name in self.sent}
                for file in self.files
            ],
            "obstacles": list(self.obstacles),
            "completeness": round(self.completeness.share, 3),
            "could_be_given": list(self.completeness.fields),
        }  # fmt: skip


def make_draft(
    contents: Contents,
    server: Server,
    token: Token,
    *,
    submit: bool = False,
    say: Say = lambda _text: None,
    patience: Patience | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Draft:
    """Make the draft of a package, or go on with the one that the journal names.

    Parameters
    ----------
    contents : Contents
        The package, checked.
    server : Server
        Where.
    token : Token
        Sent to the server only, not to the addresses of files.
    submit : bool
        Whether to ask for review.
    say : callable
        Gets one line of text at each step.
    patience : Patience, optional
        How often and how long each request is tried.
    transport : httpx.BaseTransport, optional
        What carries the requests; by default the network.

    Returns
    -------
    Draft
        Its id, its status and its files.
    """
    patience = patience or Patience()
    journal = Journal(contents.path, server.url)
    with quiet_libraries(), journal.locked(), connected(server, transport) as client:
        wire = Wire(client, token, patience.now)
        managers = [
            ArtifactManager(server, wire, chosen)
            for chosen in (patience, replace(patience, tries=_CLEANING_TRIES))
        ]
        return _Drafting(contents, server, journal, managers[0], managers[1], say).run(submit)


def require_answer(server: Server, token: Token) -> None:
    """Read the zoo's collection, so that a wrong address or token is seen before long work.

    Parameters
    ----------
    server : Server
        Where.
    token : Token
        Sent to the server only.

    Raises
    ------
    ConfigurationError
        If the server does not accept the token.
    FaultError
        If it cannot be reached, or refuses.
    """
    patience = Patience()
    with quiet_libraries(), connected(server) as client:
        ArtifactManager(server, Wire(client, token, patience.now), patience).reviewers()


@contextmanager
def connected(
    server: Server, transport: httpx.BaseTransport | None = None
) -> Iterator[httpx.Client]:
    """Give a client that follows no redirect and sends no authorisation of its own.

    Parameters
    ----------
    server : Server
        Requests to this machine are never handed to a proxy.
    transport : httpx.BaseTransport, optional
        What carries the requests.
    """
    with httpx.Client(
        transport=transport,
        trust_env=not server.is_local,
        follow_redirects=False,
        timeout=TIMEOUT,
        headers={"User-Agent": "careamics-denoisplit", "Accept-Encoding": "identity"},
    ) as client:
        yield client


class _Drafting:
    """One run with one draft."""

    def __init__(
        self,
        contents: Contents,
        server: Server,
        journal: Journal,
        manager: ArtifactManager,
        cleaner: ArtifactManager,
        say: Say,
    ) -> None:
        self._contents = contents
        self._server = server
        self._journal = journal
        self._manager = manager
        self._cleaner = cleaner
        self._say = say
        self._entry: Entry = journal.read()
        self._sent: list[str] = []
        self._is_new = not journal.path.exists()
        self._may_remove = False

    def run(self, submit: bool) -> Draft:
        """Make, fill and compare the draft; ask for review where that was wanted."""
        try:
            status = self._find_or_make()
            self._may_remove = not self._entry.was_whole
            rdf, rdf_file = self._contents.with_id(self._alias)
            # The description comes last: a draft without it is seen to be unfinished.
            files = (*self._contents.members, rdf_file)
            if status == IN_REVIEW:
                self._say("it is being reviewed: nothing is changed")
                return self._draft(status, files)
            self._fill(files)
            self._manager.edit(self._id, {**rdf, "status": status})
            self._compare(files, status)
            self._remember(sha256=self._contents.sha256, was_whole=True)
            if submit:
                status = self._ask_for_review(status)
        except DenoiSplitError as error:
            raise self._after(error) from error.__cause__
        except (KeyboardInterrupt, SystemExit):
            if self._entry.id is not None:
                self._say(f"stopped; the same command goes on with the draft {self._entry.id}")
            raise
        return self._draft(status, files)

    def _draft(self, status: str, files: tuple[LocalFile, ...]) -> Draft:
        return Draft(self._contents, self._server.url, self._id, status, files, tuple(self._sent))

    @property
    def _id(self) -> str:
        if self._entry.id is None:
            raise FaultError("There is no draft.")
        return self._entry.id

    @property
    def _alias(self) -> str:
        return self._id.partition("/")[2]

    def _find_or_make(self) -> str:
        """Take the draft that is there already, or make one; return its status."""
        reviewers = self._manager.reviewers()
        if self._entry.id is None and self._journal.path.exists():
            known = self._manager.marked(self._entry.mark)
            if known:
                self._remember(id=known[0])
        if self._entry.id is not None:
            item = self._manager.read(self._id)
            if item is not None:
                return self._take(item, reviewers)
            self._say(f"the draft {self._id} is no longer there; a new one is made")
            self._entry = self._journal.new_entry()
        if not reviewers:
            self._say("the server names no reviewers: they may not see the draft")
        self._remember()
        manifest = {**self._contents.rdf, "status": DRAFT}
        self._remember(id=self._manager.create(manifest, reviewers, self._entry.mark))
        self._say(f"made the draft {self._id}")
        return DRAFT

    def _take(self, item: Item, reviewers: dict[str, str]) -> str:
        """Go on with a draft that is there."""
        if item.versions:
            raise PackageError(
                f"{item.id} has been published, so it is no draft any more. To offer this package "
                f"as another model, delete {self._journal.path} and run the command again."
            )
        status = str(item.manifest.get("status", DRAFT))
        changed = self._entry.sha256 != self._contents.sha256
        if status == IN_REVIEW and changed:
            raise PackageError(
                f"{item.id} is being reviewed, and this package is not the one that was sent. Ask "
                "the reviewers to hand it back, or withdraw it on the website, then run the "
                "command again."
            )
        missing = sorted(set(reviewers) - set(item.permissions))
        if missing:
            self._say(f"{len(missing)} reviewers of the zoo have no access to this draft")
        if changed:
            self._remember(sha256=None)
        if not item.staged:
            self._manager.edit(item.id, {**self._contents.rdf, "status": status})
        self._say(f"going on with the draft {item.id}")
        return status

    def _fill(self, files: tuple[LocalFile, ...]) -> None:
        """Store what is missing or different, remove what does not belong to the package."""
        stored = self._stored()
        for name in sorted(set(stored) - {file.name for file in files}):
            self._say(f"removing {name}, which the package does not have")
            self._manager.remove_file(self._id, name)
        total, done, started = sum(map(_effort, files)), 0, time.monotonic()
        for number, file in enumerate(files, start=1):
            same_size = file.name in stored and stored[file.name].size == file.size
            if same_size and self._manager.holds(self._id, file):
                verb = "there already"
            else:
                self._manager.store(self._id, file)
                self._sent.append(file.name)
                verb = "stored"
            done += _effort(file)
            left = (time.monotonic() - started) / done * (total - done)
            self._say(
                f"{number} of {len(files)} {verb}: {file.name}, {file.size / _MEGABYTE:.1f} MB; "
                f"about {left:.0f} s left"
            )

    def _compare(self, files: tuple[LocalFile, ...], status: str) -> None:
        """Refuse to call it done where the server holds anything else than was sent."""
        stored = {name: file.size for name, file in self._stored().items()}
        expected = {file.name: file.size for file in files}
        if stored != expected:
            wrong = sorted(set(stored.items()) ^ set(expected.items()))
            raise FaultError(
                f"The server lists other files than were sent: {wrong[0][0]}. Run the command "
                "again."
            )
        self._require_unpublished(status)

    def _stored(self) -> dict[str, StoredFile]:
        """Files of the draft by name, but for those that the zoo adds by itself."""
        files = self._manager.files(self._id)
        return {name: file for name, file in files.items() if name not in KEPT_BY_THE_ZOO}

    def _require_unpublished(self, status: str) -> Item:
        item = self._manager.read(self._id)
        if item is None or item.versions or item.manifest.get("status") != status:
            raise FaultError(
                f"{self._id} is not the `{status}` that it should be: the server says "
                f"{'nothing' if item is None else item.manifest.get('status')!r} and lists "
                f"{0 if item is None else len(item.versions)} published versions. Look at it on "
                "the website."
            )
        return item

    def _ask_for_review(self, status: str) -> Status:
        item = self._require_unpublished(status)
        self._manager.edit(self._id, {**item.manifest, "status": IN_REVIEW})
        self._require_unpublished(IN_REVIEW)
        return IN_REVIEW

    def _remember(self, **changes: Any) -> None:
        self._entry = self._entry.model_copy(update=changes)
        self._journal.write(self._entry)

    def _after(self, error: DenoiSplitError) -> DenoiSplitError:
        """Remove a draft that was never whole; say what is left, and what goes on with it."""
        entry = self._entry
        if entry.id is None:
            if isinstance(error, UnreachableError) and self._journal.path.exists():
                return _with(
                    error,
                    "The same command tries again. If a draft was made all the same, it finds it.",
                )
            if self._is_new and isinstance(error, RefusedError | InputError):
                self._journal.forget()  # nothing was made
            return error
        if not self._may_remove:
            return _with(error, f"The draft {entry.id} stays as it is on the server.")
        try:
            self._cleaner.remove(entry.id)
        except DenoiSplitError:
            return _with(
                error,
                f"The draft {entry.id} is unfinished and could not be removed; the same command "
                "goes on with it.",
            )
        self._journal.forget()
        return _with(error, f"The unfinished draft {entry.id} was removed.")


def _effort(file: LocalFile) -> int:
    """Bytes to be moved, and about as many as could be moved while its requests are answered."""
    return file.size + _BYTES_PER_FILE


def _with(error: DenoiSplitError, sentence: str) -> DenoiSplitError:
    """Add a sentence to a message, keeping the kind and with it the exit code."""
    error.args = (f"{error} {sentence}", *error.args[1:])
    return error
