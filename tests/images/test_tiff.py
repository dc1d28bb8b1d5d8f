"""TIFF, OME-TIFF and ImageJ: what is read, and what is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import check_pixels, read_images

SERIES = np.random.default_rng(0).poisson(100, (3, 2, 20, 30)).astype(np.uint16)
OME = {
    "axes": "TCYX",
    "Channel": {"Name": ["er", "F-actin"]},
    "PhysicalSizeX": 130,
    "PhysicalSizeXUnit": "nm",
    "PhysicalSizeY": 0.065,
    "PhysicalSizeYUnit": "\N{MICRO SIGN}m",
}


@pytest.mark.parametrize("compression", [None, "zlib", "zstd", "lzw"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_names_size_and_values_of_ome_tiff_are_read(
    tmp_path: Path, compression: str | None, tile: tuple[int, int] | None
) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, SERIES, metadata=OME, compression=compression, tile=tile)
    (image,) = read_images(path, channels=2)

    assert image.data.dims == ("time", "channel", "y", "x")
    assert image.channel_names == ("er", "F-actin")
    assert image.pixel_size == pytest.approx((0.065, 0.130))
    assert image.source == path
    np.testing.assert_array_equal(image.data, SERIES)
    np.testing.assert_array_equal(image.data[1, :, 3:9:2, -1], SERIES[1, :, 3:9:2, -1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)).data, SERIES)  # noqa: S301


def test_acquisition_is_read_from_ome(tmp_path: Path) -> None:
    xml = tifffile.OmeXml()
    xml.addimage(
        "uint16", (20, 30), (1, 1, 1, 20, 30, 1), axes="YX", AcquisitionDate="2024-05-06T07:08:09"
    )
    text = xml.tostring().replace(
        "<Image ",
        '<Instrument ID="Instrument:0"><Detector ID="Detector:0" Model="Flash 4"/>'
        "</Instrument><Image ",
        1,
    )
    text = text.replace(
        "<TiffData",
        '<Plane TheC="0" TheT="0" TheZ="0" ExposureTime="50" ExposureTimeUnit="ms"/><TiffData',
    )
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, SERIES[0, 0], description=text.encode(), metadata=None)
    (image,) = read_images(path)

    assert image.acquisition == {
        "camera": "Flash 4",
        "exposure": "50 ms",
        "date": "2024-05-06T07:08:09",
    }


def test_pixel_size_of_imagej_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        SERIES,
        imagej=True,
        resolution=(10, 5),
        metadata={"axes": "TCYX", "unit": "um", "Labels": ["er", "F-actin"] * 3},
    )
    (image,) = read_images(path)

    assert image.axes == "TCYX"
    assert image.pixel_size == pytest.approx((0.2, 0.1))
    np.testing.assert_array_equal(image.data, SERIES)


def test_the_resolution_of_a_plain_file_is_no_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, SERIES[0, 0], resolution=(72, 72), resolutionunit="INCH")

    assert read_images(path)[0].pixel_size is None


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_both_byte_orders_are_read(tmp_path: Path, byteorder: str, dtype: str) -> None:
    path = tmp_path / "a.tif"
    values = SERIES[0, 0].astype(dtype)
    tifffile.imwrite(path, values, byteorder=byteorder)

    np.testing.assert_array_equal(read_images(path)[0].data[0], values)


def test_a5_a_color_image_is_refused_unless_its_axes_are_given(tmp_path: Path) -> None:
    interleaved, planar = tmp_path / "rgb.tif", tmp_path / "planar.tif"
    tifffile.imwrite(interleaved, np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(planar, np.zeros((3, 20, 30), np.uint8), photometric="rgb")
    with pytest.raises(DataError, match=r"color image \(red, green, blue; Y=20 X=30 C=3\)"):
        read_images(interleaved)
    with pytest.raises(DataError, match="C=3 Y=20 X=30"):
        read_images(planar)

    assert read_images(planar, axes="CYX")[0].n_channels == 3
    assert read_images(interleaved, axes="YXC")[0].n_channels == 3


def test_a5_axes_given_by_the_user_overrule_a_header_but_not_the_plane(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, SERIES[:, 0], imagej=True)

    assert len(read_images(path, axes="SYX")) == 3
    with pytest.raises(DataError, match=r"names its axes C=3 Y=20 X=30.*given are Y=3 X=20 C=30"):
        read_images(path, axes="YXC")


def test_b5_several_series_are_refused_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(SERIES[0, 0])
        writer.write(SERIES[0, 0, :10])
    with pytest.raises(DataError, match=r"2 image series .*\(20, 30\).*\(10, 30\)"):
        read_images(path)


def test_b5_a_missing_companion_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:1"/></OME>'
    )
    tifffile.imwrite(path, SERIES[0, 0], description=text, metadata=None)
    with pytest.raises(DataError, match=r"set\.companion\.ome is missing"):
        read_images(path)


def write_set(folder: Path) -> list[Path]:
    """Write two channels as two files that describe each other."""
    names = ["c0.ome.tif", "c1.ome.tif"]
    blocks = "".join(
        f'<TiffData FirstC="{i}" FirstT="0" FirstZ="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{i}</UUID></TiffData>'
        for i, name in enumerate(names)
    )
    for i, name in enumerate(names):
        text = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{i}"><Image ID="Image:0"><Pixels DimensionOrder="XYZCT" '
            'ID="Pixels:0" SizeC="2" SizeT="1" SizeX="30" SizeY="20" SizeZ="1" Type="uint16">'
            f'<Channel ID="Channel:0:0" Name="er" SamplesPerPixel="1"/>'
            f'<Channel ID="Channel:0:1" Name="actin" SamplesPerPixel="1"/>{blocks}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(folder / name, SERIES[0, i], description=text, metadata=None)
    return [folder / name for name in names]


def test_b5_a_set_of_ome_files_is_one_image(tmp_path: Path) -> None:
    write_set(tmp_path)
    images = read_images(tmp_path)

    assert len(images) == 1
    assert images[0].channel_names == ("er", "actin")
    np.testing.assert_array_equal(images[0].data, SERIES[0])


def test_b5_a_missing_file_of_a_set_is_named(tmp_path: Path) -> None:
    first, second = write_set(tmp_path)
    second.unlink()
    with pytest.raises(DataError, match=r"c1\.ome\.tif is missing beside it"):
        read_images(first)


def test_ome_metadata_with_entities_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    text = '<!DOCTYPE x [<!ENTITY a "b">]><OME xmlns="http://www.openmicroscopy.org/"></OME>'
    tifffile.imwrite(path, SERIES[0, 0], description=text, metadata=None)
    with pytest.raises(DataError, match=r"XML entities|cut off or damaged"):
        read_images(path)


def test_b8_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    for compression in (None, "zlib"):
        path = tmp_path / f"{compression}.tif"
        tifffile.imwrite(path, SERIES[:, 0], compression=compression, photometric="minisblack")
        (image, *_) = read_images(path, channels=1)
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(DataError, match="changed while it was read"):
            check_pixels(image)


def test_b8_a_read_only_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, SERIES[0, 0])
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        np.testing.assert_array_equal(read_images(path)[0].data[0], SERIES[0, 0])
    finally:
        tmp_path.chmod(0o755)


def test_b6_a_declared_size_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2000, 2000), np.uint8), compression="zlib")
    with pytest.raises(DataError, match=r"declares 4000000 bytes .*at most 1000000"):
        read_images(path, max_bytes=10**6)


def test_b6_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((10, 10), np.uint8), metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for name in ("ImageWidth", "ImageLength"):
            offset = tiff.pages.first.tags[name].valueoffset
            data[offset : offset + 2] = b"\xff\xff"
    path.write_bytes(data)
    with pytest.raises(DataError, match="cut off or damaged"):
        read_images(path)


@pytest.mark.parametrize("data", [b"", b"II", b"II*\0", b"not a tiff at all"])
def test_b1_what_is_no_tiff_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tif is cut off or damaged"):
        read_images(tmp_path / "a.tif")


def test_b1_a_renamed_picture_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"a\.tif has the name of a TIFF file but is a PNG file"):
        read_images(tmp_path / "a.tif")
