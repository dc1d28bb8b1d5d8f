"""Packages as trained models: read in memory, nothing that they hold is executed.

A package carries configuration, statistics, noise models and calibrations beside its weights.
Neither its TorchScript nor its architecture.py is touched: the network is built by our own code.
"""

import hashlib
import io
import pickle  # only for the name of the error that torch raises
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from careamics_denoisplit.calibration import CalibrationSet
from careamics_denoisplit.checkpoint import (
    CALIBRATION,
    DISTILLATION,
    STATISTICS,
    TrainedModel,
    load_model,
)
from careamics_denoisplit.config import DenoiSplitConfiguration, configuration_from_dict, explain
from careamics_denoisplit.data import InputMap, InputRule, Statistics, statistics_of_image
from careamics_denoisplit.distillation import Distillation, weights_digest
from careamics_denoisplit.errors import CheckpointError, ConfigurationError, PackageError
from careamics_denoisplit.files import load_yaml
from careamics_denoisplit.files.guarded_json import parse_json
from careamics_denoisplit.files.guarded_zip import read_zip, require_sane_zip
from careamics_denoisplit.lightning_module import load_weights
from careamics_denoisplit.network import LadderVAE, SpreadHead, head_for
from careamics_denoisplit.noise_model import (
    GaussianMixtureNoiseModel,
    noise_model_file,
    require_named_channels,
)
from careamics_denoisplit.noise_model.storage import read_noise_model
from careamics_denoisplit.prediction import superposition_of

Value = TypeVar("Value", bound=BaseModel)

RDF = "rdf.yaml"
CONFIG_JSON = "config.json"
MAX_RDF_BYTES = 2**20
MAX_JSON_BYTES = 16 * 2**20
_STATE = "pytorch_state_dict"
_NETWORK = "network."
_HEAD = "spread_head."


class PackagedInput(BaseModel):
    """How the images that a package gets become the input of the training."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rule: InputRule | None = None
    """One exposure, sum or mean; None in packages of earlier versions: as in training."""
    gain: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Factor of the gray values."""
    offset: float = Field(default=0.0, allow_inf_nan=False)
    """Added afterwards, gray values."""


@dataclass(frozen=True)
class PackagedModel:
    """A trained model out of a package.

    Attributes
    ----------
    trained : TrainedModel
        The model for images as the package gets them: its statistics hold the map that is built
        into the package, so that prediction gives the package's numbers.
    as_trained : TrainedModel
        The same with the statistics of its training, for images as the training input was.
    input : PackagedInput
        What lies between both.
    """

    trained: TrainedModel
    as_trained: TrainedModel
    input: PackagedInput


def load_package(path: Path | str) -> PackagedModel:
    """Read a bioimage.io package that the exporter of this project has written.

    Members are read into memory, nothing is unpacked, executed or fetched.

    Parameters
    ----------
    path : pathlib.Path or str
        The zip.

    Returns
    -------
    PackagedModel
        The model, in evaluation mode on the processor.

    Raises
    ------
    PackageError
        If the zip is unsafe or damaged, was not written by this project, lacks a file, a file
        differs from its hash, or a tensor does not fit; the message names it.
    ConfigurationError, NoiseModelError
        If these parts cannot be used.
    """
    if "://" in str(path):
        raise PackageError(f"Packages are read from local files only, got {path}. Download it.")
    path = Path(path)
    contents = _Contents(str(path), read_zip(path))
    facts = contents.facts()
    config = _configuration(contents)
    statistics = contents.model(STATISTICS, Statistics)
    if statistics.channel_names != config.channel_names:
        raise PackageError(
            f"{path}: the statistics are those of {', '.join(statistics.channel_names)}, the "
            f"configuration names {', '.join(config.channel_names)}. Get the package again."
        )
    state = _state(contents, statistics)
    network = _network(contents, config, state)
    head, distillation = _spread_head(contents, network, state)
    as_trained = TrainedModel(
        network,
        config,
        statistics,
        _noise_models(contents, config),
        contents.model(CALIBRATION, CalibrationSet),
        source=path.absolute(),
        spread_head=head,
        distillation=distillation,
    )
    mapped = InputMap(facts.gain, facts.offset)
    superposition = superposition_of(as_trained)
    of_image = statistics_of_image(statistics, facts.rule, mapped, superposition)
    return PackagedModel(replace(as_trained, statistics=of_image), as_trained, facts)


