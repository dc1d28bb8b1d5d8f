"""Packages that are larger than the memory that their upload may take."""

import hashlib
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from careamics_denoisplit.errors import FaultError
from careamics_denoisplit.files import zip_members
from careamics_denoisplit_export.rdf import to_yaml
from careamics_denoisplit_export.rules.subject import open_subject
from careamics_denoisplit_export.upload import Token, make_draft, open_contents, server_address

SIZE = 96 * 2**20
"""Bytes of the large member."""

ALLOWED = 12 * 2**20
"""Bytes that may be held at any time; 200 MB for a package of 2 GB."""


@pytest.fixture
def large(tmp_path: Path, make_package: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose weights are much larger than what is kept."""
    monkeypatch.setattr(zip_members, "_LARGEST_KEPT", 2**20)
    small = make_package()
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rdf.yaml", to_yaml(dict(small.rdf)))
        archive.writestr("README.md", small.readme)
        with archive.open("weights.pt", "w", force_zip64=True) as member:
            for number in range(SIZE // 2**20):
                member.write(bytes([number % 256]) * 2**20)
    return path


class Storage(httpx.BaseTransport):
    """The zoo in memory, with files on the disk."""

    def __init__(self, zoo: Any, folder: Path) -> None:
        self.zoo = zoo
        self.folder = folder

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        file = self.folder / Path(request.url.path).name
        if request.method == "PUT":
            with file.open("wb") as target:
                for block in request.stream:  # type: ignore[union-attr]  # httpx gives a sync stream
                    target.write(block)
            self.zoo.answer(httpx.Request("PUT", request.url, headers={"content-type": ""}))
            return httpx.Response(200)
        if request.method == "GET":
            return httpx.Response(200, stream=Disk(file))
        answer: httpx.Response = self.zoo.answer(request)
        if request.url.path.endswith("/list_files"):
            entries = [
                {"name": each.name, "size": each.stat().st_size} for each in self.folder.iterdir()
            ]
            return httpx.Response(200, json=entries)
        return answer


class Disk(httpx.SyncByteStream):
    """A file, block by block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Any:
        with self.path.open("rb") as file:
            while block := file.read(2**16):
                yield block


def test_h5_a_large_package_is_opened_checked_and_sent_in_little_memory(
    large: Path, zoo: Any, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    storage.mkdir()

    tracemalloc.start()
    subject = open_subject(large)
    contents = open_contents(large)
    draft = make_draft(
        contents,
        server_address(zoo.url),
        Token(zoo.token),
        patience=zoo.patience,
        transport=Storage(zoo, storage),
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert draft.status == "draft"
    assert peak < ALLOWED
    expected = {file.name: file.sha256 for file in draft.files}
    for name, sha256 in expected.items():
        with (storage / name).open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == sha256
    assert subject.sha256 == contents.sha256
    assert subject.files.sha256("weights.pt") == expected["weights.pt"]
    assert (storage / "weights.pt").stat().st_size == SIZE


def test_h5_a_large_package_that_changes_is_not_sent_to_its_end(large: Path) -> None:
    contents = open_contents(large)
    (weights,) = (file for file in contents.members if file.name == "weights.pt")
    with large.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"other bytes")

    with pytest.raises(FaultError, match=r"weights\.pt can no longer be read"):
        for _ in weights.blocks():
            pass
