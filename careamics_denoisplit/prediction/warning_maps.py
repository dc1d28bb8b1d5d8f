"""The warning channels of an image that was predicted, from the model's own files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Shaped
from torch import Tensor

from careamics_denoisplit.config import DenoiSplitConfiguration
from careamics_denoisplit.data import Statistics, Superposition, superposition_of_training
from careamics_denoisplit.errors import DataError
from careamics_denoisplit.images import as_float32
from careamics_denoisplit.prediction.warning_channels import Consistency, InputRange

CONSISTENT = (0.8, 1.25)
"""Bounds of `consistency` outside of which a pixel counts as unfamiliar; `input_range` is 0 where
it is familiar. Images like those of the training stay within: 0.94 to 1.15 was measured."""

UNLIMITED = 1e30
"""Bound in gray values where a level was not measured."""

_NARROWEST = 1e-6  # of the largest bound: a constant training input has a range of no width


@runtime_checkable
class NoiseModel(Protocol):
    """What is needed of a noise model: its size and its parameters."""

    @property
    def n_gaussians(self) -> int:
        """Number of Gaussians of the mixture."""

    @property
    def n_coefficients(self) -> int:
        """Number of polynomial coefficients of each parameter."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return weight, min_signal, max_signal and min_sigma."""


@runtime_checkable
class Monitored(Protocol):
    """What the warning channels need of a trained model."""

    @property
    def statistics(self) -> Statistics:
        """Statistics of the training data."""

    @property
    def config(self) -> DenoiSplitConfiguration:
        """Configuration of the training, which says how the input was mixed."""

    @property
    def noise_models(self) -> Sequence[NoiseModel]:
        """One noise model for each channel, or none."""


@dataclass(frozen=True)
class WarningMaps:
    """Where an image is not what the network was trained for.

    Attributes
    ----------
    consistency : numpy.ndarray of shape (Y, X) or None
        Local root mean square of what the predicted channels leave of the image, in units of its
        noise; near 1 where the image fits. None without noise models, and where it is not known
        how the image superimposes its channels.
    input_range : numpy.ndarray of shape (Y, X)
        Signed distance of local brightness, and of the noise and contrast that go with it, from
        their range in training, in widths of that range; 0 inside.
    """

    consistency: Float32[np.ndarray, "y x"] | None
    input_range: Float32[np.ndarray, "y x"]


