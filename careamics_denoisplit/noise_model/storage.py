"""Noise-model files: our own, those of careamics and of denoiSplit, all untrusted."""

from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import torch

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.files import load_npz
from careamics_denoisplit.noise_model.model import (
    FORMAT_VERSION,
    GaussianMixtureNoiseModel,
    NoiseModelInfo,
    Verdict,
)

PARAMETERS: Final = ("trained_weight", "min_signal", "max_signal", "min_sigma")
"""Entries that every noise-model file holds."""

MAX_BYTES: Final = 2**20
"""Largest noise-model file; a mixture of 6 Gaussians with 4 coefficients takes 2 kB."""

_TEXTS: Final = ("channel", "camera", "date")
_NUMBERS: Final = ("heldout_nll", "gain", "exposure")
_INTEGERS: Final = ("n_pairs", "format_version", "channel_index")
_INFORMATION: Final = (*_TEXTS, *_NUMBERS, *_INTEGERS, "verdict", "observation_range")

_Arrays = dict[str, npt.NDArray[Any]]


def load_noise_model(path: Path | str) -> GaussianMixtureNoiseModel:
    """Read a noise model from an `.npz` file; nothing in the file is executed.

    Parameters
    ----------
    path : pathlib.Path or str
        File of this package, of careamics or of denoiSplit.

    Raises
    ------
    NoiseModelError
        If the file is absent, damaged, too large, holds Python objects, lacks an entry or has
        an unknown one, was written by a later version, or describes no density.
    """
    path = Path(path)
    if not path.is_file():
        raise NoiseModelError(
            f"There is no noise model at {path}. Give the `.npz` file that the fit wrote."
        )
    return _checked(path, f"The noise model {path}")


def read_noise_model(data: bytes, name: str) -> GaussianMixtureNoiseModel:
    """Read a noise model whose file is in memory; see `load_noise_model`.

    Parameters
    ----------
    data : bytes
        Content of the `.npz` file.
    name : str
        How messages call it.
    """
    if len(data) > MAX_BYTES:
        raise NoiseModelError(f"{name} has {len(data)} bytes; at most {MAX_BYTES} are read.")
    return _checked(data, name)


def _checked(source: Path | bytes, name: str) -> GaussianMixtureNoiseModel:
    arrays = load_npz(
        source, MAX_BYTES, required=PARAMETERS, allowed=_INFORMATION, error=NoiseModelError
    )
    try:
        return _model_from_arrays(arrays)
    except NoiseModelError as cause:
        raise NoiseModelError(f"{name} cannot be used. {cause}") from cause


def _model_from_arrays(arrays: _Arrays) -> GaussianMixtureNoiseModel:
    weight = arrays["trained_weight"]
    if weight.dtype.kind not in "iuf":
        raise NoiseModelError(f"Its weights must be numbers, got {weight.dtype}.")
    low, high, floor = (_number(arrays, name) for name in PARAMETERS[1:])
    native = weight.astype(np.float32)
    return GaussianMixtureNoiseModel(
        torch.from_numpy(native), low, high, floor, _information(arrays)
    )


def _information(arrays: _Arrays) -> NoiseModelInfo:
    version = int(_number(arrays, "format_version")) if "format_version" in arrays else 0
    if version > FORMAT_VERSION:
        raise NoiseModelError(
            f"It has the format version {version}, this program reads up to {FORMAT_VERSION}. "
            "Install a later careamics-denoisplit."
        )
    known: dict[str, Any] = {"format_version": FORMAT_VERSION}
    known |= {name: _text(arrays, name) for name in _TEXTS if name in arrays}
    known |= {name: _number(arrays, name) for name in _NUMBERS if name in arrays}
    known |= {
        name: int(_number(arrays, name)) for name in ("n_pairs", "channel_index") if name in arrays
    }
    if "verdict" in arrays:
        known["verdict"] = _verdict(_text(arrays, "verdict"))
    if "observation_range" in arrays:
        known["observation_range"] = _observation_range(arrays["observation_range"])
    return NoiseModelInfo(**known)


def _number(arrays: _Arrays, name: str) -> float:
    array = arrays[name]
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise NoiseModelError(
            f"Its entry {name!r} must be one number, got {array.dtype} of shape {array.shape}."
        )
    value = float(array.reshape(()))
    if name not in PARAMETERS and not np.isfinite(value):
        raise NoiseModelError(f"Its entry {name!r} must be finite, got {value}.")
    return value


def _text(arrays: _Arrays, name: str) -> str:
    array = arrays[name]
    if array.size != 1 or array.dtype.kind != "U":
        raise NoiseModelError(
            f"Its entry {name!r} must be one text, got {array.dtype} of shape {array.shape}."
        )
    return str(array.reshape(()))


def _verdict(text: str) -> Verdict:
    for verdict in get_args(Verdict):
        if text == verdict:
            known: Verdict = verdict
            return known
    raise NoiseModelError(f"Its verdict must be one of {get_args(Verdict)}, got {text!r}.")


def _observation_range(array: npt.NDArray[Any]) -> tuple[float, float]:
    if array.shape != (2,) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise NoiseModelError(
            f"Its observation range must be two finite numbers, got {array.tolist()}."
        )
    low, high = (float(value) for value in array)
    return low, high
