"""Each image gets its own place; names keep their dots and folders are mirrored."""

from pathlib import Path

import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.images import Image, output_stems, strip_suffix

PIXEL = xr.DataArray([[[0.0]]], dims=("channel", "y", "x"))


def images(*sources: str | Path | None, index: int | None = None) -> list[Image]:
    return [Image(PIXEL, source=source, index=index) for source in sources]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.tif", "a"),
        ("a.b.c.TIFF", "a.b.c"),
        ("a.1.ome.tif", "a.1"),
        ("a.ome.tiff", "a"),
        ("a.ome.zarr", "a"),
        ("a.zarr", "a"),
        ("a.czi", "a"),
        ("a.mrc", "a"),
        ("a.npy", "a"),
        ("a.tif.npy", "a.tif"),
        ("a.b", "a.b"),
        ("a.ome", "a.ome"),
        (".tif", ".tif"),
    ],
)
def test_only_known_suffixes_are_removed(name: str, expected: str) -> None:
    assert strip_suffix(name) == expected


def test_folders_are_mirrored_below_their_common_parent() -> None:
    found = output_stems(images(Path("/d/1/a.tif"), Path("/d/2/a.tif"), Path("/d/2/x/b.tif")))

    assert found == (Path("1/a"), Path("2/a"), Path("2/x/b"))


def test_folders_are_mirrored_below_a_given_root() -> None:
    assert output_stems(images(Path("/d/1/a.tif")), root=Path("/d")) == (Path("1/a"),)
    assert output_stems(images(Path("/e/1/a.tif")), root=Path("/d")) == (Path("a"),)


def test_a_single_file_keeps_its_name() -> None:
    assert output_stems(images(Path("/d/cell.1.v2.tif"))) == (Path("cell.1.v2"),)


def test_arrays_are_numbered_if_there_are_several() -> None:
    assert output_stems(images("mixture")) == (Path("mixture"),)
    assert output_stems(images("mixture 0", None)) == (Path("mixture 0_0000"), Path("array_0001"))


def test_samples_of_one_file_are_numbered() -> None:
    (image,) = images(Path("/d/a.tif"), index=3)

    assert output_stems([image]) == (Path("a_0003"),)


def test_arrays_of_a_zarr_store_bear_its_name() -> None:
    assert output_stems(images(Path("/d/a.zarr/0/high"))) == (Path("a_0_high"),)


def test_b7_twins_never_overwrite_each_other() -> None:
    paths = [Path(f"/d/{name}") for name in ("a.tif", "A.tif", "a.tiff", "a_2.tif", "a.ome.tif")]
    found = output_stems(images(*paths))

    assert found == (Path("a"), Path("A_2"), Path("a_3"), Path("a_2_2"), Path("a_4"))


names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=8
)


@given(sources=st.lists(st.tuples(names, names), min_size=1, max_size=8))
@settings(deadline=None, max_examples=100)
def test_b7_all_results_have_different_names_within_the_output(
    sources: list[tuple[str, str]],
) -> None:
    paths = [Path("/d") / f"{folder}_" / f"{name}.tif" for folder, name in sources]
    found = output_stems(images(*paths))

    assert len({stem.as_posix().casefold() for stem in found}) == len(paths)
    assert not any(stem.is_absolute() or ".." in stem.parts for stem in found)
