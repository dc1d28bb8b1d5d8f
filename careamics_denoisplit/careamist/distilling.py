"""The verb that fits the one-pass spread and judges it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from careamics_denoisplit import evaluation
from careamics_denoisplit.calibration import CalibrationSet
from careamics_denoisplit.careamist.estimators import workload_of
from careamics_denoisplit.careamist.learning import LearningCAREamist
from careamics_denoisplit.careamist.remembered import GivenImages, remembered_images
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.config import DenoiSplitConfiguration
from careamics_denoisplit.data import Field, Statistics, open_channels
from careamics_denoisplit.distillation import (
    SAMPLES,
    Distillation,
    DistillationConfig,
    Mixture,
    compare,
    fit_spread_head,
    gates_of,
    middles,
    mixtures_of,
    set_aside,
    weights_digest,
)
from careamics_denoisplit.errors import ConfigurationError, OutputExistsError
from careamics_denoisplit.evaluation.one_pass import judged_by_truth, truth_gates
from careamics_denoisplit.images import check_pixels, read_images
from careamics_denoisplit.report import write_report


class DistillingCAREamist(LearningCAREamist):
    """The part of `DenoiSplitCAREamist` that fits the one-pass spread."""

    def distil(
        self,
        *,
        channels: Any = None,
        mixture: Any = None,
        images: Any = None,
        val_channels: Any = None,
        val_mixture: Any = None,
        truth: Any = None,
        settings: DistillationConfig | None = None,
        seed: int = 0,
        axes: str | None = None,
        device: str = "auto",
        overwrite: bool = False,
    ) -> Distillation:
        """Fit mean and spread in one pass, compare them with samples, and keep both in the run.

        The network stays as it is; a small head learns from single posterior samples what mean
        and standard deviation of many would be. No truth is needed. Without images those of the
        training are taken, where they were given as paths.

        Parameters
        ----------
        channels, mixture : optional
            Noisy channels, mixed by the rule of the training, or mixtures, to fit on.
        images : array, path or list, optional
            Further mixtures without channels or truth, such as images of the experiment that the
            model is for.
        val_channels, val_mixture : optional
            Images to stop and to judge on; by default those of the training, else rows that are
            set aside.
        truth : mapping, array, path or list, optional
            High-SNR images of the validation fields. With them the one-pass spread and 16 samples
            are calibrated, and likelihood and ranking compared.
        settings : DistillationConfig, optional
            Sizes and durations; by default those of the configuration.
        seed : int
            Seed of crops and posterior noise.
        axes : str, optional
            Axes of the images; by default those of the configuration.
        device : str
            "auto", "cpu", "cuda", "cuda:<number>" or "mps".
        overwrite : bool
            Whether a one-pass spread that is there may be replaced.

        Returns
        -------
        Distillation
            What is known of the head; `passed` says whether all gates did, `gates` lists them.

        Raises
        ------
        ConfigurationError, DataError
            If there are no images, they cannot be used, or truth is given without its images.
        OutputExistsError
            If the run has a one-pass spread that may not be replaced.
        NonFiniteError, FaultError, StorageError
            If the fit fails or the run cannot be written; the run is as before.
        """
        trained = self._trained_model(None)
        if trained.distillation is not None and not overwrite:
            raise OutputExistsError(
                f"{self.work_dir} has a one-pass spread already. Use `--overwrite` (in Python "
                "`overwrite=True`) to fit another one; its calibration is dropped then."
            )
        settings = settings or self.config.distillation_config
        given = GivenImages(channels, mixture, val_channels, val_mixture)
        sources = self._images_for(given, images)
        if truth is not None and sources.val_channels is None and sources.val_mixture is None:
            raise ConfigurationError(
                "Truth was given without the validation images that it belongs to. Give them: "
                "--val NAME=PATH... or --val-mixture PATH... (in Python `val_channels=` or "
                "`val_mixture=`)."
            )
        training, validation = _opened(trained, sources, images, axes, settings)
        truth_axes = axes
        if isinstance(truth, Mapping):
            truth_axes = axes or _axes_of_channels(trained.config)
        if truth is not None:
            # Only to be told now, not after the fit, what is wrong with it.
            evaluation.open_scenes(
                trained.statistics,
                truth=truth,
                mixture=sources.val_mixture,
                channels=sources.val_channels,
                axes=truth_axes,
                what="validation",
            )
        place = workload_of(None, None, None, device).device or "cpu"
        with self._progress("one-pass spread") as progress:
            fitted = fit_spread_head(
                trained.network,
                training,
                validation,
                settings,
                seed=seed,
                device=place,
                progress=progress,
            )
        record = Distillation(
            channel_names=trained.channel_names,
            width=settings.width,
            weights_sha256=weights_digest(trained.network),
            seed=seed,
            steps=fitted.steps,
            seconds=round(fitted.seconds, 3),
            validation_loss=fitted.validation_loss,
            trained_on=tuple(each.name for each in training),
            validated_on=tuple(each.name for each in validation),
            reference_samples=settings.reference_samples,
        )
        distilled = trained.with_spread_head(fitted.head, record)
        regions = middles(validation, settings.reference_pixels, trained.network.size_multiple)
        with self._progress("comparison with samples") as progress:
            estimates = compare(
                distilled,
                [region for _, region in regions],
                reference_samples=settings.reference_samples,
                seed=seed,
                device=place,
                progress=progress,
            )
        gates = gates_of(estimates, trained.channel_names)
        judged = replace(
            distilled,
            distillation=record.model_copy(
                update={"gates": (*gates, *truth_gates(CalibrationSet()))}
            ),
        )
        self._keep(judged)
        if truth is not None:
            judged = self._calibrated_beside_samples(
                judged, truth, sources, seed, truth_axes, place
            )
            self._keep(judged)
        write_report(self.work_dir)
        return judged.distillation or record

    def _images_for(self, given: GivenImages, images: Any) -> GivenImages:
        """Take the images that were given, else those that the run was trained on."""
        if given.channels is not None or given.mixture is not None or images is not None:
            return given
        known = remembered_images(self.work_dir)
        if known is None:
            raise ConfigurationError(
                f"{self.work_dir} does not say which images it was trained on: they were given as "
                "arrays, or to an earlier version. Give images to fit the one-pass spread on: "
                "--channel NAME=PATH..., --mixture PATH... or --image PATH... (in Python "
                "`channels=`, `mixture=` or `images=`); no truth is needed."
            )
        if given.val_channels is None and given.val_mixture is None:
            return known
        return known._replace(val_channels=given.val_channels, val_mixture=given.val_mixture)

    def _calibrated_beside_samples(
        self,
        trained: TrainedModel,
        truth: Any,
        sources: GivenImages,
        seed: int,
        axes: str | None,
        device: Any,
    ) -> TrainedModel:
        """Calibrate the one-pass spread and samples on the same images; judge by the truth."""
        method = trained.calibrations.method
        for spread in ("samples", "distilled"):
            with self._progress(f"calibration of {spread}") as progress:
                calibrations = evaluation.calibrate(
                    trained,
                    truth=truth,
                    mixture=sources.val_mixture,
                    channels=sources.val_channels,
                    n_samples=SAMPLES,
                    spread=spread,
                    method=method,
                    seed=seed,
                    axes=axes,
                    device=device,
                    progress=progress,
                )
            trained = trained.with_calibrations(calibrations)
        return judged_by_truth(trained)


def _opened(
    trained: TrainedModel,
    sources: GivenImages,
    images: Any,
    axes: str | None,
    settings: DistillationConfig,
) -> tuple[Sequence[Mixture], Sequence[Mixture]]:
    """Open mixtures to fit on and to validate on."""
    training = _mixtures(trained, sources.channels, sources.mixture, axes, "training")
    if images is not None:
        training += _measured(trained.statistics, images, axes, "unlabelled")
    validation = _mixtures(trained, sources.val_channels, sources.val_mixture, axes, "validation")
    if validation:
        return training, validation
    # The rows between both parts may be fewer than a patch where the images are small.
    gap = min(settings.patch_size, *(each.shape[0] // 3 for each in training))
    fraction = trained.config.data_config.validation_fraction
    return set_aside(training, fraction, max(gap, 1))


def _mixtures(
    trained: TrainedModel, channels: Any, mixture: Any, axes: str | None, what: str
) -> tuple[Mixture, ...]:
    """Open one set of images as training did; measured mixtures are taken where there are any."""
    data, measured = trained.config.data_config, trained.statistics.mixing == "measured"
    if mixture is not None:
        known = data.axes if measured and data.axes != "auto" else None
        return _measured(trained.statistics, mixture, axes or known, what)
    if channels is None:
        return ()
    opened = open_channels(
        channels,
        None,
        trained.channel_names,
        axes=axes or _axes_of_channels(trained.config),
        chosen=data.channels,
        in_memory=data.in_memory,
        what=what,
    )
    for image in opened.targets:
        check_pixels(image)
    return mixtures_of(opened.fields(), trained.statistics)


def _measured(
    statistics: Statistics, mixture: Any, axes: str | None, what: str
) -> tuple[Mixture, ...]:
    """Open superpositions that need no mixing."""
    inputs = read_images(mixture, axes=axes, name=f"{what} mixture", channels=1)
    for image in inputs:
        check_pixels(image)
    planes = open_channels({"x": inputs}, None, ("x",), what=what).channels[0]
    return tuple(Mixture(Field((), plane), statistics) for plane in planes)


def _axes_of_channels(config: DenoiSplitConfiguration) -> str | None:
    """Axes of images of channels, where the configuration says them."""
    data = config.data_config
    return data.target_axes or (None if data.axes == "auto" else data.axes)
