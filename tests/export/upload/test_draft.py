"""What an upload leaves on the server, and that the same package always goes to the same draft."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from careamics_denoisplit.errors import FaultError, LockedError, PackageError
from careamics_denoisplit.files import lock_run
from careamics_denoisplit_export.package import read_zip
from careamics_denoisplit_export.upload import Contents


def journal_of(contents: Contents) -> Path:
    return next(contents.path.with_name("tiny.upload").glob("*.json"))


def test_a_package_becomes_one_draft_with_its_bytes(zoo: Any, contents: Contents) -> None:
    draft = zoo.upload(contents)

    (name, item) = next(iter(zoo.items.items()))
    packed = read_zip(contents.path)
    alias = name.partition("/")[2]
    renamed = packed["rdf.yaml"].replace(b"\nid: tiny\n", f'\nid: "{alias}"\n'.encode())
    expected = packed | {"rdf.yaml": renamed}
    assert expected["rdf.yaml"] != packed["rdf.yaml"]
    assert draft.id == name == "bioimage-io/affable-otter"
    assert item.files == expected
    assert item.versions == []
    assert item.staging == {**yaml.safe_load(expected["rdf.yaml"]), "status": "draft"}
    assert item.config["permissions"] == {"rev1": "rw+", "rev2": "rw+", "uploader": "*"}
    assert item.weights == {"README.md": 0, "weights.pt": 1, "rdf.yaml": 0}
    assert {file.name: file.sha256 for file in draft.files} == {
        file: hashlib.sha256(content).hexdigest() for file, content in expected.items()
    }
    assert draft.status == "draft"
    assert zoo.leaks == []


def test_the_stored_description_has_no_status_of_its_own(zoo: Any, contents: Contents) -> None:
    zoo.upload(contents, submit=True)

    (item,) = zoo.items.values()
    assert "status" not in yaml.safe_load(item.files["rdf.yaml"])
    assert item.staging["status"] == "in-review"
    assert item.versions == []


def test_a_second_upload_of_the_same_package_sends_no_file(zoo: Any, contents: Contents) -> None:
    first = zoo.upload(contents)
    zoo.kinds.clear()

    second = zoo.upload(contents)

    assert second.id == first.id
    assert second.sent == ()
    assert "PUT" not in zoo.kinds
    assert len(zoo.items) == zoo.created == 1


def test_a_corrected_package_goes_to_the_same_draft(
    zoo: Any, contents: Contents, make_package: Callable[..., Contents]
) -> None:
    first = zoo.upload(contents)
    changed = make_package({"README.md": b"# Another card\n", "more.npy": b"new"}, name="Better")
    corrected = zoo.upload(changed)
    again = zoo.upload(make_package(name="Better"))

    (item,) = zoo.items.values()
    assert first.id == corrected.id == again.id
    assert set(corrected.sent) == {"README.md", "more.npy", "rdf.yaml"}
    assert "more.npy" not in item.files
    assert item.staging["name"] == "Better"


def test_a_package_in_review_is_not_changed_under_the_reviewers_eyes(
    zoo: Any, contents: Contents, make_package: Callable[..., Contents]
) -> None:
    zoo.upload(contents, submit=True)
    (item,) = zoo.items.values()
    item.staging["reviewed_by"] = "rev1"
    item.files["README.md"] = b"# A reviewer's correction\n"
    before = dict(item.files)
    again = zoo.upload(contents)

    with pytest.raises(PackageError, match="being reviewed"):
        zoo.upload(make_package(name="Better"))

    assert again.status == "in-review"
    assert item.files == before
    assert item.staging["reviewed_by"] == "rev1"


def test_what_reviewers_hand_back_is_corrected_and_offered_again(
    zoo: Any, contents: Contents, make_package: Callable[..., Contents]
) -> None:
    zoo.upload(contents, submit=True)
    (item,) = zoo.items.values()
    item.staging["status"] = "in-revision"
    item.files["comments.json"] = b"[]"

    corrected = zoo.upload(make_package(name="Better"))
    offered = zoo.upload(make_package(name="Better"), submit=True)

    assert (corrected.status, offered.status) == ("in-revision", "in-review")
    assert item.staging["name"] == "Better"
    assert item.files["comments.json"] == b"[]"  # what the reviewers said


def test_a_published_model_is_left_alone(zoo: Any, contents: Contents) -> None:
    zoo.upload(contents)
    (item,) = zoo.items.values()
    item.versions.append("v0")
    before = dict(item.files)

    with pytest.raises(PackageError, match="has been published"):
        zoo.upload(contents)

    assert item.files == before
    assert len(zoo.items) == 1


def test_a_draft_that_was_removed_on_the_website_is_made_anew(zoo: Any, contents: Contents) -> None:
    zoo.upload(contents)
    zoo.items.clear()

    draft = zoo.upload(contents)

    assert list(zoo.items) == [draft.id]
    assert draft.id != "bioimage-io/affable-otter"


def test_other_bytes_on_the_server_are_found_and_replaced(zoo: Any, contents: Contents) -> None:
    zoo.upload(contents)
    (item,) = zoo.items.values()
    good = item.files["weights.pt"]
    item.files["weights.pt"] = bytes(reversed(good))

    draft = zoo.upload(contents)

    assert draft.sent == ("weights.pt",)
    assert item.files["weights.pt"] == good


def test_a_server_that_stores_other_bytes_is_not_believed(zoo: Any, contents: Contents) -> None:
    def spoil(_number: int, kind: str, act: Callable[[], Any]) -> Any:
        response = act()
        for item in zoo.items.values():
            if kind == "PUT" and "weights.pt" in item.files:
                item.files["weights.pt"] = b"--boundary form data"
        return response

    zoo.fault = spoil

    with pytest.raises(FaultError, match=r"weights\.pt.*other bytes.*was removed"):
        zoo.upload(contents)
    assert zoo.items == {}


def test_the_journal_names_the_draft_and_nothing_secret(zoo: Any, contents: Contents) -> None:
    draft = zoo.upload(contents)

    text = journal_of(contents).read_text()
    entry = json.loads(text)
    assert entry["id"] == draft.id
    assert entry["sha256"] == contents.sha256
    assert zoo.token not in text


@pytest.mark.parametrize("content", ["{", '{"server": 1}', '{"format_version": 1}'])
def test_a_damaged_journal_is_named(zoo: Any, contents: Contents, content: str) -> None:
    zoo.upload(contents)
    journal_of(contents).write_text(content)

    with pytest.raises(PackageError, match=r"\.json"):
        zoo.upload(contents)
    assert len(zoo.items) == 1


def test_two_uploads_of_one_package_do_not_run_at_once(zoo: Any, contents: Contents) -> None:
    with lock_run(contents.path.with_name("tiny.upload")), pytest.raises(LockedError):
        zoo.upload(contents)
    assert zoo.kinds == []


def test_reviewers_that_are_not_told_are_missed_aloud(zoo: Any, contents: Contents) -> None:
    said: list[str] = []
    zoo.granted = {"*": "r"}

    zoo.upload(contents, say=said.append)

    assert any("no reviewers" in line for line in said)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("comments.json", b"{}", "comments.json"),
        ("rdf.yaml", None, "no rdf.yaml"),
        ("rdf.yaml", b"\xff", "UTF-8"),
        ("rdf.yaml", b"name: x\n", "`id`"),
        ("rdf.yaml", b"id: [a]\nname: x\n", "`id`"),
        ("rdf.yaml", b"name: !!python/object x\n", "tag"),
    ],
)
def test_a_package_that_cannot_be_uploaded_is_refused_before_anything_is_sent(
    tmp_path: Path, contents: Contents, name: str, content: bytes | None, message: str
) -> None:
    from careamics_denoisplit_export.package import zip_bytes
    from careamics_denoisplit_export.upload import open_contents

    files = {**read_zip(contents.path), name: content}
    path = tmp_path / "other.zip"
    path.write_bytes(zip_bytes({k: v for k, v in files.items() if v is not None}))

    with pytest.raises(PackageError, match=message):
        open_contents(path)
