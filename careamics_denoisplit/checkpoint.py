"""Trained models on disk: the portable folder `model/`, and checkpoints of a training.

Nothing that is read here can execute code: weights come from safetensors or from PyTorch's
weights-only reader, everything else is YAML, JSON or plain arrays.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
import torch
import yaml
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from careamics_denoisplit import files
from careamics_denoisplit.calibration import CalibrationSet, estimator_name
from careamics_denoisplit.config import (
    DenoiSplitConfiguration,
    explain,
    load_configuration,
)
from careamics_denoisplit.data import Statistics
from careamics_denoisplit.distillation import Distillation, weights_digest
from careamics_denoisplit.errors import CheckpointError
from careamics_denoisplit.lightning_module import (
    DenoiSplitModule,
    load_weights,
    module_from_checkpoint,
)
from careamics_denoisplit.network import LadderVAE, SpreadHead, head_for
from careamics_denoisplit.noise_model import (
    GaussianMixtureNoiseModel,
    load_noise_models,
    noise_model_file,
)
from careamics_denoisplit.training import read_checkpoint

Value = TypeVar("Value", bound=BaseModel)

MODEL = "model"
"""Folder of the portable model inside a run."""

CHECKPOINT_SUFFIXES = (".ckpt", ".pth", ".pt")
"""Endings of files that PyTorch and Lightning write."""

WEIGHTS = "weights.safetensors"
CONFIG = "config.yaml"
STATISTICS = "statistics.json"
CALIBRATION = "calibration.json"
SPREAD = "spread.safetensors"
DISTILLATION = "distillation.json"
MANIFEST = "manifest.json"

_FORMER_HEAD = 1
"""Version of `distillation.json` whose head has other layers than today's."""


