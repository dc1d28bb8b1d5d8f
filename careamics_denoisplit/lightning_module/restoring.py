"""From the content of a checkpoint back to a module, naming what does not fit."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from careamics_denoisplit.errors import CheckpointError
from careamics_denoisplit.lightning_module.module import DenoiSplitModule
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelInfo


def module_from_checkpoint(checkpoint: Mapping[str, Any]) -> DenoiSplitModule:
    """Rebuild the trained module from the content of a checkpoint file.

    Parameters
    ----------
    checkpoint : mapping
        What `torch.load(path, weights_only=True)` returned.

    Raises
    ------
    CheckpointError
        If it is no checkpoint of this package, or its weights do not fit; the message names
        the first tensor that does not.
    """
    try:
        hyper_parameters = checkpoint["hyper_parameters"]
        weights: Mapping[str, Tensor] = checkpoint["state_dict"]
        infos = checkpoint["denoisplit"]["noise_models"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"This is no checkpoint of denoiSplit: it has no entry {error}. Give a run folder, "
            "or import checkpoints of other programs with `denoisplit import`."
        ) from error
    noise_models = [
        _stored_noise_model(weights, index, NoiseModelInfo(**info))
        for index, info in enumerate(infos)
    ]
    module = DenoiSplitModule(
        hyper_parameters["config"], hyper_parameters["statistics"], noise_models
    )
    load_weights(module, weights)
    return module


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights, or name the tensor that does not fit.

    Parameters
    ----------
    module : torch.nn.Module
        Receives the weights.
    weights : mapping of str to torch.Tensor
        Its state dict.

    Raises
    ------
    CheckpointError
        If a tensor is missing, unknown or of another shape.
    """
    expected = module.state_dict()
    for name, tensor in expected.items():
        if name not in weights:
            raise CheckpointError(
                f"The checkpoint has no tensor {name} of shape {tuple(tensor.shape)}. It was "
                "written for another architecture: use the configuration it was trained with."
            )
        if weights[name].shape != tensor.shape:
            raise CheckpointError(
                f"The tensor {name} has shape {tuple(weights[name].shape)} in the checkpoint, "
                f"but {tuple(tensor.shape)} in this network. Use the configuration it was "
                "trained with."
            )
    unknown = sorted(set(weights) - set(expected))
    if unknown:
        raise CheckpointError(
            f"The checkpoint holds a tensor {unknown[0]} that this network does not have. Use "
            "the configuration it was trained with."
        )
    module.load_state_dict(dict(weights))


def _stored_noise_model(
    weights: Mapping[str, Tensor], index: int, info: NoiseModelInfo
) -> GaussianMixtureNoiseModel:
    prefix = f"likelihood.noise_models.{index}."
    return GaussianMixtureNoiseModel(
        weights[f"{prefix}weight"],
        min_signal=float(weights[f"{prefix}min_signal"]),
        max_signal=float(weights[f"{prefix}max_signal"]),
        min_sigma=float(weights[f"{prefix}min_sigma"]),
        info=info,
    )
