"""The numbers of a step under the names that the metrics have, and their means over an epoch."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch

from careamics_denoisplit.losses import LossTerms
from careamics_denoisplit.network import LadderOutput

Row: TypeAlias = dict[str, float | int]
"""One row of the metrics: values by column."""


class EpochMeans:
    """Means of named numbers over the steps of an epoch, which can be stored in between."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def add(self, values: Mapping[str, float], weight: float = 1.0) -> None:
        """Count each value with a weight.

        Parameters
        ----------
        values : mapping of str to float
            Numbers of one step.
        weight : float
            For example the number of samples behind them.
        """
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + weight * value
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def means(self) -> dict[str, float]:
        """Return the weighted mean of each name."""
        return {name: total / self._weights[name] for name, total in self._sums.items()}

    def state(self) -> dict[str, dict[str, float]]:
        """Return plain numbers to store."""
        return {"sums": dict(self._sums), "weights": dict(self._weights)}

    @classmethod
    def from_state(cls, state: Mapping[str, Mapping[str, float]]) -> "EpochMeans":
        """Continue from stored numbers."""
        means = cls()
        means._sums = dict(state["sums"])
        means._weights = dict(state["weights"])
        return means


def named_terms(
    terms: LossTerms, output: LadderOutput, channel_names: Sequence[str]
) -> dict[str, float]:
    """Name each term of a step as the metrics do.

    Parameters
    ----------
    terms : LossTerms
        Terms of one step.
    output : LadderOutput
        Gives the largest posterior log variance of each level.
    channel_names : sequence of C str
        Names of the channels.

    Returns
    -------
    dict of str to float
        `train_loss`, `reconstruction`, `divergence`, `reconstruction_<channel>` in nats per
        pixel, `kl_level_<i>` in nats per image, `kl_scaled_level_<i>`,
        `largest_log_variance_level_<i>`; level 0 is the finest.
    """
    levels = range(len(terms.kl_per_level))
    names = [
        "train_loss",
        "reconstruction",
        "divergence",
        *(f"reconstruction_{name}" for name in channel_names),
        *(f"kl_level_{level}" for level in levels),
        *(f"kl_scaled_level_{level}" for level in levels),
        *(f"largest_log_variance_level_{level}" for level in levels),
    ]
    scalars = torch.stack([terms.total, terms.reconstruction, terms.divergence])
    values = torch.cat(
        [
            scalars,
            terms.reconstruction_per_channel,
            terms.kl_per_level,
            terms.kl_scaled_per_level,
            torch.stack(output.largest_log_variances).float(),
        ]
    )
    # One transfer from the device instead of one for each number.
    return dict(zip(names, values.detach().tolist(), strict=True))
