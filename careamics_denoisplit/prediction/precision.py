"""With how many digits the network computes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, get_args

import torch

from careamics_denoisplit.errors import ConfigurationError

Precision = Literal["auto", "32", "bf16", "16"]
"""Digits of the network's arithmetic; means and spreads are always summed in float32."""

_HALVES = {"bf16": torch.bfloat16, "16": torch.float16}


def reduced_type(precision: str, device: torch.device | str) -> torch.dtype | None:
    """Return the type that convolutions compute in, or None for that of the weights.

    Parameters
    ----------
    precision : {"auto", "32", "bf16", "16"}
        "auto" is float32 everywhere: the same numbers on every machine, and those that
        calibrations were fitted on.
    device : torch.device or str
        Where the network computes.

    Raises
    ------
    ConfigurationError
        If there is no such precision, or the device does not compute with it.
    """
    if precision not in get_args(Precision):
        raise ConfigurationError(
            f"`precision` must be one of {', '.join(get_args(Precision))}, got {precision!r}."
        )
    kind = torch.device(device).type
    if precision == "16" and kind not in ("cuda", "mps"):
        raise ConfigurationError(
            f"Precision 16 exists on GPUs only; this prediction runs on {kind!r}. Choose precision "
            "bf16 or 32."
        )
    return _HALVES.get(precision)


def stated(precision: Precision) -> str:
    """Return the precision as it is written beside results: what "auto" stands for."""
    return "32" if precision == "auto" else precision


def computing_in(
    reduced: torch.dtype | None, device: torch.device
) -> AbstractContextManager[object]:
    """Let the network compute in a reduced type while the block runs; None is float32."""
    if reduced is not None:
        return torch.autocast(device.type, dtype=reduced)
    return _all_digits() if device.type == "cuda" else nullcontext()


@contextmanager
def _all_digits() -> Iterator[None]:
    """Keep convolutions in float32: by default such GPUs round their input to 10 binary digits."""
    former = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = former


def summable(dtype: torch.dtype) -> torch.dtype:
    """Return the type that numbers are summed in: at least float32."""
    return torch.promote_types(dtype, torch.float32)
