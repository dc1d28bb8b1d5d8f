"""The check of a package in other programs, with programs that stand in for the real ones."""

import copy
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from careamics_denoisplit.calibration import estimator_name
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError, FaultError
from careamics_denoisplit.prediction import predict_image
from careamics_denoisplit.prediction.tool_tiling import tool_tiling
from careamics_denoisplit.tile_plans import TOOLS, Tool, ToolPlan, plan_tiles
from careamics_denoisplit_export.consumers import CONSUMERS, Consumer, build_consumers
from careamics_denoisplit_export.consumers.checking import check_consumers, settle
from careamics_denoisplit_export.consumers.comparing import difference
from careamics_denoisplit_export.consumers.halos import trade_of_package
from careamics_denoisplit_export.consumers.processes import Answer, Cost, Run
from careamics_denoisplit_export.consumers.python import Options
from careamics_denoisplit_export.rules.findings import Finding, Report
from careamics_denoisplit_export.rules.subject import Subject, open_subject


@dataclass
class Pretended:
    """A consumer that computes with our own torch, and may be wrong in one way."""

    name: str = "pretended"
    tools: tuple[Tool, ...] = ("fiji",)
    built: bool = True
    wrong: float = 0.0
    problems: tuple[str, ...] = ()
    failure: str = ""
    builds: list[str] = field(default_factory=list)
    costs: dict[str, Cost] = field(default_factory=dict)
    cut: int = 0
    engine: str = "none"

    def is_built(self) -> bool:
        return self.built

    def build(self, say: Callable[[str], None]) -> None:
        say(f"building {self.name}")
        if self.failure:
            raise FaultError(self.failure)
        self.builds.append(self.name)
        self.built = True

    def run(self, package: Path, weights: Path, runs: Sequence[Run], options: Options) -> Answer:
        assert package.read_bytes()[:2] == b"PK"
        assert options.formats == ("torchscript", "pytorch_state_dict")
        if self.failure:
            raise FaultError(self.failure)
        outputs = {run.name: self.predict(run, weights) for run in runs}
        tiles = dict.fromkeys(outputs, 4)
        return Answer({"none": "0"}, outputs, tiles, self.problems, self.costs)

    def predict(self, run: Run, weights: Path) -> np.ndarray:
        script = torch.jit.load(weights)

        def forward(tile: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                output: np.ndarray = script(torch.from_numpy(tile)[None, None])[0].numpy()
            return (output + np.float32(self.wrong))[:, self.cut :]

        if run.tiles == "whole" or self.cut:
            return forward(run.image)
        plan: ToolPlan = plan_tiles(self.tools[0], run.image.shape, run.halo)
        return plan.stitch(forward(tile) for tile in plan.cut(run.image))


@pytest.fixture(scope="session")
def subject(package: Any) -> Subject:
    return open_subject(package.path)


@pytest.fixture
def _anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DENOISPLIT_REQUIRE", raising=False)


def check(subject: Subject, *consumers: Consumer, **options: Any) -> list[dict[str, Any]]:
    image = np.asarray(subject.array(subject.input)[0, 0])
    return list(check_consumers(subject, consumers=consumers, image=image, **options))


def test_a_consumer_with_the_right_numbers_passes(subject: Subject) -> None:
    reader = Pretended("reader", ())

    good, read = check(subject, Pretended(), reader)

    assert (good["status"], read["status"]) == ("passed", "passed")
    assert good["max_abs_difference"] <= 1e-3
    assert good["tiles"] == {"fiji": 4}
    assert good["versions"] == {"none": "0"}
    assert set(good["seams"]["fiji"]) == {"median", "p999", "maximum"}
    assert good["seams"]["fiji"]["maximum"] > 0
    assert read["max_abs_difference"] is None
    assert json.loads(json.dumps([good, read])) == [good, read]


def test_what_one_tile_takes_is_told_where_the_program_tells_it(subject: Subject) -> None:
    costs = {"test": Cost(9.0, 2**30), "fiji": Cost(6.0, 3 * 2**30)}

    told, untold = check(subject, Pretended(costs=costs), Pretended("silent"))

    # Time without that of the first run, which compiles; memory before the large image came.
    assert told["tile"] == {"seconds": 1.5, "peak_bytes": 2**30}
    assert "1.50 s a tile" in told["message"]
    assert "tile" not in untold


def test_a_consumer_with_other_numbers_fails(subject: Subject) -> None:
    (record,) = check(subject, Pretended(wrong=0.5))

    assert record["status"] == "failed"
    assert record["max_abs_difference"] == pytest.approx(0.5, rel=0.01)
    assert "test: " in record["message"]
    assert "fiji: " in record["message"]


@pytest.mark.parametrize("broken", [{"wrong": np.nan}, {"cut": 1}])
def test_results_that_cannot_be_compared_have_no_difference(
    subject: Subject, broken: dict[str, Any]
) -> None:
    (record,) = check(subject, Pretended(**broken))

    assert (record["status"], record["cause"]) == ("failed", "values")
    assert record["max_abs_difference"] is None
    assert set(record["seams"].get("fiji", {"none": None}).values()) == {None}
    assert "not finite" in record["message"] or "its shape is" in record["message"]
    json.dumps(record, allow_nan=False)


def test_a_tool_that_refuses_the_size_of_the_image_is_left_out(subject: Subject) -> None:
    image = np.asarray(subject.array(subject.input)[0, 0, :200, :300])
    consumers = [
        Pretended("core", ("core",)),
        Pretended("core-wrong", ("core",), wrong=0.5),
        Pretended("fiji"),
        Pretended("reader", ()),
    ]

    core, wrong, fiji, reader = check_consumers(subject, consumers=consumers, image=image)

    assert core["status"] == "skipped"
    assert "test pair: every pixel as expected; bioimageio.core cuts no image" in core["message"]
    assert core["tiles"] == {}
    assert [each["status"] for each in (wrong, fiji, reader)] == ["failed", "passed", "passed"]


@pytest.mark.parametrize(
    "size",
    [{"min": 64, "step": 64}, {"tensor_id": "raw", "axis_id": "y", "offset": 0}, None, "512"],
)
def test_a_package_of_another_form_fails_with_the_reason_but_is_read(
    subject: Subject, size: Any
) -> None:
    content = copy.deepcopy(dict(subject.content))
    for axis in content["inputs"][0]["axes"][2:]:
        axis["size"] = size

    tiled, reader = check(replace(subject, content=content), Pretended(), Pretended("reader", ()))

    assert (tiled["status"], tiled["cause"]) == ("failed", "fault")
    assert "one fixed size" in tiled["message"]
    assert reader["status"] == "passed"


@pytest.mark.parametrize("axes", [[], [{"id": "y"}], None])
def test_a_package_without_axes_fails_with_the_reason(subject: Subject, axes: Any) -> None:
    content = copy.deepcopy(dict(subject.content))
    content["outputs"][0]["axes"] = axes

    strange = replace(subject, content=content)
    (record,) = check(strange, Pretended())

    assert record["status"] == "failed"
    assert "axis" in record["message"] or "form" in record["message"]
    with pytest.raises(ConfigurationError, match="Seams cannot be measured"):
        trade_of_package(strange)


def test_a_consumer_that_fails_or_complains_fails(subject: Subject) -> None:
    records = check(
        subject,
        Pretended("reader", (), problems=("the package is failed: no author",)),
        Pretended("broken", (), failure="it failed: no such operator"),
    )

    assert [record["status"] for record in records] == ["failed", "failed"]
    assert records[0]["message"] == "the package is failed: no author"
    assert records[1]["message"] == "it failed: no such operator"


@pytest.mark.parametrize("tool", ["fiji", "ilastik"])
def test_prediction_in_the_tiles_of_a_tool_is_that_of_the_package(
    tool: Tool, calibrated: TrainedModel, package: Any
) -> None:
    """`predict --tile-plan` and the TorchScript in the same tiles: means and calibrated stds."""
    image = np.load(io.BytesIO(package.files["test_input.npy"]))[0, 0, :, :500]
    estimate = predict_image(calibrated, image, n_samples=8, tiling=tool_tiling(tool, 32))
    assert estimate.spread is not None
    name = estimator_name("samples", 8)
    std = calibrated.calibrations.std(estimate.mean, estimate.spread, name, "scalar")
    assert std is not None
    script = torch.jit.load(io.BytesIO(package.files["weights.pt"]))

    def forward(tile: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            output: np.ndarray = script(torch.from_numpy(tile)[None, None])[0].numpy()
        return output

    plan = plan_tiles(tool, image.shape, 32)
    expected = plan.stitch(forward(tile) for tile in plan.cut(image))

    assert difference(estimate.mean, expected[:2]).problem == ""
    assert difference(std.astype(np.float32), expected[2:4]).problem == ""


@pytest.mark.usefixtures("_anybody")
def test_a_consumer_that_is_not_built_is_skipped_with_the_command(subject: Subject) -> None:
    (record,) = check(subject, Pretended(built=False))

    assert record["status"] == "skipped"
    assert record["message"] == "not built; run: denoisplit check --build-consumers"


def test_a_consumer_that_is_not_built_fails_where_it_is_required(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISPLIT_REQUIRE", "zoo,consumers")

    assert check(subject, Pretended(built=False))[0]["status"] == "failed"


@pytest.mark.usefixtures("_anybody")
def test_all_asks_for_consumers_that_are_not_built(subject: Subject) -> None:
    assert check(subject, Pretended(built=False), which="all")[0]["status"] == "failed"
    assert check(subject, Pretended(), which="none") == []


def test_rules_that_wait_for_consumers_are_judged_by_them() -> None:
    rules = tuple(
        Finding(number, "title", status, "Version 4. Not run: this archive in other engines.")
        for number, status in ((3, "skipped"), (24, "skipped"), (25, "skipped"), (35, "failed"))
    )
    names = ("ilastik", "reader-0.5.14.3", "fiji", "qupath-0.6", "qupath-0.7")

    def judged(**causes: str) -> dict[int, str]:
        def status(name: str) -> str:
            cause = causes.get(name, "passed")
            return cause if cause in ("passed", "skipped") else "failed"

        records = [
            {
                "name": name,
                "engine": "e",
                "status": status(name),
                "message": "m",
                "cause": causes.get(name),
            }
            for name in names
        ]
        report = settle(Report("P.zip", "0", rules), records)
        assert [each["name"] for each in report.consumers] == list(names)
        assert report.passed is False
        messages.update({finding.id: finding.message for finding in report.findings})
        return {finding.id: finding.status for finding in report.findings}

    messages: dict[int, str] = {}
    assert judged() == {3: "passed", 24: "skipped", 25: "passed", 35: "failed"}
    assert judged(fiji="values")[25] == "failed"
    assert judged(fiji="skipped")[25] == "skipped"
    assert judged(ilastik="refused")[3] == "failed"
    # Whoever returns other numbers has read the package.
    assert judged(ilastik="values")[3] == "passed"
    for nothing_run in ("absent", "fault"):
        assert judged(ilastik=nothing_run, fiji=nothing_run) == {
            3: "skipped", 24: "skipped", 25: "skipped", 35: "failed"
        }  # fmt: skip
        assert messages[25] == "Version 4. Not run: fiji: m"
    assert settle(Report("P.zip", "0", rules), []).findings == rules
    good = settle(Report("P.zip", "0", rules), [])
    assert not good.passed
    assert good.skipped == 3


def test_weights_that_could_not_be_recognised_are_not_given_away(
    repack: Callable[[dict[str, bytes | None]], Path],
) -> None:
    strange = open_subject(repack({"weights.pt": b"not an archive"}))

    (record,) = check_consumers(strange, consumers=[Pretended()])

    assert record["status"] == "skipped"
    assert "cannot be read" in record["message"]


def test_one_failed_build_does_not_keep_the_others_from_being_built() -> None:
    said: list[str] = []
    bad = Pretended("bad", built=False, failure="no such jar")
    good, done = Pretended("good", built=False), Pretended("done")

    failures = build_consumers(said.append, [bad, good, done])

    assert failures == {"bad": "no such jar"}
    assert good.is_built()
    assert done.builds == []
    assert "bad: no such jar" in said


def test_every_consumer_has_a_name_and_says_its_versions() -> None:
    names = [consumer.name for consumer in CONSUMERS]

    assert len(set(names)) == len(names) == 8
    assert {tool for consumer in CONSUMERS for tool in consumer.tools} == set(TOOLS)
    assert all(any(char.isdigit() for char in consumer.engine) for consumer in CONSUMERS)