@dataclass(frozen=True)
class TrainedModel:
    """Everything that prediction, calibration and export need of a training.

    Attributes
    ----------
    network : LadderVAE
        The trained network.
    config : DenoiSplitConfiguration
        The whole configuration it was trained with.
    statistics : Statistics
        Means and standard deviations of the training data, in gray values.
    noise_models : tuple of C GaussianMixtureNoiseModel
        One per channel; empty for a Gaussian likelihood.
    calibrations : CalibrationSet
        Calibrations by estimator, method and channel; empty before `calibrate`.
    source : pathlib.Path or None
        Where it was read from.
    spread_head : SpreadHead or None
        Head of the one-pass spread; None before `distil`.
    distillation : Distillation or None
        What is known of the head: sizes, images, gates.
    """

    network: LadderVAE
    config: DenoiSplitConfiguration
    statistics: Statistics
    noise_models: tuple[GaussianMixtureNoiseModel, ...] = ()
    calibrations: CalibrationSet = field(default_factory=CalibrationSet)
    source: Path | None = None
    spread_head: SpreadHead | None = None
    distillation: Distillation | None = None

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Name of each output channel, in order."""
        return self.config.channel_names

    def with_calibrations(self, calibrations: CalibrationSet) -> "TrainedModel":
        """Return the same model with other calibrations."""
        return replace(self, calibrations=calibrations)

    def with_spread_head(self, head: SpreadHead, distillation: Distillation) -> "TrainedModel":
        """Return the same model with another head; a calibration of the former one is dropped."""
        return replace(
            self,
            spread_head=head,
            distillation=distillation,
            calibrations=self.calibrations.without_estimator(estimator_name("distilled", 0)),
        )

    @classmethod
    def of(
        cls,
        module: DenoiSplitModule,
        calibrations: CalibrationSet | None = None,
        source: Path | None = None,
    ) -> "TrainedModel":
        """Take the trained parts out of a Lightning module, without copying them."""
        return cls(
            module.network,
            module.config,
            module.statistics,
            module.noise_models,
            CalibrationSet() if calibrations is None else calibrations,
            source,
        )


def save_model(folder: Path | str, trained: TrainedModel) -> Path:
    """Write a model folder, whole or not at all; one that is there is replaced.

    Parameters
    ----------
    folder : pathlib.Path or str
        Such as `RUN/model`.
    trained : TrainedModel
        What is written: `weights.safetensors`, `config.yaml`, `statistics.json`,
        `calibration.json`, `noise_model_<channel>.npz`, where there is a one-pass spread
        `spread.safetensors` and `distillation.json`, and the SHA-256 of each in `manifest.json`.

    Returns
    -------
    pathlib.Path
        Absolute path of the folder.

    Raises
    ------
    CheckpointError
        If a weight is NaN or infinite.
    StorageError
        If the folder cannot be written; what was there before is kept.
    """
    folder = Path(folder).absolute()
    weights = _tensors_of(trained.network, "The trained network")
    config = yaml.safe_dump(trained.config.to_plain(), sort_keys=False, allow_unicode=True)
    with files.whole_folder(folder) as draft:
        files.write_whole(draft / WEIGHTS, safetensors.torch.save(weights))
        files.write_whole(draft / CONFIG, config.encode())
        files.write_json(draft / STATISTICS, trained.statistics.model_dump(mode="json"))
        files.write_json(draft / CALIBRATION, json.loads(trained.calibrations.to_json()))
        for channel, model in zip(trained.channel_names, trained.noise_models, strict=False):
            model.save(draft / noise_model_file(channel))
        if trained.spread_head is not None and trained.distillation is not None:
            head = _tensors_of(trained.spread_head, "The head of the one-pass spread")
            files.write_whole(draft / SPREAD, safetensors.torch.save(head))
            files.write_json(draft / DISTILLATION, trained.distillation.model_dump(mode="json"))
        files.write_manifest(draft, MANIFEST)
    return folder


def load_model(path: Path | str) -> TrainedModel:
    """Read a trained model without executing anything that its files hold.

    Parameters
    ----------
    path : pathlib.Path or str
        A run folder, its `model/` folder, or a `.ckpt` file of a training. A run that has no
        `model/` yet is read from its best checkpoint, else its last one.

    Returns
    -------
    TrainedModel
        The model, in evaluation mode on the processor.

    Raises
    ------
    CheckpointError
        If there is no model, a file was changed, or a tensor is missing, superfluous or of
        another shape (the message names it).
    ConfigurationError, NoiseModelError
        If these parts of the folder do not fit.
    """
    if "://" in str(path):
        raise CheckpointError(
            f"Models are read from local files only, got {path}. Download it first, from a place "
            "you trust."
        )
    found = _find(Path(path))
    if found.is_dir():
        return _load_folder(found)
    return TrainedModel.of(module_from_checkpoint(read_checkpoint(found)).eval(), source=found)


def _find(path: Path) -> Path:
    """Return the model folder or the checkpoint file that a path stands for."""
    if not path.exists():
        raise CheckpointError(
            f"There is no model at {path}.{files.did_you_mean(path)} Give a run folder or a "
            "checkpoint."
        )
    if path.is_file():
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
            raise CheckpointError(
                f"{path} is no model. Give a run folder, its `{MODEL}/` folder or a checkpoint "
                f"({', '.join(CHECKPOINT_SUFFIXES)})."
            )
        return path.absolute()
    for folder in (path, path / MODEL):
        if not (folder / MANIFEST).is_file():
            files.restore_folder(folder)
        if (folder / MANIFEST).is_file():
            return folder.absolute()
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = path / "checkpoints" / name
        if checkpoint.is_file():
            return checkpoint.absolute()
    inside = _runs_in(path)
    hint = f" It holds the runs {', '.join(map(str, inside))}." if inside else ""
    raise CheckpointError(
        f"{path} is no run: it has neither `{MODEL}/{MANIFEST}` nor `checkpoints/`.{hint} Give the "
        "folder that training has written."
    )


def _runs_in(folder: Path) -> list[Path]:
    """List the runs that lie directly in a folder."""
    return sorted(manifest.parents[1] for manifest in folder.glob(f"*/{MODEL}/{MANIFEST}"))


def _load_folder(folder: Path) -> TrainedModel:
    files.verify_manifest(folder, MANIFEST)
    config = load_configuration(folder / CONFIG)
    statistics = _read(folder / STATISTICS, Statistics)
    calibrations = _read(folder / CALIBRATION, CalibrationSet)
    if statistics.channel_names != config.channel_names:
        raise CheckpointError(
            f"{folder}: the statistics are those of {', '.join(statistics.channel_names)}, the "
            f"configuration names {', '.join(config.channel_names)}. Copy the folder again."
        )
    if calibrations.channel_names not in ((), config.channel_names):
        raise CheckpointError(
            f"{folder / CALIBRATION}: the calibration is that of "
            f"{', '.join(calibrations.channel_names)}, the model has the channels "
            f"{', '.join(config.channel_names)}. Copy the folder again, or calibrate anew."
        )
    noise_models: tuple[GaussianMixtureNoiseModel, ...] = ()
    if config.algorithm_config.needs_noise_models:
        noise_models = load_noise_models(folder, config.channel_names)
    network = LadderVAE(**config.algorithm_config.model.model_dump())
    weights = _read_weights(folder / WEIGHTS)
    try:
        load_weights(network, weights)
    except CheckpointError as error:
        raise CheckpointError(f"{folder / WEIGHTS}: {error}") from None
    head, distillation = _load_spread(folder, network)
    return TrainedModel(
        network.eval(),
        config,
        statistics,
        noise_models,
        calibrations,
        source=folder,
        spread_head=head,
        distillation=distillation,
    )


def _load_spread(folder: Path, network: LadderVAE) -> tuple[SpreadHead | None, Distillation | None]:
    """Read the one-pass spread, where there is one that belongs to these weights."""
    if not (folder / DISTILLATION).is_file():
        return None, None
    noted = files.read_json(folder / DISTILLATION, error=CheckpointError)
    if isinstance(noted, Mapping) and noted.get("format_version") == _FORMER_HEAD:
        _leave_out(folder, "is of a former kind")
        return None, None
    distillation = _read(folder / DISTILLATION, Distillation)
    if distillation.weights_sha256 != weights_digest(network):
        _leave_out(folder, "was fitted to other weights")
        return None, None
    head = head_for(network, distillation.width)
    try:
        load_weights(head, _read_weights(folder / SPREAD))
    except CheckpointError as error:
        raise CheckpointError(f"{folder / SPREAD}: {error}") from None
    return head.eval().requires_grad_(requires_grad=False), distillation


def _leave_out(folder: Path, why: str) -> None:
    warnings.warn(
        f"{folder / SPREAD}: the one-pass spread {why} and is left out. Run `denoisplit distil` "
        "to fit it to these weights.",
        UserWarning,
        stacklevel=5,
    )


def _tensors_of(module: nn.Module, what: str) -> dict[str, Tensor]:
    """Return the tensors of a module as safetensors stores them, all of them finite."""
    # Training may lay weights out channel by channel, which safetensors does not store.
    tensors = {name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}
    _require_finite(tensors, what)
    return tensors


def _read(path: Path, model: type[Value]) -> Value:
    """Read a JSON file into a closed model."""
    value = files.read_json(path, error=CheckpointError)
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise CheckpointError(f"{path}: {explain(error)}") from None


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    try:
        weights = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read, it is cut or damaged: {error}. Copy the folder again."
        ) from error
    _require_finite(weights, str(path))
    return weights


def _require_finite(weights: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{where} holds NaN or infinite numbers in the tensor {name}. Use a checkpoint "
                "from before the training went wrong."
            )
