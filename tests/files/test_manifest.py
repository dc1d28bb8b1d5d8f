"""The list of hashes names what was changed."""

from pathlib import Path

import pytest

from careamics_denoisplit.errors import CheckpointError
from careamics_denoisplit.files import (
    verify_manifest,
    whole_file,
    write_json,
    write_manifest,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"weights")
    (tmp_path / "inner" / "b.json").write_bytes(b"{}")
    write_manifest(tmp_path)
    return tmp_path


def test_an_unchanged_folder_is_verified_file_by_file(model: Path) -> None:
    assert verify_manifest(model) == ("inner/b.json", "weights.bin")


def test_files_that_the_system_drops_into_a_folder_do_no_harm(model: Path) -> None:
    (model / ".DS_Store").touch()

    assert "weights.bin" in verify_manifest(model)


def test_unfinished_files_are_not_listed(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a"):
        write_manifest(tmp_path)

    assert verify_manifest(tmp_path) == ()


def test_each_flipped_bit_is_found(model: Path) -> None:
    original = (model / "weights.bin").read_bytes()
    for position in range(len(original)):
        changed = bytearray(original)
        changed[position] ^= 1
        (model / "weights.bin").write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"weights\.bin is not the file"):
            verify_manifest(model)


def test_a_missing_file_is_named(model: Path) -> None:
    (model / "inner" / "b.json").unlink()
    with pytest.raises(CheckpointError, match=r"b\.json is missing"):
        verify_manifest(model)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        verify_manifest(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\\b", "C:x", ""])
def test_names_outside_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "manifest.json", {"format_version": 1, "sha256": {name: "0"}})
    with pytest.raises(CheckpointError, match="no file of its folder"):
        verify_manifest(tmp_path)


@pytest.mark.parametrize("value", [[], {}, {"format_version": 2, "sha256": {}}])
def test_a_list_of_another_format_is_refused(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "manifest.json", value)
    with pytest.raises(CheckpointError, match="not a list of hashes of format 1"):
        verify_manifest(tmp_path)
