"""Steps of making a model: done once, resumed after an interruption."""

import json
from pathlib import Path
from typing import Any

import pytest

from careamics_denoisplit_export.models.steps import Step, run_steps


class Kitchen:
    """Three steps that leave a file each, and a diary of what was done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.diary: list[str] = []
        self.fails = ""
        self.accepted = True

    @property
    def steps(self) -> list[Step]:
        def step(name: str, **more: Any) -> Step:
            return Step(name, (self.folder / name,), lambda: self.do(name), **more)

        return [
            step("peel", is_done=lambda: self.accepted),
            step("cook", seconds_before=lambda: 7.0),
            step("eat"),
        ]

    def do(self, name: str) -> None:
        if self.fails == name:
            raise RuntimeError(name)
        self.diary.append(name)
        (self.folder / name).touch()

    def run(self) -> dict[str, float | None]:
        return run_steps(self.steps, self.folder / "steps.json", lambda _: None)


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def test_finished_steps_are_not_repeated(kitchen: Kitchen) -> None:
    first = kitchen.run()
    second = kitchen.run()

    assert kitchen.diary == ["peel", "cook", "eat"]
    assert second == first
    assert all(seconds is not None for seconds in first.values())


def test_an_interrupted_making_goes_on_where_it_stopped(kitchen: Kitchen) -> None:
    kitchen.fails = "cook"
    with pytest.raises(RuntimeError, match="cook"):
        kitchen.run()
    kitchen.fails = ""

    seconds = kitchen.run()

    assert kitchen.diary == ["peel", "cook", "eat"]
    assert list(seconds) == ["peel", "cook", "eat"]
    assert json.loads((kitchen.folder / "steps.json").read_text()) == seconds


def test_what_follows_a_repeated_step_is_repeated_too(kitchen: Kitchen) -> None:
    kitchen.run()
    (kitchen.folder / "cook").unlink()

    kitchen.run()

    assert kitchen.diary == ["peel", "cook", "eat", "cook", "eat"]


def test_outputs_that_are_not_finished_do_not_count(kitchen: Kitchen) -> None:
    kitchen.run()
    kitchen.accepted = False

    kitchen.run()

    assert kitchen.diary == ["peel", "cook", "eat"] * 2


def test_work_of_others_is_taken_with_the_time_that_it_took(kitchen: Kitchen) -> None:
    for name in ("peel", "cook"):
        (kitchen.folder / name).touch()

    seconds = kitchen.run()

    assert kitchen.diary == ["eat"]
    assert seconds["peel"] is None
    assert seconds["cook"] == 7.0