@dataclass(frozen=True)
class Monitors:
    """The modules that compute the warning channels.

    Attributes
    ----------
    consistency, input_range : torch.nn.Module or None
        None where there is no such channel.
    why_not : str
        Why there is no `consistency`; empty where there is, or where none was wanted.
    """

    consistency: Consistency | None = None
    input_range: InputRange | None = None
    why_not: str = ""

    @classmethod
    def of(cls, trained: Monitored) -> "Monitors":
        """Build both for a model, or the second alone where the first cannot be computed."""
        superposition = superposition_of(trained)
        input_range = input_range_of(trained.statistics)
        if superposition is None:
            return cls(None, input_range, "the weights of the channels in the input are not known")
        if len(trained.noise_models) != len(superposition.weights):
            return cls(None, input_range, "the model has no noise models")
        return cls(consistency_of(trained.noise_models, superposition), input_range)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels that there are, in order."""
        present = {"consistency": self.consistency, "input_range": self.input_range}
        return tuple(name for name, module in present.items() if module is not None)

    def maps(
        self, image: Shaped[np.ndarray, "y x"], mean: Float[np.ndarray, "c y x"]
    ) -> Float32[np.ndarray, "w y x"]:
        """Compute the channels that there are.

        Parameters
        ----------
        image : numpy.ndarray of shape (Y, X)
            Mixture in raw gray values, as the training input was.
        mean : numpy.ndarray of shape (C, Y, X)
            Its predicted channels, gray values.

        Returns
        -------
        numpy.ndarray of shape (W, Y, X)
            In the order of `names`.
        """
        raw = torch.from_numpy(as_float32(image, "image"))[None, None]
        means = torch.from_numpy(np.array(mean, dtype=np.float32, order="C"))[None]
        found = [raw[:, :0]]
        with torch.no_grad():
            if self.consistency is not None:
                found.append(self.consistency(raw, means))
            if self.input_range is not None:
                found.append(self.input_range(raw))
        maps: Float32[np.ndarray, "w y x"] = torch.cat(found, dim=1)[0].numpy()
        return maps


NO_MONITORS = Monitors()
"""No warning channel at all."""


def warning_maps(
    trained: Monitored, image: Shaped[np.ndarray, "y x"], mean: Float[np.ndarray, "c y x"]
) -> WarningMaps:
    """Compute both warning channels, as packages do.

    Parameters
    ----------
    trained : Monitored
        A model as `load_model` returns it.
    image : numpy.ndarray of shape (Y, X)
        The mixture that was predicted, raw gray values.
    mean : numpy.ndarray of shape (C, Y, X)
        Its predicted channels, gray values.

    Raises
    ------
    DataError
        If the image is not real or holds NaN or infinite pixels.
    """
    raw = as_float32(image, "The image")
    count = int(np.count_nonzero(~np.isfinite(raw)))
    if count:
        raise DataError(
            f"The image holds {count} pixels that are NaN or infinite, for which there is no "
            "warning to compute. Replace them first."
        )
    monitors = Monitors.of(trained)
    maps = dict(zip(monitors.names, monitors.maps(raw, mean), strict=True))
    return WarningMaps(maps.get("consistency"), maps["input_range"])


def outside_training(
    consistency: Float[np.ndarray, "*where"] | None, input_range: Float[np.ndarray, "*where"]
) -> Bool[np.ndarray, "*where"]:
    """Say of each pixel whether it is outside of what the network was trained for.

    Parameters
    ----------
    consistency : numpy.ndarray or None
        First warning map; outside where it leaves `CONSISTENT`.
    input_range : numpy.ndarray
        Second warning map; outside where it is not 0.
    """
    outside: Bool[np.ndarray, "*where"] = input_range != 0
    if consistency is None:
        return outside
    low, high = CONSISTENT
    return outside | (consistency < low) | (consistency > high)


def superposition_of(trained: Monitored) -> Superposition | None:
    """Return how the input follows from its channels; None where nobody knows.

    Parameters
    ----------
    trained : Monitored
        What its statistics say counts, else the rule of its training.
    """
    known = trained.statistics.superposition
    return known or superposition_of_training(trained.config.algorithm_config)


def consistency_of(noise_models: Sequence[NoiseModel], superposition: Superposition) -> Consistency:
    """Build the first warning channel.

    Parameters
    ----------
    noise_models : sequence of C NoiseModel
        One for each channel.
    superposition : Superposition
        How the input follows from the channels.
    """
    module = Consistency([(model.n_gaussians, model.n_coefficients) for model in noise_models])
    module.weights.copy_(torch.tensor(superposition.weights))
    module.offset.fill_(superposition.offset)
    for own, model in zip(module.noise, noise_models, strict=True):
        own.load_state_dict(dict(model.state_dict()))
    return module


def input_range_of(statistics: Statistics) -> InputRange:
    """Build the second warning channel.

    Parameters
    ----------
    statistics : Statistics
        Where local levels were not measured (runs of earlier versions), brightness is compared
        with the percentiles of single pixels, and noise and contrast with nothing.
    """
    levels = statistics.local_levels
    of_brightness = statistics.input_percentiles if levels is None else levels.intensity
    low, high = _wide_enough(min(of_brightness.values()), max(of_brightness.values()))
    known = None if levels is None else levels.by_brightness
    if known is None:
        noise = (0.0, UNLIMITED)
        if levels is not None:
            noise = _wide_enough(min(levels.noise.values()), max(levels.noise.values()))
        places, limits = [low], [[value] for value in (*noise, -UNLIMITED, UNLIMITED)]
    else:
        noises = map(_wide_enough, known.least_noise, known.most_noise)
        contrasts = map(_wide_enough, known.least_contrast, known.most_contrast)
        places = list(known.brightness)
        limits = [list(row) for pair in (noises, contrasts) for row in zip(*pair, strict=True)]
    module = InputRange(len(places) + 1)
    module.low.fill_(low)
    module.high.fill_(high)
    module.most_rough.fill_(max(limits[1]))
    module.limits.set_points(
        _apart(torch.tensor([*places, places[-1] + high - low])),
        torch.tensor([[*row, row[-1]] for row in limits]),
    )
    return module


def _wide_enough(low: float, high: float) -> tuple[float, float]:
    least = max(abs(low), abs(high), 1e-12) * _NARROWEST
    return low, max(high, low + least)


def _apart(places: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Move ascending places that coincide apart, by little."""
    least = float(places.abs().max().clamp(min=1e-12)) * _NARROWEST
    steps = places.diff().clamp(min=least)
    return torch.cat((places[:1], places[0] + steps.cumsum(0)))
