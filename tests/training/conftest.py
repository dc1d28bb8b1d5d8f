"""Trainings in forked processes, each a fraction of a second."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch

from careamics_denoisplit.lightning_module import DenoiSplitModule

SERVER = Path(__file__).with_name("scenarios.py")
REPOSITORY = SERVER.parents[2]


class Ended(NamedTuple):
    """How a training in its own process ended."""

    code: int
    """Exit code; negative for a signal."""
    text: str
    """What it wrote to the terminal."""


class State(NamedTuple):
    """What a finished run leaves, in comparable form."""

    weights: dict[str, torch.Tensor]
    """State dict of `last.ckpt`."""
    best: dict[str, torch.Tensor]
    """State dict of `best.ckpt`."""
    metrics: str
    """Table of metrics without durations."""

    def equals(self, other: "State") -> bool:
        return (
            same_tensors(self.weights, other.weights)
            and same_tensors(self.best, other.best)
            and self.metrics == other.metrics
        )


class TrainingServer:
    """A process that has imported everything and forks for each training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "export")])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._read() == "ready"

    def train(self, run: Path, **request: Any) -> Ended:
        output = self.folder / "output.txt"
        request |= {"run": str(run), "output": str(output)}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        code = int(json.loads(self._read())["exit"])
        return Ended(code, output.read_text(encoding="utf-8"))

    def state(self, run: Path) -> State:
        return read_state(run)

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """Builders of the smallest training: `make_config`, `make_data`, `make_noise_models`."""
    spec = importlib.util.spec_from_file_location("training_scenarios", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def module(tiny: ModuleType) -> DenoiSplitModule:
    """A module that was not trained."""
    config = tiny.make_config()
    return DenoiSplitModule(config, tiny.make_data(config).statistics, tiny.make_noise_models())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainingServer]:
    server = TrainingServer(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def unbroken(
    server: TrainingServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., State]:
    """Train without a break, once for each configuration."""
    known: dict[str, State] = {}

    def train(**config: Any) -> State:
        key = json.dumps(config, sort_keys=True)
        if key not in known:
            run = tmp_path_factory.mktemp("unbroken") / "run"
            ended = server.train(run, config=config)
            assert ended.code == 0, ended.text
            known[key] = read_state(run)
        return known[key]

    return train


def read_state(run: Path) -> State:
    return State(
        read_weights(run / "checkpoints" / "last.ckpt"),
        read_weights(run / "checkpoints" / "best.ckpt"),
        without_durations((run / "logs" / "metrics.csv").read_text(encoding="utf-8")),
    )


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return weights


def same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


def without_durations(table: str) -> str:
    lines = [line.split(",") for line in table.splitlines()]
    column = lines[0].index("seconds")
    return "\n".join(",".join(line[:column] + line[column + 1 :]) for line in lines)
