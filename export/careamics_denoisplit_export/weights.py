"""The two weight formats of a package: TorchScript by tracing, and a plain state dict."""

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from careamics_denoisplit.calibration import JointCalibration, ScalarCalibration
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.data import SAME_INPUT, InputMap
from careamics_denoisplit.errors import ConfigurationError, FaultError
from careamics_denoisplit.network import SpreadHead
from careamics_denoisplit.prediction import NO_MONITORS, Monitors
from careamics_denoisplit_export import tracing
from careamics_denoisplit_export.architecture import CALLABLE
from careamics_denoisplit_export.spread import PackagedSpread

TORCHSCRIPT_FILE = "weights.pt"
STATE_DICT_FILE = "weights_state_dict.pth"

_ALIGNMENT = 64  # torch maps tensors into memory from offsets that are multiples of this
_OLDEST_DATE = (1980, 1, 1, 0, 0, 0)
# What no engine needs: stack traces, with paths of the tracing machine, and its inputs.
_LEFT_OUT = re.compile(r".*\.debug_pkl|[^/]+/traced_inputs(\.pkl|/.*)")


@dataclass(frozen=True)
class Traced:
    """A TorchScript archive and what the same graph computed without tracing.

    Attributes
    ----------
    archive : bytes
        Content of the TorchScript file.
    output : numpy.ndarray of shape (1, N, Y, X)
        float32 result of the graph on the raw test image.
    """

    archive: bytes
    output: Float[np.ndarray, "1 n y x"]


Calibration = ScalarCalibration | JointCalibration


def graph_settings(
    trained: TrainedModel,
    calibration: Calibration | None,
    spread: PackagedSpread,
    monitors: Monitors = NO_MONITORS,
) -> dict[str, Any]:
    """Return the keyword arguments that rebuild the graph, as plain JSON types.

    Parameters
    ----------
    trained : TrainedModel
        The model to package.
    calibration : ScalarCalibration or JointCalibration or None
        What turns spreads into standard deviations.
    spread : PackagedSpread
        One pass, or posterior samples and their seed.
    monitors : Monitors
        Warning channels.
    """
    network = trained.config.algorithm_config.model
    settings: dict[str, Any] = {
        "output_channels": network.output_channels,
        "latent_channels": list(network.latent_channels),
        "filters": network.filters,
        "blocks_per_level": network.blocks_per_level,
        "stem_stride": network.stem_stride,
        "exponential": network.exponential,
        "gaussian_head": network.gaussian_head,
    }
    if spread.kind == "samples":
        settings |= {"n_samples": spread.n_samples, "seed": spread.seed}
    else:
        settings["spread_width"] = _head(trained).narrow.out_channels
    if network.prior_size is not None:
        settings["prior_size"] = list(network.prior_size)
    if isinstance(calibration, JointCalibration):
        settings["hidden_units"] = len(calibration.hidden_bias)
    if monitors.consistency is not None:
        sizes = monitors.consistency.mixtures
        settings["noise_gaussians"] = [gaussians for gaussians, _ in sizes]
        settings["noise_coefficients"] = [coefficients for _, coefficients in sizes]
    if monitors.input_range is not None:
        settings["input_range_steps"] = monitors.input_range.steps
    return settings


def graph_state(
    trained: TrainedModel,
    calibration: Calibration | None,
    spread: PackagedSpread,
    monitors: Monitors = NO_MONITORS,
    mapped: InputMap = SAME_INPUT,
) -> dict[str, Tensor]:
    """Return the graph's tensors: weights, statistics and calibration, on the processor.

    Parameters
    ----------
    trained : TrainedModel
        The model to package.
    calibration : ScalarCalibration or JointCalibration or None
        What turns spreads into standard deviations; None leaves them as they are.
    spread : PackagedSpread
        One pass, whose head then belongs to the tensors, or posterior samples.
    monitors : Monitors
        Warning channels.
    mapped : InputMap
        How an image becomes the input of the training.
    """
    statistics = trained.statistics
    state = {
        "input_gain": _vector([mapped.gain]),
        "input_offset": _vector([mapped.offset]),
        "input_mean": _vector([statistics.input_mean]),
        "input_std": _vector([statistics.input_std]),
        "target_means": _vector(statistics.target_means),
        "target_stds": _vector(statistics.target_stds),
    }
    parts: dict[str, nn.Module] = {"network": trained.network}
    if spread.kind == "distilled":
        parts["spread_head"] = _head(trained)
    for part, module in parts.items():
        for name, tensor in module.state_dict().items():
            state[f"{part}.{name}"] = tensor.detach().cpu().clone().contiguous()
    for name, values in _calibration_values(calibration, len(statistics.channel_names)).items():
        state[f"calibration.{name}"] = _vector(values)
    for monitor in monitors.names:
        for name, tensor in getattr(monitors, monitor).state_dict().items():
            state[f"{monitor}.{name}"] = tensor.clone()
    return state


