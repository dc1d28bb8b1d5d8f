"""Train a model in a run folder: start it, continue it, stop it, keep its best weights."""

import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from careamics_denoisplit.config import DenoiSplitConfiguration, save_configuration
from careamics_denoisplit.data import DenoiSplitDataModule
from careamics_denoisplit.errors import ConfigurationError, FaultError, NoiseModelError
from careamics_denoisplit.files import lock_run, remove_litter, require_writable
from careamics_denoisplit.lightning_module import (
    GRADIENT_NORM,
    DenoiSplitModule,
    load_weights,
    module_from_checkpoint,
)
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel
from careamics_denoisplit.quiet_lightning import quiet_lightning
from careamics_denoisplit.training.checkpoint_io import WholeFileCheckpointIO, read_checkpoint
from careamics_denoisplit.training.checkpointing import (
    MINUTES_BETWEEN_CHECKPOINTS,
    RunCheckpoint,
    TrainingPaused,
)
from careamics_denoisplit.training.hardware import choose_device, choose_precision
from careamics_denoisplit.training.light import lights_of
from careamics_denoisplit.training.log_file import log_file
from careamics_denoisplit.training.loggers import create_loggers, finish_loggers
from careamics_denoisplit.training.position import Position, read_position
from careamics_denoisplit.training.progress import progress_callbacks, shows_bars, write_line
from careamics_denoisplit.training.resume import (
    BEST,
    CHECKPOINTS,
    LAST,
    clear_run,
    find_checkpoint,
    require_same_statistics,
    resumed_configuration,
    stored_noise_models,
    with_precision,
)
from careamics_denoisplit.training.signals import StopSignals
from careamics_denoisplit.training.start import Start, require_start

logger = logging.getLogger(__name__)

_OWN_TRAINER_PARAMETERS = {"logger", "callbacks", "default_root_dir", "enable_checkpointing"}
# With these an epoch is not what the order of patches and the metrics take it for.
_REFUSED_TRAINER_PARAMETERS = {
    "barebones",
    "fast_dev_run",
    "max_steps",
    "max_time",
    "min_steps",
    "overfit_batches",
    "plugins",
    "reload_dataloaders_every_n_epochs",
    "val_check_interval",
}


def train(
    config: DenoiSplitConfiguration,
    datamodule: DenoiSplitDataModule,
    noise_models: Sequence[GaussianMixtureNoiseModel],
    run: Path,
    *,
    start: Start | None = None,
    resume: bool = False,
    overwrite: bool = False,
    force: bool = False,
    max_hours: float | int | None = None,
    device: str = "auto",
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
    on_start: Callable[[lightning.Trainer], None] | None = None,
    on_end: Callable[[DenoiSplitModule], None] | None = None,
) -> DenoiSplitModule:
    """Train in a run folder and return the module with its best weights.

    Writes `config.yaml`, `checkpoints/best.ckpt`, `checkpoints/last.ckpt`, `logs/metrics.csv`
    and `logs/denoisplit.log`. Killed at any moment and continued with `resume`, the run ends
    with the weights of an unbroken one, to the bit, for the same number of threads.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        All settings.
    datamodule : DenoiSplitDataModule
        Training and validation images.
    noise_models : sequence of C GaussianMixtureNoiseModel
        One for each channel; empty for a Gaussian likelihood, and allowed to be empty with
        `resume`.
    run : pathlib.Path
        Run folder.
    start : Start, optional
        Weights to start from; a run that is continued has its own.
    resume, overwrite : bool
        What to do with a run that is already in the folder.
    force : bool
        Whether to train with a noise model whose verdict is "fail".
    max_hours : float, optional
        Hours after which training ends with the current step; the run can be continued.
    device : str
        "auto", "cpu", "cuda", "cuda:<number>" or "mps".
    quiet : bool
        Whether to write nothing to the terminal.
    callbacks : sequence of Callback
        Further callbacks of Lightning.
    on_start : callable, optional
        Receives the trainer before training starts, for example to stop it from outside.
    on_end : callable, optional
        Receives the module with its best weights while the run is still locked.

    Returns
    -------
    DenoiSplitModule
        With the weights of the epoch of lowest validation loss, on the CPU.

    Raises
    ------
    InputError
        If settings, data, noise models or folder do not fit; nothing was written.
    NonFiniteError
        If a term, gradient or weight is not finite any more; stored checkpoints still are.
    StorageError
        If a file cannot be written; stored checkpoints stay usable.
    StoppedError
        If the user or the scheduler stopped it; the exit code is 130 or 143.
    """
    run = Path(run)
    hardware = choose_device(_wanted_device(config, device))
    _require_known_parameters(config)
    require_writable(run)
    checkpoint = find_checkpoint(run, resume=resume, overwrite=overwrite)
    if checkpoint is not None:
        config, start = resumed_configuration(config, checkpoint), None
    else:
        require_start(config, None if overwrite else run, start)
    precision = choose_precision(
        config.training_config.trainer_params.get("precision"), hardware.accelerator
    )
    config = with_precision(datamodule.resolve(config), precision)
    module = _build_module(config, datamodule, noise_models, checkpoint, force=force)
    if config.algorithm_config.dimming:
        datamodule.set_lights(lights_of(module.noise_models, config))
    if start is not None:
        load_weights(module.network, start.weights)
    hours = config.training_config.max_hours if max_hours is None else max_hours
    with lock_run(run), _prepared(run, config, overwrite=overwrite):
        say = _reporter(quiet=quiet)
        if start is not None:
            say(start.words)
        position = Position(0, 0, 1) if checkpoint is None else read_position(checkpoint)
        if checkpoint is not None and _is_finished(config, checkpoint, position):
            say(_finished_text(config, checkpoint, position, run))
            return _ended(module, run, on_end)
        with StopSignals(say) as signals, quiet_lightning():
            record = _checkpoint_callback(config, run, signals, hours)
            trainer = lightning.Trainer(
                **_trainer_parameters(config),
                **hardware._asdict(),
                precision=precision,
                default_root_dir=run,
                logger=create_loggers(
                    config,
                    run / "logs",
                    epochs=position.epoch,
                    step=0 if checkpoint is None else int(checkpoint["global_step"]),
                ),
                callbacks=[
                    signals,
                    record,
                    *progress_callbacks(say, quiet=quiet, max_hours=hours),
                    *_early_stopping(config),
                    *callbacks,
                ],
            )
            trainer.strategy.checkpoint_io = WholeFileCheckpointIO()
            if on_start is not None:
                on_start(trainer)
            patches = position.batches * config.data_config.batch_size
            datamodule.set_position(position.epoch, min(patches, len(datamodule.train_dataset)))
            _describe(config, module, trainer, position)
            _fit(trainer, module, datamodule, None if checkpoint is None else run / LAST, signals)
        say(_summary(trainer, record))
        return _ended(module, run, on_end)


