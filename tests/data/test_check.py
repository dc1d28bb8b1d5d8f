"""`check_data`: what is wrong with data, before training."""

import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.data import check_data
from careamics_denoisplit.data.study import MAX_TILES, TILE, tile_places
from careamics_denoisplit.images import checks

NAMES = ("er", "actin")


def clean(seed: int) -> np.ndarray:
    """Structures of two channels (C, Y, X)."""
    rng = np.random.default_rng(seed)
    structures = [gaussian_filter(rng.normal(size=(160, 160)), width) for width in (4, 8)]
    return np.stack([1000 + 200 * s / s.std() for s in structures])


TRUTH = clean(0)
NOISY = TRUTH + np.random.default_rng(9).normal(size=TRUTH.shape) * 50
HELD = clean(1)


def test_good_data_pass() -> None:
    report = check_data(
        NOISY, NAMES, mixture=NOISY.sum(axis=0) + 100, truth=TRUTH, validation=HELD, patch_size=64
    )

    assert report.passed
    assert report.warnings == ()
    assert [channel.name for channel in report.channels] == ["er", "actin", "mixture"]
    assert report.channels[0].mean == pytest.approx(NOISY[0].mean(), rel=1e-5)
    assert report.mixture is not None
    assert report.mixture.rule == "sum"
    assert report.mixture.offset == pytest.approx(100, abs=1)
    assert report.images[0].axes == "CYX"
    assert {(c.first, c.second) for c in report.correlations} == {
        ("er", "actin"),
        ("er", "truth er"),
        ("actin", "truth actin"),
    }
    json.dumps(report.model_dump(mode="json"), allow_nan=False)


@pytest.mark.parametrize(
    ("target", "options", "problem"),
    [
        (np.where(NOISY.max() - 1 < NOISY, np.nan, NOISY), {}, "1 NaN"),
        ({"er": NOISY[0], "actin": np.full((160, 160), 7)}, {}, "constant"),
        ({"er": NOISY[0], "actin": NOISY[0]}, {}, "nearly the same"),
        (NOISY[0], {}, "2 expected"),
        (NOISY, {"validation": NOISY[:, 20:120, :]}, "Validation data equal training data"),
        (NOISY, {"truth": TRUTH[::-1]}, "fits better in another order"),
        (NOISY, {"truth": TRUTH[:, :100]}, "differ in number or size"),
        (NOISY, {"mixture": HELD[0]}, "does not show the fields"),
        (NOISY, {"mixture": [HELD[0], HELD[1]]}, "Mixture and channels differ in number"),
        (
            {"er": [NOISY[0], HELD[0]], "actin": [NOISY[1], HELD[1]]},
            {"mixture": [HELD[0]]},
            "Mixture and channels differ in number",
        ),
        (NOISY, {"mixture": HELD[0, :100]}, "Mixture and channels differ in number or size"),
        (NOISY, {"patch_size": 161}, r"patches need at least \(161, 161\)"),
        ([NOISY, HELD[:1]], {}, "2 expected"),
        ({"er": NOISY[0], "actin": NOISY[1, :90]}, {}, "differ in size"),
        (Path("no/such/file.tif"), {}, "no/such/file.tif"),
    ],
)
def test_every_fault_is_named(target: Any, options: dict[str, Any], problem: str) -> None:
    report = check_data(target, NAMES, **options)

    assert not report.passed
    assert any(re.search(problem, text) for text in report.problems), report.problems


@pytest.mark.parametrize(
    ("target", "options", "warning"),
    [
        ({"er": NOISY[0], "actin": NOISY[0] + NOISY[1] * 0.3}, {}, "nearly the same"),
        (
            {"er": NOISY[0], "actin": np.random.default_rng(1).normal(size=(160, 160))},
            {},
            "'actin' shows no structure",
        ),
        ((NOISY * 60).clip(0, 65535).astype(np.uint16), {}, "saturated at 65535"),
        (NOISY, {"mixture": NOISY[0] + 0.3 * NOISY[1]}, "neither sum nor mean"),
        (np.stack([NOISY, HELD, clean(3)]), {}, "were guessed as SCYX"),
        ({"er": [NOISY[0], HELD[0]], "actin": NOISY[1]}, {}, "different numbers of planes"),
        (NOISY, {"validation": [HELD, clean(4)]}, "swapped?"),
    ],
)
def test_every_doubt_is_named(target: Any, options: dict[str, Any], warning: str) -> None:
    report = check_data(target, NAMES, **options)

    assert any(warning in text for text in report.warnings), (report.warnings, report.problems)


@pytest.mark.parametrize("names", [("er", "er"), ("er", "CON"), ("er", "consistency")])
def test_names_that_cannot_be_are_a_problem(names: tuple[str, str]) -> None:
    report = check_data(NOISY, names)

    assert len(report.problems) == 1
    assert names[1] in report.problems[0]


