"""`denoisplit predict`: split images into their denoised channels."""

from pathlib import Path
from typing import Literal

from careamics_denoisplit.cli.job import job, time_left
from careamics_denoisplit.cli.options import DEFAULTS, CommonOptions, Flag, existing_paths
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import require_writable


def predict(
    model: Path,
    /,
    *images: str,
    out: Path,
    samples: int = 16,
    spread: Literal["samples", "distilled", "none"] = "samples",
    tile_plan: Literal[
        "auto", "whole", "fiji", "qupath", "qupath-script", "ilastik", "core"
    ] = "auto",
    format: Literal["auto", "tiff", "zarr"] = "auto",  # noqa: A002 - the option's name
    channel: int | None = None,
    axes: str | None = None,
    tile: str = "auto",
    overlap: str = "auto",
    batch: str = "auto",
    precision: Literal["auto", "32", "bf16", "16"] = "auto",
    save_samples: Flag = False,
    warnings: Flag = False,
    require_calibration: Flag = False,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Split images: mean and standard deviation of each channel.

    Writes IMAGE_mean.ome.tif and IMAGE_std.ome.tif, or one IMAGE.ome.zarr, with channel names
    and pixel size. Folders are searched and mirrored. Says of each image which share of it is
    outside what the model was trained for; that nothing is does not prove a right split.

    Parameters
    ----------
    model
        A RUN folder, its model/ folder, a checkpoint, or a package.
    images
        Images, folders, or patterns.
    out
        Folder for the results.
    samples
        Posterior samples; the calibration must have been fitted for the same number.
    spread
        Mean and standard deviation of samples, the same in one pass (after denoisplit distil), or
        one pass without standard deviation.
    tile_plan
        Tiles where memory asks for them, whole images, or the tiles and the padding of a program
        that runs packages.
    format
        tiff, zarr, or auto: like each input.
    channel
        Number of the input channel from 0, where images have several.
    axes
        Axes of the images where the files do not say: YX, CYX, ...
    tile
        Side of the tiles in pixels.
    overlap
        Pixels that neighbouring tiles share.
    batch
        Tiles that are computed together.
    precision
        Digits of the network's arithmetic: auto is 32; bf16 is faster where the hardware has it,
        16 on GPUs.
    save_samples
        Write the single posterior samples too, as IMAGE_samples.npy.
    warnings
        Write the maps that warn, too: IMAGE_consistency, 1 where mixture, channels and noise
        agree, and IMAGE_input_range, 0 where brightness and noise are those of the training.
    require_calibration
        Refuse a model whose standard deviation is not calibrated for these samples.
    """
    with job("predict", common) as work:
        paths = existing_paths(images, "IMAGE")
        if not paths:
            raise ConfigurationError("Give at least one image, folder or pattern after the model.")
        require_writable(out)

        from careamics_denoisplit.cli.prediction_job import PredictionJob, TileOptions
        from careamics_denoisplit.packages import open_model

        trained = open_model(model)
        task = PredictionJob(
            trained,
            n_samples=samples,
            spread=spread,
            seed=work.seed,
            channel=channel,
            device=common.device,
            precision=precision,
            tiles=TileOptions(plan=tile_plan, tile=tile, overlap=overlap, batch=batch),
            warnings=warnings,
            save_samples=save_samples,
        )
        if require_calibration:
            task.require_calibration()
        targets = task.plan(paths, out, image_format=format, axes=axes, overwrite=common.overwrite)
        found = []
        for number, (image, target) in enumerate(targets, start=1):
            predicted = task.run(image, target)
            work.wrote(*predicted.files)
            found.append({"name": image.name, **predicted.familiarity.to_dict()})
            work.say(f"{image.name}: {time_left(number, len(targets), work.seconds)}")
            work.say(f"  {predicted.familiarity.words()}")
        if warnings and task.why_no_consistency:
            work.say(f"There is no map of consistency: {task.why_no_consistency}.")
        work.values = {
            "model": str(model.absolute()),
            "samples": samples if spread == "samples" else 0,
            "spread": spread,
            "precision": precision,
            "calibrated": task.is_calibrated,
            "images": found,
            "files": [str(path) for path in work.outputs],
        }
        if spread != "none" and not task.is_calibrated:
            option = f"--samples {samples}" if spread == "samples" else f"--spread {spread}"
            work.say(
                "The standard deviation is not calibrated for this estimator: it is the plain "
                f"spread of the samples. Run denoisplit calibrate with {option}."
            )
