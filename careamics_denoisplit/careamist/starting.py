"""Fine-tuning: a new training that starts from the weights of a run, a checkpoint or a package."""

import logging
from pathlib import Path
from typing import Any

from careamics_denoisplit.checkpoint import CONFIG, MODEL, TrainedModel, load_model
from careamics_denoisplit.config import (
    DenoiSplitConfiguration,
    configuration_from_dict,
    load_configuration,
)
from careamics_denoisplit.distillation import weights_digest
from careamics_denoisplit.errors import CheckpointError, ConfigurationError
from careamics_denoisplit.lightning_module import load_weights
from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.packages import is_package, load_package
from careamics_denoisplit.training import Start

logger = logging.getLogger(__name__)


def open_start(path: Path | str) -> TrainedModel:
    """Read the model that a training starts from.

    Parameters
    ----------
    path : pathlib.Path or str
        A run folder, its `model/` folder, a checkpoint, or a package. The statistics of a package
        are those of its training: images for fine-tuning are as its training images were, also
        where the package maps the images that it gets.

    Raises
    ------
    InputError
        As `load_package` and `load_model`.
    """
    return load_package(path).as_trained if is_package(path) else load_model(path)


def settings_for_new_data(config: DenoiSplitConfiguration) -> DenoiSplitConfiguration:
    """Return the settings of a trained model with axes and kind of the data to be inferred anew.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        Describes the files that the model was trained on.
    """
    plain = config.to_plain()
    plain["data_config"] |= {
        "axes": "auto",
        "target_axes": None,
        "data_type": "auto",
        "channels": None,
    }
    return configuration_from_dict(plain)


def start_of(
    config: DenoiSplitConfiguration, origin: TrainedModel, *, new_statistics: bool = False
) -> tuple[DenoiSplitConfiguration, Start]:
    """Prepare a training that starts from the weights of another model.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        Settings of the new training.
    origin : TrainedModel
        Where the weights come from.
    new_statistics : bool
        Whether means and standard deviations are measured anew. Otherwise those of `config` count
        where it gives any, else those of `origin`; those of its input only where both inputs are
        mixed alike.

    Returns
    -------
    tuple of DenoiSplitConfiguration and Start
        Settings that say where training started, and the weights.

    Raises
    ------
    ConfigurationError
        If the channels are others.
    CheckpointError
        If a tensor does not fit the network of the configuration; the message names it.
    """
    name = _name_of(origin.source)
    if config.channel_names != origin.channel_names:
        raise ConfigurationError(
            f"The model of {name} splits {', '.join(origin.channel_names)}, the configuration "
            f"names {', '.join(config.channel_names)}. Training can start only from a model of the "
            "same channels in the same order: name them so, or train a new model."
        )
    weights = origin.network.state_dict()
    try:
        load_weights(LadderVAE(**config.algorithm_config.model.model_dump()), weights)
    except CheckpointError as error:
        raise CheckpointError(f"Training cannot start from {name}: {error}") from None
    plain = config.to_plain()
    words = _set_statistics(plain["data_config"]["normalization"], config, origin, new_statistics)
    plain["training_config"]["origin"] = {
        "name": name,
        "experiment_name": str(origin.config.experiment_name),
        "weights_sha256": weights_digest(origin.network),
    }
    said = f"Training starts from the weights of {name}; {words}."
    return configuration_from_dict(plain), Start(weights, said)


def with_statistics_of_run(config: DenoiSplitConfiguration, run: Path) -> DenoiSplitConfiguration:
    """Return the settings of a run that goes on, with the statistics that it did not measure.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        Settings of now; what they give counts.
    run : pathlib.Path
        Run folder; its settings count only where it is a fine-tuning.
    """
    if not (run / CONFIG).is_file():
        return config
    stored = load_configuration(run / CONFIG)
    if stored.training_config.origin is None:
        return config
    plain, known = config.to_plain(), stored.to_plain()["data_config"]["normalization"]
    given = plain["data_config"]["normalization"]
    given |= {key: known[key] for key, value in given.items() if value is None}
    return configuration_from_dict(plain)


def _set_statistics(
    normalization: dict[str, Any],
    config: DenoiSplitConfiguration,
    origin: TrainedModel,
    new_statistics: bool,
) -> str:
    """Write in what is kept, and say it."""
    known = origin.statistics
    algorithm = config.algorithm_config
    values = {
        "input_means": [known.input_mean],
        "input_stds": [known.input_std],
        "target_means": list(known.target_means),
        "target_stds": list(known.target_stds),
    }
    if new_statistics:
        normalization |= dict.fromkeys(values)
        return "means and standard deviations are measured anew, the weights know others"
    mixed_alike = (known.mixing, known.camera_offsets) == (
        algorithm.mixing,
        algorithm.channel_offsets,
    )
    kept = {k: v for k, v in values.items() if mixed_alike or k.startswith("target")}
    given = {key for key, value in normalization.items() if value is not None}
    other = [key for key in kept if key in given and normalization[key] != kept[key]]
    normalization |= {key: value for key, value in kept.items() if key not in given}
    if other:
        return (
            f"{' and '.join(other)} of the configuration are not those that the weights were "
            "trained with"
        )
    if not mixed_alike:
        return (
            f"its input was mixed otherwise ({known.mixing}) than it is now ({algorithm.mixing}), "
            "so that mean and standard deviation of the input are measured anew"
        )
    return "its means and standard deviations are kept, since the weights were trained with them"


def _name_of(source: Path | None) -> str:
    """Name a model by its run or file, without the folders that lead there."""
    if source is None:
        return "a model in memory"
    if source.name == MODEL:
        return source.parent.name
    is_checkpoint = source.suffix != ".zip" and source.parent.name == "checkpoints"
    return f"{source.parents[1].name}/{source.name}" if is_checkpoint else source.name