def test_saturation_and_structure_are_measured() -> None:
    report = check_data((NOISY * 60).clip(0, 65535).astype(np.uint16), NAMES)
    expected = (NOISY * 60 >= 65535).mean(axis=(1, 2))

    for channel, share in zip(report.channels, expected, strict=True):
        assert channel.saturated_fraction == pytest.approx(share, abs=0.01)
        assert channel.structure is not None
        assert channel.structure > 0.3


def test_a_problem_is_named_once() -> None:
    broken = NOISY[0].copy()
    broken[3, 4] = np.nan

    for target in ({"er": broken, "actin": NOISY[1]}, {"er": NOISY[1], "actin": broken}):
        report = check_data(target, NAMES, mixture=NOISY.sum(0), truth=TRUTH, validation=HELD)

        assert len(report.problems) == 1
        assert "1 NaN" in report.problems[0]


def test_constant_channels_have_no_correlation_instead_of_an_undefined_one() -> None:
    report = check_data({"er": NOISY[0], "actin": np.full((160, 160), 7)}, NAMES, truth=TRUTH)

    assert [(c.first, c.second) for c in report.correlations] == [("er", "truth er")]
    assert len(report.problems) == 1


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Folders of three fields each: `er`, `actin`, `mixture` and `truth`."""
    for number in (1, 2, 3):
        structures = clean(10 + number)
        images = {"er": structures[0], "actin": structures[1], "mixture": structures.sum(axis=0)}
        for name, image in images.items():
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / name / f"{name}_field_{number:02d}.tif", image)
    return tmp_path


def test_fields_of_one_name_belong_together(fields: Path) -> None:
    report = check_data({name: fields / name for name in NAMES}, NAMES, mixture=fields / "mixture")

    assert report.passed
    assert report.warnings == ()


def test_channels_whose_names_do_not_match_are_named(fields: Path) -> None:
    (fields / "er" / "er_field_01.tif").unlink()
    (fields / "actin" / "actin_field_03.tif").unlink()

    report = check_data({name: fields / name for name in NAMES}, NAMES)

    assert len(report.warnings) == 1
    assert re.search(
        r"er_field_02.tif is paired with \S*actin_field_01.tif, although \S*actin_field_02.tif",
        report.warnings[0],
    )


@pytest.mark.parametrize("option", ["mixture", "truth"])
def test_mixtures_and_truths_of_other_fields_are_a_problem(fields: Path, option: str) -> None:
    target = {name: [fields / name / f"{name}_field_{n:02d}.tif" for n in (1, 2)] for name in NAMES}
    other = (
        [fields / "mixture" / f"mixture_field_{n:02d}.tif" for n in (2, 3)]
        if option == "mixture"
        else {name: paths[::-1] for name, paths in target.items()}
    )

    report = check_data(target, NAMES, **{option: other})

    assert any("although" in problem for problem in report.problems), report.problems


@pytest.mark.parametrize(
    ("shapes", "count"),
    [([], 0), ([(5, 7)], 1), ([(TILE + 1, TILE)] * 3, 6), ([(90_000, 70_000)], MAX_TILES)],
)
def test_tiles_lie_within_their_planes_and_are_few(
    shapes: list[tuple[int, int]], count: int
) -> None:
    places = tile_places(shapes)

    assert len(set(places)) == len(places) == count
    for place in places:
        height, width = shapes[place.field]
        assert 0 < place.height <= min(TILE, height - place.y)
        assert 0 < place.width <= min(TILE, width - place.x)


def test_only_a_share_of_very_large_data_is_read() -> None:
    report = check_data(NOISY.astype(np.float32), NAMES, max_bytes=NOISY.size)

    assert any("one block of 4" in warning for warning in report.warnings)


def test_large_images_are_checked_within_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_BLOCK_BYTES", 4 * 2**20)
    side = 4096
    paths = {}
    for seed, name in enumerate(NAMES):
        paths[name] = tmp_path / f"{name}.zarr"
        cells = np.random.default_rng(seed).integers(0, 9, (side // 64, side // 64), np.uint16)
        array = zarr.create_array(
            paths[name], shape=(side, side), chunks=(512, 512), dtype="uint16", compressors=None
        )
        array[:] = 100 + np.kron(cells, np.ones((64, 64), np.uint16))
    check_data(NOISY, NAMES)  # imports and caches of the first call do not count

    tracemalloc.start()
    report = check_data(paths, NAMES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert report.passed, report.problems
    assert report.channels[0].n_pixels == side * side
    assert peak < side * side * 2  # less than one of the two images in its own type
