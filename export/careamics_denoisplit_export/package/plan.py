"""Everything that decides about the content of a package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from careamics_denoisplit.calibration import EstimatorCalibration
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.data import (
    SAME_INPUT,
    InputMap,
    InputRule,
    Statistics,
    statistics_of_image,
)
from careamics_denoisplit.prediction import (
    Estimate,
    Monitors,
    predict_image,
    superposition_of,
    whole_image,
)
from careamics_denoisplit_export.package.sample_image import SampleImage
from careamics_denoisplit_export.recipe import Recipe
from careamics_denoisplit_export.spread import PackagedSpread
from careamics_denoisplit_export.weights import Calibration, graph_settings, graph_state


@dataclass(frozen=True)
class Input:
    """How the images that a package gets come about.

    Attributes
    ----------
    rule : {"measured", "sum", "mean"}
        One exposure of all structures, or sum or mean of an image of each.
    camera_offset : float or None
        Gray value of a pixel without light, where it is known.
    mapped : InputMap
        What turns such an image into the input of the training.
    """

    rule: InputRule
    camera_offset: float | None = None
    mapped: InputMap = SAME_INPUT

    def statistics(self, trained: TrainedModel) -> Statistics:
        """Return the statistics of the training input, in gray values of such images."""
        superposition = superposition_of(trained)
        return statistics_of_image(trained.statistics, self.rule, self.mapped, superposition)

    def as_in_training(self, raw: Float32[np.ndarray, "y x"]) -> Float32[np.ndarray, "y x"]:
        """Turn an image into the input of the training, in float32 as the graph does."""
        return raw * np.float32(self.mapped.gain) + np.float32(self.mapped.offset)


@dataclass(frozen=True)
class Plan:
    """What is packaged, and how.

    Attributes
    ----------
    trained : TrainedModel
        The model.
    recipe : Recipe
        What a person wrote.
    image : SampleImage
        The test image, gray values of the user's images.
    spread : PackagedSpread
        One pass with a fitted head, or posterior samples in the graph.
    method : {"scalar", "joint"}
        Calibration of the widths.
    input : Input
        What the package gets.
    monitors : Monitors
        Its warning channels.
    measured : mapping
        Figures for its model card, by topic.
    """

    trained: TrainedModel
    recipe: Recipe
    image: SampleImage
    spread: PackagedSpread
    method: Literal["scalar", "joint"]
    input: Input
    monitors: Monitors
    measured: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def estimate(self) -> Estimate:
        """Prediction of the test image, computed once: it takes seconds."""
        raw = self.input.as_in_training(self.image.raw)
        tiling = whole_image(raw.shape, self.trained.network.size_multiple)
        spread = self.spread
        return predict_image(
            self.trained,
            raw,
            spread=spread.kind,
            n_samples=max(1, spread.n_samples),
            seed=spread.seed,
            tiling=tiling,
            device="cpu",  # the graph is traced there, wherever the model was used before
        )

    @property
    def fitted(self) -> EstimatorCalibration | None:
        """All calibrations of the estimator; None where nothing was fitted for it."""
        return self.trained.calibrations.estimators.get(self.spread.estimator)

    @property
    def calibration(self) -> Calibration | None:
        """What calibrates the widths; None where nothing was fitted for this estimator."""
        return None if self.fitted is None else self.fitted.method(self.method)

    @property
    def output_channels(self) -> tuple[str, ...]:
        """Name of each channel, then of each width, then of each warning."""
        ending = "spread" if self.calibration is None else "std"
        names = self.trained.channel_names
        return (*names, *(f"{name}_{ending}" for name in names), *self.monitors.names)

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild the graph."""
        return graph_settings(self.trained, self.calibration, self.spread, self.monitors)

    @property
    def state(self) -> dict[str, Tensor]:
        """Tensors of the graph."""
        return graph_state(
            self.trained, self.calibration, self.spread, self.monitors, self.input.mapped
        )

    def facts(self) -> dict[str, Any]:
        """Say what the channels are, for readers of our own."""
        return {
            "version": exporter_version(),
            "spread": self.spread.kind,
            "n_samples": self.spread.n_samples,
            "seed": self.spread.seed,
            **({"spread_reason": self.spread.reason} if self.spread.reason else {}),
            "calibrated": self.calibration is not None,
            "method": self.method if self.calibration is not None else "none",
            "input": {"rule": self.input.rule, **self.input.mapped._asdict()},
        }


def exporter_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("careamics-denoisplit")
    except PackageNotFoundError:
        return "0+unknown"
