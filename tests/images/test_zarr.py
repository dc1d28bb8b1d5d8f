"""Zarr and OME-Zarr: a chunk that is missing or damaged is named, never filled."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import labelled, read_images, write_prediction_zarr

VALUES = np.random.default_rng(0).poisson(100, (2, 50, 70)).astype(np.float32)


def plain(path: Path, **options: Any) -> Path:
    options = {"chunks": (1, 32, 32)} | options
    array = zarr.create_array(str(path), shape=VALUES.shape, dtype="float32", **options)
    array[:] = VALUES
    return path


def ours(path: Path) -> Path:
    variable = xr.Variable(("channel", "y", "x"), VALUES)
    write_prediction_zarr(path, labelled(variable, ("er", "actin"), (0.1, 0.2)))
    return path


STORES = {
    "format 3": {},
    "format 2": {"zarr_format": 2},
    "not compressed": {"compressors": None},
    "shards": {"shards": (1, 64, 64)},
    "dots": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
}


def chunk_files(store: Path) -> list[Path]:
    files = [path for path in store.rglob("*") if path.is_file()]
    return sorted(p for p in files if p.suffix != ".json" and not p.name.startswith(".z"))


@pytest.mark.parametrize("options", STORES.values(), ids=STORES)
def test_every_layout_is_read_in_parts(tmp_path: Path, options: dict[str, Any]) -> None:
    (image,) = read_images(plain(tmp_path / "a.zarr", **options), axes="CYX")

    np.testing.assert_array_equal(image.data, VALUES)
    np.testing.assert_array_equal(image.data[1, 10:40:3, -1], VALUES[1, 10:40:3, -1])


@pytest.mark.parametrize("options", STORES.values(), ids=STORES)
def test_b3_each_missing_chunk_is_named(tmp_path: Path, options: dict[str, Any]) -> None:
    store = plain(tmp_path / "a.zarr", **options)
    for path in chunk_files(store):
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError, match=r"chunks of .* are missing") as caught:
            read_images(store, axes="CYX")
        path.write_bytes(data)

        assert str(path) in str(caught.value)


def test_b3_a_chunk_that_vanishes_later_is_named(tmp_path: Path) -> None:
    store = plain(tmp_path / "a.zarr")
    (image,) = read_images(store, axes="CYX")
    (store / "c" / "1" / "0" / "0").unlink()

    np.testing.assert_array_equal(image.data[0], VALUES[0])
    with pytest.raises(DataError, match=r"c/1/0/0"):
        image.data[1, :5, :5].load()


def test_b3_chunks_of_zeros_that_were_not_written_are_an_error(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(9, 9), chunks=(9, 9), dtype="u1")[:] = 0
    with pytest.raises(DataError, match="write_empty_chunks=True"):
        read_images(tmp_path / "a.zarr")


def test_b3_an_inner_chunk_that_a_shard_leaves_out_is_an_error(tmp_path: Path) -> None:
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(64, 64), chunks=(16, 16), shards=(64, 64), dtype="u1"
    )
    array[:] = 1
    array[16:32, 32:48] = 0
    with pytest.raises(DataError, match=r"inner chunk at \(1, 2\) is missing"):
        read_images(tmp_path / "a.zarr")


@pytest.mark.parametrize("options", STORES.values(), ids=STORES)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_b4_a_chunk_that_was_cut_is_named(
    tmp_path: Path, options: dict[str, Any], kept: float
) -> None:
    store = plain(tmp_path / "a.zarr", **options)
    path = chunk_files(store)[-1]
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DataError) as caught:
        read_images(store, axes="CYX")[0].data.load()

    assert str(path) in str(caught.value)


def test_b4_each_flipped_bit_of_our_own_chunks_is_found(tmp_path: Path) -> None:
    store = ours(tmp_path / "a.ome.zarr")
    path = store / "0" / "c" / "1" / "0" / "0"
    data = path.read_bytes()
    for position in range(0, len(data), 97):
        changed = bytearray(data)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(changed)
        with pytest.raises(DataError, match=r"0/c/1/0/0 is damaged"):
            read_images(store)[0].data.load()


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", '{"zarr_format": 3}', "\x00"])
def test_b4_damaged_metadata_are_named(tmp_path: Path, name: str, text: str) -> None:
    store = ours(tmp_path / "a.ome.zarr")
    (store / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_images(store)

    assert str(store / name) in str(caught.value)


def test_b4_missing_metadata_are_named(tmp_path: Path) -> None:
    store = ours(tmp_path / "a.ome.zarr")
    (store / "0" / "zarr.json").unlink()
    with pytest.raises(DataError, match=r"0/zarr\.json is missing"):
        read_images(store)


@pytest.mark.parametrize("damage", ["delete", "cut", "flip", "empty"])
def test_b4_random_damage_of_our_own_stores_is_found_or_harmless(
    tmp_path: Path, damage: str
) -> None:
    source = ours(tmp_path / "source.ome.zarr")
    generator = np.random.default_rng(7)
    used = [p for p in source.rglob("*") if p.is_file() and p.parent.name not in {"1", "2"}]
    for number in range(20):
        store = tmp_path / f"{number}.ome.zarr"
        shutil.copytree(source, store)
        path = store / generator.choice([str(p.relative_to(source)) for p in used])
        data = bytearray(path.read_bytes())
        if damage == "delete":
            path.unlink()
        elif damage == "flip":
            data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
            path.write_bytes(data)
        else:
            path.write_bytes(data[: generator.integers(len(data))] if damage == "cut" else b"")
        try:
            values = read_images(store)[0].data.values
        except DataError:
            continue
        np.testing.assert_array_equal(values, VALUES)


def test_ome_metadata_of_format_04_are_read(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    group = zarr.open_group(str(store), mode="w", zarr_format=2)
    group.create_array("full", data=VALUES)
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [
                {"name": "c", "type": "channel"},
                {"name": "y", "type": "space", "unit": "nanometer"},
                {"name": "x", "type": "space", "unit": "nanometer"},
            ],
            "datasets": [
                {
                    "path": "full",
                    "coordinateTransformations": [{"type": "scale", "scale": [1, 65, 65]}],
                }
            ],
            "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2]}],
        }
    ]
    group.attrs["omero"] = {"channels": [{"label": "er"}, {"label": "actin"}]}
    (image,) = read_images(store)

    assert image.axes == "CYX"
    assert image.pixel_size == pytest.approx((0.13, 0.13))
    assert image.channel_names == ("er", "actin")
    np.testing.assert_array_equal(image.data, VALUES)


def test_b5_a_group_of_several_arrays_is_refused_and_listed(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    for name in ("low", "high"):
        group.create_array(name, data=VALUES)
    with pytest.raises(DataError, match=r"2 arrays \(high, low\).*a\.zarr/high"):
        read_images(tmp_path / "a.zarr")

    assert read_images(tmp_path / "a.zarr" / "low", axes="CYX")[0].n_channels == 2


@pytest.mark.parametrize("kind", ["plate", "well"])
def test_b5_a_plate_is_refused(tmp_path: Path, kind: str) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    group.attrs["ome"] = {"version": "0.5", kind: {}}
    with pytest.raises(DataError, match="plate or well"):
        read_images(tmp_path / "a.zarr")


def test_b6_a_declared_size_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(10**7, 10**7), chunks=(9, 9), dtype="u1")
    with pytest.raises(DataError, match="declares 100000000000000 bytes"):
        read_images(tmp_path / "a.zarr")


def test_axes_that_do_not_fit_the_array_are_refused(tmp_path: Path) -> None:
    store = ours(tmp_path / "a.ome.zarr")
    metadata = json.loads((store / "zarr.json").read_text())
    metadata["attributes"]["ome"]["multiscales"][0]["axes"].pop()
    (store / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(DataError, match="name the axes CY, the array has 3"):
        read_images(store)
