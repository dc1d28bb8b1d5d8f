"""Programs of others that run packages: how they are built, asked and compared."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import FaultError, StorageError
from careamics_denoisplit.tile_plans import TOOLS, plan_tiles
from careamics_denoisplit_export.consumers import (
    FOLDER_VARIABLE,
    consumers_folder,
)
from careamics_denoisplit_export.consumers.comparing import (
    Tiles,
    difference,
    expected_results,
    finite,
    seams,
)
from careamics_denoisplit_export.consumers.driver import ilastik
from careamics_denoisplit_export.consumers.folders import (
    building,
    is_complete,
    place_of,
    run_build_step,
)
from careamics_denoisplit_export.consumers.java import FIJI, QUPATH_07, JavaConsumer
from careamics_denoisplit_export.consumers.processes import Cost, Run, ask
from careamics_denoisplit_export.consumers.python import OLD_READER

IMAGE = np.random.default_rng(4).normal(100, 20, (700, 600)).astype(np.float32)


def silent(_: str) -> None:
    """Show no progress."""


def placed(tiles: Tiles) -> list[np.ndarray]:
    """Stand in for a network: the tile, and where in the tile each pixel lies."""
    y, x = np.mgrid[:512, :512].astype(np.float32)
    return [np.stack([tile, y, x]) for tile in tiles]


# The protocol, with a program that only pretends to know the package.

FAKE = """
import json, pathlib, sys
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
finished = []
for run in job["runs"]:
    data = pathlib.Path(run["input"]).read_bytes()
    pathlib.Path(run["output"]).write_bytes(2 * data)
    told = {"seconds": 1.5, "peak_bytes": 2**30} if run["halo"] else {}
    finished.append({"tiles": run["side"], "channels": 2, **told})
report = {"versions": {"fake": "1.0"}, "runs": finished, "problems": job["problems"]}
pathlib.Path(job["report"]).write_text(json.dumps(report))
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], list[str]]:
    """Write a Python program and return the command that starts it."""

    def write(text: str) -> list[str]:
        path = tmp_path / "program.py"
        path.write_text(text)
        return [sys.executable, "-I", str(path)]

    return write


def test_an_answer_holds_versions_results_and_problems(
    program: Callable[[str], list[str]], tmp_path: Path
) -> None:
    runs = [Run("test", IMAGE, "whole", 7, 0), Run("fiji", IMAGE[:50], "fiji", 9, 3)]

    answer = ask(program(FAKE), tmp_path, {"problems": ["a blemish"]}, runs)

    assert answer.versions == {"fake": "1.0"}
    assert answer.problems == ("a blemish",)
    assert answer.tiles == {"test": 7, "fiji": 9}
    assert answer.costs == {"test": Cost(), "fiji": Cost(1.5, 2**30)}
    assert answer.outputs["test"].shape == (2, 700, 600)
    np.testing.assert_array_equal(answer.outputs["fiji"], np.stack([IMAGE[:50]] * 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise SystemExit('the engine is broken')", "it failed: the engine is broken"),
        ("raise ValueError('no such operator')", "it failed: ValueError: no such operator"),
        (
            "import sys; sys.exit('Exception in thread \"main\" no libtorch\\n\\tat Runner.main')",
            "it failed: Exception in thread",
        ),
        ("pass", "its answer cannot be read"),
        (FAKE.replace('"channels": 2', '"channels": 3'), "its answer cannot be read"),
        (FAKE.replace('"versions"', '"version"'), "its answer cannot be read: 'versions'"),
        (FAKE.replace('"runs": finished', '"runs": []'), "its answer cannot be read"),
    ],
)
def test_a_program_that_fails_or_answers_nonsense_is_an_error(
    program: Callable[[str], list[str]], tmp_path: Path, text: str, message: str
) -> None:
    runs = [Run("test", IMAGE, "whole", 512, 0)]

    with pytest.raises(FaultError, match=message):
        ask(program(text), tmp_path, {"problems": []}, runs)


def test_a_program_that_cannot_read_the_package_predicts_nothing(
    program: Callable[[str], list[str]], tmp_path: Path
) -> None:
    refusing = FAKE.replace('"runs": finished', '"runs": [], "refused": ["no author"]')

    answer = ask(program(refusing), tmp_path, {"problems": []}, [Run("a", IMAGE, "whole", 7, 0)])

    assert answer.refused == ("no author",)
    assert answer.outputs == {}


def test_a_program_that_never_ends_is_stopped(
    program: Callable[[str], list[str]], tmp_path: Path
) -> None:
    with pytest.raises(FaultError, match="it took more than 1 s"):
        ask(program("import time; time.sleep(600)"), tmp_path, {}, (), time_limit=1.0)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"no-such-java was not found"):
        ask(["no-such-java"], tmp_path, {}, ())


# Comparisons.


def test_results_within_the_bound_are_equal() -> None:
    expected = np.stack([IMAGE, 0 * IMAGE])
    inside = expected + np.float32(1e-4) * np.abs(expected)

    found = difference(inside, expected)

    assert found.problem == ""
    assert 0.005 < found.largest < 0.03


