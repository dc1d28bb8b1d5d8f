"""Archives of arrays: nothing is executed, no memory is taken on the word of a header."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from careamics_denoisplit.errors import InputError, NoiseModelError
from careamics_denoisplit.files import load_npz


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_back(tmp_path: Path, save: object) -> None:
    arrays = {
        "weight": np.eye(3, dtype=">f4"),
        "name": np.array("er"),
        "f": np.asfortranarray(np.ones((2, 3))),
    }
    save(tmp_path / "a.npz", **arrays)  # type: ignore[operator]  # one of two functions
    loaded = load_npz(tmp_path / "a.npz", required=["weight"], allowed=["name", "f"])

    assert set(loaded) == set(arrays)
    for key, value in arrays.items():
        np.testing.assert_array_equal(loaded[key], value)


def test_d1_objects_and_pickles_are_refused_and_nothing_runs(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    np.savez(tmp_path / "objects.npz", a=np.array([Trap(marker)], dtype=object))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap(marker)))
    (tmp_path / "inner.npz").write_bytes(archive({"a.npy": pickle.dumps(Trap(marker))}))
    for name in ("objects", "pickle", "inner"):
        with pytest.raises(InputError, match=rf"{name}\.npz"):
            load_npz(tmp_path / f"{name}.npz")

    assert not marker.exists()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }",
            "declares 8000",
        ),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }", "negative"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "Python objects"),
        ("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (0,), }", "only numbers and text"),
        ("__import__('os')", "cannot be used|damaged"),
    ],
)
def test_d2_headers_that_lie_are_refused(header: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_npz(archive({"a.npy": npy(header)}))


def test_d2_a_deflate_bomb_is_refused_by_its_declared_size() -> None:
    bomb = archive({"a.npy": bytes(2**21)})
    with pytest.raises(InputError, match="at most 1048576 are accepted"):
        load_npz(bomb, max_bytes=2**20)


def test_d2_a_large_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(bytes(100))
    with pytest.raises(NoiseModelError, match="larger than the 10 bytes"):
        load_npz(tmp_path / "a.npz", max_bytes=10, error=NoiseModelError)


def test_d1_missing_and_extra_keys_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weight=1, other=2)
    with pytest.raises(InputError, match=r"missing are \['min'\], unknown are \['other'\]"):
        load_npz(tmp_path / "a.npz", required=["weight", "min"], allowed=[])


def test_a_double_key_is_refused() -> None:
    member = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", bytes(8))
    with pytest.raises(InputError, match="stands twice"):
        load_npz(archive({"a.npy": member, "a": member}))


def test_each_cut_is_an_error_and_each_changed_byte_an_error_or_harmless() -> None:
    buffer = io.BytesIO()
    expected = np.arange(12, dtype=np.float32)
    np.savez(buffer, weight=expected)
    data = buffer.getvalue()
    generator = np.random.default_rng(0)
    for end in range(0, len(data), 3):
        with pytest.raises(InputError):
            load_npz(data[:end])
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= int(generator.integers(1, 256))
        try:
            loaded = load_npz(bytes(changed), required=["weight"])
        except InputError:
            continue
        np.testing.assert_array_equal(loaded["weight"], expected)
