"""Uploads to the zoo's own server software, on this machine: `make zoo` builds it."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from careamics_denoisplit.errors import FaultError
from careamics_denoisplit_export.package import read_zip
from careamics_denoisplit_export.upload import (
    Contents,
    Draft,
    Patience,
    Token,
    make_draft,
    server_address,
)

pytestmark = pytest.mark.slow


class Limited(httpx.HTTPTransport):
    """Breaks off, as a killed process does, when a number of requests was carried out."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return response


class NoStorage(httpx.HTTPTransport):
    """Refuses to store weights."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT" and "weights.pt" in request.url.path:
            return httpx.Response(403)
        return super().handle_request(request)


class Deaf(httpx.HTTPTransport):
    """Loses the first answer to `create`."""

    lost = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if request.url.path.endswith("/create") and not self.lost:
            self.lost = True
            raise httpx.ReadTimeout("lost")
        return response


@pytest.fixture
def upload(rehearsal: Any) -> Callable[..., Draft]:
    def run(contents: Contents, **settings: Any) -> Draft:
        return make_draft(
            contents, server_address(rehearsal.url), Token(rehearsal.token),
            patience=Patience(first_wait=0.1), **settings,
        )  # fmt: skip

    return run


def require_whole(rehearsal: Any, draft: Draft, contents: Contents, status: str) -> None:
    """Compare everything that the server holds with the package."""
    assert draft.id is not None
    alias = draft.id.partition("/")[2]
    item = rehearsal.call("read", artifact_id=draft.id, stage=True)
    packed = read_zip(contents.path)
    stored = {name: rehearsal.stored(draft.id, name) for name in packed}
    listed = rehearsal.call("list_files", artifact_id=draft.id, stage=True)
    rdf = yaml.safe_load(stored["rdf.yaml"])

    assert re.fullmatch(r"[a-z]+-[a-z]+", alias)
    assert item["versions"] == []
    assert item["manifest"] == {**rdf, "status": status}
    assert {"rev1": "rw+", "rev2": "rw+"}.items() <= item["config"]["permissions"].items()
    assert {file["name"] for file in listed} == set(packed)
    assert rdf == {**yaml.safe_load(packed["rdf.yaml"]), "id": alias}
    for name in set(packed) - {"rdf.yaml"}:
        assert hashlib.sha256(stored[name]).digest() == hashlib.sha256(packed[name]).digest()
    told = {file.name: file.sha256 for file in draft.files}
    assert told == {name: hashlib.sha256(content).hexdigest() for name, content in stored.items()}


def test_h5_one_whole_draft_comes_out_of_an_upload_that_broke_off(
    rehearsal: Any, upload: Callable[..., Draft], contents: Contents
) -> None:
    before = set(rehearsal.items())
    for most in (2, 4, 7):
        with pytest.raises(KeyboardInterrupt):
            upload(contents, transport=Limited(most))
        assert len(set(rehearsal.items()) - before) == 1

    draft = upload(contents)
    again = upload(contents, submit=True)

    assert set(rehearsal.items()) - before == {draft.id} == {again.id}
    assert again.sent == ()
    require_whole(rehearsal, again, contents, "in-review")


def test_h5_a_lost_answer_to_create_makes_one_item(
    rehearsal: Any, upload: Callable[..., Draft], contents: Contents
) -> None:
    before = set(rehearsal.items())

    draft = upload(contents, transport=Deaf())

    assert set(rehearsal.items()) - before == {draft.id}
    require_whole(rehearsal, draft, contents, "draft")


def test_h3_a_file_that_is_refused_leaves_no_half_item(
    rehearsal: Any, upload: Callable[..., Draft], contents: Contents
) -> None:
    before = rehearsal.items()

    with pytest.raises(FaultError, match="was removed"):
        upload(contents, transport=NoStorage())

    assert rehearsal.items() == before
    assert not list(contents.path.with_name("tiny.upload").glob("*.json"))


def test_what_reviewers_commit_is_the_package_and_is_then_left_alone(
    rehearsal: Any, upload: Callable[..., Draft], make_package: Callable[..., Contents]
) -> None:
    first = upload(make_package())
    corrected = upload(make_package({"more.npy": b"new"}, name="Better"))
    require_whole(rehearsal, corrected, make_package({"more.npy": b"new"}, name="Better"), "draft")
    dropped = make_package(name="Better")
    require_whole(rehearsal, upload(dropped), dropped, "draft")

    rehearsal.call("commit", artifact_id=first.id)

    assert corrected.id == first.id
    assert len(rehearsal.call("read", artifact_id=first.id)["versions"]) == 1
    with pytest.raises(ValueError, match="has been published"):
        upload(dropped)


def test_an_exported_package_becomes_a_draft(
    rehearsal: Any, package: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The whole command: check with running weights, then the upload."""
    import json
    import shutil

    from careamics_denoisplit.cli.app import run
    from careamics_denoisplit_export.upload import open_contents

    path = tmp_path / "exported.zip"
    shutil.copy(package.path, path)
    monkeypatch.setenv("HYPHA_TOKEN", rehearsal.token)
    result = tmp_path / "upload.json"

    code = run(["upload", str(path), "--server", rehearsal.url, "--json", str(result)])

    told = json.loads(result.read_text())
    assert code == 0
    stored = {file["name"]: rehearsal.stored(told["id"], file["name"]) for file in told["files"]}
    packed = read_zip(path)
    assert set(stored) == set(packed)
    assert all(stored[name] == packed[name] for name in set(packed) - {"rdf.yaml"})
    _, renamed = open_contents(path).with_id(told["id"].partition("/")[2])
    assert stored["rdf.yaml"] == b"".join(renamed.blocks())
