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

from careamics_denoisplit.errors import DenoiSplitError, FaultError
from careamics_denoisplit.tile_plans import TileSize, Tool, plan_tiles
from careamics_denoisplit_export.architecture import architecture_source
from careamics_denoisplit_export.consumers.catalogue import CONSUMERS, Consumer
from careamics_denoisplit_export.consumers.comparing import (
    Planes,
    difference,
    expected_results,
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
from careamics_denoisplit_export.rules.findings import Finding, Report
from careamics_denoisplit_export.rules.running import reason_not_to_run
from careamics_denoisplit_export.rules.subject import Subject

Which = Literal["auto", "all", "none"]
"""Consumers that are built, all of them, or none."""

_TEST = "test"
_SETTLED_BY = {
    3: (NEW_READER.name, ILASTIK.name),
    25: (FIJI.name, QUPATH_06.name, QUPATH_07.name),
    35: (FIJI.name,),
}
"""Consumers that rules wait for; those of `rules` alone cannot judge them."""


@dataclass(frozen=True)
class _Case:
    """What every consumer is given, and what it should return."""

    package: Path
    weights: Path
    tested: Float[np.ndarray, "_ _"]
    image: Float[np.ndarray, "_ _"]
    side: int
    halo: int
    names: tuple[str, ...]
    options: Options
    expected: Mapping[str, Planes]
    whole: Planes | None

    def runs(self, tools: Sequence[Tool]) -> list[Run]:
        """Images for a consumer with these tile plans."""
        if not tools:
            return []
        test = Run(_TEST, self.tested, "whole", self.tested.shape[0], 0)
        return [test, *(self._run(tool) for tool in tools)]

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
        `name`, `engine`, `versions`, `status`, `max_abs_difference`, `message`, and for those
        that ran `seconds`, `tiles` and `seams` by tile plan; where the program tells it, `tile`:
        `seconds` for one tile, and `peak_bytes` of its process after one tile.
    """
    if which == "none":
        return ()
    built = [consumer for consumer in consumers if consumer.is_built()]
    required = which == "all" or "consumers" in os.environ.get("DENOISPLIT_REQUIRE", "").split(",")
    records = {
        consumer.name: _record(
            consumer, "failed" if required else "skipped", f"not built; run: {BUILD_COMMAND}"
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

    Parameters
    ----------
    report : Report
        Verdicts on the rules.
    records : sequence of mapping
        As `check_consumers` returns them.
    """
    told = {record["name"]: record for record in records}

    def judged(finding: Finding) -> Finding:
        needed = [told[name] for name in _SETTLED_BY.get(finding.id, ()) if name in told]
        if finding.status != "skipped" or len(needed) < len(_SETTLED_BY.get(finding.id, "-")):
            return finding
        broken = [each for each in needed if each["status"] == "failed"]
        if broken:
            text = "; ".join(f"{each['name']}: {each['message']}" for each in broken)
            return replace(finding, status="failed", message=text)
        if any(each["status"] != "passed" for each in needed):
            return finding
        engines = "; ".join(each["engine"] for each in needed)
        found = finding.message.split(" Not run:", maxsplit=1)[0]
        return replace(finding, status="passed", message=f"{found} Agreed: {engines}.")

    findings = tuple(judged(finding) for finding in report.findings)
    return replace(report, findings=findings, consumers=tuple(dict(each) for each in records))


def _run_all(
    subject: Subject,
    built: Sequence[Consumer],
    folder: Path,
    trust: bool,
    image: Float[np.ndarray, "_ _"] | None,
    say: Say,
) -> dict[str, dict[str, Any]]:
    tools = {tool for consumer in built for tool in consumer.tools}
    try:
        case = _case(subject, tools, folder, trust, image, say)
    except DenoiSplitError as error:
        return {each.name: _record(each, "failed", str(error)) for each in built}
    records = {}
    for consumer in built:
        say(f"{consumer.name} ({consumer.engine}) ...")
        records[consumer.name] = _judge(consumer, case)
    return records


def _case(
    subject: Subject,
    tools: set[Tool],
    folder: Path,
    trust: bool,
    image: Float[np.ndarray, "_ _"] | None,
    say: Say,
) -> _Case:
    """Write the files that consumers read, and compute what they should return."""
    side, halo = declared_tile(subject)
    tested = tested_plane(subject)
    image = continued(tested) if image is None else image
    package, weights = folder / "package.zip", write_weights(subject, folder)
    # The bytes that were checked, not the file, which may have changed since.
    copy_members(subject.files, package)
    forward = reference_forward(weights)
    height, width = image.shape
    say(f"computing what {height} x {width} px should give ...")
    shape = (int(height), int(width))
    size = TileSize(side)
    plans = {str(tool): plan_tiles(tool, shape, halo, size) for tool in sorted(tools)}
    expected = expected_results(plans, image, forward) if plans else {}
    return _Case(
        package=package,
        weights=weights,
        tested=tested,
        image=image,
        side=side,
        halo=halo,
        names=channel_names(subject),
        options=Options(_formats(subject, trust)),
        expected={**expected, _TEST: subject.array(subject.output)[0]},
        whole=_whole(forward, image) if plans else None,
    )


def _whole(forward: Forward, image: Float[np.ndarray, "_ _"]) -> Planes | None:
    """Predict the image at once, where memory allows."""
    try:
        (whole,) = forward([image])
    except FaultError:
        return None
    return whole


def _judge(consumer: Consumer, case: _Case) -> dict[str, Any]:
    """Run one consumer and compare all that it returns."""
    begin = time.monotonic()
    try:
        answer = consumer.run(case.package, case.weights, case.runs(consumer.tools), case.options)
    except DenoiSplitError as error:
        return _record(consumer, "failed", str(error))
    expected = case.expected
    found = {name: difference(each, expected[name]) for name, each in answer.outputs.items()}
    differing = [f"{name}: {each.problem}" for name, each in found.items() if each.problem]
    problems = [*answer.problems, *differing]
    record = _record(
        consumer, "failed" if problems else "passed", "; ".join(problems) or _praise(answer)
    )
    return record | {
        "versions": dict(answer.versions),
        "max_abs_difference": max((each.largest for each in found.values()), default=None),
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


def _seams(answer: Answer, case: _Case) -> Iterator[tuple[str, dict[str, float]]]:
    for name, tiled in answer.outputs.items():
        if name == _TEST or case.whole is None or case.whole.shape != tiled.shape:
            continue
        found = seams(tiled, case.whole, case.names)
        if found is not None:
            yield name, found._asdict()


def _praise(answer: Answer) -> str:
    if not answer.outputs:
        return "reads the package"
    tiles = ", ".join(f"{count} tiles of {n}" for n, count in answer.tiles.items() if n != _TEST)
    cost = _tile_cost(answer).get("tile")
    told = f"; {cost['seconds']:.2f} s a tile" if cost else ""
    return f"test pair and {tiles}: every pixel as expected{told}"


def _record(consumer: Consumer, status: str, message: str) -> dict[str, Any]:
    return {
        "name": consumer.name,
        "engine": consumer.engine,
        "versions": {},
        "status": status,
        "max_abs_difference": None,
        "message": message,
    }


def _formats(subject: Subject, trust: bool) -> tuple[str, ...]:
    """Return the weight formats that may be run: foreign source code only if it is trusted."""
    entry = subject.weights.get("pytorch_state_dict")
    if entry is None:
        return ("torchscript",)
    known = subject.files.get(entry["architecture"]["source"]) == architecture_source().encode()
    return ("torchscript", "pytorch_state_dict") if known or trust else ("torchscript",)
