"""The zip of a package: equal to the byte when written, not trusted when read."""

import io
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import PackageError
from careamics_denoisplit.files import guarded_zip
from careamics_denoisplit_export.package import read_zip, zip_bytes

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}\.[a-z]{1,4}", fullmatch=True)


def archive(*members: tuple[str | zipfile.ZipInfo, bytes], packed: bool = False) -> bytes:
    target = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", kind) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name are the point of a test
        for name, data in members:
            file.writestr(name, data)
    return target.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info


def encrypted() -> bytes:
    """A zip whose only member claims to be encrypted."""
    data = bytearray(archive(("a.txt", b"x")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(signature) + offset
        data[place] |= 1
    return bytes(data)


def lying(declared: int) -> bytes:
    """A zip that declares another size than its member has."""
    data = bytearray(archive(("a.txt", b"x" * 1000), packed=True))
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", declared)
    return bytes(data)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.dictionaries(NAMES, st.binary(max_size=200), max_size=8))
def test_what_was_written_is_read(files: dict[str, bytes]) -> None:
    written = zip_bytes(files)

    assert read_zip(written) == files
    assert zip_bytes(dict(reversed(files.items()))) == written


@pytest.mark.parametrize(
    "data",
    [
        archive(("../x", b"")),
        archive(("/etc/x", b"")),
        archive(("a/../../x", b"")),
        archive(("a\\b", b"")),
        archive(("C:x", b"")),
        archive(("a\nb", b"")),
        archive((link("a"), b"/etc/passwd")),
        archive(("rdf.yaml", b"a: 1"), ("rdf.yaml", b"a: 2")),
        archive(("rdf.yaml", b"a: 1"), ("RDF.yaml", b"a: 2")),
        encrypted(),
    ],
    ids=[
        *("climb", "absolute", "deep", "backslash", "drive"),
        *("newline", "link", "double", "case", "encrypted"),
    ],
)
@pytest.mark.parametrize("folders", [False, True])
def test_g2_an_unsafe_member_is_refused(data: bytes, folders: bool) -> None:
    with pytest.raises(PackageError, match=r"not a plain file name|a link|twice|encrypted"):
        read_zip(data, folders=folders)


def test_g2_a_member_in_a_folder_is_read_only_where_it_is_asked_for() -> None:
    data = archive(("folder/x", b"1"))

    with pytest.raises(PackageError, match="without folders"):
        read_zip(data)
    assert read_zip(data, folders=True) == {"folder/x": b"1"}


def test_g3_a_bomb_is_refused_by_its_ratio() -> None:
    with pytest.raises(PackageError, match="trap"):
        read_zip(archive(("zeros", bytes(50 * 2**20)), packed=True))


def test_g3_too_many_members_are_refused() -> None:
    members = [(f"{number}.txt", b"") for number in range(guarded_zip.MAX_FILES + 1)]

    with pytest.raises(PackageError, match="members"):
        read_zip(archive(*members))


def test_g3_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_zip, "MAX_BYTES", 10)

    with pytest.raises(PackageError, match="at most 10"):
        read_zip(archive(("a.txt", b"x" * 11)))


@pytest.mark.parametrize("declared", [1, 999, 1001, 2**31 - 1])
def test_g3_a_member_that_lies_about_its_size_is_refused(declared: int) -> None:
    with pytest.raises(PackageError):
        read_zip(lying(declared))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_g2_a_damaged_zip_gives_an_error_or_the_right_bytes(data: st.DataObject) -> None:
    files = {"rdf.yaml": b"name: x\n" * 20, "weights.pt": bytes(range(256))}
    written = bytearray(zip_bytes(files))
    for _ in range(data.draw(st.integers(1, 4))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(written)))

    try:
        read = read_zip(bytes(written[: cut or None]))
    except PackageError:
        return
    # The CRC of each member guards its content; names have none.
    assert sorted(read.values()) == sorted(files.values()) or set(read) <= set(files)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"absent\.zip"):
        read_zip(tmp_path / "absent.zip")
