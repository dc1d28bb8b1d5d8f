"""Which device computes, and with how many digits."""

from typing import Any, Literal, NamedTuple

import torch

from careamics_denoisplit.errors import ConfigurationError

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
"""Precisions in Lightning's terms; with the mixed ones the loss stays in float32."""

_PRECISIONS: dict[str, Precision] = {
    "auto": "32-true",
    "32": "32-true",
    "32-true": "32-true",
    "bf16": "bf16-mixed",
    "bf16-mixed": "bf16-mixed",
    "16": "16-mixed",
    "16-mixed": "16-mixed",
    "64": "64-true",
    "64-true": "64-true",
}


class Device(NamedTuple):
    """A device in Lightning's terms."""

    accelerator: str
    """"cpu", "cuda" or "mps"."""
    devices: int | list[int]
    """Number of devices, or the numbers of those that are meant."""


def choose_device(device: str) -> Device:
    """Find the device that was asked for.

    Parameters
    ----------
    device : str
        "auto" (a GPU if there is one), "cpu", "cuda", "cuda:<number>" or "mps".

    Raises
    ------
    ConfigurationError
        If the device is not there.
    """
    name, _, number = device.partition(":")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    if name not in {"cpu", "cuda", "mps"} or (number and not number.isdigit()):
        raise ConfigurationError(
            f"There is no device {device!r}. Choose auto, cpu, cuda, cuda:0 or mps."
        )
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(_has_mps())}[name]
    if int(number or 0) >= count:
        raise ConfigurationError(
            f"The device {device!r} is not there: this machine has {count} devices of the kind "
            f"{name!r}. Choose `--device cpu`, or `--device auto` for the best one."
        )
    return Device(name, [int(number)] if number else 1)


def choose_precision(setting: Any, accelerator: str) -> Precision:
    """Translate a precision into one that the device can compute with.

    Parameters
    ----------
    setting : str or int or None
        "auto", "32", "bf16", "16-mixed" or another name of Lightning's. "auto" is bfloat16 on
        processors with matrix instructions for it, where a step takes half the time, else float32.
    accelerator : str
        Where training runs; half precision with a scaled loss exists on GPUs only, elsewhere
        training runs in float32.

    Raises
    ------
    ConfigurationError
        If there is no such precision.
    """
    name = "auto" if setting is None else str(setting)
    if name not in _PRECISIONS:
        raise ConfigurationError(
            f"There is no precision {name!r}. Choose one of {', '.join(_PRECISIONS)}."
        )
    if name == "auto" and accelerator == "cpu" and has_fast_bfloat16():
        return "bf16-mixed"
    precision = _PRECISIONS[name]
    if precision == "16-mixed" and accelerator != "cuda":
        return "32-true"
    return precision


def has_fast_bfloat16() -> bool:
    """Say whether this processor multiplies bfloat16 matrices in hardware (AMX)."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def _has_mps() -> bool:
    return torch.backends.mps.is_available()
