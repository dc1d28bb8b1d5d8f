"""NPY, MRC and CZI: what is read, and what is refused."""

import pickle
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import check_pixels, output_stems, read_images

VALUES = np.random.default_rng(0).poisson(100, (3, 20, 30)).astype(np.uint16)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">f4", "<f8"])
def test_npy_is_read_in_parts(tmp_path: Path, order: str, dtype: str) -> None:
    np.save(tmp_path / "a.npy", VALUES.astype(dtype, order=order))
    (image, *_) = read_images(tmp_path / "a.npy", axes="ZYX")

    np.testing.assert_array_equal(image.data[:, 0], VALUES)
    np.testing.assert_array_equal(image.data[1, 0, 3:9:2, 5], VALUES[1, 3:9:2, 5])


def test_npy_with_a_pickle_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(VALUES))
    with pytest.raises(DataError, match="Python objects, which are never loaded"):
        read_images(tmp_path / "a.npy")
    with pytest.raises(DataError, match="not a usable NPY file"):
        read_images(tmp_path / "b.npy")


def test_b6_npy_that_declares_terabytes_is_refused(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(DataError, match="declares 8000000000000 bytes"):
        read_images(tmp_path / "a.npy")


def test_b8_npy_that_grows_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES[0])
    (image,) = read_images(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(DataError, match="changed while it was read"):
        check_pixels(image)


@pytest.mark.parametrize(("is_stack", "axes"), [(True, "SYX"), (False, "ZYX")])
def test_mrc_stacks_and_volumes_are_told_apart(tmp_path: Path, is_stack: bool, axes: str) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(VALUES)
        file.voxel_size = 650.0
        if is_stack:
            file.set_image_stack()
        else:
            file.set_volume()
    images = read_images(tmp_path / "a.mrc")

    assert images[0].axes == axes
    assert images[0].pixel_size == pytest.approx((0.065, 0.065))
    values = np.concatenate([image.data.values.reshape(-1, 20, 30) for image in images])
    np.testing.assert_array_equal(values, VALUES)


def test_a_single_mrc_image_has_two_axes(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(VALUES[0])
    (image,) = read_images(tmp_path / "a.mrc")

    assert image.axes == "YX"
    assert image.pixel_size is None


def test_mrc_with_turned_axes_or_complex_values_is_refused(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(VALUES[0])
        file.header.mapc, file.header.mapr = 2, 1
    with pytest.raises(DataError, match=r"order \(2, 1, 3\)"):
        read_images(tmp_path / "a.mrc")
    with mrcfile.new(tmp_path / "b.mrc") as file:
        file.set_data(np.ones((4, 4), np.complex64))
    with pytest.raises(DataError, match="complex64; real numbers are needed"):
        check_pixels(read_images(tmp_path / "b.mrc")[0])


def test_i1_czi_without_its_package_names_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pylibCZIrw", None)
    monkeypatch.setitem(sys.modules, "pylibCZIrw.czi", None)
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    with pytest.raises(DataError, match=r"pip install 'careamics-denoisplit\[czi\]'"):
        read_images(tmp_path / "a.czi")


@pytest.fixture
def czi_file(tmp_path: Path) -> Path:
    czi = pytest.importorskip("pylibCZIrw.czi", reason="needs the extra czi")
    path = tmp_path / "a.czi"
    with czi.create_czi(str(path)) as writer:
        for channel in range(2):
            for z in range(3):
                plane = {"C": channel, "Z": z, "T": 0}
                writer.write(data=(VALUES[z] + channel)[..., None], plane=plane)
        writer.write_metadata(
            "doc", channel_names={0: "er", 1: "actin"}, scale_x=1e-7, scale_y=2e-7
        )
    return path


def test_czi_is_read_with_names_and_pixel_size(czi_file: Path) -> None:
    (image,) = read_images(czi_file)

    assert image.data.dims == ("z", "channel", "y", "x")
    assert image.channel_names == ("er", "actin")
    assert image.pixel_size == pytest.approx((0.2, 0.1))
    np.testing.assert_array_equal(image.data[:, 1], VALUES + 1)
    np.testing.assert_array_equal(image.data[1, 0, 3:19:4, 7:9], VALUES[1, 3:19:4, 7:9])


def test_b5_czi_with_several_scenes_needs_a_choice(tmp_path: Path) -> None:
    czi = pytest.importorskip("pylibCZIrw.czi", reason="needs the extra czi")
    path = tmp_path / "a.czi"
    with czi.create_czi(str(path)) as writer:
        for scene in range(2):
            writer.write(
                data=VALUES[scene][..., None],
                plane={"C": 0, "Z": 0, "T": 0},
                scene=scene,
                location=(scene * 100, 0),
            )
    with pytest.raises(DataError, match=r"2 scenes.*a\.czi@0"):
        read_images(path)
    with pytest.raises(DataError, match=r"no scene 7; there are \[0, 1\]"):
        read_images(f"{path}@7")
    images = read_images(f"{path}@1")

    np.testing.assert_array_equal(images[0].data[0], VALUES[1])
    assert output_stems(images) == (Path("a_1"),)


def test_b1_each_cut_of_a_czi_file_is_an_error(czi_file: Path) -> None:
    data = czi_file.read_bytes()
    for end in np.random.default_rng(0).integers(0, len(data), 40):
        czi_file.write_bytes(data[:end])
        with pytest.raises(DataError, match="cut off or damaged"):
            read_images(czi_file)


def test_b2_changed_bytes_of_a_czi_file_are_an_error_or_change_payload_only(
    czi_file: Path,
) -> None:
    data = czi_file.read_bytes()
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(data), 40):
        changed = bytearray(data)
        changed[position] ^= int(generator.integers(1, 256))
        czi_file.write_bytes(changed)
        try:
            image = read_images(czi_file)[0]
            values = image.data.values
        except DataError:
            continue
        expected = np.stack([VALUES, VALUES + 1], axis=1)

        assert values.shape == expected.shape
        assert (values != expected).any(axis=(-2, -1)).sum() <= 1
