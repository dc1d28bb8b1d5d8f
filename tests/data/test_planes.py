"""Bands of planes: the same pixels in the same order, however the source stores them."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from careamics_denoisplit.data import ImageView, planes_of
from careamics_denoisplit.data import planes as module
from careamics_denoisplit.images import read_images
from careamics_denoisplit.images.zarr_store import ZarrBlock

SHAPE = (150, 70)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of tiles of 64 x 32 pixels."""
    array = zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, chunks=(64, 32), dtype="uint16")
    array[:] = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
    return tmp_path / "a.zarr"


@pytest.mark.parametrize("rows", [None, (0, 150), (37, 131), (64, 128)])
@pytest.mark.parametrize("band", [1, 70 * 11, 70 * 64])
def test_bands_of_tiles_are_those_of_whole_arrays(
    store: Path, monkeypatch: pytest.MonkeyPatch, rows: tuple[int, int] | None, band: int
) -> None:
    monkeypatch.setattr(module, "_BLOCK_PIXELS", 70 * 10)
    monkeypatch.setattr(module, "_BAND_PIXELS", band)
    (image,) = read_images(store)
    lazy, loaded = (
        [planes_of(ImageView(image, in_memory=load), 0)[0]._replace(rows=rows)]
        for load in (False, True)
    )

    found, expected = list(lazy[0].blocks()), list(loaded[0].blocks())

    assert [block.shape for block in found] == [block.shape for block in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_tile_is_read_twice(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_PIXELS", 70 * 10)
    pixels = []
    read = ZarrBlock.read

    def counted(self: ZarrBlock, key: tuple[slice, ...]) -> np.ndarray:
        part = read(self, key)
        pixels.append(part.shape)
        return part

    monkeypatch.setattr(ZarrBlock, "read", counted)
    (image,) = read_images(store)

    list(planes_of(ImageView(image, in_memory=False), 0)[0].blocks())

    assert pixels == [(64, 70), (64, 70), (22, 70)]