def open_model(path: Path | str) -> TrainedModel:
    """Read a model for prediction, from a package or from a run.

    Parameters
    ----------
    path : pathlib.Path or str
        A package, a run folder, its `model/` folder, or a checkpoint.

    Raises
    ------
    InputError
        As `load_package` and `load_model`.
    """
    return load_package(path).trained if is_package(path) else load_model(path)


def is_package(path: Path | str) -> bool:
    """Say whether a path is that of a package: a file that ends in .zip."""
    return Path(path).suffix.lower() == ".zip" and Path(path).is_file()


@dataclass(frozen=True)
class _Contents:
    """Members of a package, each given out only if it is the one that rdf.yaml names."""

    name: str
    files: Mapping[str, bytes]

    def facts(self) -> PackagedInput:
        """Read what our exporter noted down."""
        noted = (self.description().get("config") or {}).get("careamics_denoisplit")
        if not isinstance(noted, dict):
            raise PackageError(
                f"{self.name} was not written by this project: its {RDF} has no "
                "`config.careamics_denoisplit`. Run it in the programs that it is made for."
            )
        return self.validated(PackagedInput, noted.get("input", {}), RDF)

    def description(self) -> dict[str, Any]:
        """Read rdf.yaml, as strictly as any YAML of a stranger."""
        if RDF not in self.files:
            raise PackageError(f"{self.name} has no {RDF} at its root: it is no package.")
        try:
            return load_yaml(self.files[RDF].decode("utf-8"), MAX_RDF_BYTES)
        except (ConfigurationError, UnicodeDecodeError) as error:
            raise PackageError(f"{self.name}: {RDF} cannot be read: {error}") from error

    def file(self, name: str) -> bytes:
        """Return a member whose hash is the one in rdf.yaml."""
        expected = self.hashes().get(name)
        if name not in self.files or expected is None:
            raise PackageError(
                f"{self.name} lacks {name}, without which it can be run but not be opened as a "
                "model. Export it again."
            )
        if hashlib.sha256(self.files[name]).hexdigest() != expected:
            raise PackageError(
                f"{self.name}: {name} is not the file that was exported, its SHA-256 differs. Get "
                "the package again."
            )
        return self.files[name]

    def hashes(self) -> dict[str, Any]:
        """Return the hash of each attachment and of the state dict, by name."""
        description = self.description()
        weights = description.get("weights")
        listed = [weights.get(_STATE)] if isinstance(weights, dict) else []
        attached = description.get("attachments")
        listed += attached if isinstance(attached, list) else []
        return {
            entry["source"]: entry.get("sha256")
            for entry in listed
            if isinstance(entry, dict) and isinstance(entry.get("source"), str)
        }

    def state_file(self) -> str:
        """Return the name of the state dict."""
        try:
            source = self.description()["weights"][_STATE]["source"]
        except (KeyError, TypeError):
            source = None
        if not isinstance(source, str):
            raise PackageError(
                f"{self.name} has no state dict, only weights that would have to be executed. "
                "Export it again."
            )
        return source

    def json(self, name: str) -> Any:
        """Read a JSON member."""
        data = self.file(name)
        if len(data) > MAX_JSON_BYTES:
            raise PackageError(
                f"{self.name}: {name} has {len(data)} bytes; at most {MAX_JSON_BYTES} are read."
            )
        return parse_json(data, f"{self.name}: {name}", error=PackageError)

    def model(self, name: str, kind: type[Value]) -> Value:
        """Read a JSON member into a closed model."""
        self.json(name)  # strictness that pydantic's own reader lacks
        try:
            return kind.model_validate_json(self.file(name))
        except ValidationError as error:
            raise PackageError(f"{self.name}: {name}: {explain(error)}") from None

    def validated(self, kind: type[Value], value: Any, name: str) -> Value:
        """Check plain data."""
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            raise PackageError(f"{self.name}: {name}: {explain(error)}") from None


