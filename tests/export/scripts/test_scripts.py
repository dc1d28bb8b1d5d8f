"""The scripts in model cards, run in ImageJ and Groovy as far as these go without windows."""

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

HERE = Path(__file__).parent
Run = Callable[..., subprocess.CompletedProcess[str]]

PROBE = """
for (i = 1; i <= nImages; i++) {
    selectImage(i);
    getMinAndMax(low, high);
    getLut(reds, greens, blues);
    colour = "" + reds[255] + "," + greens[255] + "," + blues[255];
    print("IMAGE " + getTitle() + "|" + low + "|" + high + "|" + colour);
}
"""
"""Appended to the macro: names, display ranges and colours of all images that it leaves."""


def blocks(card: str, language: str) -> list[str]:
    """Code blocks of a card, as a reader copies them."""
    return re.findall(rf"^```{language}\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def run(script_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a script in its interpreter."""
    folder = tmp_path_factory.mktemp("scripts")

    def start(mode: str, text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        script = folder / f"{mode}.txt"
        script.write_text(text, encoding="utf-8")
        java = ["java", "-XX:TieredStopAtLevel=1", "-cp", str(script_jars / "*")]
        command = [*java, str(HERE / "RunScripts.java")]
        return subprocess.run(
            [*command, mode, str(script), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )

    return start


@pytest.fixture(scope="session")
def result(package: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What DeepImageJ shows for the test image, but for two planes; a quarter of one is strange."""
    names = package.exported.output_channels
    split = np.load(io.BytesIO(package.files["test_output.npy"]))[0]
    planes = np.stack([split, split])
    for warning, familiar in (("consistency", 1.0), ("input_range", 0.0)):
        planes[:, names.index(warning)] = familiar
    planes[0, names.index("consistency"), :128] = 2.0
    path = tmp_path_factory.mktemp("result") / "cells_split.tif"
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "TCYX"})
    return path


def test_the_macro_names_colours_splits_and_judges_a_result(
    package: Any, run: Run, result: Path
) -> None:
    (macro,) = blocks(package.exported.card, "ijm")
    body, functions = macro.split("\n// At most")

    done = run("macro", f"{body}{PROBE}// At most{functions}", result)

    assert done.returncode == 0, done.stderr
    assert "plane 1: 25 % of the image is outside" in done.stdout
    assert "plane 2: 0 % of the image is outside" in done.stdout
    images = dict(
        line.removeprefix("IMAGE cells_split.tif ").split("|", 1)
        for line in done.stdout.splitlines()
        if line.startswith("IMAGE")
    )
    assert tuple(images) == package.exported.output_channels
    assert images["er"].endswith("255,0,255")
    assert images["actin"].endswith("0,255,0")
    assert images["consistency"].startswith("0|2|")
    assert images["input_range"].startswith("-1|1|")


def test_the_macro_compares_a_raw_image_with_the_training_first(
    package: Any, run: Run, mixture: np.ndarray, tmp_path: Path
) -> None:
    (macro,) = blocks(package.exported.card, "ijm")
    tifffile.imwrite(tmp_path / "raw.tif", mixture.astype(np.uint16))

    done = run("macro", macro, tmp_path / "raw.tif")

    lines = re.findall(r"^(\S+) % lie below: (\S+), (\S+)$", done.stdout, re.MULTILINE)
    assert [percent for percent, _, _ in lines] == ["0.1", "1", "5", "50", "95", "99", "99.9"]
    _, here, then = lines[3]
    assert float(here) == pytest.approx(np.median(mixture), rel=0.02)
    assert float(then) == 430
    # ImageJ alone has no DeepImageJ: the macro ends there.
    assert "standard deviation: " in done.stdout
    assert "outside" not in done.stdout


def test_the_macro_refuses_small_images(package: Any, run: Run, tmp_path: Path) -> None:
    (macro,) = blocks(package.exported.card, "ijm")
    tifffile.imwrite(tmp_path / "raw.tif", np.zeros((170, 400), np.uint16))

    done = run("macro", macro, tmp_path / "raw.tif")

    assert "171 pixels at each side" in done.stdout + done.stderr
    assert "lie below" not in done.stdout


def test_the_script_of_fiji_splits_a_folder_of_results(
    package: Any, run: Run, result: Path, tmp_path: Path
) -> None:
    script = blocks(package.exported.card, "groovy")[0]
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    out.mkdir()
    black = np.zeros((512, 512), np.uint16)
    tifffile.imwrite(raw / "cells of day 1.tif", black, imagej=True, resolution=(10, 10))
    shutil.copy(result, out)

    done = run("script", script, raw, out, "tiny-test-model")

    assert done.returncode == 0, done.stderr
    assert "cells of day 1.tif, plane 1: 25 % of the image is outside" in done.stdout
    names = package.exported.output_channels
    with tifffile.TiffFile(out / "cells of day 1_channels.tif") as whole:
        metadata = whole.imagej_metadata
        assert metadata["channels"] == len(names)
        assert metadata["Labels"][: len(names)] == list(names)
        assert whole.asarray().shape == (2, len(names), 512, 512)
        assert whole.pages[0].resolution == (10, 10)
    for index, name in enumerate(names):
        found, expected = (
            tifffile.imread(out / f"cells of day 1_{name}.tif"),
            tifffile.imread(result),
        )
        np.testing.assert_array_equal(found, expected[:, index])


def test_the_script_of_fiji_stops_where_two_results_would_be_called_alike(
    package: Any, run: Run, tmp_path: Path
) -> None:
    script = blocks(package.exported.card, "groovy")[0]
    for name in ("cell 1.tif", "cell 2.tif", "other.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((8, 8), np.uint16))

    done = run("script", script, tmp_path, tmp_path, "tiny-test-model")

    assert done.returncode != 0
    assert "the results of cell 1.tif and cell 2.tif alike" in done.stderr
    assert len(list(tmp_path.iterdir())) == 3


def test_the_script_of_qupath_is_groovy(package: Any, run: Run) -> None:
    script = blocks(package.exported.card, "groovy")[1]

    done = run("parse", script)
    broken = run("parse", script.replace("dnn.close()", "dnn.close("))

    assert done.returncode == 0, done.stderr
    assert broken.returncode != 0
    assert "int tile = 512, halo = 32" in script
    assert "Padding.symmetric(halo)" in script
