"""All calibrations of a trained model: one for each estimator, method and channel."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Real
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from careamics_denoisplit.calibration.alignment import TruthAlignment
from careamics_denoisplit.calibration.joint import fit_joint
from careamics_denoisplit.calibration.methods import (
    FrozenModel,
    IntensityTable,
    JointCalibration,
    ScalarCalibration,
    fit_constant,
    fit_intensity_table,
    fit_scalar,
)
from careamics_denoisplit.calibration.pixels import PixelSample
from careamics_denoisplit.calibration.scores import UncertaintyScores
from careamics_denoisplit.metrics import finite_or_none

Method = Literal["scalar", "joint"]
METHODS: tuple[Method, ...] = ("scalar", "joint")


def estimator_name(spread: str, n_samples: int) -> str:
    """Name an estimator: "samples-16" for 16 posterior samples, else the spread's own name.

    A calibration belongs to one estimator: the factor of 8 samples is not that of 200.
    """
    return f"samples-{n_samples}" if spread == "samples" else spread


class MethodScores(FrozenModel):
    """Scores of one standard deviation in one channel on one set of pixels."""

    nll: float
    """Mean negative Gaussian log-likelihood, nats per pixel."""
    ause: float | None
    """Area under the sparsification error curve, in units of the RMSE of all pixels."""
    ence: float | None
    """Expected normalised calibration error over 20 equal-count bins."""
    coverage_90: float
    """Share of the truth within the central 90 % interval."""
    relative_error: float | None
    """Mean over 20 equal-count bins of |RMSE - RMV|, divided by the RMSE of all pixels."""

    @classmethod
    def of(cls, scores: UncertaintyScores) -> "MethodScores":
        """Read the scores of accumulated pixels; what is not defined becomes None."""
        return cls(
            nll=scores.nll,
            ause=finite_or_none(scores.ause),
            ence=finite_or_none(scores.ence),
            coverage_90=scores.coverage_90,
            relative_error=finite_or_none(scores.relative_error),
        )

    def beats(self, reference: "MethodScores") -> bool:
        """Whether both likelihood and ranking of the pixels are better than the reference's."""
        if self.ause is None or reference.ause is None:
            return False
        return self.nll < reference.nll and self.ause < reference.ause


class FittedOn(FrozenModel):
    """Validation data of one calibration."""

    images: tuple[str, ...] = ()
    """Names of the images."""
    sha256: tuple[str, ...] = ()
    """Hash of input and truth of each image; empty where it was not recorded."""
    seed: int = 0
    """Seed of the posterior noise, of the drawn pixels and of the joint fit."""

    def same_data(self, other: "FittedOn") -> bool:
        """Whether both are known to be the same images; seeds may differ."""
        return bool(self.sha256) and set(self.sha256) == set(other.sha256)


class EstimatorCalibration(FrozenModel):
    """Calibrations of one estimator, the references, and how each did on validation.

    Everything was fitted on the same images.
    """

    scalar: ScalarCalibration
    """The paper's factor of each channel."""
    joint: JointCalibration | None = None
    """Function of all intensities and spreads; None where it was not fitted."""
    intensity: tuple[IntensityTable, ...]
    """Reference: error by predicted intensity, one table for each channel."""
    constant: tuple[PositiveFloat, ...]
    """Reference: one standard deviation for each channel, gray values."""
    scores: Mapping[str, tuple[MethodScores, ...]] = Field(default_factory=dict)
    """Validation scores per channel of "raw", "scalar", "joint", "intensity_only", "constant"."""
    n_pixels: NonNegativeInt = 0
    """Number of pixels of each channel that were fitted."""
    fitted_on: FittedOn = FittedOn()
    """Validation images."""

    @model_validator(mode="after")
    def _channels_agree(self) -> "EstimatorCalibration":
        counts = {len(self.scalar.factors), len(self.scalar.floors), len(self.intensity)}
        counts |= {len(self.constant)} | {len(scores) for scores in self.scores.values()}
        if self.joint is not None:
            counts.add(len(self.joint.floors))
        if len(counts) != 1:
            raise ValueError(f"Parts disagree on the number of channels: {sorted(counts)}.")
        return self

    def method(self, name: str) -> ScalarCalibration | JointCalibration | None:
        """Return the calibration of this method, None where it was not fitted."""
        return {"scalar": self.scalar, "joint": self.joint}.get(name)

    @property
    def methods(self) -> tuple[Method, ...]:
        """Methods that were fitted; the factor always is."""
        return tuple(name for name in METHODS if self.method(name) is not None)

    def reference_stds(self, mean: Real[np.ndarray, "c *n"]) -> dict[str, Real[np.ndarray, "c *n"]]:
        """Return both references for predicted intensities (C, ...), gray values."""
        intensity = np.stack([t.std(m) for t, m in zip(self.intensity, mean, strict=True)])
        constant = np.stack([np.full(m.shape, c) for c, m in zip(self.constant, mean, strict=True)])
        return {"intensity_only": intensity, "constant": constant}

    def all_stds(
        self, mean: Real[np.ndarray, "c *n"], spread: Real[np.ndarray, "c *n"]
    ) -> dict[str, Real[np.ndarray, "c *n"]]:
        """Return the raw spread, each method and each reference (C, ...), gray values."""
        unscaled = self.scalar.model_copy(update={"factors": (1.0,) * len(spread)})
        stds = {"raw": unscaled.std(mean, spread), "scalar": self.scalar.std(mean, spread)}
        if self.joint is not None:
            stds["joint"] = self.joint.std(mean, spread)
        return stds | self.reference_stds(mean)


