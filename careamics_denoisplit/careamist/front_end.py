"""`DenoiSplitCAREamist`: whoever knows `CAREamist` needs to learn only the new verbs."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from careamics_denoisplit import evaluation
from careamics_denoisplit.calibration import CalibrationSet, Method
from careamics_denoisplit.careamist.distilling import DistillingCAREamist
from careamics_denoisplit.careamist.estimators import workload_of
from careamics_denoisplit.careamist.packaging import export
from careamics_denoisplit.evaluation import PACKAGE_SAMPLES
from careamics_denoisplit.evaluation.one_pass import judged_by_truth
from careamics_denoisplit.prediction import Spread
from careamics_denoisplit.report import write_report, write_result


class DenoiSplitCAREamist(DistillingCAREamist):
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
        A bioimage.io package of this project; nothing in it is executed. `train` starts a new run
        in `work_dir` from its weights; axes and kind of the data are inferred anew.
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

    def calibrate(
        self,
        *,
        truth: Any,
        channels: Any = None,
        mixture: Any = None,
        method: Method = "scalar",
        n_samples: int = 16,
        spread: Spread = "samples",
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
        spread : {"samples", "distilled"}
            Which spread is calibrated; "distilled" draws no samples.
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
                spread=spread,
                method=method,
                seed=seed,
                axes=axes,
                align=align,
                tiling=workload.tiling,
                batch=workload.batch,
                device=workload.device,
                progress=progress,
            )
        self._keep(judged_by_truth(trained.with_calibrations(fitted)))
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
        spread: Literal["distilled", "samples"] | None = None,
        n_samples: int = PACKAGE_SAMPLES,
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
        spread : {"distilled", "samples"}, optional
            One pass with the fitted head, or posterior samples inside the package; by default the
            former where the run holds a head that passed its gates.
        n_samples : int
            Posterior samples inside the package, where it takes them.
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
            spread=spread,
            n_samples=n_samples,
            overwrite=overwrite,
        )