@pytest.mark.parametrize("channel", [0, 1])
def test_one_pixel_beyond_the_bound_is_found_in_every_channel(channel: int) -> None:
    expected = np.stack([IMAGE, 0 * IMAGE])
    actual = expected.copy()
    actual[channel, 17, 300] += 0.05

    found = difference(actual, expected)

    assert found.largest == pytest.approx(0.05, rel=1e-3)
    assert f"1 of {expected.size} values differ" in found.problem
    assert f"in channel {channel} at (y=17, x=300)" in found.problem


def test_other_shapes_and_numbers_that_are_none_differ() -> None:
    expected = IMAGE[None]
    broken = expected.copy()
    broken[0, 3, 3] = np.nan

    assert "its shape is" in difference(expected[:, 1:], expected).problem
    assert "1 values are not finite" in difference(broken, expected).problem
    assert "1 of the expected values are not finite" in difference(expected, broken).problem
    assert finite(difference(broken, expected).largest) is None


def test_equal_tiles_of_several_tools_are_computed_once() -> None:
    plans = {tool: plan_tiles(tool, (1000, 600), 32) for tool in TOOLS}
    image = np.random.default_rng(1).random((1000, 600), np.float32)
    computed: list[int] = []

    def forward(tiles: Tiles) -> list[np.ndarray]:
        computed.append(len(tiles))
        return placed(tiles)

    results = expected_results({str(tool): plan for tool, plan in plans.items()}, image, forward)

    # Fiji and bioimageio.core make the same tiles.
    assert sum(computed) <= sum(plan.count for plan in plans.values()) - plans["fiji"].count
    for tool, plan in plans.items():
        np.testing.assert_array_equal(results[tool], plan.stitch(placed(list(plan.cut(image)))))


def test_seams_are_measured_in_units_of_the_std() -> None:
    whole = np.stack([IMAGE, IMAGE, np.full_like(IMAGE, 4), np.full_like(IMAGE, 2)])
    tiled = whole.copy()
    tiled[1] += 3

    found = seams(tiled, whole, ("er", "actin", "er_std", "actin_spread"))

    assert found is not None
    assert (found.median, found.maximum) == pytest.approx((0.75, 1.5), rel=1e-4)
    assert seams(tiled[:2], whole[:2], ("er", "actin")) is None
    assert seams(tiled[:2], whole[:2], ("er", "actin", "er_std")) is None
    assert seams(tiled, 0 * whole, ("er", "actin", "er_std", "actin_spread")) is None


@settings(deadline=None, max_examples=15, derandomize=True)
@given(height=st.integers(180, 1100), width=st.integers(180, 700), halo=st.integers(0, 90))
def test_the_ilastik_driver_cuts_as_planned(height: int, width: int, halo: int) -> None:
    """Two ways to write down the same source: rectangles there, index vectors here."""
    image = np.random.default_rng(height).random((height, width), np.float32)
    plan = plan_tiles("ilastik", (height, width), halo)

    result, count = ilastik(image, 512, halo, lambda tile: placed([tile])[0])

    assert count == plan.count
    np.testing.assert_array_equal(result, plan.stitch(placed(list(plan.cut(image)))))


# Environments.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for environments."""
    folder = tmp_path / "consumers"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def test_environments_lie_in_the_users_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert consumers_folder() == cache
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert "careamics-denoisplit" in str(consumers_folder())


def test_another_recipe_is_another_environment(cache: Path) -> None:
    places = [place_of("fiji", {"djl": number}) for number in ("0.22.1", "0.22.2")]

    assert places[0] != places[1]
    assert {place.parent for place in places} == {cache}
    assert places[0] == place_of("fiji", {"djl": "0.22.1"})
    assert FIJI.place != JavaConsumer("fiji", "0.22.1", "1.13.1", ("fiji",)).place
    assert FIJI.place.name.startswith("fiji-djl0.22.1-libtorch2.0.0-")


def test_an_environment_appears_whole(cache: Path) -> None:
    place = place_of("tool", {"version": 1})
    with building(place, {"version": 1}) as folder:
        (folder / "file").write_text("content")
        assert not place.exists()

    assert is_complete(place)
    assert (place / "file").read_text() == "content"
    assert [path.name for path in cache.iterdir()] == [place.name]


def test_a_failed_build_leaves_nothing(cache: Path) -> None:
    place = place_of("tool", {})
    with pytest.raises(FaultError), building(place, {}) as folder:
        run_build_step([sys.executable, "-c", "raise SystemExit('ERROR: no such jar')"], folder)

    assert not is_complete(place)
    assert list(cache.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))

    with pytest.raises(StorageError, match=FOLDER_VARIABLE):
        OLD_READER.build(silent)


def test_a_build_names_the_program_that_is_missing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(cache))

    with pytest.raises(FaultError, match=r"mvn was not found.*--build-consumers"):
        QUPATH_07.build(silent)
    assert list(cache.iterdir()) == []


def test_a_failed_step_is_told_in_its_own_words(tmp_path: Path) -> None:
    text = "print('[ERROR] Could not resolve ai.djl:api'); print('help'); raise SystemExit(1)"

    with pytest.raises(FaultError, match=r"Could not resolve ai\.djl:api"):
        run_build_step([sys.executable, "-c", text], tmp_path)