def _fit(
    trainer: lightning.Trainer,
    module: DenoiSplitModule,
    datamodule: DenoiSplitDataModule,
    checkpoint: Path | None,
    signals: StopSignals,
) -> None:
    """Run Lightning, and translate the ways in which it ends."""
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except TrainingPaused:
        return
    except SystemExit as error:
        # Lightning turns the interrupt of a second Ctrl-C into exit status 1.
        if signals.received is None:
            raise
        raise signals.error() from error
    except torch.OutOfMemoryError as error:
        raise FaultError(
            "The device ran out of memory during training. Halve `batch_size` or `patch_size` in "
            "a new run, or continue this one with `--resume --device cpu`."
        ) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise FaultError(
            f"A worker that loads images died: {str(error).splitlines()[0]}. It may have run out "
            "of memory: continue with `--resume` and fewer workers (`num_workers: 0`)."
        ) from error
    finally:
        finish_loggers(trainer.loggers)


def _build_module(
    config: DenoiSplitConfiguration,
    datamodule: DenoiSplitDataModule,
    noise_models: Sequence[GaussianMixtureNoiseModel],
    checkpoint: dict[str, Any] | None,
    *,
    force: bool,
) -> DenoiSplitModule:
    if checkpoint is not None:
        noise_models = stored_noise_models(
            noise_models, module_from_checkpoint(checkpoint).noise_models
        )
    elif not force:
        _require_sound(noise_models)
    if checkpoint is not None:
        require_same_statistics(datamodule.statistics, checkpoint)
    # Noise models of a model that was opened to predict are in evaluation mode.
    return DenoiSplitModule(config, datamodule.statistics, noise_models).train()


def _require_sound(noise_models: Sequence[GaussianMixtureNoiseModel]) -> None:
    failed = [model.info.channel or "?" for model in noise_models if model.info.verdict == "fail"]
    if failed:
        raise NoiseModelError(
            f"The noise model of {', '.join(failed)} failed its quality check, and a bad noise "
            "model silently spoils training. Read its report, fit it on better data, or train "
            "with `--force` (in Python `force=True`)."
        )


def _wanted_device(config: DenoiSplitConfiguration, device: str) -> str:
    wanted = config.training_config.trainer_params.get("accelerator", "auto")
    if device != "auto" or wanted in {"auto", None}:
        return device
    return "cuda" if wanted == "gpu" else str(wanted)


def _require_known_parameters(config: DenoiSplitConfiguration) -> None:
    refused = _REFUSED_TRAINER_PARAMETERS & set(config.training_config.trainer_params)
    if refused:
        raise ConfigurationError(
            f"`trainer_params` sets {', '.join(sorted(refused))}, which a run that can be "
            "continued exactly does not allow. Use max_epochs, limit_train_batches and "
            "max_hours instead."
        )


