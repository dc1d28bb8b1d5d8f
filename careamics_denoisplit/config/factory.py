"""Functions that create configurations from a preset and a few choices."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict, Unpack

from pydantic import ValidationError

from careamics_denoisplit.config.algorithm import (
    GAUSSIAN_ALGORITHMS,
    NOISE_MODEL_ALGORITHMS,
    AlgorithmName,
    Mixing,
    ScheduleName,
)
from careamics_denoisplit.config.configuration import DenoiSplitConfiguration
from careamics_denoisplit.config.data import DataType
from careamics_denoisplit.config.loading import explain
from careamics_denoisplit.config.presets import PRESETS, Preset
from careamics_denoisplit.config.training import early_stopping
from careamics_denoisplit.errors import ConfigurationError

_MUSPLIT_PATCH = 64
_HDN_LATENTS = (32,) * 6
_HDN_PATIENCE = (15, 100)
_HDN_EPOCHS = 200


class AdvancedOptions(TypedDict, total=False):
    """Options of `create_advanced_denoisplit_config` beyond the usual ones."""

    model_params: dict[str, Any]
    """Fields of `NetworkConfig` that replace those of the preset."""
    algorithm_params: dict[str, Any]
    """Fields of `DenoiSplitAlgorithm` that replace those of the preset."""
    data_params: dict[str, Any]
    """Fields of `DenoiSplitDataConfig` that replace those of the preset."""
    trainer_params: dict[str, Any]
    """Parameters of Lightning's trainer."""
    optimizer: Literal["Adam", "SGD", "Adamax", "AdamW"]
    """Name of the optimiser."""
    optimizer_params: dict[str, Any]
    """Parameters of the optimiser."""
    lr_scheduler: ScheduleName
    """Name of the schedule of the learning rate."""
    lr_scheduler_params: dict[str, Any]
    """Parameters of the schedule."""
    logger: Literal["wandb", "tensorboard", "none"]
    """Logger beside the CSV file."""
    checkpoint_params: dict[str, Any]
    """Parameters of Lightning's checkpoint callback."""
    early_stopping_params: dict[str, Any] | None
    """Parameters of Lightning's early stopping; None never stops early."""
    num_workers: int
    """Processes that prepare patches."""


def create_denoisplit_config(
    experiment_name: str,
    channel_names: Sequence[str],
    preset: str = "laptop",
    *,
    axes: str | None = None,
    data_type: DataType | None = None,
    patch_size: int | Sequence[int] | None = None,
    batch_size: int | None = None,
    num_epochs: int | None = None,
    num_steps: int | None = None,
    max_hours: float | None = None,
    algorithm: AlgorithmName = "denoisplit",
    mixing: Mixing = "mean",
    augment: bool | None = None,
    seed: int = 0,
) -> DenoiSplitConfiguration:
    """Create a configuration from a preset.

    Parameters
    ----------
    experiment_name : str
        Name of the experiment: letters, digits, spaces, ``-`` and ``_``.
    channel_names : sequence of str
        Name of each channel, in the order of the targets; "F-actin" becomes the identifier
        ``F_actin`` and stays the label.
    preset : {"paper", "fast", "laptop"}
        Size of network and length of training; `careamics_denoisplit.config.presets` says what
        each costs.
    axes : str, optional
        Letters of STCZYX for each dimension of the data; inferred from the data by default.
    data_type : {"auto", "array", "tiff", "zarr", "czi", "custom"}, optional
        Kind of the data; inferred by default.
    patch_size : int or two ints, optional
        Side of the square training crops in pixels.
    batch_size : int, optional
        Crops per step.
    num_epochs : int, optional
        Largest number of epochs.
    num_steps : int, optional
        Steps per epoch; by default as many crops as fit beside each other into the data.
    max_hours : float, optional
        Hours after which training stops.
    algorithm : {"denoisplit", "altered_musplit", "musplit", "hdn", "hdn_musplit"}
        System of the paper. "hdn_musplit" configures the last step of that pipeline: muSplit,
        to be trained on the outputs of an HDN per channel and one for the input.
    mixing : {"mean", "sum", "measured"}
        How the input comes about from the channels, or that it was measured.
    augment : bool, optional
        Random flips and rotations.
    seed : int
        Seed of every random draw.

    Returns
    -------
    DenoiSplitConfiguration
        A valid configuration.

    Raises
    ------
    ConfigurationError
        If a setting is wrong or contradicts another one.
    """
    return create_advanced_denoisplit_config(
        experiment_name,
        channel_names,
        preset,
        axes=axes,
        data_type=data_type,
        patch_size=patch_size,
        batch_size=batch_size,
        num_epochs=num_epochs,
        num_steps=num_steps,
        max_hours=max_hours,
        algorithm=algorithm,
        mixing=mixing,
        augment=augment,
        seed=seed,
    )