def _configuration(contents: _Contents) -> DenoiSplitConfiguration:
    value = contents.json(CONFIG_JSON)
    if not isinstance(value, dict):
        raise PackageError(f"{contents.name}: {CONFIG_JSON} holds no configuration.")
    return configuration_from_dict(value)


def _noise_models(
    contents: _Contents, config: DenoiSplitConfiguration
) -> tuple[GaussianMixtureNoiseModel, ...]:
    if not config.algorithm_config.needs_noise_models:
        return ()
    files = [noise_model_file(name) for name in config.channel_names]
    models = tuple(read_noise_model(contents.file(name), name) for name in files)
    require_named_channels(models, config.channel_names)
    return models


def _state(contents: _Contents, statistics: Statistics) -> Mapping[str, Tensor]:
    """Read all tensors, and make sure that the package normalises as its statistics say."""
    name = contents.state_file()
    where = f"{contents.name}: {name}"
    state = _tensors(contents.file(name), where)
    for key, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise PackageError(f"{where} holds NaN or infinite numbers in the tensor {key}.")
    inside: dict[str, tuple[float, ...]] = {
        "input_mean": (statistics.input_mean,),
        "input_std": (statistics.input_std,),
        "target_means": statistics.target_means,
        "target_stds": statistics.target_stds,
    }
    for key, values in inside.items():
        expected = torch.tensor(values, dtype=torch.float32)
        if key not in state or not torch.equal(state[key], expected):
            raise PackageError(
                f"{where}: {key} is not that of {STATISTICS}, so the package would compute other "
                "numbers. Get the package again."
            )
    return state


def _network(
    contents: _Contents, config: DenoiSplitConfiguration, state: Mapping[str, Tensor]
) -> LadderVAE:
    network = LadderVAE(**config.algorithm_config.model.model_dump())
    _load_part(contents, network, state, _NETWORK)
    return network.eval()


def _spread_head(
    contents: _Contents, network: LadderVAE, state: Mapping[str, Tensor]
) -> tuple[SpreadHead | None, Distillation | None]:
    """Build the head of a package that takes one pass; others have none."""
    if not any(key.startswith(_HEAD) for key in state):
        return None, None
    known = contents.model(DISTILLATION, Distillation)
    if known.weights_sha256 != weights_digest(network):
        raise PackageError(
            f"{contents.name}: {DISTILLATION} describes the one-pass spread of other weights. Get "
            "the package again."
        )
    head = head_for(network, known.width)
    _load_part(contents, head, state, _HEAD)
    return head.eval().requires_grad_(requires_grad=False), known


def _load_part(
    contents: _Contents, module: nn.Module, state: Mapping[str, Tensor], prefix: str
) -> None:
    """Load the tensors whose names begin with a prefix, all of them and no others."""
    weights = {
        key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)
    }
    try:
        load_weights(module, weights)
    except CheckpointError as error:
        raise PackageError(f"{contents.name}: {contents.state_file()}: {error}") from None


def _tensors(data: bytes, where: str) -> dict[str, Tensor]:
    """Read a plain dict of tensors; a file that holds more is refused."""
    require_sane_zip(data, where)
    try:
        with warnings.catch_warnings():
            # What torch warns of ends in one of the errors below.
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PackageError(
            f"{where} holds Python objects, and only weights are read because objects can run "
            "code. Ask its author for a file with weights alone."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise PackageError(f"{where} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise PackageError(f"{where} is no plain dict of tensors. Export the package again.")
    return state
