"""Whether the output can be written is known before long work starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from careamics_denoisplit.errors import InputError, OutputExistsError, StorageError
from careamics_denoisplit.files import (
    remove_litter,
    require_absent,
    require_writable,
    whole,
)


def test_an_existing_output_is_refused_with_the_way_out(tmp_path: Path) -> None:
    require_absent(tmp_path / "new", overwrite=False)
    require_absent(tmp_path, overwrite=True)
    with pytest.raises(OutputExistsError, match=f"{tmp_path.name} already exists.*--overwrite"):
        require_absent(tmp_path, overwrite=False)


def test_a_dangling_link_counts_as_an_output(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputExistsError):
        require_absent(tmp_path / "link", overwrite=False)


def test_b8_a_writable_folder_is_left_as_it_was(tmp_path: Path) -> None:
    require_writable(tmp_path / "not" / "yet")

    assert list(tmp_path.iterdir()) == []


def test_b8_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="out is a file"):
        require_writable(tmp_path / "out" / "inner")


def test_b8_a_folder_without_permission_is_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(InputError, match=r"Permission denied\. Choose a folder"):
        require_writable(tmp_path)


def test_b8_a_full_disk_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(StorageError, match="No space left"):
        require_writable(tmp_path)


PROBE = """
import os, sys
from pathlib import Path
from careamics_denoisplit.errors import InputError
from careamics_denoisplit.files import require_writable
os.setgid(65534)
os.setuid(65534)
try:
    require_writable(Path(sys.argv[1]))
except InputError as error:
    sys.exit(0 if "Permission denied" in str(error) else 1)
sys.exit(2)
"""


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can become another user"
)
def test_b8_a_folder_of_another_owner_is_refused_to_a_real_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path)], check=False, capture_output=True
    )

    assert result.returncode == 0, result.stderr.decode()


def test_e3_the_probe_of_a_killed_process_is_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    require_writable(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(whole, "process_is_alive", lambda _: False)
    (probe,) = tmp_path.iterdir()

    assert remove_litter(tmp_path) == (probe.name,)
    assert list(tmp_path.iterdir()) == []
