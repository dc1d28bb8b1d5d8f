"""The README's commands, run in its order in a folder as it describes."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.cli.app import run
from careamics_denoisplit.synthetic import generate_sample

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (denoisplit .+)$", README, flags=re.MULTILINE)
OWN_TEST = {"denoisplit demo"}
"""Tested with smaller settings in test_demo.py."""


@pytest.fixture
def example_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the README describes it, with small generated images."""
    sample = generate_sample(4, size=128, seed=5)
    for part, fields in {"train": slice(0, 3), "val": slice(3, 4)}.items():
        for index, name in enumerate(("er", "actin")):
            for number in range(*fields.indices(4)):
                for root, images in ((Path(), sample.noisy), (Path("clean"), sample.clean)):
                    folder = tmp_path / root / part / name
                    folder.mkdir(parents=True, exist_ok=True)
                    tifffile.imwrite(folder / f"field_{number}.tif", images[number, index])
    (tmp_path / "mixtures").mkdir()
    mixture = sample.noisy[3].mean(axis=0, dtype=np.float32)
    tifffile.imwrite(tmp_path / "mixtures" / "cell.1.tif", mixture)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_readme_commands_run_in_order(
    example_project: Path,
    shorten: Callable[[Path, int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert COMMANDS, "no `$ denoisplit …` line found in README.md"

    for command in [command for command in COMMANDS if command not in OWN_TEST]:
        code = run([*shlex.split(command)[1:]])
        assert code == 0, f"{command}: {capsys.readouterr().err}"
        if "config" in command.split()[1]:
            shorten(example_project / "config.yaml", 16)

    scores = json.loads((example_project / "scores.json").read_text())
    assert [channel["name"] for channel in scores["channels"]] == ["er", "actin"]
    written = {path.name for path in (example_project / "results").iterdir()}
    assert written == {"cell.1_mean.ome.tif", "cell.1_std.ome.tif"}
    assert (example_project / "runs" / "er_actin" / "report.html").is_file()


def test_the_readme_shows_a_picture_that_is_there() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)

    assert pictures
    for picture in pictures:
        path = REPOSITORY / picture
        assert path.is_file()
        assert path.stat().st_size < 300_000


def test_links_of_the_readme_lead_to_files() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]

    assert links
    assert all((REPOSITORY / link).exists() for link in links)


def test_the_first_data_of_ones_own_take_ten_lines() -> None:
    section = README.split("## Your own data")[1].split("```console")[1].split("```")[0]

    assert len(section.strip().splitlines()) <= 10


def test_the_readme_says_that_nothing_is_sent() -> None:
    assert "no telemetry" in README
