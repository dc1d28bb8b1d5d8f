"""Where a training starts that does not start from random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from careamics_denoisplit.config import DenoiSplitConfiguration, load_configuration
from careamics_denoisplit.errors import ConfigurationError


class Start(NamedTuple):
    """Weights of another model."""

    weights: Mapping[str, Tensor]
    """State dict of its network."""
    words: str
    """One line: where they come from, and what is kept beside them."""


def require_start(config: DenoiSplitConfiguration, run: Path | None, start: Start | None) -> None:
    """Refuse to begin from random weights what the settings call a fine-tuning.

    Parameters
    ----------
    config : DenoiSplitConfiguration
        Settings of a training that has no checkpoint to continue from.
    run : pathlib.Path or None
        Run folder; it may hold the settings of a start that was stopped at once. None where it is
        replaced.
    start : Start or None
        What was given.

    Raises
    ------
    ConfigurationError
        If weights are missing, or are not those that the run was to start from.
    """
    origin = config.training_config.origin
    begun = None
    if run is not None and (run / "config.yaml").is_file():
        begun = load_configuration(run / "config.yaml").training_config.origin
    if begun is not None and (start is None or origin != begun):
        raise ConfigurationError(
            f"The run in {run} starts from the weights of {begun.name}, and was stopped "
            "before its first checkpoint. Give the same model again with `--from` (in Python "
            "`start_from`), or replace the run with `--overwrite`."
        )
    if start is None and origin is not None:
        raise ConfigurationError(
            f"The configuration belongs to a training that started from the weights of "
            f"{origin.name}. Give them with `--from` (in Python `start_from`), or remove `origin` "
            "from `training_config` to train from random weights."
        )