def create_advanced_denoisplit_config(
    experiment_name: str,
    channel_names: Sequence[str],
    preset: str = "laptop",
    *,
    axes: str | None = None,
    data_type: DataType | None = None,
    patch_size: int | Sequence[int] | None = None,
    batch_size: int | None = None,
    num_epochs: int | None = None,
    num_steps: int | None = None,
    max_hours: float | None = None,
    algorithm: AlgorithmName = "denoisplit",
    mixing: Mixing = "mean",
    augment: bool | None = None,
    seed: int = 0,
    **options: Unpack[AdvancedOptions],
) -> DenoiSplitConfiguration:
    """Create a configuration from a preset and any field of its parts.

    The parameters are those of `create_denoisplit_config`, followed by `AdvancedOptions`.

    Raises
    ------
    ConfigurationError
        If a setting is wrong or contradicts another one.
    """
    chosen = next((found for name, found in PRESETS.items() if name == preset), None)
    if chosen is None:
        raise ConfigurationError(
            f"There is no preset {preset!r}. Choose one of {', '.join(PRESETS)}."
        )
    unknown = sorted(set(options) - set(AdvancedOptions.__annotations__))
    if unknown:
        raise ConfigurationError(
            f"Unknown options {unknown}. Known ones: {sorted(AdvancedOptions.__annotations__)}."
        )
    side = _patch_side(patch_size, chosen, algorithm)
    names = _listed(channel_names)
    values = {
        "experiment_name": experiment_name,
        "algorithm_config": _algorithm(
            names,
            chosen,
            algorithm,
            side,
            mixing,
            augment,
            seed,
            _schedule(chosen, algorithm, num_epochs, options),
            options,
        ),
        "data_config": _data(chosen, axes, data_type, side, batch_size, num_steps, options),
        "training_config": _training(chosen, algorithm, num_epochs, max_hours, options),
    }
    try:
        return DenoiSplitConfiguration.model_validate(values)
    except ValidationError as error:
        raise explain(error) from None


def _listed(channel_names: Sequence[str]) -> tuple[str, ...]:
    """Refuse one text in place of a list of names."""
    if isinstance(channel_names, str):
        raise ConfigurationError(
            f"`channel_names` must be a list of names, got the text {channel_names!r}. "
            'Write for example ("er", "actin").'
        )
    return tuple(channel_names)


def _patch_side(
    patch_size: int | Sequence[int] | None, preset: Preset, algorithm: AlgorithmName
) -> Any:
    """Find the two sides of the crops; wrong ones are refused with the rest."""
    if patch_size is None:
        small = algorithm in ("musplit", "hdn_musplit")
        side = min(preset.patch, _MUSPLIT_PATCH) if small else preset.patch
        return [side, side]
    return list(patch_size) if isinstance(patch_size, Sequence) else [patch_size, patch_size]


def _network(
    names: tuple[str, ...], preset: Preset, algorithm: AlgorithmName, side: Any
) -> dict[str, Any]:
    """Choose the network of a system (Table 1 of the paper and its supplement)."""
    network: dict[str, Any] = {
        "output_channels": max(len(names), 1),
        "latent_channels": preset.latent_channels,
        "filters": preset.filters,
        "dropout": preset.dropout,
        "stem_stride": preset.stem_stride,
        "gaussian_head": algorithm in GAUSSIAN_ALGORITHMS,
    }
    if algorithm == "hdn":
        network |= {
            "latent_channels": _HDN_LATENTS,
            "filters": 32,
            "blocks_per_level": 5,
            "dropout": 0.2,
            "stem_stride": 1,
            "exponential": "plain",
            "analytic_kl": True,
        }
    if preset.spatial_prior and isinstance(side[0], int) and len(side) == 2:
        network["prior_size"] = (side[0], side[0])
    return network