class BlurWidths(FrozenModel):
    """Blur of the predictors that do not split, chosen on validation, in pixels."""

    mixture: tuple[PositiveFloat, ...]
    """Standard deviation for the noisy mixture, one for each channel it stands for."""
    own_channel: tuple[PositiveFloat, ...] | None = None
    """Standard deviation for each channel's own noisy image; None without such images."""


class CalibrationSet(FrozenModel):
    """Everything `calibration.json` holds; an empty one says that nothing was calibrated.

    Several methods may be fitted for one estimator. `applied` is the one rule that says which of
    them prediction, evaluation, packages and reports take where none is asked for.
    """

    format_version: Literal[2] = 2
    """Version of the file's layout; files of version 1 are read, too."""
    channel_names: tuple[str, ...] = ()
    """Channels in the order of the tuples below."""
    estimators: Mapping[str, EstimatorCalibration] = Field(default_factory=dict)
    """Calibrations by estimator, for instance "samples-16"."""
    method: Method = "scalar"
    """Method of the last `calibrate`."""
    alignment: tuple[TruthAlignment, ...] = ()
    """How the truth of the first image was brought to the prediction's scale, per channel."""
    blur: BlurWidths | None = None
    """Blur widths of the references; None where they were not chosen on validation."""

    @model_validator(mode="before")
    @classmethod
    def _read_format_1(cls, value: Any) -> Any:
        """Version 1 named the images and the seed of the last calibration only."""
        if not isinstance(value, Mapping) or value.get("format_version") != 1:
            return value
        estimators = value.get("estimators", {})
        if not isinstance(estimators, Mapping):
            return value
        known = {"images": value.get("fitted_on", ()), "seed": value.get("seed", 0)}
        rest = {key: part for key, part in value.items() if key not in ("fitted_on", "seed")}
        upgraded = {
            name: {**part, "fitted_on": known} if isinstance(part, Mapping) else part
            for name, part in estimators.items()
        }
        return {**rest, "format_version": 2, "estimators": upgraded}

    @model_validator(mode="after")
    def _channels_agree(self) -> "CalibrationSet":
        for name, estimator in self.estimators.items():
            if len(estimator.constant) != len(self.channel_names):
                raise ValueError(
                    f"Calibration {name!r} has {len(estimator.constant)} channels, "
                    f"the set names {len(self.channel_names)}: {', '.join(self.channel_names)}."
                )
        return self

    def std(
        self,
        mean: Real[np.ndarray, "c *n"],
        spread: Real[np.ndarray, "c *n"],
        estimator: str = "samples-16",
        method: str | None = None,
    ) -> Real[np.ndarray, "c *n"] | None:
        """Calibrated standard deviation, None where this estimator and method have none.

        Parameters
        ----------
        mean : numpy.ndarray of shape (C, ...)
            Predicted intensities, gray values.
        spread : numpy.ndarray of shape (C, ...)
            Standard deviation over posterior samples, gray values.
        estimator : str
            Name from `estimator_name`.
        method : {"scalar", "joint"}, optional
            Calibration to apply; by default that of `applied`.

        Returns
        -------
        numpy.ndarray of shape (C, ...) or None
            Gray values.
        """
        chosen = method or self.applied(estimator)
        calibration = None if chosen is None else self.get(estimator, chosen)
        return None if calibration is None else calibration.std(mean, spread)

    def applied(self, estimator: str) -> Method | None:
        """Name the method that is applied to an estimator where none is asked for.

        That of the last `calibrate`; the factor where the joint function was not fitted for this
        estimator; None where the estimator is not calibrated.
        """
        fitted = self.estimators.get(estimator)
        if fitted is None:
            return None
        return self.method if self.method in fitted.methods else "scalar"

    def words(self) -> str:
        """List what was fitted, for messages: "samples-8 (scalar, joint), samples-16 (scalar)"."""
        fitted = (f"{name} ({', '.join(e.methods)})" for name, e in self.estimators.items())
        return ", ".join(fitted) or "nothing"

    def get(self, estimator: str, method: str) -> ScalarCalibration | JointCalibration | None:
        """Return the calibration of this estimator and method, None where there is none."""
        fitted = self.estimators.get(estimator)
        return None if fitted is None else fitted.method(method)

    def factors(self, estimator: str) -> tuple[float, ...] | None:
        """Return the scalar factor of each channel, None where the estimator has none."""
        fitted = self.estimators.get(estimator)
        return None if fitted is None else fitted.scalar.factors

    def well_calibrated(self, estimator: str, method: str, channel: int) -> bool:
        """Whether the method beats "brighter is less certain" on validation.

        True only where both NLL and AUSE are better than those of the intensity-only table.
        False where nothing was fitted.
        """
        fitted = self.estimators.get(estimator)
        if fitted is None or method not in fitted.scores:
            return False
        reference = fitted.scores["intensity_only"][channel]
        return fitted.scores[method][channel].beats(reference)

    def with_estimator(self, name: str, calibration: EstimatorCalibration) -> "CalibrationSet":
        """Return a set in which this estimator was added or replaced."""
        return CalibrationSet(
            **{
                **{field: getattr(self, field) for field in type(self).model_fields},
                "estimators": {**self.estimators, name: calibration},
            }
        )

    def without_estimator(self, name: str) -> "CalibrationSet":
        """Return a set without this estimator; the same where it is not calibrated."""
        kept = {known: each for known, each in self.estimators.items() if known != name}
        return self.model_copy(update={"estimators": kept})

    def to_json(self) -> str:
        """Write the set as JSON text with two spaces of indentation."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> "CalibrationSet":
        """Read what `to_json` wrote; every number comes back with the same bits.

        Raises
        ------
        ValueError
            If the text is no calibration of this format version.
        """
        return cls.model_validate_json(text)


def fit_estimator(
    pixels: PixelSample,
    *,
    joint: bool = True,
    seed: int = 0,
    kept: JointCalibration | None = None,
    fitted_on: FittedOn | None = None,
) -> EstimatorCalibration:
    """Fit every method and reference of one estimator, and score them on the same pixels.

    Parameters
    ----------
    pixels : PixelSample
        Pixels of validation images: mean, spread and truth (C, N), gray values.
    joint : bool
        Whether the joint calibration is fitted, too.
    seed : int
        Seed of the joint fit.
    kept : JointCalibration, optional
        An earlier joint calibration of the same images, kept where none is fitted.
    fitted_on : FittedOn, optional
        What the pixels are from.
    """
    error = pixels.error
    fitted = EstimatorCalibration(
        scalar=fit_scalar(pixels),
        joint=fit_joint(pixels, seed) if joint else kept,
        intensity=tuple(map(fit_intensity_table, pixels.mean, error)),
        constant=tuple(map(fit_constant, error)),
        n_pixels=pixels.n_pixels,
        fitted_on=fitted_on or FittedOn(seed=seed),
    )
    scores = {
        name: tuple(map(_score, std, error))
        for name, std in fitted.all_stds(pixels.mean, pixels.spread).items()
    }
    return fitted.model_copy(update={"scores": scores})


def _score(std: np.ndarray, error: np.ndarray) -> MethodScores:
    scores = UncertaintyScores()
    scores.add(std, error)
    return MethodScores.of(scores)
