"""Progress of predictions: a bar where one can be shown, else plain lines with the time left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

from careamics_denoisplit.prediction import Progress
from careamics_denoisplit.training.progress import (
    SECONDS_BETWEEN_LINES,
    in_words,
    shows_bars,
    write_line,
)

SECONDS_WORTH_A_LINE = 20.0
"""A task that takes less is not announced."""


class PlainPasses:
    """Say after the first pass how long all will take, and from time to time what is left.

    Parameters
    ----------
    what : str
        Name of the task.
    say : callable
        Receives one line for the user.
    clock : callable
        Monotonic time in seconds.
    """

    def __init__(
        self,
        what: str,
        say: Callable[[str], None] = write_line,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._say = say
        self._clock = clock
        self._began = clock()
        self._said_at: float | None = None

    def __call__(self, done: int, total: int) -> None:
        """Take note of (finished, total) passes."""
        if not 0 < done < total:
            return
        now = self._clock()
        seconds = now - self._began
        left = seconds / done * (total - done)
        if self._said_at is None:
            self._said_at = now
            if left >= SECONDS_WORTH_A_LINE:
                self._say(f"{self._what}: about {in_words(seconds + left)} on this machine")
        elif now - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = now
            self._say(f"{self._what}: {done} of {total} passes, {in_words(left)} left")


@contextmanager
def pass_progress(what: str) -> Iterator[Progress]:
    """Show a bar with the time left on a terminal and in notebooks, else plain lines.

    Parameters
    ----------
    what : str
        Name of the task.

    Yields
    ------
    callable
        Takes (finished, total) passes.
    """
    if not shows_bars():
        yield PlainPasses(what)
        return
    with tqdm(desc=what, unit="pass", leave=False) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
