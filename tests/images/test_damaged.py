"""Rows B1 and B2: cut files are always noticed, changed bytes wherever a format allows it."""

from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import read_images

VALUES = np.random.default_rng(0).poisson(100, (3, 24, 30)).astype(np.uint16)
GRAY = {"photometric": "minisblack"}
CUTS = MUTATIONS = 16


def tiff(**options: object) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, VALUES, **options)


def mrc(path: Path) -> None:
    with mrcfile.new(path) as file:
        file.set_data(VALUES)
        file.set_image_stack()


FORMATS: dict[str, Callable[[Path], None]] = {
    "raw.tif": tiff(**GRAY),
    "plain.tif": tiff(**GRAY, metadata=None),
    "zlib.tif": tiff(**GRAY, compression="zlib"),
    "plain_zlib.tif": tiff(**GRAY, compression="zlib", metadata=None),
    "zstd.tif": tiff(**GRAY, compression="zstd"),
    "lzw.tif": tiff(**GRAY, compression="lzw", predictor=True),
    "tiles.tif": tiff(**GRAY, compression="zlib", tile=(16, 16)),
    "strips.tif": tiff(**GRAY, rowsperstrip=7, metadata=None),
    "raw.ome.tif": tiff(metadata={"axes": "TYX"}),
    "zlib.ome.tif": tiff(metadata={"axes": "TYX"}, compression="zlib"),
    "imagej.tif": tiff(imagej=True),
    "imagej_zlib.tif": tiff(imagej=True, compression="zlib"),
    "a.npy": lambda path: np.save(path, VALUES),
    "a.mrc": mrc,
}
WITH_CHECKSUM = {name for name in FORMATS if "zlib" in name or "tiles" in name}


def load(path: Path) -> np.ndarray:
    return np.concatenate([image.data.values for image in read_images(path, axes="SYX")])


def payload(path: Path) -> np.ndarray:
    """Mark the bytes that hold pixels."""
    inside = np.zeros(path.stat().st_size, bool)
    if path.suffix != ".tif":
        inside[-VALUES.nbytes :] = True
        return inside
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        if series.dataoffset is not None:
            inside[series.dataoffset : series.dataoffset + VALUES.nbytes] = True
        for page in series.pages:
            for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                inside[start : start + count] = True
    return inside


@pytest.fixture(params=FORMATS)
def sound_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    FORMATS[request.param](path)
    np.testing.assert_array_equal(load(path), VALUES)
    return path


def test_b1_each_cut_that_takes_pixels_is_an_error(sound_file: Path) -> None:
    data = sound_file.read_bytes()
    ends = np.random.default_rng(1).integers(0, len(data), CUTS)
    refusals: list[str] = []
    for end in (*ends, len(data) - 1):
        sound_file.write_bytes(data[:end])
        try:
            values = load(sound_file)
        except DataError as error:
            refusals.append(str(error))
            continue
        # The last byte of a file may be one that no page needs.
        assert end == len(data) - 1
        np.testing.assert_array_equal(values, VALUES)
    assert all(sound_file.name in said for said in refusals)


def test_b2_changed_headers_are_an_error_or_harmless(sound_file: Path) -> None:
    data = sound_file.read_bytes()
    generator = np.random.default_rng(2)
    positions = generator.choice(np.flatnonzero(~payload(sound_file)), MUTATIONS)
    wrong = 0
    for position in positions:
        changed = bytearray(data)
        changed[position] = int(generator.integers(256))
        sound_file.write_bytes(changed)
        try:
            values = load(sound_file)
        except DataError:
            continue
        wrong += not np.array_equal(values, VALUES)

    # A directory of a plain TIFF may point at another place of the file: nothing tells.
    assert wrong <= (1 if "plain" in sound_file.name or "strips" in sound_file.name else 0)


def test_b2_changed_pixels_are_an_error_where_the_format_has_a_checksum(sound_file: Path) -> None:
    data = sound_file.read_bytes()
    generator = np.random.default_rng(3)
    for position in generator.choice(np.flatnonzero(payload(sound_file)), MUTATIONS):
        changed = bytearray(data)
        changed[position] ^= int(generator.integers(1, 256))
        sound_file.write_bytes(changed)
        try:
            values = load(sound_file)
        except DataError:
            continue

        assert sound_file.name not in WITH_CHECKSUM
        assert values.shape == VALUES.shape


@pytest.mark.parametrize(
    ("start", "kind"), [(b"\xff\xd8\xff\xe0", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG")]
)
def test_b1_a_renamed_file_of_another_kind_is_called_by_its_kind(
    tmp_path: Path, start: bytes, kind: str
) -> None:
    path = tmp_path / "renamed.tif"
    path.write_bytes(start + bytes(100))

    with pytest.raises(DataError, match=f"name of a TIFF file but is a {kind} file"):
        read_images(path)
