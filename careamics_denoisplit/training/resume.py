"""What is in a run folder already, and whether training may go on from there."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from careamics_denoisplit.config import (
    DenoiSplitConfiguration,
    changed_keys,
    configuration_from_dict,
)
from careamics_denoisplit.data import Statistics
from careamics_denoisplit.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    NoiseModelError,
    OutputExistsError,
)
from careamics_denoisplit.files import did_you_mean
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel
from careamics_denoisplit.training.checkpoint_io import read_checkpoint
from careamics_denoisplit.training.hardware import Precision
from careamics_denoisplit.training.position import read_position

CHECKPOINTS = Path("checkpoints")
LAST = CHECKPOINTS / "last.ckpt"
BEST = CHECKPOINTS / "best.ckpt"

_INFERRED = ("axes", "target_axes", "data_type")
_OWN_FILES = ("config.yaml", "report.html")
_OWN_FOLDERS = ("checkpoints", "logs", "model")


def find_checkpoint(run: Path, *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
    """Return the checkpoint to continue from, or None for a start from the beginning.

    Parameters
    ----------
    run : pathlib.Path
        Run folder; it may be absent.
    resume, overwrite : bool
        What the user asked for.

    Raises
    ------
    OutputExistsError
        If the folder holds a run, and neither was asked for.
    ConfigurationError
        If both were asked for.
    CheckpointError
        If there is nothing to resume, or the checkpoint cannot be read.
    """
    if resume and overwrite:
        raise ConfigurationError(
            "Got both `--resume` and `--overwrite`. Continue the run or replace it, not both."
        )
    if overwrite:
        return None
    last = run / LAST
    if resume:
        return _resumable(run, last)
    if last.is_file():
        raise OutputExistsError(
            f"{run.absolute()} holds a run at {describe_progress(last)}: use --resume or "
            "--overwrite (in Python `resume=True` or `overwrite=True`)."
        )
    # A log alone is what a start leaves that was stopped at once.
    if any(run.joinpath(name).exists() for name in (*_OWN_FILES, "checkpoints", "model")):
        raise OutputExistsError(
            f"{run.absolute()} already holds files of a run without a checkpoint: use --resume "
            "or --overwrite (in Python `resume=True` or `overwrite=True`), or choose another "
            "folder."
        )
    return None


def describe_progress(checkpoint: Path) -> str:
    """Return how far a run is, for example "epoch 37 of 400"."""
    content = read_checkpoint(checkpoint, lazy=True)
    position = read_position(content)
    text = f"epoch {position.epoch} of {content.get('max_epochs', '?')}"
    if position.batches:
        text += f" and step {position.batches} of {position.batches_per_epoch}"
    return text


def clear_run(run: Path) -> None:
    """Remove what a former run wrote into the folder, and nothing else."""
    for name in _OWN_FOLDERS:
        shutil.rmtree(run / name, ignore_errors=True)
    for name in _OWN_FILES:
        run.joinpath(name).unlink(missing_ok=True)


def resumed_configuration(
    config: DenoiSplitConfiguration, checkpoint: Mapping[str, Any]
) -> DenoiSplitConfiguration:
    """Return the settings to continue with, or refuse those that give other weights.

    A cosine schedule that spans the whole run follows its new length, whose learning rate would
    rise again otherwise.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        Settings of now. What they leave to be inferred was inferred when the run started.
    checkpoint : mapping
        Holds the settings that the run was started with.

    Raises
    ------
    ConfigurationError
        Listing every key that changed, with both values.
    """
    stored = configuration_from_dict(checkpoint["hyper_parameters"]["config"])
    now = _with_inferred(config, stored)
    if _spans_the_run(stored):
        before, epochs = _period(stored), _max_epochs(now)
        stored = _with_period(stored, epochs)
        now = _with_period(now, epochs) if _period(now) == before else now
    changed = changed_keys(stored, now)
    if changed:
        raise ConfigurationError(
            f"The run was started with other settings: {'; '.join(changed)}. Only max_epochs, "
            "max_hours, loggers, workers and device may change with `--resume`; restore these, "
            "or train a new run."
        )
    return now


def with_precision(
    config: DenoiSplitConfiguration, precision: Precision
) -> DenoiSplitConfiguration:
    """Return the settings with what "auto" means on this machine; a run keeps it everywhere."""
    plain = config.to_plain()
    parameters = plain["training_config"]["trainer_params"]
    if parameters.get("precision") in (None, "auto"):
        parameters["precision"] = precision
    return configuration_from_dict(plain)


def require_same_statistics(statistics: Statistics, checkpoint: Mapping[str, Any]) -> None:
    """Refuse to continue on other images.

    Raises
    ------
    DataError
        If the statistics of the training images are not those of the run.
    """
    before, now = checkpoint["hyper_parameters"]["statistics"], statistics.model_dump(mode="json")
    # Runs of earlier versions know fewer fields, and local levels differ in a machine's last bits.
    if any(now.get(key) != before[key] for key in set(before) - {"local_levels"}):
        raise DataError(
            "The training images are not those that the run was started with: their input has "
            f"mean {statistics.input_mean:.6g} and standard deviation "
            f"{statistics.input_std:.6g}, in the run {before['input_mean']:.6g} and "
            f"{before['input_std']:.6g}. Give the same images, or train a new run."
        )


def stored_noise_models(
    given: Sequence[GaussianMixtureNoiseModel], stored: Sequence[GaussianMixtureNoiseModel]
) -> tuple[GaussianMixtureNoiseModel, ...]:
    """Return the noise models of the run, after comparing them with those that were given.

    Raises
    ------
    NoiseModelError
        If models were given and are not those of the run.
    """
    if not given:
        return tuple(stored)
    same = len(given) == len(stored) and all(
        _is_same_model(one, other) for one, other in zip(given, stored, strict=True)
    )
    if not same:
        raise NoiseModelError(
            "The noise models are not those that the run was started with. Leave them out with "
            "`--resume`, or train a new run."
        )
    return tuple(stored)


def _resumable(run: Path, last: Path) -> dict[str, Any] | None:
    if last.is_file():
        checkpoint = read_checkpoint(last)
        read_position(checkpoint)
        if "hyper_parameters" not in checkpoint:
            raise CheckpointError(f"{last} has no settings inside. Use a run folder of denoiSplit.")
        return checkpoint
    if run.joinpath("config.yaml").is_file():
        return None  # stopped before its first checkpoint
    raise CheckpointError(
        f"There is no run to continue in {run.absolute()}.{did_you_mean(run)} Check the folder, or "
        "leave out `--resume` to start one there."
    )


def _with_inferred(
    config: DenoiSplitConfiguration, stored: DenoiSplitConfiguration
) -> DenoiSplitConfiguration:
    plain, old = config.to_plain(), stored.to_plain()
    training, started = plain["training_config"], old["training_config"]
    parameters = training["trainer_params"]
    if parameters.get("precision") in (None, "auto"):
        parameters["precision"] = started["trainer_params"]["precision"]
    training["origin"] = training["origin"] or started["origin"]
    data, before = plain["data_config"], old["data_config"]
    for key in _INFERRED:
        if data.get(key) in (None, "auto"):
            data[key] = before.get(key)
    for key, value in data["normalization"].items():
        if value is None:
            data["normalization"][key] = before["normalization"].get(key)
    return configuration_from_dict(plain)


def _spans_the_run(config: DenoiSplitConfiguration) -> bool:
    period = _period(config)
    return period is not None and period == _max_epochs(config)


def _period(config: DenoiSplitConfiguration) -> int | None:
    """Return the epochs in which a cosine schedule falls; None for other schedules."""
    period: int | None = config.algorithm_config.lr_scheduler.parameters.get("T_max")
    return period


def _max_epochs(config: DenoiSplitConfiguration) -> int | None:
    epochs: int | None = config.training_config.trainer_params.get("max_epochs")
    return epochs


def _with_period(config: DenoiSplitConfiguration, epochs: int | None) -> DenoiSplitConfiguration:
    if epochs is None or epochs < 1:  # without an end: there is nothing to follow
        return config
    plain = config.to_plain()
    plain["algorithm_config"]["lr_scheduler"]["parameters"]["T_max"] = epochs
    return configuration_from_dict(plain)


def _is_same_model(one: GaussianMixtureNoiseModel, other: GaussianMixtureNoiseModel) -> bool:
    state, expected = one.state_dict(), other.state_dict()
    return state.keys() == expected.keys() and all(
        torch.equal(tensor.cpu(), expected[name].cpu()) for name, tensor in state.items()
    )
