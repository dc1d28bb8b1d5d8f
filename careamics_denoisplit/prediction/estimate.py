"""Predict one image: mean and spread over posterior samples, or the samples themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.network import PosteriorMean
from careamics_denoisplit.prediction.decoding import Splitter, TilePass, spread_head_of
from careamics_denoisplit.prediction.engine import Progress, Workload, predict_planes
from careamics_denoisplit.prediction.moments import RunningMoments
from careamics_denoisplit.prediction.precision import Precision
from careamics_denoisplit.prediction.tiling import Tiling

Spread = Literal["samples", "distilled", "none"]
"""How mean and standard deviation come about: of samples, in one pass by a head, or no spread."""


@dataclass(frozen=True)
class Estimate:
    """Mean and spread of one image, in raw units of each channel.

    Attributes
    ----------
    mean : numpy.ndarray of shape (C, Y, X)
        Mean over the posterior samples (the MMSE estimate), the same as one pass says it, or the
        pass with the posterior means.
    spread : numpy.ndarray of shape (C, Y, X) or None
        Unbiased standard deviation over the posterior samples, or the same as one pass says it;
        not calibrated. None for a single sample and for the pass with the posterior means.
    n_samples : int
        Number of posterior samples; 0 where none are drawn.
    seed : int
        Seed of the posterior noise.
    tiling : Tiling
        Tiles that were used, after halving where memory ran out.
    snapshots : dict of int to Estimate
        The same after fewer samples, from the same pass.
    """

    mean: Float[np.ndarray, "c y x"]
    spread: Float[np.ndarray, "c y x"] | None
    n_samples: int
    seed: int
    tiling: Tiling
    snapshots: dict[int, "Estimate"] = field(default_factory=dict)


def predict_image(
    trained: Splitter,
    image: Shaped[np.ndarray, "..."],
    *,
    n_samples: int = 16,
    spread: Spread = "samples",
    seed: int = 0,
    tiling: Tiling | None = None,
    batch: int = 1,
    device: torch.device | str | None = None,
    snapshots: Sequence[int] = (),
    progress: Progress | None = None,
    precision: Precision = "auto",
) -> Estimate:
    """Split one image into its denoised channels.

    Each tile is encoded once and decoded `n_samples` times; mean and spread are streamed, so the
    memory does not grow with the number of samples. Posterior noise is a function of (seed,
    sample, level, channel, absolute y, absolute x): the result does not depend on `batch`, and on
    the tiling only through the finite overlap of tiles.

    Parameters
    ----------
    trained : Splitter
        Network and statistics, as `load_model` returns them.
    image : numpy.ndarray of shape (Y, X)
        Mixture in raw gray values; any size from 1 x 1 pixel, any real dtype.
    n_samples : int
        Posterior samples to draw; even numbers use antithetic pairs to the full.
    spread : {"samples", "distilled", "none"}
        Mean and standard deviation over posterior samples; what the fitted spread head says of
        them in one pass; or that pass alone, with the mean of every posterior and no spread.
    seed : int
        Seed of the posterior noise.
    tiling : Tiling or None
        Tiles; None takes the whole image or the largest tiles that fit into the free memory.
    batch : int
        Tiles that are handed to the device together.
    device : torch.device or str or None
        Where to compute; None leaves the network where it is.
    snapshots : sequence of int
        Smaller numbers of samples whose moments are returned as well.
    progress : callable or None
        Called with (finished, total) passes of the decoder, over all tiles.
    precision : {"auto", "32", "bf16", "16"}
        Digits of the network's arithmetic; "auto" is float32, "16" needs a GPU.

    Returns
    -------
    Estimate
        Mean and spread (C, Y, X) in raw gray values of each channel.

    Raises
    ------
    DataError
        If the image is empty, not two-dimensional, not real or holds NaN or infinite pixels.
    ConfigurationError
        If a number does not make sense, the device does not exist, or the model has no fitted
        spread head.
    NonFiniteError
        If the network returns NaN or infinite numbers; the message names tile and channel.
    FaultError
        If memory runs out even for the smallest tile.
    """
    require_spread(spread)
    wanted = _wanted_counts(n_samples, snapshots) if spread == "samples" else []
    head = spread_head_of(trained) if spread == "distilled" else None

    def moments(pass_: TilePass) -> Tensor:
        if head is not None:
            said = pass_.decode_once(head)
            return torch.cat((pass_.raw(said.mean), pass_.raw_spread(said.std)), dim=1)
        if spread == "none":
            return pass_.raw(pass_.decode(PosteriorMean()))
        return torch.cat(list(_planes(pass_, _moments_at(pass_, seed, wanted))), dim=1)

    passes = n_samples if spread == "samples" else 1
    stack, used = predict_planes(
        trained, image, moments, passes, Workload(tiling, batch, device, progress, precision)
    )
    if spread == "none":
        return Estimate(stack.numpy(), None, 0, seed, used)
    if spread == "distilled":
        mean, std = np.split(stack.numpy(), 2)
        return Estimate(mean, std, 0, seed, used)
    estimates = _estimates(stack.numpy(), wanted, trained.network.output_channels, seed, used)
    last = estimates.pop(n_samples)
    return Estimate(last.mean, last.spread, n_samples, seed, used, estimates)


def sample_image(
    trained: Splitter,
    image: Shaped[np.ndarray, "..."],
    *,
    n_samples: int = 4,
    seed: int = 0,
    tiling: Tiling | None = None,
    batch: int = 1,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    precision: Precision = "auto",
) -> Float[np.ndarray, "draw c y x"]:
    """Draw single posterior samples: possible solutions, each as sharp as the data allow.

    They are the samples that `predict_image` averages under the same seed.

    Parameters
    ----------
    trained, image, seed, tiling, batch, device, progress, precision
        As in `predict_image`.
    n_samples : int
        Samples to draw; all of them are held in memory, as they are the result.

    Returns
    -------
    numpy.ndarray of shape (N, C, Y, X)
        Samples in raw gray values of each channel.

    Raises
    ------
    DataError, ConfigurationError, NonFiniteError, FaultError
        As in `predict_image`.
    """
    _wanted_counts(n_samples, ())

    def draws(pass_: TilePass) -> Tensor:
        return torch.cat([pass_.raw(sample) for sample in pass_.samples(seed, n_samples)], dim=1)

    stack, _ = predict_planes(
        trained, image, draws, n_samples, Workload(tiling, batch, device, progress, precision)
    )
    return stack.numpy().reshape(n_samples, -1, *stack.shape[1:])


def _moments_at(pass_: TilePass, seed: int, wanted: list[int]) -> Iterator[RunningMoments]:
    """Yield the moments of the samples of one tile after each wanted number."""
    moments: RunningMoments | None = None
    for sample in pass_.samples(seed, wanted[-1]):
        moments = RunningMoments.of(sample) if moments is None else moments.add(sample)
        if moments.count in wanted:
            yield moments


def _planes(pass_: TilePass, moments: Iterator[RunningMoments]) -> Iterator[Tensor]:
    """Yield mean and, where there is one, standard deviation of each set of moments."""
    for each in moments:
        yield pass_.raw(each.mean)
        if each.std is not None:
            yield pass_.raw_spread(each.std)


def _estimates(
    planes: Float[np.ndarray, "f y x"],
    wanted: list[int],
    channels: int,
    seed: int,
    tiling: Tiling,
) -> dict[int, Estimate]:
    """Read the planes that `_planes` laid one behind the other."""
    estimates = {}
    rest = planes
    for count in wanted:
        mean, rest = rest[:channels], rest[channels:]
        spread = None
        if count > 1:
            spread, rest = rest[:channels], rest[channels:]
        estimates[count] = Estimate(mean, spread, count, seed, tiling)
    return estimates


def require_spread(spread: str) -> None:
    """Refuse a kind of spread that does not exist."""
    if spread not in get_args(Spread):
        raise ConfigurationError(
            f"`spread` must be one of {', '.join(get_args(Spread))}, got {spread!r}."
        )


def _wanted_counts(n_samples: int, snapshots: Sequence[int]) -> list[int]:
    """Return the numbers of samples after which moments are wanted, in order."""
    if n_samples < 1:
        raise ConfigurationError(f"`n_samples` must be 1 or more, got {n_samples}.")
    if any(not 1 <= count <= n_samples for count in snapshots):
        raise ConfigurationError(
            f"Snapshots must lie between 1 and the {n_samples} samples, got {tuple(snapshots)}."
        )
    return sorted({*snapshots, n_samples})
