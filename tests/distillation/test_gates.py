"""What a one-pass spread is asked before it may stand in for samples."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from careamics_denoisplit.distillation import (
    Distillation,
    Estimates,
    Gate,
    Mixture,
    compare,
    gates_of,
)
from careamics_denoisplit.distillation.gates import tiles_for
from careamics_denoisplit.network import SpreadHead
from careamics_denoisplit.prediction import Estimate, Tiling

TILING = Tiling((32, 32))
CHANNELS = ("er", "actin")
WITHOUT_TRUTH = [
    "mean_square_ratio",
    "mean_square_ratio_by_decile",
    "log_std_error",
    "mean_error",
    "tile_against_whole",
]


def estimates(
    factor: float = 1.0, shift: float = 0.0, seam: float = 0.0, noise: float = 0.05
) -> Estimates:
    """Estimates whose true mean and spread are known; the one pass is off as told."""
    random = np.random.default_rng(0)
    std = np.exp(random.normal(0, 0.5, (2, 64, 64))).astype(np.float32)
    mean = random.normal(100, 20, (2, 64, 64)).astype(np.float32)

    def near(size: float) -> np.ndarray:
        return std * np.exp(random.normal(0, size, std.shape)).astype(np.float32)

    def of(mean: np.ndarray, spread: np.ndarray, count: int) -> Estimate:
        return Estimate(mean.astype(np.float32), spread.astype(np.float32), count, 0, TILING)

    moved = mean + shift * std
    stepped = moved.copy()
    stepped[:, :2] += seam * std[:, :2]
    return Estimates(
        one_pass=of(moved, factor * near(noise), 0),
        tiled=of(stepped, factor * std, 0),
        plain=of(mean + 0.4 * std, std, 0),
        few=of(mean + 0.25 * std * random.normal(size=std.shape), near(0.18), 16),
        many=of(mean + 0.05 * std * random.normal(size=std.shape), near(0.05), 200),
    )


def statuses(given: Estimates) -> dict[str, str]:
    return {gate.name: gate.status for gate in gates_of([given], CHANNELS)}


def test_a_good_one_pass_spread_passes_every_gate() -> None:
    assert statuses(estimates()) == dict.fromkeys(WITHOUT_TRUTH, "passed")


@pytest.mark.parametrize(
    ("fault", "gates"),
    [
        ({"factor": 1.08}, {"mean_square_ratio", "mean_square_ratio_by_decile"}),
        ({"factor": 0.9}, {"mean_square_ratio", "mean_square_ratio_by_decile"}),
        ({"noise": 0.4}, {"log_std_error", "mean_square_ratio_by_decile"}),
        ({"shift": 0.27}, {"mean_error"}),
        ({"seam": 2.0}, {"tile_against_whole"}),
    ],
)
def test_each_fault_fails_its_gate(fault: dict[str, float], gates: set[str]) -> None:
    found = statuses(estimates(**fault))

    assert gates <= {name for name, status in found.items() if status == "failed"}
    if "noise" not in fault:
        assert {name for name, status in found.items() if status == "failed"} == gates


def test_figures_stand_beside_those_of_samples() -> None:
    gates = {gate.name: gate for gate in gates_of([estimates(), estimates()], CHANNELS)}

    assert gates["log_std_error"].columns == ("one pass", "16 samples")
    own, few = gates["log_std_error"].figures["er"]
    assert own == pytest.approx(0.07, abs=0.01)
    assert few == pytest.approx(0.187, abs=0.01)
    assert gates["mean_error"].columns[2] == "pass with posterior means"
    assert gates["mean_error"].figures["er"][2] == pytest.approx(0.4, abs=0.02)
    assert len(gates["mean_square_ratio_by_decile"].figures["actin"]) == 10
    assert "200 samples" in gates["mean_square_ratio"].title


def test_regions_are_compared_in_one_pass_in_tiles_and_by_samples(
    trained: Any, mixtures: tuple[Mixture, ...]
) -> None:
    model = replace(trained, spread_head=SpreadHead(2, 8, 4, 2))
    told: list[tuple[int, int]] = []

    (found,) = compare(
        model,
        [mixtures[0].crop(0, 0, 64, 64)],
        reference_samples=32,
        progress=lambda done, total: told.append((done, total)),
    )

    assert (found.few.n_samples, found.many.n_samples) == (16, 32)
    assert found.few.seed != found.many.seed
    assert len(found.tiled.tiling.plan((64, 64))) > 1
    assert len(found.one_pass.tiling.plan((64, 64))) == 1
    assert told[-1] == (48, 48)
    assert [done for done, _ in told] == list(range(1, 49))


@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (64, 64), (512, 512)])
def test_tiles_of_any_region_have_a_seam_where_there_is_room(shape: tuple[int, int]) -> None:
    plan = tiles_for(shape, 8).plan(shape)

    assert (len(plan) > 1) == (max(shape) >= 32)


def test_a_record_says_in_words_what_the_gates_found() -> None:
    def record(given: Estimates) -> Distillation:
        return Distillation(
            channel_names=CHANNELS,
            width=8,
            weights_sha256="0" * 64,
            reference_samples=200,
            gates=gates_of([given], CHANNELS),
        )

    good, bad = record(estimates()), record(estimates(shift=0.4))
    assert good.passed
    assert good.words() == "The one-pass spread passed all 5 gates against 200 samples."
    assert not bad.passed
    assert [gate.name for gate in bad.failed] == ["mean_error"]
    assert "failed 1 of 5 gates: RMS error of the mean" in bad.words()
    assert not bad.model_copy(update={"gates": ()}).passed
    assert Distillation.model_validate_json(bad.model_dump_json()) == bad


def test_a_gate_that_samples_fail_as_well_does_not_call_for_samples() -> None:
    def record(*gates: Gate) -> Distillation:
        return Distillation(channel_names=CHANNELS, width=8, weights_sha256="0" * 64, gates=gates)

    own = Gate(name="own", title="own fault", limit="none", status="failed")
    shared = Gate(
        name="shared", title="shared fault", limit="none", status="failed", samples_fail=True
    )
    good = Gate(name="good", title="good", limit="none", status="passed")

    assert record(good, shared).serves
    assert not record(good, shared).passed
    assert "shared fault (none), which samples fail as well." in record(good, shared).words()
    assert not record(good, own, shared).serves
    assert not record().serves
