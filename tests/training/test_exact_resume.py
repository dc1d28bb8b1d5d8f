"""A run that was broken off and continued equals one that never was, to the bit."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from careamics_denoisplit.config import load_configuration
from careamics_denoisplit.training import read_metrics

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (another disk than the test's folder)
Server = Any
Unbroken = Callable[..., Any]


@pytest.mark.parametrize(
    ("step", "validation", "every"),
    [
        pytest.param(4, False, 1, id="mid-epoch"),
        pytest.param(3, True, 1, id="before the validation"),
        pytest.param(3, False, None, id="after an epoch"),
        pytest.param(0, False, 1, id="before the first checkpoint"),
    ],
)
def test_e5_a_killed_run_ends_with_the_weights_and_metrics_of_an_unbroken_one(
    server: Server,
    unbroken: Unbroken,
    tmp_path: Path,
    step: int,
    validation: bool,
    every: int | None,
) -> None:
    run = tmp_path / "run"
    kill = {"step": step, "number": int(signal.SIGKILL), "validation": validation}

    killed = server.train(run, config={"every": every}, signal=kill)
    resumed = server.train(run, config={"every": every}, resume=True)

    assert killed.code == -signal.SIGKILL
    assert resumed.code == 0, resumed.text
    assert server.state(run).equals(unbroken())


def test_e5_the_best_epoch_of_before_the_break_stays_the_best(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # The loss falls, so that the largest is that of the first epoch.
    config = {"best": "max"}
    kill = {"step": 7, "number": int(signal.SIGKILL)}

    killed = server.train(run, config=config, signal=kill)
    resumed = server.train(run, config=config, resume=True)

    assert killed.code == -signal.SIGKILL
    assert resumed.code == 0, resumed.text
    assert server.state(run).equals(unbroken(**config))
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["position"]["epoch"] == 1


def test_e5_any_number_of_workers_gives_the_same_run(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    kill = {"step": 4, "number": int(signal.SIGKILL)}

    killed = server.train(run, config={"workers": 2}, signal=kill)
    resumed = server.train(run, config={"workers": 2}, resume=True)

    assert killed.code == -signal.SIGKILL
    assert resumed.code == 0, resumed.text
    assert server.state(run).equals(unbroken())


def test_e5_a_run_whose_channels_are_dimmed_is_continued_exactly(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = {"algorithm_params": {"dimming": 0.7}}
    kill = {"step": 4, "number": int(signal.SIGKILL)}

    assert server.train(run, config=config, signal=kill).code == -signal.SIGKILL
    assert server.train(run, config=config, resume=True).code == 0

    state = server.state(run)
    assert state.equals(unbroken(**config))
    assert not state.equals(unbroken())


def test_e5_two_epochs_and_two_more_equal_four(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    first = server.train(run, config={"epochs": 2})
    then = server.train(run, config={"epochs": 4}, resume=True)

    assert (first.code, then.code) == (0, 0), then.text
    assert server.state(run).equals(unbroken(epochs=4))
    assert "seconds" in (run / "logs" / "metrics.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("period_of_now", [2, 4], ids=["edited file", "new configuration"])
def test_e5_a_cosine_schedule_over_the_run_follows_a_run_that_is_prolonged(
    server: Server, tmp_path: Path, period_of_now: int
) -> None:
    run = tmp_path / "run"

    def cosine(epochs: int, period: int) -> dict[str, Any]:
        parameters = {"T_max": period, "eta_min": 1e-4}
        return {
            "epochs": epochs,
            "every": None,
            "lr_scheduler": "CosineAnnealingLR",
            "lr_scheduler_params": parameters,
            "optimizer_params": {"lr": 1e-2},
        }

    first = server.train(run, config=cosine(2, 2))
    then = server.train(run, config=cosine(4, period_of_now), resume=True)

    assert (first.code, then.code) == (0, 0), then.text
    table = read_metrics(run / "logs" / "metrics.csv")
    rates = [float(row["learning_rate"]) for row in table]
    assert rates == pytest.approx([1e-2, 5.05e-3, 1e-4, 1e-4])
    assert (
        load_configuration(run / "config.yaml").algorithm_config.lr_scheduler.parameters["T_max"]
        == 4
    )


def test_c4_another_period_of_the_schedule_is_refused_at_resume(
    server: Server, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = {"epochs": 1, "every": None, "lr_scheduler": "CosineAnnealingLR"}

    server.train(run, config={**config, "lr_scheduler_params": {"T_max": 1}})
    other = {**config, "epochs": 2, "lr_scheduler_params": {"T_max": 7}}
    refused = server.train(run, config=other, resume=True)

    assert refused.code == 2
    assert "T_max" in refused.text


def test_e5_gradients_gathered_over_steps_are_continued_exactly(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = {"trainer": {"accumulate_grad_batches": 2}}
    kill = {"step": 3, "number": int(signal.SIGKILL)}

    assert server.train(run, config=config, signal=kill).code == -signal.SIGKILL
    assert server.train(run, config=config, resume=True).code == 0

    assert server.state(run).equals(unbroken(**config))


def test_e5_early_stopping_and_a_stepwise_schedule_are_continued_exactly(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = {
        "epochs": 6,
        "every": None,
        "early_stopping_params": {"monitor": "val_loss", "patience": 2, "min_delta": 10.0},
        "lr_scheduler": "StepLR",
        "lr_scheduler_params": {"step_size": 1, "gamma": 0.5},
    }
    kill = {"step": 4, "number": int(signal.SIGKILL)}

    assert server.train(run, config=config, signal=kill).code == -signal.SIGKILL
    assert server.train(run, config=config, resume=True).code == 0

    state = server.state(run)
    assert state.equals(unbroken(**config))
    assert len(state.metrics.splitlines()) == 1 + 3
    again = server.train(run, config=config, resume=True, quiet=False)
    assert (again.code, "is finished" in again.text) == (0, True)
    assert server.state(run).equals(state)


def test_e5_a_resumed_run_needs_no_noise_models_again(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    assert server.train(run, config={"epochs": 2}).code == 0
    resumed = server.train(run, resume=True, without_noise_models=True)

    assert resumed.code == 0, resumed.text
    assert server.state(run).equals(unbroken())


def check_kill(server: Server, unbroken: Unbroken, run: Path, write: int, **request: Any) -> None:
    """Kill a training just before one of its writes; nothing may be cut, lost or left over."""
    server.train(run, kill_at_write=write, **request)
    for checkpoint in run.rglob("*.ckpt"):
        if not checkpoint.name.startswith(".denoisplit"):
            torch.load(checkpoint, weights_only=True)
    resumed = server.train(run, resume=(run / "config.yaml").is_file(), **request)

    assert resumed.code == 0, resumed.text
    assert server.state(run).equals(unbroken())
    assert not list(run.rglob(".*"))


@pytest.mark.parametrize("write", [0, 8, 24, 33, 45, 61, 109])
def test_e3_a_kill_at_a_write_loses_nothing(
    server: Server, unbroken: Unbroken, tmp_path: Path, write: int
) -> None:
    check_kill(server, unbroken, tmp_path / "run", write)


@pytest.mark.slow
def test_e3_a_kill_at_any_write_loses_nothing(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    count_file = tmp_path / "count"
    assert server.train(tmp_path / "counted", count_writes=str(count_file)).code == 0
    count = int(count_file.read_text(encoding="utf-8"))
    assert count > 90
    elsewhere = SHARED_MEMORY if SHARED_MEMORY.is_dir() else tmp_path

    for write in range(count):
        # Every second one with temporary files on another disk.
        request = {"tmpdir": str(elsewhere)} if write % 2 else {}
        check_kill(server, unbroken, tmp_path / f"run{write}", write, **request)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
@pytest.mark.parametrize("validation", [False, True], ids=["in a step", "in a validation"])
def test_e4_a_signal_stores_the_step_and_the_run_can_go_on(
    server: Server,
    unbroken: Unbroken,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    validation: bool,
) -> None:
    run = tmp_path / "run"
    step = 3 if validation else 1
    config = {"every": None}

    stopped = server.train(
        run,
        config=config,
        signal={"step": step, "number": int(number), "validation": validation},
        quiet=False,
    )
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    resumed = server.train(run, config=config, resume=True)

    assert stopped.code == code, stopped.text
    assert "Press Ctrl-C again" in stopped.text
    assert "--resume" in stopped.text
    assert stored["global_step"] == (3 if validation else 2)
    assert resumed.code == 0, resumed.text
    assert server.state(run).equals(unbroken())


def test_e4_a_second_ctrl_c_stops_at_once_and_older_steps_are_kept(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    stopped = server.train(run, signal={"step": 4, "number": int(signal.SIGINT), "times": 2})
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    resumed = server.train(run, resume=True)

    assert stopped.code == 130, stopped.text
    assert stored["global_step"] == 4
    assert resumed.code == 0, resumed.text
    assert server.state(run).equals(unbroken())


def test_e4_a_time_limit_ends_a_run_that_can_go_on(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    limited = server.train(run, max_hours=1e-9, quiet=False)
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    resumed = server.train(run, resume=True)

    assert limited.code == 0, limited.text
    assert "time limit" in limited.text
    assert stored["global_step"] == 1
    assert resumed.code == 0, resumed.text
    assert server.state(run).equals(unbroken())


def test_e8_the_seed_decides_the_weights(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    assert server.train(tmp_path / "same").code == 0
    assert server.train(tmp_path / "other", config={"seed": 4}).code == 0

    assert server.state(tmp_path / "same").equals(unbroken())
    other = server.state(tmp_path / "other").weights
    name = "network.head.weight"
    assert not torch.equal(other[name], unbroken().weights[name])
    log = (tmp_path / "same" / "logs" / "denoisplit.log").read_text(encoding="utf-8")
    assert "seed 3" in log
    assert "1 threads" in log
