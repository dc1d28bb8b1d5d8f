"""What is written is read back, by our own readers and by others, with names and pixel size."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
import yaozarrs
import zarr

from careamics_denoisplit.errors import NonFiniteError, StorageError
from careamics_denoisplit.images import (
    channel_names_of,
    labelled,
    pixel_size_of,
    read_images,
    write_prediction_tiff,
    write_prediction_zarr,
    writers,
)

NAMES = ("er", "F_actin")
DIMS = [("channel", "y", "x"), ("time", "channel", "y", "x"), ("time", "z", "channel", "y", "x")]


def prediction(
    dims: tuple[str, ...], *, size: tuple[float, float] | None = (0.2, 0.1)
) -> xr.DataArray:
    shape = [{"time": 3, "z": 4, "channel": 2, "y": 20, "x": 31}[dim] for dim in dims]
    values = np.random.default_rng(0).normal(100, 30, shape).astype(np.float32)
    return labelled(xr.Variable(dims, values), NAMES, size)


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("size", [None, (0.2, 0.1)])
def test_a_tiff_keeps_values_names_and_pixel_size(
    tmp_path: Path, dims: tuple[str, ...], size: tuple[float, float] | None
) -> None:
    path, array = tmp_path / "a_mean.ome.tif", prediction(dims, size=size)
    write_prediction_tiff(path, array, name="a")
    (image,) = read_images(path)

    assert image.data.dims == dims
    assert image.channel_names == NAMES
    assert image.pixel_size == (pytest.approx(size) if size else None)
    np.testing.assert_array_equal(image.data, array)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_tiff_beyond_the_reach_of_its_offsets_is_a_big_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, array = tmp_path / "a.ome.tif", prediction(DIMS[0])
    monkeypatch.setattr(writers, "_LARGEST_CLASSIC_TIFF", array.nbytes - 1)
    write_prediction_tiff(path, array)

    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
    np.testing.assert_array_equal(read_images(path)[0].data, array)


def test_a_tiff_is_what_other_programs_expect(tmp_path: Path) -> None:
    path, array = tmp_path / "a.ome.tif", prediction(DIMS[1])
    write_prediction_tiff(path, array, name="field 1")
    with tifffile.TiffFile(path) as file:
        series, text = file.series[0], file.ome_metadata
        assert series.axes == "TCYX"
        assert series.dtype == np.float32
        assert file.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        np.testing.assert_array_equal(series.asarray(), array)

    assert text is not None
    for part in (
        'Name="field 1"',
        'Name="F_actin"',
        'PhysicalSizeX="0.1"',
        'PhysicalSizeXUnit="\N{MICRO SIGN}m"',
        'PhysicalSizeY="0.2"',
    ):
        assert part in text


@pytest.mark.parametrize("dims", DIMS)
def test_a_zarr_store_keeps_values_names_and_pixel_size(
    tmp_path: Path, dims: tuple[str, ...]
) -> None:
    path, array = tmp_path / "a.ome.zarr", prediction(dims)
    write_prediction_zarr(path, array, array + 1, std_suffix="spread")
    (image,) = read_images(path)

    assert image.data.dims == dims
    assert image.channel_names == (*NAMES, "er_spread", "F_actin_spread")
    assert image.pixel_size == pytest.approx((0.2, 0.1))
    np.testing.assert_array_equal(image.data.isel(channel=slice(0, 2)), array)
    np.testing.assert_array_equal(image.data.isel(channel=slice(2, 4)), array + 1)


def test_a_zarr_store_is_a_valid_ome_zarr_with_a_pyramid(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 301, 600)).astype(np.float32)
    path = tmp_path / "a.ome.zarr"
    write_prediction_zarr(path, labelled(xr.Variable(DIMS[0], values), NAMES, (0.2, 0.1)))
    metadata = yaozarrs.validate_ome_json((path / "zarr.json").read_text()).attributes.ome
    datasets = metadata.multiscales[0].datasets
    group = zarr.open_group(str(path), mode="r")

    assert [group[d.path].shape for d in datasets] == [(2, 301, 600), (2, 151, 300), (2, 76, 150)]
    assert [d.scale_transform.scale for d in datasets] == [[1, 0.2 * f, 0.1 * f] for f in (1, 2, 4)]
    assert [axis.unit for axis in metadata.multiscales[0].axes[1:]] == ["micrometer"] * 2
    np.testing.assert_allclose(
        group["1"][0, 0, 0], values[0, :2, :2].mean(dtype=np.float64), rtol=1e-5
    )
    assert group["0"].metadata.dimension_names == ("c", "y", "x")
    assert "crc32c" in (path / "0" / "zarr.json").read_text()


def test_b3_a_result_of_zeros_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write_prediction_zarr(path, xr.zeros_like(prediction(DIMS[0])))

    assert (read_images(path)[0].data == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_never_written(tmp_path: Path, value: float) -> None:
    array = prediction(DIMS[0])
    array[0, 0, 0] = value
    with pytest.raises(NonFiniteError, match="1 values that are NaN or infinite"):
        write_prediction_tiff(tmp_path / "a.ome.tif", array)
    with pytest.raises(NonFiniteError):
        write_prediction_zarr(tmp_path / "a.ome.zarr", prediction(DIMS[0]), array)

    assert list(tmp_path.iterdir()) == []


def test_b8_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    for write, name in (
        (write_prediction_tiff, "a.ome.tif"),
        (write_prediction_zarr, "a.ome.zarr"),
    ):
        with pytest.raises(StorageError, match=f"Cannot write .*{name}"):
            write(tmp_path / "out" / name, prediction(DIMS[0]))


def test_a_failing_writer_leaves_the_old_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path, array = tmp_path / "a.ome.tif", prediction(DIMS[0])
    write_prediction_tiff(path, array)
    before = path.read_bytes()
    monkeypatch.setattr(tifffile, "imwrite", fail)
    with pytest.raises(StorageError, match="No space left on device"):
        write_prediction_tiff(path, array + 1)

    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_existing_store_is_replaced(tmp_path: Path) -> None:
    path, array = tmp_path / "a.ome.zarr", prediction(DIMS[0])
    for values in (array, array + 1):
        write_prediction_zarr(path, values)

    np.testing.assert_array_equal(read_images(path)[0].data, array + 1)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_names_and_size_follow_an_array_that_is_cut_or_thinned_out() -> None:
    array = prediction(DIMS[0])

    assert channel_names_of(array[1:]) == ("F_actin",)
    assert pixel_size_of(array[:, 3:, 5:]) == (0.2, 0.1)
    assert pixel_size_of(array[:, ::2, ::2]) == pytest.approx((0.4, 0.2))
    assert pixel_size_of(array[:, :1, :1]) == (0.2, 0.1)
    assert pixel_size_of(array.drop_vars("x")) is None
