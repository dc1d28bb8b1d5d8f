"""How an input follows from its channels, as far as that is known."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from careamics_denoisplit.config import DenoiSplitAlgorithm

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Superposition(BaseModel):
    """Input = sum of `weights` times channels, plus `offset`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weights: tuple[Finite, ...]
    """Weight of each channel."""
    offset: Finite = 0.0
    """Gray values."""

    def mapped(self, gain: float, offset: float) -> "Superposition":
        """Return how `gain * input + offset` follows from the channels."""
        return Superposition(
            weights=tuple(gain * weight for weight in self.weights),
            offset=gain * self.offset + offset,
        )


def superposition_of_training(algorithm: DenoiSplitAlgorithm) -> Superposition | None:
    """Return how the training input follows from its channels.

    Parameters
    ----------
    algorithm : DenoiSplitAlgorithm
        None is returned for measured mixtures, whose weights nobody knows, and for random
        weights, which differ from input to input.
    """
    if algorithm.mixing == "measured" or algorithm.mixing_jitter:
        return None
    count = len(algorithm.channel_names)
    weight = 1.0 if algorithm.mixing == "sum" else 1.0 / count
    offsets = algorithm.channel_offsets
    # Camera offsets leave each channel before it is mixed, and their mean is added once.
    offset = 0.0 if offsets is None else sum(offsets) / count - weight * sum(offsets)
    return Superposition(weights=(weight,) * count, offset=offset)
