"""Whether a measured mixture and its channels show the same fields."""

import warnings
from collections.abc import Sequence

import numpy as np

from careamics_denoisplit.data.binning import BIN, binned
from careamics_denoisplit.data.mixing import MixtureFit, MixtureFitter
from careamics_denoisplit.data.patches import Field
from careamics_denoisplit.errors import DataError

_UNRELATED = 0.05
_DOUBTFUL = 0.5


class MixtureWarning(UserWarning):
    """A measured mixture is explained badly by its channels."""


def compare_mixture(fields: Sequence[Field]) -> MixtureFit:
    """Fit the measured mixtures by their channels, on means of 8 x 8 pixels.

    Parameters
    ----------
    fields : sequence of Field
        Fields with a mixture.

    Returns
    -------
    MixtureFit
        Gain of each channel, offset in gray values, explained share of the variance.

    Raises
    ------
    DataError
        If a field has no mixture.
    """
    fitter = MixtureFitter(len(fields[0].channels))
    for field in fields:
        if field.mixture is None:
            raise DataError("A field without a mixture cannot be compared with one.")
        streams = [plane.blocks() for plane in (*field.channels, field.mixture)]
        for blocks in zip(*streams, strict=True):
            small = [binned(block) for block in blocks]
            fitter.add(np.stack(small[:-1]), small[-1])
    return fitter.fit()


def describe_mixture(fit: MixtureFit, names: Sequence[str]) -> str:
    """Say in one sentence how the mixture depends on the channels."""
    terms = " + ".join(f"{gain:.3g} {name}" for gain, name in zip(fit.gains, names, strict=True))
    return (
        f"mixture = {terms} + {fit.offset:.4g} gray values, which explains "
        f"{fit.explained:.1%} of the variance of its {BIN} x {BIN} means (root mean square of "
        f"mixture minus sum {fit.deviation['sum']:.4g}, minus mean {fit.deviation['mean']:.4g})"
    )


def require_related(fit: MixtureFit, names: Sequence[str]) -> None:
    """Refuse a mixture that has nothing in common with its channels.

    Parameters
    ----------
    fit : MixtureFit
        Result of `compare_mixture`.
    names : sequence of str
        Name of each channel.

    Raises
    ------
    DataError
        If the channels explain less than 5 % of the variance of the mixture.

    Warns
    -----
    MixtureWarning
        If they explain less than half, or a channel lowers the mixture.
    """
    found = describe_mixture(fit, names)
    if fit.explained < _UNRELATED:
        raise DataError(
            f"The mixture does not show the fields of the channels: {found}. Check that files are "
            "in the same order and aligned."
        )
    if fit.explained < _DOUBTFUL or min(fit.gains) <= 0:
        warnings.warn(
            f"The mixture is doubtful: {found}. Check order and alignment of the files, and "
            "whether light of something else reaches the detector.",
            MixtureWarning,
            stacklevel=2,
        )
