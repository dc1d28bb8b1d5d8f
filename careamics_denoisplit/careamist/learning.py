"""The verbs of learning: noise models, and the training that uses them."""

from typing import Any

from careamics_denoisplit.careamist.noise_models import (
    fit_channels,
    models_for_training,
    require_absent_models,
)
from careamics_denoisplit.careamist.predicting import PredictingCAREamist
from careamics_denoisplit.careamist.remembered import GivenImages, remember_images
from careamics_denoisplit.careamist.sources import arrays_by_channel, read_with
from careamics_denoisplit.careamist.starting import (
    open_start,
    start_of,
    with_statistics_of_run,
)
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.config import DenoiSplitConfiguration
from careamics_denoisplit.data import DenoiSplitDataModule
from careamics_denoisplit.errors import ConfigurationError, StoppedError
from careamics_denoisplit.noise_model import (
    Acquisition,
    GaussianMixtureNoiseModel,
    NoiseModelReport,
)
from careamics_denoisplit.report import write_report
from careamics_denoisplit.training import Start
from careamics_denoisplit.training import train as train_run

NOISE_MODELS = "noise_models"


class LearningCAREamist(PredictingCAREamist):
    """The part of `DenoiSplitCAREamist` that fits noise models and trains."""

    def fit_noise_models(
        self,
        signal: Any = None,
        observation: Any = None,
        *,
        repeats: Any = None,
        bootstrap: bool = False,
        signal_axes: str | None = None,
        observation_axes: str | None = None,
        align: bool = False,
        n_gaussians: int | None = None,
        n_coefficients: int = 2,
        acquisition: Acquisition | None = None,
        seed: int | None = None,
        overwrite: bool = False,
    ) -> tuple[NoiseModelReport, ...]:
        """Fit a noise model for each channel; `train` uses them.

        Parameters
        ----------
        signal : mapping, array, path or list, optional
            Nearly noise-free images of the channels: one source for each channel by name, or
            sources that hold all channels.
        observation : mapping, array, path or list, optional
            Noisy images of the same fields, in the same form.
        repeats : mapping, array, path or list, optional
            Repeated acquisitions of one field, instead of both.
        bootstrap : bool
            Whether to denoise the observations first (by Noise2Void) and take that for the signal.
        signal_axes, observation_axes : str, optional
            Letters of STCZYX for each axis; inferred by default. Repeats follow the latter.
        align : bool
            Whether gain and offset of the signal differ from those of the observation.
        n_gaussians, n_coefficients : int
            Size of the model; the former is chosen from the data by default.
        acquisition : Acquisition, optional
            Camera, gain, exposure and date of the observations.
        seed : int, optional
            Seed of the choice of pixels; that of the configuration by default.
        overwrite : bool
            Whether noise models in the run folder may be replaced.

        Returns
        -------
        tuple of C NoiseModelReport
            Verdict and figures of each channel; model, report and picture are written into
            `work_dir/noise_models`.

        Raises
        ------
        ConfigurationError
            If the images given belong to no route.
        NoiseModelError, DataError
            If the images do not allow a fit.
        OutputExistsError
            If noise models are there and may not be replaced.
        """
        names = self.config.channel_names
        folder = self.work_dir / NOISE_MODELS
        require_absent_models(folder, names, overwrite=overwrite)

        def opened(source: Any, axes: str | None, what: str) -> Any:
            return None if source is None else arrays_by_channel(source, names, axes, what)

        self.noise_models = fit_channels(
            names,
            signal=opened(signal, signal_axes, "signal"),
            observation=opened(observation, observation_axes, "observation"),
            repeats=opened(repeats, observation_axes, "repeats"),
            bootstrap=bootstrap,
            align=align,
            n_gaussians=n_gaussians,
            n_coefficients=n_coefficients,
            seed=self.config.seed if seed is None else seed,
            acquisition=acquisition,
        )
        for fitted in self.noise_models:
            fitted.save(folder)
        return tuple(fitted.report for fitted in self.noise_models)

    def train(
        self,
        *,
        train_data: Any = None,
        train_data_target: Any = None,
        val_data: Any = None,
        val_data_target: Any = None,
        filtering_mask: Any = None,
        loading: Any = None,
        noise_model: Any = None,
        start_from: Any = None,
        new_statistics: bool = False,
        resume: bool | None = None,
        overwrite: bool = False,
        force: bool = False,
        max_hours: float | None = None,
        device: str = "auto",
    ) -> None:
        """Train in the run folder, or continue the run that was opened.

        A training that starts from the weights of another model keeps the means and standard
        deviations that these weights were trained with, unless the configuration gives others:
        the first layer and the head know no other scale. Its noise models are kept where none are
        given. The calibration is not: calibrate the new run.

        A run that goes on keeps its calibration and one-pass spread as long as its best weights
        stay the same; a warning tells when they were dropped. One that is stopped leaves the best
        weights so far in `model/`.

        Parameters
        ----------
        train_data : array, path or list, optional
            Measured mixture; without it the channels are mixed on the fly.
        train_data_target : mapping, array, path or list
            Noisy channels: one source for each channel by name, or sources that hold all.
        val_data, val_data_target : optional
            The same for validation; without them `data_config.validation_split` decides.
        filtering_mask : None
            Of careamics; patches are not filtered here.
        loading : ReadFuncLoading or ImageStackLoading, optional
            A read function or a loader of image stacks of your own, as in careamics. The latter is
            told the axes of the configuration.
        noise_model : optional
            Models, fitted models, files, a folder, a mapping by channel, or "bootstrap"; by
            default those of `fit_noise_models`, else those of the model that training starts from.
        start_from : TrainedModel or pathlib.Path or str, optional
            Run, model folder, checkpoint or package whose weights training starts from; by default
            the package that was opened as `bmz_path`, else none.
        new_statistics : bool
            Whether means and standard deviations are measured anew, although the weights know
            others.
        resume : bool, optional
            Whether to continue the run in `work_dir`; by default where `checkpoint_path` was
            given.
        overwrite : bool
            Whether a run that is in `work_dir` may be replaced.
        force : bool
            Whether to train with a noise model that failed its quality check.
        max_hours : float, optional
            Hours after which training ends; it can be continued.
        device : str
            "auto", "cpu", "cuda", "cuda:<number>" or "mps".

        Raises
        ------
        InputError
            If data, settings, noise models or folder do not fit; nothing was written.
        FaultError, StoppedError
            As in `careamics_denoisplit.training.train`.
        """
        if filtering_mask is not None:
            raise ConfigurationError(
                "`filtering_mask` is not supported: every crop of the training images is used. "
                "Crop the images to the region of interest."
            )
        if train_data_target is None:
            raise ConfigurationError(
                "Give the noisy channels as `train_data_target`; the input is mixed from them, or "
                "given as `train_data`."
            )
        goes_on = self._resumes() if resume is None else resume
        config, origin = self.config, self._origin(start_from)
        start: Start | None = None
        if origin is not None:
            config, start = start_of(config, origin, new_statistics=new_statistics)
        elif new_statistics:
            raise ConfigurationError(
                "`new_statistics` (`--new-statistics`) belongs to a training that starts from "
                "other weights (`start_from`, `--from`). Leave it out: statistics are measured."
            )
        elif goes_on:
            config = with_statistics_of_run(config, self.work_dir)
        axes = config.data_config.axes
        target_axes = config.data_config.target_axes or axes
        datamodule = DenoiSplitDataModule(
            config,
            read_with(loading, train_data_target, target_axes),
            read_with(loading, train_data, axes),
            read_with(loading, val_data_target, target_axes),
            read_with(loading, val_data, axes),
        )
        self.train_datamodule = datamodule
        if noise_model is None and not (goes_on and self.get_checkpoints()):
            noise_model = self.noise_models or _noise_models_of(origin, config) or None
        models = models_for_training(
            noise_model, config, datamodule, folder=self.work_dir / NOISE_MODELS, resume=goes_on
        )
        try:
            module = train_run(
                config,
                datamodule,
                models,
                self.work_dir,
                start=start,
                resume=goes_on,
                overwrite=overwrite,
                force=force,
                max_hours=max_hours,
                device=device,
                quiet=not self.enable_progress_bar,
                callbacks=self.callbacks,
                on_start=self._remember,
                on_end=self._keep_training,
            )
        except StoppedError:
            self._keep_stopped_training()
            raise
        self.config, self.model = module.config, module
        given = GivenImages(train_data_target, train_data, val_data_target, val_data)
        remember_images(self.work_dir, given if loading is None else None)
        write_report(self.work_dir)

    def _origin(self, start_from: Any) -> TrainedModel | None:
        """Return the model whose weights training starts from, None where it starts anew."""
        if start_from is None:
            return self._packaged
        return start_from if isinstance(start_from, TrainedModel) else open_start(start_from)


def _noise_models_of(
    origin: TrainedModel | None, config: DenoiSplitConfiguration
) -> tuple[GaussianMixtureNoiseModel, ...]:
    """Return the noise models that a training takes over, where its algorithm needs any."""
    if origin is None or not config.algorithm_config.needs_noise_models:
        return ()
    return origin.noise_models
