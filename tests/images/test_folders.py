"""Row B5: which files of a folder are images, and when a folder is ambiguous."""

import logging
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import list_folder, read_images

PLANE = np.random.default_rng(0).poisson(100, (8, 9)).astype(np.uint16)


def write(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, PLANE)


def test_b5_what_is_no_image_is_skipped_and_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "b.tif", tmp_path / "a.tiff", tmp_path / "inner" / "c.TIF")
    for name in ("._a.tif", "Thumbs.db", ".DS_Store", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / ".hidden" / "d.tif")
    with caplog.at_level(logging.WARNING):
        images = read_images(tmp_path)

    assert [Path(image.source).name for image in images] == ["a.tiff", "b.tif", "c.TIF"]
    assert "skipped 4 files that are no images" in caplog.text
    assert "Thumbs.db" in caplog.text
    assert len(list_folder(tmp_path).skipped) == 4


def test_b5_an_empty_folder_is_an_error_that_lists_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no image\. Name the folder"):
        read_images(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"holds no image \(skipped 1 files .*notes\.txt"):
        read_images(tmp_path)


def test_b5_a_folder_of_several_kinds_is_ambiguous(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    np.save(tmp_path / "a.npy", PLANE)
    with pytest.raises(DataError, match=r"2 kinds \(a\.npy, a\.tif\).*'\*\.tif'"):
        read_images(tmp_path)

    assert len(read_images(tmp_path / "*.tif")) == 1


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (PLANE.astype(np.float32), r"type \(uint16, float32\)"),
        (np.stack([PLANE, PLANE]), r"number of channels \(1, 2\)"),
    ],
)
def test_b5_files_of_a_folder_that_differ_are_ambiguous(
    tmp_path: Path, other: np.ndarray, difference: str
) -> None:
    write(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", other, metadata={"axes": "CYX"[-other.ndim :]})
    with pytest.raises(DataError, match=rf"a\.tif and .*b\.tif differ in {difference}"):
        read_images(tmp_path)


def test_images_of_a_folder_may_differ_in_size(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", PLANE[:5])

    assert [i.height_width for i in read_images(tmp_path)] == [(8, 9), (5, 9)]


def test_a_zarr_store_is_one_image_of_a_folder(tmp_path: Path) -> None:
    for name in ("a.zarr", "b.zarr"):
        zarr.create_array(str(tmp_path / name), data=PLANE, chunks=(4, 4))

    assert len(read_images(tmp_path)) == 2


def test_patterns_are_sorted_and_reach_into_folders(tmp_path: Path) -> None:
    write(tmp_path / "1" / "er.tif", tmp_path / "2" / "er.tif", tmp_path / "2" / "actin.tif")
    images = read_images(str(tmp_path / "*" / "er.tif"))

    assert [Path(image.source).parent.name for image in images] == ["1", "2"]
    with pytest.raises(DataError, match="No image matches"):
        read_images(tmp_path / "*.tif")


def test_two_stars_beside_letters_are_an_error_that_tells_the_right_way(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    pattern = tmp_path / "**.tif"

    if sys.version_info < (3, 13):
        with pytest.raises(DataError, match="folder of its own"):
            read_images(pattern)
    else:  # from then on they mean one star
        assert len(read_images(pattern)) == 1


def test_b7_an_existing_name_is_never_taken_for_a_pattern(tmp_path: Path) -> None:
    names = ["a[1].tif", "50% x.tif", "\u7ec6\u80de.tif", "a b.tif", "c.1.2.tif"]
    write(*(tmp_path / name for name in names))
    for name in names:
        (image,) = read_images(tmp_path / name)

        assert image.source == tmp_path / name


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.tif", r"missing\.tif does not exist \(looked in"),
        ("https://example.org/a.tif", "not a local path"),
        ("file.txt", "no image file that can be read"),
        ("missing.czi@1", "Cannot read"),
    ],
)
def test_paths_that_cannot_be_used_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.txt").touch()
    with pytest.raises(DataError, match=message):
        read_images(source)


def test_b5_a_folder_of_many_files_is_listed_quickly(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number:05}.tif").touch()
    start = time.monotonic()

    assert len(list_folder(tmp_path).images) == 10_000
    assert time.monotonic() - start < 10
