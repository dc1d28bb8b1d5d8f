"""Steps that are done once: what is finished is not repeated, and each is timed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from careamics_denoisplit.files import read_json, write_json

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One step of making a model.

    Attributes
    ----------
    name : str
        What happens, in a word or two.
    outputs : tuple of pathlib.Path
        What it leaves behind; it is finished when all of it is there.
    do : callable
        Does it.
    is_done : callable, optional
        Says whether outputs that are there are finished; by default they are.
    seconds_before : callable, optional
        Says how long a step took that was not done here; None where nobody knows.
    """

    name: str
    outputs: tuple[Path, ...]
    do: Callable[[], object]
    is_done: Callable[[], bool] = lambda: True
    seconds_before: Callable[[], float | None] = lambda: None

    @property
    def finished(self) -> bool:
        """Whether it need not be done."""
        return all(path.exists() for path in self.outputs) and self.is_done()


def run_steps(steps: Sequence[Step], journal: Path, say: Say) -> dict[str, float | None]:
    """Do the first step that is not finished, and all after it.

    Parameters
    ----------
    steps : sequence of Step
        In order; a later one needs what earlier ones leave.
    journal : pathlib.Path
        JSON with the duration of each step, which a later call adds to.
    say : callable
        Receives a line at every step.

    Returns
    -------
    dict of str to float or None
        Duration of each step in seconds; None for what was there before and has no record.
    """
    known: dict[str, float | None] = read_json(journal) if journal.is_file() else {}
    seconds: dict[str, float | None] = {}
    must_do = False
    for step in steps:
        must_do = must_do or not step.finished
        if not must_do:
            seconds[step.name] = known.get(step.name, step.seconds_before())
            say(f"{step.name}: done before")
        else:
            say(f"{step.name} ...")
            started = time.monotonic()
            step.do()
            seconds[step.name] = round(time.monotonic() - started, 1)
        journal.parent.mkdir(parents=True, exist_ok=True)
        write_json(journal, known | seconds)
    return seconds
