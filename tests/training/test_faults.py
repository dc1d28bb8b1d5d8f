"""Faults in mid-training end with a named error and leave what was stored usable."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from careamics_denoisplit.errors import LockedError
from careamics_denoisplit.files import lock_run

Server = Any
Unbroken = Callable[..., Any]


def all_finite(path: Path) -> bool:
    weights = torch.load(path, weights_only=True)["state_dict"]
    return all(tensor.isfinite().all() for tensor in weights.values())


def test_e1_a_non_finite_batch_stops_and_names_term_and_step(
    server: Server, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    ended = server.train(run, poison=4)

    assert ended.code == 3
    assert "NonFiniteError" in ended.text
    assert "step 4" in ended.text
    assert "actin" in ended.text
    assert "Traceback" not in ended.text
    for name in ("best", "last"):
        assert all_finite(run / "checkpoints" / f"{name}.ckpt")
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert stored["global_step"] == 4


def test_e1_the_run_can_go_on_after_the_cause_is_gone(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    assert server.train(run, poison=4).code == 3
    assert server.train(run, resume=True).code == 0

    assert server.state(run).equals(unbroken())


SETTINGS: dict[str, dict[str, Any]] = {
    "learning rate 1": {"config": {"optimizer_params": {"lr": 1.0}}},
    "learning rate 30": {"config": {"optimizer_params": {"lr": 30.0}}},
    "learning rate 1e3": {"config": {"optimizer_params": {"lr": 1e3}}},
    "learning rate 1e9": {"config": {"optimizer_params": {"lr": 1e9}}},
    "learning rate 1e-12": {"config": {"optimizer_params": {"lr": 1e-12}}},
    "plain descent, rate 1e3": {"config": {"optimizer": "SGD", "optimizer_params": {"lr": 1e3}}},
    "Adam": {"config": {"optimizer": "Adam", "optimizer_params": {"lr": 1e-3}}},
    "bfloat16": {"config": {"trainer": {"precision": "bf16"}}},
    "bfloat16, rate 1e3": {
        "config": {"trainer": {"precision": "bf16"}, "optimizer_params": {"lr": 1e3}}
    },
    "half precision without a GPU": {"config": {"trainer": {"precision": "16-mixed"}}},
    "signals of 1e-6": {"scale": 1e-8},
    "signals of 1e-3": {"scale": 1e-5},
    "signals of 1e4": {"scale": 1e2},
    "signals of 1e9": {"scale": 1e7},
    "plain exponential": {"config": {"model_params": {"exponential": "plain"}}},
    "plain exponential, rate 1e3": {
        "config": {
            "model_params": {"exponential": "plain"},
            "optimizer_params": {"lr": 1e3},
        }
    },
    "closed form": {"config": {"model_params": {"analytic_kl": True}}},
    "closed form, rate 1e3": {
        "config": {"model_params": {"analytic_kl": True}, "optimizer_params": {"lr": 1e3}}
    },
    "gradients not clipped": {
        "config": {"trainer": {"gradient_clip_val": 1e30}, "optimizer_params": {"lr": 10.0}}
    },
    "divergence weighs 1e9": {"config": {"algorithm_params": {"kl_weight": 1e9}}},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_e2_extreme_settings_stay_finite_or_stop_by_name(
    server: Server, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    request = dict(SETTINGS[name])
    config = {"epochs": 3, "every": None, **request.pop("config", {})}

    ended = server.train(run, config=config, **request)

    if ended.code == 3:
        assert "NonFiniteError: Training stopped at step" in ended.text
    else:
        assert ended.code == 0, ended.text
        table = (run / "logs" / "metrics.csv").read_text(encoding="utf-8")
        assert not {"nan", "inf", "-inf"} & set(table.replace("\n", ",").split(","))
    for checkpoint in run.rglob("*.ckpt"):
        assert all_finite(checkpoint)


def test_e6_a_second_process_is_refused_with_the_number_of_the_first(
    server: Server, tmp_path: Path
) -> None:
    import os

    run = tmp_path / "run"
    with lock_run(run):
        ended = server.train(run)

    assert ended.code == LockedError.exit_code == 2
    assert f"process {os.getpid()}" in ended.text
    assert not list(run.glob("*"))


def test_e9_a_full_disk_names_file_and_size_and_the_run_can_go_on(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert server.train(run, config={"epochs": 1}).code == 0
    needed = (run / "checkpoints" / "last.ckpt").stat().st_size

    ended = server.train(run, resume=True, file_limit=needed // 2)

    assert ended.code == 3
    assert "StorageError: Cannot write" in ended.text
    assert "last.ckpt" in ended.text
    assert "bytes)" in ended.text
    assert server.train(run, resume=True).code == 0
    assert server.state(run).equals(unbroken())


def check_failed_write(
    server: Server, unbroken: Unbroken, run: Path, write: int, number: int
) -> None:
    ended = server.train(run, fail_at_write=[write, number])

    # A write that only tidies up may fail without harm.
    assert ended.code in {0, 2, 3}, ended.text
    assert "Traceback" not in ended.text
    if ended.code:
        assert str(run) in ended.text
    resumed = server.train(run, resume=(run / "config.yaml").is_file())
    assert resumed.code == 0, resumed.text
    assert server.state(run).equals(unbroken())


@pytest.mark.parametrize(
    ("write", "number"),
    [(0, errno.EACCES), (7, errno.ENOSPC), (11, errno.EIO), (27, errno.ENOSPC), (36, errno.EIO)],
)
def test_e9_a_failed_write_is_a_named_error_and_the_run_can_go_on(
    server: Server, unbroken: Unbroken, tmp_path: Path, write: int, number: int
) -> None:
    check_failed_write(server, unbroken, tmp_path / "run", write, number)


@pytest.mark.slow
def test_e9_any_failed_write_is_a_named_error_and_the_run_can_go_on(
    server: Server, unbroken: Unbroken, tmp_path: Path
) -> None:
    count_file = tmp_path / "count"
    assert server.train(tmp_path / "counted", count_writes=str(count_file)).code == 0
    kinds = (errno.ENOSPC, errno.EIO, errno.EACCES)

    for write in range(int(count_file.read_text(encoding="utf-8"))):
        check_failed_write(
            server, unbroken, tmp_path / f"run{write}", write, kinds[write % len(kinds)]
        )