def _algorithm(
    names: tuple[str, ...],
    preset: Preset,
    algorithm: AlgorithmName,
    side: Any,
    mixing: Mixing,
    augment: bool | None,
    seed: int,
    schedule: dict[str, Any],
    options: AdvancedOptions,
) -> dict[str, Any]:
    """Choose the settings of the method."""
    network = _network(names, preset, algorithm, side) | options.get("model_params", {})
    return {
        "algorithm": algorithm,
        "channel_names": names,
        "model": network,
        "kl_weight": _kl_weight(names, preset, algorithm),
        "free_bits": 0.0 if algorithm in ("musplit", "hdn_musplit") else 1.0,
        "optimizer": {
            "name": options.get("optimizer", "Adamax"),
            "parameters": options.get(
                "optimizer_params", {"lr": preset.learning_rate, "weight_decay": 0.0}
            ),
        },
        "lr_scheduler": schedule,
        "mixing": mixing,
        "augment": preset.augment if augment is None else augment,
        "seed": seed,
    } | options.get("algorithm_params", {})


def _kl_weight(names: Sequence[str], preset: Preset, algorithm: AlgorithmName) -> float:
    """Choose the weight of the divergence; that of the bound needs the likelihood of pixels."""
    return 1.0 / len(names) if preset.bound and algorithm in NOISE_MODEL_ALGORITHMS else 1.0


def _schedule(
    preset: Preset, algorithm: AlgorithmName, num_epochs: int | None, options: AdvancedOptions
) -> dict[str, Any]:
    """Choose how the learning rate falls."""
    if "lr_scheduler" in options or "lr_scheduler_params" in options:
        name = options.get("lr_scheduler", "ReduceLROnPlateau")
        return {"name": name, "parameters": options.get("lr_scheduler_params", {})}
    if preset.plateau_patience is None:
        epochs = _epochs(preset, algorithm, num_epochs)
        return {
            "name": "CosineAnnealingLR",
            "parameters": {"T_max": epochs, "eta_min": preset.learning_rate / 100},
        }
    patience = _HDN_PATIENCE[0] if algorithm == "hdn" else preset.plateau_patience
    return {
        "name": "ReduceLROnPlateau",
        "parameters": {"factor": 0.5, "patience": patience, "min_lr": 1e-12},
    }


def _epochs(preset: Preset, algorithm: AlgorithmName, num_epochs: int | None) -> int:
    """Choose the largest number of epochs."""
    if num_epochs is not None:
        return num_epochs
    return min(preset.epochs, _HDN_EPOCHS) if algorithm == "hdn" else preset.epochs


def _data(
    preset: Preset,
    axes: str | None,
    data_type: DataType | None,
    side: Any,
    batch_size: int | None,
    num_steps: int | None,
    options: AdvancedOptions,
) -> dict[str, Any]:
    """Choose the settings of the data."""
    batch = preset.batch if batch_size is None else batch_size
    patches = preset.patches_per_epoch
    if num_steps is not None:
        patches = num_steps * batch
    data: dict[str, Any] = {
        "data_type": data_type or "auto",
        "axes": axes or "auto",
        "patching": {"name": "random", "patch_size": side},
        "batch_size": batch,
        "patches_per_epoch": patches,
    }
    if "num_workers" in options:
        data["num_workers"] = options["num_workers"]
    return data | options.get("data_params", {})


def _training(
    preset: Preset,
    algorithm: AlgorithmName,
    num_epochs: int | None,
    max_hours: float | None,
    options: AdvancedOptions,
) -> dict[str, Any]:
    """Choose the length of training."""
    patience = preset.stopping_patience
    if algorithm == "hdn" and patience is not None:
        patience = min(patience, _HDN_PATIENCE[1])
    stopping = None if patience is None else early_stopping(patience)
    logger = options.get("logger", "none")
    training: dict[str, Any] = {
        "trainer_params": {
            "max_epochs": _epochs(preset, algorithm, num_epochs),
            "gradient_clip_val": preset.clip_norm,
            "gradient_clip_algorithm": "norm",
            "precision": preset.precision,
        }
        | options.get("trainer_params", {}),
        "logger": None if logger == "none" else logger,
        "early_stopping_params": options.get("early_stopping_params", stopping),
        "max_hours": preset.max_hours if max_hours is None else max_hours,
    }
    if "checkpoint_params" in options:
        training["checkpoint_params"] = options["checkpoint_params"]
    return training
