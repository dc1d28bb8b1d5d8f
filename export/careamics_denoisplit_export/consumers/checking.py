"""Run a package in every consumer that is built, and compare each with its own tile plan."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from careamics_denoisplit.errors import ConfigurationError, DenoiSplitError, FaultError
from careamics_denoisplit.tile_plans import TileSize, Tool, plan_tiles
from careamics_denoisplit_export.consumers.catalogue import CONSUMERS, Consumer
from careamics_denoisplit_export.consumers.comparing import (
    Planes,
    difference,
    expected_results,
    finite,
    seams,
)
from careamics_denoisplit_export.consumers.folders import BUILD_COMMAND, Say
from careamics_denoisplit_export.consumers.java import FIJI, QUPATH_06, QUPATH_07
from careamics_denoisplit_export.consumers.processes import Answer, Run
from careamics_denoisplit_export.consumers.python import ILASTIK, NEW_READER, Options
from careamics_denoisplit_export.consumers.reference import (
    Forward,
    channel_names,
    continued,
    declared_tile,
    reference_forward,
    tested_plane,
    write_weights,
)
from careamics_denoisplit_export.package import copy_members
from careamics_denoisplit_export.rules.findings import BrokenError, Finding, Report, words_of
from careamics_denoisplit_export.rules.running import may_run_source, reason_not_to_run
from careamics_denoisplit_export.rules.subject import Subject

Which = Literal["auto", "all", "none"]
"""Consumers that are built, all of them, or none."""

Cause = Literal["", "absent", "fault", "refused", "values"]
"""Why a consumer failed: it is not built, it or its reference broke down, it does not read the
package, or it returns other values."""

_TEST = "test"
_SETTLED_BY: dict[int, tuple[tuple[str, ...], Cause]] = {
    3: ((NEW_READER.name, ILASTIK.name), "refused"),
    25: ((FIJI.name, QUPATH_06.name, QUPATH_07.name), "values"),
    35: ((FIJI.name,), "values"),
}
"""Consumers that rules wait for, as `rules` alone cannot judge them, and what breaks the rule."""


@dataclass(frozen=True)
class _Given:
    """What every consumer reads."""

    package: Path
    weights: Path
    options: Options


@dataclass(frozen=True)
class _Case:
    """What consumers with tiles predict, and what they should return."""

    tested: Float[np.ndarray, "_ _"]
    image: Float[np.ndarray, "_ _"]
    side: int
    halo: int
    names: tuple[str, ...]
    expected: Mapping[str, Planes]
    whole: Planes | None
    refused: Mapping[str, str]

    def runs(self, tools: Sequence[Tool]) -> list[Run]:
        """Images for a consumer with these tile plans; a tool that refuses the size has none."""
        test = Run(_TEST, self.tested, "whole", self.tested.shape[0], 0)
        return [test, *(self._run(tool) for tool in tools if tool not in self.refused)]

    def _run(self, tool: Tool) -> Run:
        tiles = "qupath" if tool == "qupath-script" else tool
        return Run(tool, self.image, tiles, self.side, 0 if tool == "qupath" else self.halo)


def check_consumers(
    subject: Subject,
    which: Which = "auto",
    *,
    trust: bool = False,
    image: Float[np.ndarray, "y x"] | None = None,
    say: Say = lambda _: None,
    consumers: Sequence[Consumer] = CONSUMERS,
) -> tuple[dict[str, Any], ...]:
    """Run a package in the programs of others.

    Each gets the packaged test pair and a large image, which it cuts as its tool does. Every pixel
    of every output channel must be what our own torch returns for the same tiles.

    Parameters
    ----------
    subject : Subject
        The package.
    which : {"auto", "all", "none"}
        `auto` skips what is not built, unless DENOISPLIT_REQUIRE names the consumers; `all` counts
        it as failed.
    trust : bool
        Whether weights and source that could not be recognised may be run.
    image : numpy.ndarray of shape (Y, X) or None
        Image in raw gray values; None continues the packaged test image by reflection.
    say : callable
        Shows a line of progress.
    consumers : sequence of Consumer
        Programs to try.

    Returns
    -------
    tuple of dict
        `name`, `engine`, `versions`, `status`, `max_abs_difference` (None where nothing can be
        compared), `message`, for those that failed the `cause` ("absent", "fault", "refused" or
        "values"), and for those that ran `seconds`, `tiles` and `seams` by tile plan; where the
        program tells it, `tile`: `seconds` for one tile, and `peak_bytes` of its process after one
        tile.
    """
    if which == "none":
        return ()
    built = [consumer for consumer in consumers if consumer.is_built()]
    required = which == "all" or "consumers" in os.environ.get("DENOISPLIT_REQUIRE", "").split(",")
    records = {
        consumer.name: _record(
            consumer,
            "failed" if required else "skipped",
            f"not built; run: {BUILD_COMMAND}",
            "absent",
        )
        for consumer in consumers
        if consumer not in built
    }
    reason = reason_not_to_run(subject, trust)
    if reason:
        records |= {each.name: _record(each, "skipped", f"not run: {reason}") for each in built}
    elif built:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            records |= _run_all(subject, built, Path(folder), trust, image, say)
    return tuple(records[consumer.name] for consumer in consumers)


def settle(report: Report, records: Sequence[Mapping[str, Any]]) -> Report:
    """Add consumers to a report, and judge the rules that were waiting for them.

    A consumer that is not built, or that broke down, says nothing about the package: such a rule
    stays skipped.

    Parameters
    ----------
    report : Report
        Verdicts on the rules.
    records : sequence of mapping
        As `check_consumers` returns them.
    """
    told = {record["name"]: record for record in records}

    def judged(finding: Finding) -> Finding:
        names, breaking = _SETTLED_BY.get(finding.id, ((), ""))
        needed = [told[name] for name in names if name in told]
        if finding.status != "skipped" or not names or len(needed) < len(names):
            return finding
        failed = [each for each in needed if each["status"] == "failed"]
        broken = [each for each in failed if each.get("cause") == breaking]
        if broken:
            return replace(finding, status="failed", message=_messages(broken))
        found = finding.message.split(" Not run:", maxsplit=1)[0]
        # Whoever returns other values has at least read the package.
        silent = [each for each in failed if each.get("cause") != "values"]
        if silent:
            return replace(finding, message=f"{found} Not run: {_messages(silent)}")
        if any(each["status"] == "skipped" for each in needed):
            return finding
        engines = "; ".join(each["engine"] for each in needed)
        return replace(finding, status="passed", message=f"{found} Agreed: {engines}.")

    findings = tuple(judged(finding) for finding in report.findings)
    return replace(report, findings=findings, consumers=tuple(dict(each) for each in records))


def _messages(records: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{each['name']}: {each['message']}" for each in records)


def _run_all(
    subject: Subject,
    built: Sequence[Consumer],
    folder: Path,
    trust: bool,
    image: Float[np.ndarray, "_ _"] | None,
    say: Say,
) -> dict[str, dict[str, Any]]:
    tools = {tool for consumer in built for tool in consumer.tools}
    case, problem = None, ""
    try:
        given = _given(subject, folder, trust)
    except Exception as error:  # noqa: BLE001 - a stranger's package may hold anything
        return {each.name: _record(each, "failed", _words(error), "fault") for each in built}
    if tools:
        try:
            case = _case(subject, tools, given.weights, image, say)
        except Exception as error:  # noqa: BLE001 - a stranger's package may hold anything
            problem = _words(error)
    records = {}
    for consumer in built:
        if consumer.tools and case is None:
            records[consumer.name] = _record(consumer, "failed", problem, "fault")
            continue
        say(f"{consumer.name} ({consumer.engine}) ...")
        records[consumer.name] = _judge(consumer, given, case if consumer.tools else None)
    return records


def _words(error: Exception) -> str:
    """Say what kept consumers from running, or from being compared."""
    if isinstance(error, DenoiSplitError | BrokenError):
        return str(error)
    return f"the package has not the form that consumers are compared on: {words_of(error)}"


def _given(subject: Subject, folder: Path, trust: bool) -> _Given:
    """Write the files that consumers read."""
    package, weights = folder / "package.zip", write_weights(subject, folder)
    # The bytes that were checked, not the file, which may have changed since.
    copy_members(subject.files, package)
    # Foreign source code is run only if it is trusted.
    eager = ("pytorch_state_dict",) if may_run_source(subject, trust) else ()
    return _Given(package, weights, Options(("torchscript", *eager)))


def _case(
    subject: Subject,
    tools: set[Tool],
    weights: Path,
    image: Float[np.ndarray, "_ _"] | None,
    say: Say,
) -> _Case:
    """Compute what consumers should return."""
    side, halo = declared_tile(subject)
    tested = tested_plane(subject)
    image = continued(tested) if image is None else image
    forward = reference_forward(weights)
    height, width = image.shape
    say(f"computing what {height} x {width} px should give ...")
    shape = (int(height), int(width))
    plans, refused = {}, {}
    for tool in sorted(tools):
        try:
            plans[str(tool)] = plan_tiles(tool, shape, halo, TileSize(side))
        except ConfigurationError as error:
            refused[str(tool)] = str(error)
    expected = expected_results(plans, image, forward) if plans else {}
    return _Case(
        tested=tested,
        image=image,
        side=side,
        halo=halo,
        names=channel_names(subject),
        expected={**expected, _TEST: subject.array(subject.output)[0]},
        whole=_whole(forward, image) if plans else None,
        refused=refused,
    )


def _whole(forward: Forward, image: Float[np.ndarray, "_ _"]) -> Planes | None:
    """Predict the image at once, where memory allows."""
    try:
        (whole,) = forward([image])
    except FaultError:
        return None
    return whole


def _judge(consumer: Consumer, given: _Given, case: _Case | None) -> dict[str, Any]:
    """Run one consumer and compare all that it returns."""
    begin = time.monotonic()
    runs = [] if case is None else case.runs(consumer.tools)
    try:
        answer = consumer.run(given.package, given.weights, runs, given.options)
    except (DenoiSplitError, OSError) as error:
        return _record(consumer, "failed", str(error), "fault")
    expected = {} if case is None else case.expected
    found = {name: difference(each, expected[name]) for name, each in answer.outputs.items()}
    differing = [f"{name}: {each.problem}" for name, each in found.items() if each.problem]
    problems = [*answer.refused, *answer.problems, *differing]
    left_out = {} if case is None else case.refused
    reasons = [left_out[tool] for tool in consumer.tools if tool in left_out]
    if problems:
        cause: Cause = "refused" if answer.refused else "values"
        record = _record(consumer, "failed", "; ".join(problems), cause)
    else:
        status = "skipped" if reasons and len(reasons) == len(consumer.tools) else "passed"
        record = _record(consumer, status, "; ".join([_praise(answer), *reasons]))
    largest = max((each.largest for each in found.values()), default=np.nan)
    return record | {
        "versions": dict(answer.versions),
        "max_abs_difference": finite(largest),
        "seconds": round(time.monotonic() - begin, 1),
        "tiles": {name: count for name, count in answer.tiles.items() if name != _TEST},
        "seams": dict(_seams(answer, case)),
        **_tile_cost(answer),
    }


def _tile_cost(answer: Answer) -> dict[str, dict[str, float | int | None]]:
    """Say what one tile took: time over all tiles of the image, memory after the test pair."""
    cost = {name: each for name, each in answer.costs.items() if each.seconds is not None}
    tiled = [name for name in cost if name != _TEST]
    if not tiled or _TEST not in cost:
        return {}
    # The first run of an engine also compiles, so time is that of the image's many tiles.
    seconds = sum(cost[name].seconds or 0.0 for name in tiled)
    count = sum(answer.tiles[name] for name in tiled)
    # Later the process also holds the large image.
    return {"tile": {"seconds": round(seconds / count, 3), "peak_bytes": cost[_TEST].peak_bytes}}


def _seams(answer: Answer, case: _Case | None) -> Iterator[tuple[str, dict[str, float | None]]]:
    whole, names = (None, ()) if case is None else (case.whole, case.names)
    for name, tiled in answer.outputs.items():
        if name == _TEST or whole is None or whole.shape != tiled.shape:
            continue
        found = seams(tiled, whole, names)
        if found is not None:
            yield name, {key: finite(value) for key, value in found._asdict().items()}


def _praise(answer: Answer) -> str:
    if not answer.outputs:
        return "reads the package"
    tiles = ", ".join(f"{count} tiles of {n}" for n, count in answer.tiles.items() if n != _TEST)
    cost = _tile_cost(answer).get("tile")
    told = f"; {cost['seconds']:.2f} s a tile" if cost else ""
    return f"test pair{' and ' if tiles else ''}{tiles}: every pixel as expected{told}"


def _record(consumer: Consumer, status: str, message: str, cause: Cause = "") -> dict[str, Any]:
    return {
        "name": consumer.name,
        "engine": consumer.engine,
        "versions": {},
        "status": status,
        "max_abs_difference": None,
        "message": message,
        **({"cause": cause} if status == "failed" else {}),
    }
