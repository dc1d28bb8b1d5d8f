"""Fit of the joint calibration: a small per-pixel network, by Gaussian likelihood."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from careamics_denoisplit.calibration.methods import (
    JointCalibration,
    fit_constant,
    joint_inputs,
    spread_floors,
)
from careamics_denoisplit.calibration.pixels import PixelSample
from careamics_denoisplit.threads import one_thread

HIDDEN_UNITS = 16
"""Width of the hidden layer."""

_STEPS = 1000
_BATCH = 2048
_LEARNING_RATE = 0.02
_RANGE = (0.1, 99.9)
_SMALLEST_LOG_RATIO = -7.0


def fit_joint(pixels: PixelSample, seed: int = 0) -> JointCalibration:
    """Fit log standard deviations to intensities and spreads of all channels.

    The mean over pixels and channels of `error^2 / (2 std^2) + log std` is minimised with Adam
    on batches drawn with the seed. The posterior spread alone does not know the splitting
    ambiguity, in which an error of one channel is the opposite error of another; intensities and
    spreads of all channels together show where it is likely.

    Parameters
    ----------
    pixels : PixelSample
        Pixels of validation images, rows (C, N), gray values.
    seed : int
        Seed of the initial weights and of the batches.
    """
    floors = spread_floors(pixels.spread)
    raw = joint_inputs(pixels.mean, pixels.spread, floors)
    low, high = np.percentile(raw, _RANGE, axis=1)
    clipped = np.clip(raw, low[:, None], high[:, None])
    centre, scale = clipped.mean(axis=1), clipped.std(axis=1)
    scale = np.where(scale > 0.0, scale, 1.0)
    overall = np.array([fit_constant(error) for error in pixels.error])
    layers = _fit_layers(
        _tensor(((clipped - centre[:, None]) / scale[:, None]).T),
        _tensor((pixels.error / overall[:, None]).T),
        torch.Generator().manual_seed(seed),
    )
    hidden_weight, hidden_bias, output_weight, output_bias = (
        layer.detach().numpy().astype(np.float64) for layer in layers
    )
    return JointCalibration(
        floors=tuple(floors.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        hidden_weight=tuple(map(tuple, hidden_weight.tolist())),
        hidden_bias=tuple(hidden_bias.tolist()),
        output_weight=tuple(map(tuple, output_weight.tolist())),
        output_bias=tuple((output_bias + np.log(overall)).tolist()),
    )


def _fit_layers(
    inputs: Float[Tensor, "n f"], errors: Float[Tensor, "n c"], random: torch.Generator
) -> list[Tensor]:
    """Return hidden weight and bias, output weight and bias of the fitted network."""
    features, channels = inputs.shape[1], errors.shape[1]
    hidden = torch.randn(HIDDEN_UNITS, features, generator=random) / math.sqrt(features)
    layers = [hidden, torch.zeros(HIDDEN_UNITS)]
    layers += [torch.zeros(channels, HIDDEN_UNITS), torch.zeros(channels)]
    for layer in layers:
        layer.requires_grad_(True)
    optimizer = torch.optim.Adam(layers, lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    with torch.enable_grad(), one_thread():
        for _ in range(_STEPS):
            batch = torch.randint(len(inputs), (_BATCH,), generator=random)
            loss = _negative_log_likelihood(inputs[batch], errors[batch], layers)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
            schedule.step()
    return layers


def _negative_log_likelihood(
    inputs: Float[Tensor, "n f"], errors: Float[Tensor, "n c"], layers: list[Tensor]
) -> Float[Tensor, ""]:
    hidden_weight, hidden_bias, output_weight, output_bias = layers
    hidden = torch.tanh(inputs @ hidden_weight.T + hidden_bias)
    log_std = (hidden @ output_weight.T + output_bias).clamp(min=_SMALLEST_LOG_RATIO)
    return (0.5 * errors.square() * torch.exp(-2.0 * log_std) + log_std).mean()


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
