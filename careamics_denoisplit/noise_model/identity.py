"""Which noise model belongs to which channel: by name, and by the noise in the images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.files import safe_name
from careamics_denoisplit.noise_model.model import GaussianMixtureNoiseModel
from careamics_denoisplit.noise_model.storage import load_noise_model

NoiseModelSource: TypeAlias = Path | str | GaussianMixtureNoiseModel
"""A model, or the file that holds it."""

SWAP_MARGIN = 0.05
"""Nats per pixel that another assignment must gain before the models count as swapped."""

MAX_NOISE_RATIO = 2.0
"""Factor between the model's and the measured standard deviation that is still believable."""

MAX_SHARE_OUTSIDE = 0.01
"""Share of pixels beyond the observation range of their model that is still believable."""


def noise_model_file(channel: str) -> str:
    """Return the name of the file that holds the noise model of a channel."""
    return f"noise_model_{safe_name(channel)}.npz"


def load_noise_models(
    source: NoiseModelSource | Sequence[NoiseModelSource] | Mapping[str, NoiseModelSource],
    channel_names: Sequence[str],
) -> tuple[GaussianMixtureNoiseModel, ...]:
    """Collect one noise model per channel and refuse those of other channels.

    Parameters
    ----------
    source : path, model, sequence or mapping of these
        A folder with `noise_model_<channel>.npz` of each channel (or `noise_model_ch0.npz` and
        so on, as careamics calls them), a sequence in the order of the channels, or a mapping
        from channel to model. Models of further channels in a folder are left alone.
    channel_names : sequence of str
        Names of the channels, in order.

    Raises
    ------
    NoiseModelError
        If models are missing, too many, or belong to another channel than the one they are
        given for.
    """
    found = _by_channel(source, tuple(channel_names))
    models = tuple(
        model if isinstance(model, GaussianMixtureNoiseModel) else load_noise_model(model)
        for model in found
    )
    require_named_channels(models, channel_names)
    return models


def require_named_channels(
    models: Sequence[GaussianMixtureNoiseModel], channel_names: Sequence[str]
) -> None:
    """Refuse noise models whose stored channel is not the one they are given for.

    Raises
    ------
    NoiseModelError
        If the counts differ or a stored name or number contradicts the order of the channels.
    """
    _require_count(len(models), channel_names)
    stored = [model.info.channel for model in models]
    wrong = [
        f"the one for {name!r} was fitted on {channel!r}"
        for name, channel in zip(channel_names, stored, strict=True)
        if channel is not None and safe_name(channel) != safe_name(name)
    ]
    wrong += [
        f"the one for {name!r} (channel {index}) is marked as channel {model.info.channel_index}"
        for index, (name, model) in enumerate(zip(channel_names, models, strict=True))
        if model.info.channel_index not in {None, index}
    ]
    if wrong:
        raise NoiseModelError(
            f"Noise models are swapped or belong to other channels: {'; '.join(wrong)}. Give them "
            f"in the order of the channels, {', '.join(channel_names)}."
        )


def require_usable(
    models: Sequence[GaussianMixtureNoiseModel], channel_names: Sequence[str]
) -> None:
    """Refuse noise models that failed their quality report.

    Raises
    ------
    NoiseModelError
        Naming the channels whose verdict is "fail".
    """
    failed = [
        name
        for name, model in zip(channel_names, models, strict=True)
        if model.info.verdict == "fail"
    ]
    if failed:
        raise NoiseModelError(
            f"The noise model of {', '.join(failed)} failed its quality check: training on it "
            "would go wrong silently. Read its report and fit it again, or insist with `--force`."
        )


class ChannelMatch(NamedTuple):
    """How well each noise model describes the noise of each channel."""

    nll: Float[np.ndarray, "models channels"]
    """Negative log-likelihood of each channel's noise under each model, nats per pixel."""
    noise_ratio: Float[np.ndarray, "channels"]
    """Standard deviation by the model of the channel, divided by the measured one."""
    share_outside: Float[np.ndarray, "channels"]
    """Share of the pixels beyond the observation range of their model."""