def _head(trained: TrainedModel) -> SpreadHead:
    if trained.spread_head is None:
        raise ConfigurationError(
            "This model holds no one-pass spread. Run `denoisplit distil RUN` first."
        )
    return trained.spread_head


def _calibration_values(calibration: Calibration | None, channels: int) -> dict[str, Any]:
    if isinstance(calibration, JointCalibration):
        return calibration.layers()._asdict()
    if isinstance(calibration, ScalarCalibration):
        return {"floors": calibration.floors, "factors": calibration.factors}
    return {"floors": [0.0] * channels, "factors": [1.0] * channels}


def _vector(values: Any) -> Tensor:
    return torch.tensor(np.asarray(values, dtype=np.float64), dtype=torch.float32)


def write_torchscript(
    source: str,
    settings: Mapping[str, Any],
    state: Mapping[str, Tensor],
    raw: Float[np.ndarray, "1 1 y x"],
) -> Traced:
    """Trace the graph on a raw image, in a process of its own.

    Parameters
    ----------
    source : str
        Source of architecture.py.
    settings : mapping
        Keyword arguments of the callable in it, plain JSON types.
    state : mapping of str to torch.Tensor
        Weights, statistics and calibration.
    raw : numpy.ndarray of shape (1, 1, Y, X)
        Gray values, float32.

    Raises
    ------
    FaultError
        If the process fails; the message holds its last line.
    """
    job = io.BytesIO()
    torch.save(
        {
            "source": source,
            "callable": CALLABLE,
            "kwargs": json.dumps(dict(settings), allow_nan=False),
            "state": dict(state),
            "raw": torch.from_numpy(raw),
            "threads": torch.get_num_threads(),
        },
        job,
    )
    # -P: the folder of the script must not shadow torch's modules.
    command = [sys.executable, "-P", str(Path(tracing.__file__))]
    process = subprocess.run(command, input=job.getvalue(), capture_output=True, check=False)  # noqa: S603 - our own script
    if process.returncode != 0:
        lines = process.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise FaultError(
            f"Tracing the network failed (exit code {process.returncode}): {lines[-1]}. "
            "If memory ran out, close other programs or export on a larger machine."
        )
    result = torch.load(io.BytesIO(process.stdout), weights_only=True)
    return Traced(repacked(result["archive"].numpy().tobytes()), result["output"].numpy())


def write_state_dict(state: Mapping[str, Tensor]) -> bytes:
    """Return a file that `torch.load(weights_only=True)` reads: a plain dict of tensors.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        Weights, statistics and calibration.
    """
    file = io.BytesIO()
    torch.save({name: tensor.detach().clone() for name, tensor in state.items()}, file)
    return file.getvalue()


def repacked(archive: bytes) -> bytes:
    """Drop what was recorded of the tracing from an archive; tensors stay aligned.

    Parameters
    ----------
    archive : bytes
        What `torch.jit.save` wrote.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if _LEFT_OUT.fullmatch(name):
                continue
            info = zipfile.ZipInfo(name, _OLDEST_DATE)
            info.create_system = 3  # the same bytes on every system
            info.extra = _padding(target.tell() + 30 + len(name.encode()))
            new.writestr(info, old.read(name))
    return target.getvalue()


def _padding(offset: int) -> bytes:
    """Return an extra field after which data that start at `offset` are aligned."""
    # A field is at least its head: two letters that torch uses as well, and its length.
    filler = -(offset + 4) % _ALIGNMENT
    return b"FB" + filler.to_bytes(2, "little") + b"Z" * filler
