"""The verbs of prediction: mean and std, single samples, in memory and on disk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy.typing as npt
import xarray as xr

from careamics_denoisplit.calibration import Method
from careamics_denoisplit.careamist.estimators import calibration_of, count_of, workload_of
from careamics_denoisplit.careamist.hooks import RunFolderCAREamist
from careamics_denoisplit.careamist.outputs import Outputs, WriteType
from careamics_denoisplit.careamist.sources import open_mixtures
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.images import Image
from careamics_denoisplit.prediction import (
    Estimator,
    Precision,
    Prediction,
    Spread,
    predict_stack,
    sample_stack,
)

DataType = Literal["array", "tiff", "zarr", "czi", "custom"]
Result = TypeVar("Result")


class PredictingCAREamist(RunFolderCAREamist):
    """The part of `DenoiSplitCAREamist` that predicts."""

    def predict(  # type: ignore[override]  # returns the std beside the mean
        self,
        pred_data: Any,
        *,
        n_samples: int | None = None,
        n_predictions: int | None = None,
        spread: Spread = "samples",
        seed: int = 0,
        method: Method | None = None,
        batch_size: int | None = None,
        tile_size: Sequence[int] | None = None,
        tile_overlap: Sequence[int] | None = None,
        axes: str | None = None,
        output_axes: str | None = None,
        data_type: DataType | None = None,
        num_workers: int | None = None,
        channels: Sequence[int] | Literal["all"] | None = None,
        in_memory: bool | None = None,
        loading: Any = None,
        checkpoint: str | Path | TrainedModel | None = None,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> Prediction | list[Prediction]:
        """Split images into their denoised channels, with uncertainty.

        Parameters
        ----------
        pred_data : array, path, Image or list
            Superimposed images in gray values; those of one list may differ in size.
        n_samples, n_predictions : int, optional
            Posterior samples, 16 by default; the second name is that of careamics.
        spread : {"samples", "distilled", "none"}
            Mean and std over the samples; the same in one pass, by the head that `distil` fits;
            or that pass alone, with posterior means and without std.
        seed : int
            Seed of the posterior noise.
        method : {"scalar", "joint"}, optional
            Calibration of the std; by default that of the last `calibrate`.
        batch_size : int, optional
            Tiles that are handed to the device together.
        tile_size, tile_overlap : two ints, optional
            Height and width of tiles and of what neighbours share, in pixels; by default the
            whole image, or the largest tiles that fit into the free memory.
        axes : str, optional
            Letters of STCZYX for each axis of the images; inferred by default.
        output_axes : None
            Of careamics; results have named dimensions instead.
        data_type : optional
            Of careamics; the kind of the data is seen by the readers.
        num_workers, in_memory : optional
            Of careamics; images are read plane by plane, and no result depends on workers.
        channels : sequence of one int or "all", optional
            Number of the input channel where images have several.
        loading : ReadFuncLoading or ImageStackLoading, optional
            A read function or a loader of image stacks of your own, as in careamics. The latter is
            told `axes`, else the axes of the configuration.
        checkpoint : {"best", "last"}, path or TrainedModel, optional
            Checkpoint or model to predict with; by default the model of the run.
        device : str
            "auto", "cpu", "cuda", "cuda:<number>" or "mps".
        precision : {"auto", "32", "bf16", "16"}
            Digits of the network's arithmetic. "auto" is float32, which calibrations are fitted
            with; "bf16" is faster on processors and GPUs with instructions for it, "16" on GPUs.

        Returns
        -------
        Prediction or list of Prediction
            A list where there are several images.

        Raises
        ------
        InputError
            If an image, a setting or the model cannot be used.
        NonFiniteError, FaultError
            As in `careamics_denoisplit.prediction.predict_image`.
        """
        if output_axes is not None:
            raise ConfigurationError(
                "`output_axes` is not supported: the dimensions of a result are named. Reorder "
                "them with `prediction.mean.transpose(...)`."
            )
        trained = self._trained_model(checkpoint)
        images, channel = self._open_mixtures(pred_data, axes, channels, loading)
        workload = workload_of(batch_size, tile_size, tile_overlap, device, precision)
        estimator = Estimator(count_of(n_samples, n_predictions), spread, seed, workload)
        calibrate = calibration_of(trained, estimator, method)

        def work(image: Image, shown: Estimator) -> Prediction:
            return predict_stack(trained, image, shown, channel=channel, calibrate=calibrate)

        predictions = list(self._one_by_one(images, work, estimator))
        return predictions[0] if len(predictions) == 1 else predictions

    def predict_arrays(
        self, pred_data: Any, **options: Any
    ) -> tuple[list[npt.NDArray[Any]], list[str]]:
        """Predict the means only, in the form that careamics returns.

        Parameters
        ----------
        pred_data : array, path, Image or list
            Superimposed images.
        **options
            As in `predict`.

        Returns
        -------
        tuple of list of numpy.ndarray of shape (C, Y, X) and list of str
            Means in gray values, and where each image came from.
        """
        predictions = self.predict(pred_data, **options)
        several = predictions if isinstance(predictions, list) else [predictions]
        return [each.mean.values for each in several], [str(each.source) for each in several]

    def sample(
        self,
        pred_data: Any,
        n_samples: int = 4,
        *,
        seed: int = 0,
        batch_size: int | None = None,
        tile_size: Sequence[int] | None = None,
        tile_overlap: Sequence[int] | None = None,
        axes: str | None = None,
        channels: Sequence[int] | Literal["all"] | None = None,
        loading: Any = None,
        checkpoint: str | Path | TrainedModel | None = None,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> xr.DataArray | list[xr.DataArray]:
        """Draw single posterior samples: possible solutions, each as sharp as the data allow.

        Parameters
        ----------
        pred_data : array, path, Image or list
            Superimposed images.
        n_samples : int
            Samples of each image.
        seed, batch_size, tile_size, tile_overlap, axes, channels, loading, checkpoint, device
            As in `predict`; under the same seed these are the samples that it averages.
        precision
            As in `predict`.

        Returns
        -------
        xarray.DataArray of dimensions (draw, channel, y, x) or list of them
            Gray values of each channel; a list where there are several images.

        Raises
        ------
        InputError, NonFiniteError, FaultError
            As in `predict`.
        """
        trained = self._trained_model(checkpoint)
        images, channel = self._open_mixtures(pred_data, axes, channels, loading)
        workload = workload_of(batch_size, tile_size, tile_overlap, device, precision)

        def work(image: Image, shown: Estimator) -> xr.DataArray:
            return sample_stack(trained, image, shown, channel=channel)

        drawn = list(
            self._one_by_one(images, work, Estimator(n_samples, "samples", seed, workload))
        )
        return drawn[0] if len(drawn) == 1 else drawn

    def predict_to_disk(  # type: ignore[override]  # returns the paths
        self,
        pred_data: Any,
        *,
        pred_data_target: Any = None,
        prediction_dir: Path | str = "predictions",
        write_type: WriteType | None = None,
        write_extension: str | None = None,
        write_func: Callable[..., None] | None = None,
        write_func_kwargs: dict[str, Any] | None = None,
        axes: str | None = None,
        channels: Sequence[int] | Literal["all"] | None = None,
        loading: Any = None,
        overwrite: bool = False,
        **options: Any,
    ) -> list[Path]:
        """Predict images one by one and write mean and std of each.

        Folders are mirrored, known suffixes replaced, and no file is overwritten unless asked
        for: this is checked for all images before the first is predicted.

        Parameters
        ----------
        pred_data : array, path or list
            Superimposed images.
        pred_data_target : None
            Of careamics; `evaluate` compares with the truth.
        prediction_dir : pathlib.Path or str
            Folder; relative ones lie in `work_dir`.
        write_type : {"tiff", "zarr", "custom"}, optional
            Format; by default that of each image, TIFF for all but Zarr.
        write_extension, write_func, write_func_kwargs : optional
            For "custom": the suffix, and a function of path and array, as in careamics.
        axes, channels, loading
            As in `predict`.
        overwrite : bool
            Whether files that are there may be replaced.
        **options
            Further options of `predict`.

        Returns
        -------
        list of pathlib.Path
            Absolute paths of what was written.

        Raises
        ------
        OutputExistsError
            If a file is there; nothing was predicted then.
        InputError, NonFiniteError, FaultError, StorageError
            As in `predict`, and where a file cannot be written.
        """
        if pred_data_target is not None:
            raise ConfigurationError(
                "`pred_data_target` is not used in prediction. Compare with the truth by "
                "`evaluate(mixture=..., truth=...)`."
            )
        # One model for all images, also where another process goes on with the run meanwhile.
        options["checkpoint"] = self._trained_model(options.get("checkpoint"))
        images, channel = self._open_mixtures(pred_data, axes, channels, loading)
        outputs = Outputs(
            folder=self.work_dir / prediction_dir,
            kind=write_type,
            extension=write_extension,
            function=write_func,
            arguments=write_func_kwargs or {},
            overwrite=overwrite,
        )
        targets = outputs.plan(images)
        written: list[Path] = []
        for image, target in zip(images, targets, strict=True):
            prediction = self.predict(image, channels=[channel], **options)
            if isinstance(prediction, Prediction):  # always: one image was given
                written += outputs.write(prediction, target)
        return written

    def _open_mixtures(
        self,
        source: Any,
        axes: str | None,
        channels: Sequence[int] | Literal["all"] | None,
        loading: Any,
    ) -> tuple[list[Image], int]:
        configured = self.config.data_config.axes
        return open_mixtures(source, axes, channels, loading, configured)

    def _one_by_one(
        self,
        images: Sequence[Image],
        work: Callable[[Image, Estimator], Result],
        estimator: Estimator,
    ) -> Iterator[Result]:
        """Work on images one by one, with a bar for each."""
        for number, image in enumerate(images):
            with self._progress(f"image {number + 1} of {len(images)}") as progress:
                workload = replace(estimator.workload, progress=progress)
                yield work(image, replace(estimator, workload=workload))