def _trainer_parameters(config: DenoiSplitConfiguration) -> dict[str, Any]:
    given = config.training_config.trainer_params
    own = _OWN_TRAINER_PARAMETERS | {"accelerator", "devices", "precision", "enable_progress_bar"}
    kept = {key: value for key, value in given.items() if key not in own}
    return {
        "gradient_clip_val": GRADIENT_NORM,
        "enable_progress_bar": shows_bars(),
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
    } | kept


def _checkpoint_callback(
    config: DenoiSplitConfiguration, run: Path, signals: StopSignals, hours: float | int | None
) -> RunCheckpoint:
    settings = config.training_config.checkpoint_params
    interval = settings.get("train_time_interval")
    return RunCheckpoint(
        run / CHECKPOINTS,
        signals,
        monitor=settings.get("monitor") or "val_loss",
        mode=settings.get("mode", "min"),
        every_n_steps=settings.get("every_n_train_steps"),
        minutes=MINUTES_BETWEEN_CHECKPOINTS if interval is None else float(interval) / 60,
        max_hours=hours,
    )


def _early_stopping(config: DenoiSplitConfiguration) -> list[Callback]:
    settings = config.training_config.early_stopping_params
    return [EarlyStopping(**settings)] if settings else []


def _is_finished(
    config: DenoiSplitConfiguration, checkpoint: dict[str, Any], position: Position
) -> bool:
    last_epoch = config.training_config.trainer_params.get("max_epochs")
    reached = last_epoch is not None and 0 <= last_epoch <= position.epoch
    stopped_early: bool = checkpoint["ended"] == "early stopping"
    return reached or stopped_early


def _finished_text(
    config: DenoiSplitConfiguration, checkpoint: dict[str, Any], position: Position, run: Path
) -> str:
    """Say that there was nothing left to train, and what would let it go on."""
    if checkpoint["ended"] == "early stopping":
        return (
            f"This run is finished: early stopping ended it at epoch {position.epoch}. Nothing was "
            "trained. Start a new run with a larger `patience` in `early_stopping_params` to train "
            "longer."
        )
    last = config.training_config.trainer_params.get("max_epochs")
    return (
        f"This run is finished: it has reached epoch {position.epoch} of {last}. Nothing was "
        "trained. To go on, raise `max_epochs` (training_config, trainer_params) in the "
        f"configuration, such as {run / 'config.yaml'}, and give the same command again."
    )


def _ended(
    module: DenoiSplitModule, run: Path, on_end: Callable[[DenoiSplitModule], None] | None
) -> DenoiSplitModule:
    """Return the module with its best weights, after handing it over."""
    best = run / BEST if (run / BEST).is_file() else run / LAST
    load_weights(module, read_checkpoint(best)["state_dict"])
    module.eval()
    if on_end is not None:
        on_end(module)
    return module


def _describe(
    config: DenoiSplitConfiguration,
    module: DenoiSplitModule,
    trainer: lightning.Trainer,
    position: Position,
) -> None:
    parameters = sum(parameter.numel() for parameter in module.network.parameters())
    logger.info(
        "Training %r: %s, channels %s, %d parameters, seed %d, %s, precision %s, %d threads, "
        "torch %s, Python %s, from epoch %d and batch %d.",
        config.experiment_name,
        config.algorithm_config.algorithm,
        ", ".join(module.channel_names),
        parameters,
        config.algorithm_config.seed,
        trainer.strategy.root_device,
        trainer.precision,
        torch.get_num_threads(),
        torch.__version__,
        platform.python_version(),
        position.epoch,
        position.batches,
    )


def _summary(trainer: lightning.Trainer, record: RunCheckpoint) -> str:
    why = {
        "": f"after epoch {trainer.max_epochs}",
        "early stopping": "by early stopping",
        "time limit": "at the time limit; `--resume` continues it",
        "request": "on request; `--resume` continues it",
    }[record.ended]
    best = record.best_model_score
    score = "" if best is None else f" Best {record.monitor}: {best:.4f}."
    return f"Training ended {why}.{score} {Path(record.last_model_path).parent.absolute()}"


def _reporter(*, quiet: bool) -> Callable[[str], None]:
    def say(text: str) -> None:
        logger.info(text)
        if not quiet:
            write_line(text)

    return say


@contextmanager
def _prepared(run: Path, config: DenoiSplitConfiguration, *, overwrite: bool) -> Iterator[None]:
    """Make the run folder ready and keep its log while the block runs."""
    if overwrite:
        clear_run(run)
    remove_litter(run)
    save_configuration(config, run / "config.yaml")
    with log_file(run / "logs" / "denoisplit.log"):
        yield
