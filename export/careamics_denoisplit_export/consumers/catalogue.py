"""All programs that packages are tried in, and how to build those that are missing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from careamics_denoisplit.errors import DenoiSplitError
from careamics_denoisplit.tile_plans import Tool
from careamics_denoisplit_export.consumers.folders import Say
from careamics_denoisplit_export.consumers.java import FIJI, QUPATH_06, QUPATH_07
from careamics_denoisplit_export.consumers.processes import Answer, Run
from careamics_denoisplit_export.consumers.python import (
    BIOENGINE,
    ILASTIK,
    NEW_READER,
    OLD_READER,
    ZOO,
    Options,
)


@runtime_checkable
class Consumer(Protocol):
    """A program that reads packages, in a process of its own."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def engine(self) -> str:
        """Its libraries with their versions."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Whose tiles it runs."""

    def is_built(self) -> bool:
        """Whether it can run."""

    def build(self, say: Say) -> None:
        """Make it ready to run."""

    def run(self, package: Path, weights: Path, runs: Sequence[Run], options: Options) -> Answer:
        """Read the package, predict the images."""


CONSUMERS: tuple[Consumer, ...] = (
    FIJI,
    QUPATH_07,
    QUPATH_06,
    ILASTIK,
    ZOO,
    BIOENGINE,
    OLD_READER,
    NEW_READER,
)
"""All programs that packages are tried in."""


def build_consumers(say: Say, consumers: Sequence[Consumer] = CONSUMERS) -> dict[str, str]:
    """Build what is missing; one failure does not keep the others from being built.

    Parameters
    ----------
    say : callable
        Shows a line of progress.
    consumers : sequence of Consumer
        What to build.

    Returns
    -------
    dict of str to str
        What went wrong, by consumer.
    """
    failures = {}
    for consumer in consumers:
        if consumer.is_built():
            continue
        try:
            consumer.build(say)
        except DenoiSplitError as error:
            failures[consumer.name] = str(error)
            say(f"{consumer.name}: {error}")
    return failures
