"""What training does with the model that the run holds already, and with what was fitted to it."""

import warnings
from dataclasses import replace
from pathlib import Path

import torch

from careamics_denoisplit.checkpoint import TrainedModel, load_model
from careamics_denoisplit.errors import InputError


def read_former_model(folder: Path) -> TrainedModel | None:
    """Read the model that is about to be replaced; None where there is none that can be read.

    Parameters
    ----------
    folder : pathlib.Path
        Such as `RUN/model`.
    """
    if not folder.is_dir():
        return None
    try:
        return load_model(folder)
    except InputError as error:
        warnings.warn(
            f"{folder} could not be read and is replaced: {error} Calibration and one-pass spread, "
            "if it held any, are lost.",
            UserWarning,
            stacklevel=2,
        )
        return None


def has_weights_of(trained: TrainedModel, former: TrainedModel) -> bool:
    """Say whether both networks have the same weights, to the bit, once both were read."""
    now, before = trained.network.state_dict(), former.network.state_dict()
    # A training in double precision has more digits than the network that is read from its folder.
    return now.keys() == before.keys() and all(
        torch.equal(tensor.cpu().to(before[name].dtype), before[name])
        for name, tensor in now.items()
    )


def with_fits_of(trained: TrainedModel, former: TrainedModel) -> TrainedModel:
    """Return the model with calibrations and one-pass spread of one with the same weights."""
    return replace(
        trained,
        calibrations=former.calibrations,
        spread_head=former.spread_head,
        distillation=former.distillation,
    )


def warn_of_dropped(former: TrainedModel) -> None:
    """Warn of what belonged to the weights of before, and say how to make it again."""
    dropped, commands = [], []
    if former.calibrations.estimators:
        dropped.append(f"the calibration of {', '.join(former.calibrations.estimators)}")
        commands.append("`denoisplit calibrate`")
    if former.distillation is not None:
        dropped.append("the one-pass spread")
        commands.insert(0, "`denoisplit distil`")
    if dropped:
        warnings.warn(
            "The run has new weights. What was fitted to the former ones was dropped: "
            f"{' and '.join(dropped)}. Run {' and '.join(commands)} again.",
            UserWarning,
            stacklevel=2,
        )