def match_channels(
    models: Sequence[GaussianMixtureNoiseModel], observations: Sequence[npt.ArrayLike]
) -> ChannelMatch:
    """Compare every noise model with the noise of every channel; no clean image is needed.

    The noise is measured in the images: the local mean stands for the signal, the second
    difference in both directions, which structures hardly touch, for the noise. Its standard
    deviation is taken robustly in 20 bins of the signal.

    Parameters
    ----------
    models : sequence of C GaussianMixtureNoiseModel
        In the order of the channels.
    observations : sequence of C arrays of shape (..., Y, X)
        Noisy channels in gray values, at least 3 x 3 pixels; a crop of a megapixel is enough.
    """
    curves = [measured_noise(observation) for observation in observations]
    nll = np.array([[_expected_nll(model, curve) for curve in curves] for model in models])
    own = list(zip(models, curves, observations, strict=True))
    ratio = np.array([_noise_ratio(model, curve) for model, curve, _ in own])
    outside = np.array([share_outside(model, observation) for model, _, observation in own])
    return ChannelMatch(nll, ratio, outside)


def check_noise_models(
    models: Sequence[GaussianMixtureNoiseModel],
    observations: Sequence[npt.ArrayLike],
    channel_names: Sequence[str],
) -> tuple[str, ...]:
    """Compare noise models with the images they will be trained on.

    Parameters
    ----------
    models : sequence of C GaussianMixtureNoiseModel
        In the order of the channels.
    observations : sequence of C arrays of shape (..., Y, X)
        Noisy channels in gray values.
    channel_names : sequence of C str
        Names of the channels.

    Returns
    -------
    tuple of str
        Warnings in words: a range that does not cover the data, or another level of noise.

    Raises
    ------
    NoiseModelError
        If the models are swapped; the message gives the likelihood of every pairing.
    """
    require_named_channels(models, channel_names)
    match = match_channels(models, observations)
    _require_best_assignment(match.nll, channel_names)
    warnings = []
    for index, name in enumerate(channel_names):
        if match.share_outside[index] > MAX_SHARE_OUTSIDE:
            low, high = models[index].observation_range
            warnings.append(
                f"{match.share_outside[index]:.1%} of the pixels of {name!r} lie outside "
                f"{low:.6g} to {high:.6g}, the range its noise model was fitted for. Fit it on "
                "images like these."
            )
        if not 1 / MAX_NOISE_RATIO < match.noise_ratio[index] < MAX_NOISE_RATIO:
            warnings.append(
                f"The noise model of {name!r} expects {match.noise_ratio[index]:.2g} times the "
                "noise that its images show. Fit it on images of the same camera settings."
            )
    return tuple(warnings)


class NoiseCurve(NamedTuple):
    """Noise measured in bins of the signal."""

    signal: Float[np.ndarray, "bins"]
    """Mean signal of each bin, in gray values."""
    std: Float[np.ndarray, "bins"]
    """Robust standard deviation of the noise, in gray values."""
    share: Float[np.ndarray, "bins"]
    """Share of the pixels."""


def measured_noise(observation: npt.ArrayLike, bins: int = 20) -> NoiseCurve:
    """Measure the noise of one channel without knowing its signal.

    Parameters
    ----------
    observation : array of shape (..., Y, X)
        Noisy images in gray values.
    bins : int
        Number of bins, with equal counts.

    Raises
    ------
    NoiseModelError
        If the images are smaller than 3 x 3 pixels or not finite.
    """
    images = np.asarray(observation, dtype=np.float32)
    if images.ndim < 2 or min(images.shape[-2:]) < 3 or not np.isfinite(images).all():
        raise NoiseModelError(
            "Noise can be measured in finite images of at least 3 x 3 pixels, got the shape "
            f"{images.shape}. Give larger images, or remove NaN and infinite pixels."
        )
    sums = images[..., :-2, :] + images[..., 1:-1, :] + images[..., 2:, :]
    signal = (sums[..., :-2] + sums[..., 1:-1] + sums[..., 2:]).ravel() / 9
    bends = images[..., :-2, :] - 2 * images[..., 1:-1, :] + images[..., 2:, :]
    noise = (bends[..., :-2] - 2 * bends[..., 1:-1] + bends[..., 2:]).ravel() / 6
    groups = [group for group in np.array_split(np.argsort(signal), bins) if group.size]
    return NoiseCurve(
        np.array([signal[group].mean(dtype=np.float64) for group in groups]),
        np.array([_robust_std(noise[group]) for group in groups]),
        np.array([group.size / signal.size for group in groups]),
    )


def share_outside(model: GaussianMixtureNoiseModel, observation: npt.ArrayLike) -> float:
    """Return the share of pixels beyond the observation range of a noise model."""
    low, high = model.observation_range
    images = np.asarray(observation)
    return float(((images < low) | (images > high)).mean())


