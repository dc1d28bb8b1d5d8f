"""Members of a large package: checked once, read when asked for, never others than were checked."""

import hashlib
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from careamics_denoisplit.errors import PackageError
from careamics_denoisplit.files import zip_members
from careamics_denoisplit.files.zip_members import ZipMembers

LARGE = bytes(range(256)) * 2**14  # 4 MiB


@pytest.fixture(autouse=True)
def _little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_members, "_LARGEST_KEPT", 2**16)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "package.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("small.txt", b"small")
        archive.writestr("large.bin", LARGE)
    return path


def test_small_and_large_members_are_read_with_size_and_hash(package: Path) -> None:
    members = ZipMembers(package)

    assert dict(members) == {"small.txt": b"small", "large.bin": LARGE}
    assert len(members) == 2
    assert members.size("large.bin") == len(LARGE)
    assert members.sha256("large.bin") == hashlib.sha256(LARGE).hexdigest()
    assert members.package_sha256 == hashlib.sha256(package.read_bytes()).hexdigest()
    for name in members:
        assert b"".join(members.blocks(name)) == members[name]
        with members.opened(name) as file:
            file.seek(3)
            assert file.read() == members[name][3:]


def test_no_more_than_the_budget_is_kept(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_members, "_LARGEST_KEPT", 2**30)
    monkeypatch.setattr(zip_members, "KEPT_BYTES", 2**20)

    tracemalloc.start()
    members = ZipMembers(package)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < len(LARGE)
    assert members["large.bin"] == LARGE


def test_g2_a_member_that_changes_after_the_check_is_refused(package: Path) -> None:
    members = ZipMembers(package)
    content = bytearray(package.read_bytes())
    place = content.index(LARGE[:1024])
    content[place : place + 4] = b"evil"
    package.write_bytes(content)

    for read in (members.__getitem__, lambda name: list(members.blocks(name))):
        with pytest.raises(PackageError, match="has changed while it was read"):
            read("large.bin")
    with pytest.raises(PackageError, match="has changed"), members.opened("large.bin"):
        pass
    assert members["small.txt"] == b"small"


def test_g2_a_member_replaced_by_a_valid_one_is_refused(package: Path) -> None:
    members = ZipMembers(package)
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("large.bin", LARGE[::-1])

    with pytest.raises(PackageError, match="has changed while it was read"):
        members["large.bin"]


def test_g2_a_package_that_is_gone_is_named(package: Path) -> None:
    members = ZipMembers(package)
    package.unlink()

    with pytest.raises(PackageError, match=r"package\.zip has changed"):
        members["large.bin"]
    with pytest.raises(PackageError, match=r"Cannot read .*package\.zip"):
        ZipMembers(package)


def test_g3_a_damaged_member_is_found_before_anything_is_read(package: Path) -> None:
    content = bytearray(package.read_bytes())
    content[content.index(LARGE[:1024]) + 7] ^= 1
    package.write_bytes(content)

    with pytest.raises(PackageError, match="damaged: Bad CRC"):
        ZipMembers(package)


def test_g2_unsafe_names_are_refused_as_in_small_packages(tmp_path: Path) -> None:
    path = tmp_path / "slip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../x", b"")

    with pytest.raises(PackageError, match="not a plain file name"):
        ZipMembers(path)


def test_g2_a_file_that_changes_while_it_is_checked_is_refused(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = zip_members.blocks_of

    def touched(*arguments: object) -> object:
        os.utime(package, ns=(1, 1))
        return blocks(*arguments)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(zip_members, "blocks_of", touched)

    with pytest.raises(PackageError, match="has changed while it was read"):
        ZipMembers(package)
