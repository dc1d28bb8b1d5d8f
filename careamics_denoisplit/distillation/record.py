"""What is known about a fitted spread head: sizes, weights it belongs to, and its gates."""

import hashlib
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import nn

Status = Literal["passed", "failed", "not measured"]


class _Closed(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Gate(_Closed):
    """One question that a spread head must answer before it may stand in for samples."""

    name: str
    """Identifier, such as "mean_square_ratio"."""
    title: str
    """What is compared, in words."""
    limit: str
    """What is asked for, in words."""
    status: Status
    """Whether it was answered as asked; "not measured" where truth is missing."""
    columns: tuple[str, ...] = ()
    """What each number of `figures` is."""
    figures: Mapping[str, tuple[float, ...]] = Field(default_factory=dict)
    """Numbers by channel, one for each column."""
    samples_fail: bool = False
    """Whether posterior samples fail the same question, so that taking them would not help."""


class Distillation(_Closed):
    """Everything that `distillation.json` holds beside the tensors of the head."""

    format_version: Literal[2] = 2
    """Version of the file's layout, and of the head's: that of version 1 saw no surroundings."""
    channel_names: tuple[str, ...]
    """Channels of the network, in order."""
    width: PositiveInt
    """Feature channels of the head."""
    weights_sha256: str
    """Hash of the network's weights that the head was fitted to, see `weights_digest`."""
    seed: int = 0
    """Seed of crops and posterior noise."""
    steps: NonNegativeInt = 0
    """Steps after which the kept head was found."""
    seconds: NonNegativeFloat = 0.0
    """Duration of the fit."""
    validation_loss: float | None = None
    """Negative log-likelihood of validation samples in nats per pixel, without its constant."""
    trained_on: tuple[str, ...] = ()
    """Names of the images that the head was fitted on."""
    validated_on: tuple[str, ...] = ()
    """Names of the images that it was stopped and judged on."""
    reference_samples: NonNegativeInt = 0
    """Posterior samples that it was compared with."""
    gates: tuple[Gate, ...] = ()
    """Questions and answers; empty where it was not judged."""

    @property
    def passed(self) -> bool:
        """Whether the head was judged and no gate failed."""
        return bool(self.gates) and not self.failed

    @property
    def serves(self) -> bool:
        """Whether the head was judged and fails no gate that posterior samples pass."""
        return bool(self.gates) and all(gate.samples_fail for gate in self.failed)

    @property
    def failed(self) -> tuple[Gate, ...]:
        """Gates that failed."""
        return tuple(gate for gate in self.gates if gate.status == "failed")

    def words(self) -> str:
        """Say in one sentence what the gates found."""
        if not self.gates:
            return "The one-pass spread was not compared with samples."
        measured = [gate for gate in self.gates if gate.status != "not measured"]
        open_ones = len(self.gates) - len(measured)
        rest = f"; {open_ones} need truth and were not measured" if open_ones else ""
        if self.passed:
            return (
                f"The one-pass spread passed all {len(measured)} gates against "
                f"{self.reference_samples} samples{rest}."
            )
        failed = "; ".join(map(_failure, self.failed))
        return (
            f"The one-pass spread failed {len(self.failed)} of {len(measured)} gates: "
            f"{failed}{rest}."
        )


def _failure(gate: Gate) -> str:
    shared = ", which samples fail as well" if gate.samples_fail else ""
    return f"{gate.title} ({gate.limit}){shared}"


def weights_digest(network: nn.Module) -> str:
    """Hash the names, shapes and values of all tensors of a network (SHA-256).

    Independent of the file that they are stored in and of the device.

    Parameters
    ----------
    network : torch.nn.Module
        Module whose state dict is hashed.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
