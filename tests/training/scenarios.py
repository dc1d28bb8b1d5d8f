"""Trainings in processes of their own, for tests that kill them.

Run as a program it imports the package once and then forks a child for each request, which
takes a fraction of a second instead of the many that an import takes. A request is a line of
JSON on standard input; the answer, a line of JSON, is the exit status of the child.
"""

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from careamics_denoisplit import config as settings
from careamics_denoisplit.data import DenoiSplitDataModule
from careamics_denoisplit.errors import DenoiSplitError
from careamics_denoisplit.lightning_module import DenoiSplitModule
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelInfo
from careamics_denoisplit.training import train

CHANNELS = ("er", "actin")
WRITES = {"open", "os.rename", "os.mkdir", "os.remove"}


def make_config(
    *,
    epochs: int = 3,
    seed: int = 3,
    workers: int = 0,
    every: int | None = 1,
    best: str = "min",
    trainer: dict[str, Any] | None = None,
    **options: Any,
) -> settings.DenoiSplitConfiguration:
    """Smallest training: 3 steps of 2 crops of 32 pixels per epoch, 2 levels of 4 latents."""
    return settings.create_advanced_denoisplit_config(
        "tiny",
        CHANNELS,
        patch_size=32,
        batch_size=2,
        num_epochs=epochs,
        max_hours=options.pop("max_hours", 1.0),
        seed=seed,
        num_workers=workers,
        model_params={
            "filters": 8,
            "latent_channels": (4, 4),
            "dropout": 0.1,
            "stem_stride": 1,
            **options.pop("model_params", {}),
        },
        data_params={"patches_per_epoch": 6},
        trainer_params=trainer or {},
        checkpoint_params={"monitor": "val_loss", "mode": best, "every_n_train_steps": every},
        # A schedule that acts within three epochs, so that forgetting it would show.
        lr_scheduler_params=options.pop(
            "lr_scheduler_params", {"factor": 0.5, "patience": 1, "threshold": 10.0}
        ),
        **options,
    )


def make_images(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (1, 64, 64)
    return {name: (scale * rng.gamma(2.0, 50.0, shape)).astype(np.float32) for name in CHANNELS}


def make_data(config: settings.DenoiSplitConfiguration, scale: float = 1.0) -> DenoiSplitDataModule:
    return DenoiSplitDataModule(
        config,
        make_images(1, scale),
        val_data_target=make_images(2, scale),
    )


def make_noise_models(scale: float = 1.0) -> tuple[GaussianMixtureNoiseModel, ...]:
    variance = np.log((20.0 * scale) ** 2)
    weight = torch.tensor([[0.0, 0.0], [variance, variance], [0.0, 0.0]], dtype=torch.float32)
    return tuple(
        GaussianMixtureNoiseModel(
            weight, 0.0, 500.0 * scale, scale**2, NoiseModelInfo(channel=name, verdict="pass")
        )
        for name in CHANNELS
    )


class PoisonBatch(Callback):
    """Make one training batch non-finite."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            batch.target[:, 1] = float("nan")


class SignalAt(Callback):
    """Send a signal to the own process within a step or a validation."""

    def __init__(self, step: int, number: int, times: int = 1, validation: bool = False) -> None:
        self.step = step
        self.number = number
        self.times = times
        self.validation = validation

    def on_before_optimizer_step(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.step and not self.validation:
            self._send()

    def on_validation_batch_start(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.step and self.validation:
            self._send()

    def _send(self) -> None:
        for _ in range(self.times):
            os.kill(os.getpid(), self.number)


def kill_at_write(count: int, folder: str) -> None:
    """Kill this process just before its write number `count` below a folder."""
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if not is_write(event, arguments, folder):
            return
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    sys.addaudithook(watch)


def count_writes(folder: str, result: Path) -> None:
    """Count the writes below a folder; the number is kept up to date in a file outside."""
    seen = 0
    descriptor = os.open(result, os.O_CREAT | os.O_WRONLY)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if is_write(event, arguments, folder):
            seen += 1
            os.pwrite(descriptor, f"{seen}\n".encode(), 0)

    sys.addaudithook(watch)


def fail_at_write(count: int, folder: str, number: int) -> None:
    """Let write number `count` below a folder fail, as a broken disk does."""
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if not is_write(event, arguments, folder):
            return
        seen += 1
        if seen == count + 1:
            raise OSError(number, os.strerror(number))

    sys.addaudithook(watch)


def is_write(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    if event not in WRITES or not isinstance(arguments[0], str | os.PathLike):
        return False
    if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return False
    return os.fspath(arguments[0]).startswith(folder)


def run_training(request: dict[str, Any]) -> DenoiSplitModule:
    """Train as the request says."""
    torch.set_num_threads(1)
    run = Path(request["run"])
    config = make_config(**request.get("config", {}))
    callbacks: list[Callback] = []
    if "poison" in request:
        callbacks.append(PoisonBatch(request["poison"]))
    if "signal" in request:
        callbacks.append(SignalAt(**request["signal"]))
    scale = request.get("scale", 1.0)
    data = make_data(config, scale)
    if "kill_at_write" in request:
        kill_at_write(request["kill_at_write"], str(run))
    if "count_writes" in request:
        count_writes(str(run), Path(request["count_writes"]))
    if "fail_at_write" in request:
        fail_at_write(*request["fail_at_write"][:1], str(run), request["fail_at_write"][1])
    if "file_limit" in request:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"],) * 2)
    return train(
        config,
        data,
        () if request.get("without_noise_models") else make_noise_models(scale),
        run,
        resume=request.get("resume", False),
        overwrite=request.get("overwrite", False),
        max_hours=request.get("max_hours"),
        device="cpu",
        quiet=request.get("quiet", True),
        callbacks=callbacks,
    )


def serve_child(request: dict[str, Any]) -> int:
    """Train in the child; what is said goes to the file of the request."""
    output = os.open(request["output"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if "tmpdir" in request:
        import tempfile

        os.environ["TMPDIR"] = tempfile.tempdir = request["tmpdir"]
    try:
        run_training(request)
    except DenoiSplitError as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        return error.exit_code
    except BaseException:  # noqa: BLE001  (a child must never return into the server)
        os.write(2, traceback.format_exc().encode())
        return 70
    return 0


def serve() -> None:
    """Answer requests until the input ends."""
    os.write(1, b"ready\n")
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(serve_child(request))
        _, status = os.waitpid(child, 0)
        answer = json.dumps({"exit": os.waitstatus_to_exitcode(status)})
        os.write(1, f"{answer}\n".encode())


if __name__ == "__main__":
    serve()