def _robust_std(values: npt.NDArray[np.float32]) -> float:
    # The median deviation is zero where more than half of the pixels are equal.
    robust = 1.4826 * float(np.median(np.abs(values)))
    smallest = float(np.finfo(np.float32).tiny)
    return max(robust, 0.1 * float(values.std(dtype=np.float64)), smallest)


def _model_variance(model: GaussianMixtureNoiseModel, curve: NoiseCurve) -> npt.NDArray[np.float64]:
    with torch.no_grad():
        device = model.weight.device
        signal = torch.as_tensor(curve.signal, dtype=torch.float32, device=device)
        variance: npt.NDArray[np.float64] = model.variance(signal).cpu().numpy().astype(np.float64)
        return variance


def _expected_nll(model: GaussianMixtureNoiseModel, curve: NoiseCurve) -> float:
    variance = _model_variance(model, curve)
    nats = 0.5 * (np.log(2 * np.pi * variance) + curve.std**2 / variance)
    return float((nats * curve.share).sum())


def _noise_ratio(model: GaussianMixtureNoiseModel, curve: NoiseCurve) -> float:
    return float(np.median(np.sqrt(_model_variance(model, curve)) / curve.std))


def _require_best_assignment(
    nll: Float[np.ndarray, "models channels"], channel_names: Sequence[str]
) -> None:
    indices = range(len(channel_names))
    rows, columns = linear_sum_assignment(nll)
    if float(np.trace(nll) - nll[rows, columns].sum()) <= SWAP_MARGIN * len(channel_names):
        return
    best = dict(zip(columns.tolist(), rows.tolist(), strict=True))
    pairings = ", ".join(
        f"{channel_names[model]} on {channel_names[channel]} {nll[model, channel]:.3f}"
        for model in indices
        for channel in indices
    )
    order = ", ".join(
        f"{channel_names[channel]}: the model given for {channel_names[model]}"
        for channel, model in sorted(best.items())
    )
    raise NoiseModelError(
        "The noise models seem to be swapped between channels. Negative log-likelihood of the "
        f"noise in nats per pixel, model on images: {pairings}. The best assignment is {order}. "
        "Change the order, or fit the noise models again."
    )


def _by_channel(
    source: NoiseModelSource | Sequence[NoiseModelSource] | Mapping[str, NoiseModelSource],
    channel_names: tuple[str, ...],
) -> tuple[NoiseModelSource, ...]:
    if isinstance(source, Mapping):
        return _from_mapping(source, channel_names)
    if isinstance(source, GaussianMixtureNoiseModel):
        return _counted((source,), channel_names)
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return _from_folder(path, channel_names)
        return _counted((path,), channel_names)
    return _counted(tuple(source), channel_names)


def _counted(
    models: tuple[NoiseModelSource, ...], channel_names: tuple[str, ...]
) -> tuple[NoiseModelSource, ...]:
    _require_count(len(models), channel_names)
    return models


def _require_count(count: int, channel_names: Sequence[str]) -> None:
    expected = len(channel_names)
    if count != expected:
        problem = "missing" if count < expected else "too many"
        raise NoiseModelError(
            f"Noise models are {problem}: {expected} channels ({', '.join(channel_names)}) need "
            f"{expected}, got {count}. Give one for each channel."
        )


def _from_mapping(
    source: Mapping[str, NoiseModelSource], channel_names: tuple[str, ...]
) -> tuple[NoiseModelSource, ...]:
    missing = [name for name in channel_names if name not in source]
    extra = [name for name in source if name not in channel_names]
    if missing or extra:
        raise NoiseModelError(
            f"Noise models must be given for {', '.join(channel_names)}; missing are {missing}, "
            f"too many are {extra}. Use the names of the configuration."
        )
    return tuple(source[name] for name in channel_names)


def _from_folder(folder: Path, channel_names: tuple[str, ...]) -> tuple[NoiseModelSource, ...]:
    named = tuple(folder / noise_model_file(name) for name in channel_names)
    if all(path.is_file() for path in named):
        return named
    numbered = sorted(folder.glob("noise_model_ch[0-9]*.npz"))
    if numbered and not any(path.is_file() for path in named):
        _require_count(len(numbered), channel_names)
        return tuple(folder / f"noise_model_ch{index}.npz" for index in range(len(numbered)))
    missing = [path.name for path in named if not path.is_file()]
    there = sorted(path.name for path in folder.glob("*.npz"))
    raise NoiseModelError(
        f"Noise models are missing in {folder}: {', '.join(missing)}. There are "
        f"{', '.join(there) or 'none'}. Fit one for each channel, {', '.join(channel_names)}."
    )
