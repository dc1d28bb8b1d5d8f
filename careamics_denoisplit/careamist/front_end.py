"""`DenoiSplitCAREamist`: whoever knows `CAREamist` needs to learn only the new verbs."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from careamics_denoisplit import evaluation
from careamics_denoisplit.calibration import CalibrationSet, Method
from careamics_denoisplit.careamist.estimators import workload_of
from careamics_denoisplit.careamist.noise_models import (
    fit_channels,
    models_for_training,
    require_absent_models,
)
from careamics_denoisplit.careamist.packaging import export
from careamics_denoisplit.careamist.predicting import PredictingCAREamist
from careamics_denoisplit.careamist.sources import arrays_by_channel, read_with
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.data import DenoiSplitDataModule
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.noise_model import Acquisition, NoiseModelReport
from careamics_denoisplit.prediction import Spread
from careamics_denoisplit.report import write_report, write_result
from careamics_denoisplit.training import train as train_run

NOISE_MODELS = "noise_models"


class DenoiSplitCAREamist(PredictingCAREamist):
    """Train, predict, calibrate, evaluate and export a denoiSplit model, in one run folder.

    Exactly one of `config`, `checkpoint_path` and `bmz_path` is given, as in careamics.

    Parameters
    ----------
    config : DenoiSplitConfiguration or pathlib.Path or str, optional
        Configuration, or a file that holds one.
    checkpoint_path : pathlib.Path or str, optional
        A run folder, its `model/` folder, or a `.ckpt` file. `train` continues the run from its
        last checkpoint, `predict` uses its model.
    bmz_path : pathlib.Path or str, optional
        A bioimage.io package of this project, to predict, sample, calibrate and evaluate with;
        nothing in it is executed.
    work_dir : pathlib.Path or str, optional
        Run folder; that of `checkpoint_path` where one is given, else the current folder.
    callbacks : list of lightning Callback, optional
        Further callbacks of the training.
    enable_progress_bar : bool
        Whether progress is shown.

    Attributes
    ----------
    config : DenoiSplitConfiguration
        The configuration; complete once training has started.
    model : DenoiSplitModule or None
        The Lightning module; None before training.
    trained : TrainedModel or None
        Network, statistics, noise models and calibrations; None before training.
    noise_models : tuple of FittedNoiseModel
        What `fit_noise_models` fitted.
    work_dir : pathlib.Path
        Run folder.
    trainer : lightning.Trainer or None
        The trainer of the last training; None before.
    train_datamodule : DenoiSplitDataModule or None
        The data of the last training; None before.

    Raises
    ------
    ConfigurationError, CheckpointError
        If not exactly one source is given, or it cannot be used.
    """

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
        resume: bool | None = None,
        overwrite: bool = False,
        force: bool = False,
        max_hours: float | None = None,
        device: str = "auto",
    ) -> None:
        """Train in the run folder, or continue the run that was opened.

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
            default those of `fit_noise_models`.
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
        self._refuse_to_train_a_package()
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
        axes = self.config.data_config.axes
        target_axes = self.config.data_config.target_axes or axes
        datamodule = DenoiSplitDataModule(
            self.config,
            read_with(loading, train_data_target, target_axes),
            read_with(loading, train_data, axes),
            read_with(loading, val_data_target, target_axes),
            read_with(loading, val_data, axes),
        )
        self.train_datamodule = datamodule
        given = noise_model if noise_model is not None or goes_on else self.noise_models or None
        module = train_run(
            self.config,
            datamodule,
            models_for_training(
                given,
                self.config,
                datamodule,
                folder=self.work_dir / NOISE_MODELS,
                resume=goes_on,
            ),
            self.work_dir,
            resume=goes_on,
            overwrite=overwrite,
            force=force,
            max_hours=max_hours,
            device=device,
            quiet=not self.enable_progress_bar,
            callbacks=self.callbacks,
            on_start=self._remember,
        )
        self.config, self.model = module.config, module
        self._keep(TrainedModel.of(module))
        write_report(self.work_dir)

    def calibrate(
        self,
        *,
        truth: Any,
        channels: Any = None,
        mixture: Any = None,
        method: Method = "scalar",
        n_samples: int = 16,
        seed: int = 0,
        axes: str | None = None,
        align: bool | None = None,
        batch_size: int | None = None,
        tile_size: Sequence[int] | None = None,
        tile_overlap: Sequence[int] | None = None,
        device: str = "auto",
    ) -> CalibrationSet:
        """Fit what turns the spread into a standard deviation, and keep it in the run.

        Parameters
        ----------
        truth : mapping, array, path or list
            High-SNR validation images of each channel.
        channels, mixture : optional
            Noisy channels or mixtures of the same fields; with both the mixture is the input.
        method : {"scalar", "joint"}
            The paper's factor, or beside it the function of intensities and spreads.
        n_samples : int
            Posterior samples; a calibration belongs to this number.
        seed : int
            Seed of the posterior noise.
        axes, align
            As in `careamics_denoisplit.evaluation.calibrate`.
        batch_size, tile_size, tile_overlap, device
            As in `predict`.

        Returns
        -------
        CalibrationSet
            Calibrations by estimator, those of earlier calls included.

        Raises
        ------
        InputError, NonFiniteError, FaultError, StorageError
            If images or model cannot be used, or the run cannot be written.
        """
        trained = self._trained_model(None)
        with self._progress("calibration") as progress:
            workload = workload_of(batch_size, tile_size, tile_overlap, device)
            fitted = evaluation.calibrate(
                trained,
                truth=truth,
                mixture=mixture,
                channels=channels,
                n_samples=n_samples,
                method=method,
                seed=seed,
                axes=axes,
                align=align,
                tiling=workload.tiling,
                batch=workload.batch,
                device=workload.device,
                progress=progress,
            )
        self._keep(trained.with_calibrations(fitted))
        write_report(self.work_dir)
        return fitted

    def evaluate(
        self,
        *,
        truth: Any,
        mixture: Any = None,
        channels: Any = None,
        n_samples: int = 16,
        spread: Spread = "samples",
        method: Method | None = None,
        seed: int = 0,
        axes: str | None = None,
        align: bool | None = None,
        batch_size: int | None = None,
        tile_size: Sequence[int] | None = None,
        tile_overlap: Sequence[int] | None = None,
        device: str = "auto",
    ) -> dict[str, Any]:
        """Score prediction and uncertainty on images with truth.

        Parameters
        ----------
        truth : mapping, array, path or list
            High-SNR images of each channel.
        mixture, channels : optional
            Mixtures, or noisy channels that are mixed; the latter also give the upper bound.
        n_samples, spread, method, seed
            The estimator and its calibration, as in `predict`.
        axes, align
            As in `careamics_denoisplit.evaluation.evaluate`.
        batch_size, tile_size, tile_overlap, device
            As in `predict`.

        Returns
        -------
        dict
            Scores in plain JSON types, also kept in the run.

        Raises
        ------
        InputError, NonFiniteError, FaultError
            As in `predict`.
        """
        trained = self._trained_model(None)
        with self._progress("evaluation") as progress:
            workload = workload_of(batch_size, tile_size, tile_overlap, device)
            scores = evaluation.evaluate(
                trained,
                mixture,
                truth,
                channels,
                n_samples=n_samples,
                spread=spread,
                method=method,
                seed=seed,
                axes=axes,
                align=align,
                tiling=workload.tiling,
                batch=workload.batch,
                device=workload.device,
                progress=progress,
                show=partial(write_result, self.work_dir),
            )
        evaluation.save_scores(self.work_dir, scores)
        write_report(self.work_dir)
        return scores

    def export_to_bmz(  # type: ignore[override]  # everything after the path is optional
        self,
        path_to_archive: Path | str,
        friendly_model_name: str | None = None,
        input_array: npt.NDArray[Any] | None = None,
        authors: list[dict[str, Any]] | None = None,
        general_description: str | None = None,
        data_description: str | None = None,
        covers: list[Path | str] | None = None,
        channel_names: list[str] | None = None,
        *,
        recipe: Any = None,
        overwrite: bool = False,
    ) -> Path:
        """Write one bioimage.io package.

        Parameters
        ----------
        path_to_archive : pathlib.Path or str
            The package, ending in `.zip`.
        friendly_model_name, general_description, data_description : str, optional
            Name, description and training data; they override the recipe.
        input_array : numpy.ndarray of shape (Y, X), optional
            Raw mixture for the test tensors; below 512 px it is padded by reflection.
        authors : list of dict, optional
            `name`, `affiliation`, `orcid`, `github_user` of each; they override the recipe.
        covers : None
            Of careamics; the cover is drawn from the test image.
        channel_names : list of str, optional
            Of careamics; must be those of the configuration.
        recipe : Recipe or pathlib.Path or str, optional
            Facts that a person wrote, or their YAML file.
        overwrite : bool
            Whether a package that is there may be replaced.

        Returns
        -------
        pathlib.Path
            Absolute path of the package.

        Raises
        ------
        InputError, FaultError
            As in `careamics_denoisplit_export.package.export_package`.
        """
        return export(
            self._trained_model(None),
            path_to_archive,
            recipe=recipe,
            overrides={
                "name": friendly_model_name,
                "authors": authors,
                "description": general_description,
                "training_data": data_description,
            },
            input_array=input_array,
            covers=covers,
            channel_names=channel_names,
            overwrite=overwrite,
        )
