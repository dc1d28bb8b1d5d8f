"""`denoisplit calibrate` and `denoisplit evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from careamics_denoisplit.cli.job import job
from careamics_denoisplit.cli.options import (
    DEFAULTS,
    CommonOptions,
    NamedPaths,
    SomePaths,
    existing_paths,
    named_paths,
    require_all,
)
from careamics_denoisplit.errors import ConfigurationError

if TYPE_CHECKING:
    from careamics_denoisplit.careamist import DenoiSplitCAREamist


def calibrate(
    run: Path,
    /,
    *,
    truth: NamedPaths = None,
    channel: NamedPaths = None,
    mixture: SomePaths = None,
    method: Literal["scalar", "joint"] = "scalar",
    samples: int = 16,
    axes: str | None = None,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Scale the uncertainty to the true error, on validation images.

    The input is --mixture where it is given, else the mixture of --channel. Factors are stored
    in the run for this number of samples, and for the 8 of packages.

    Parameters
    ----------
    run
        RUN folder.
    truth
        High-quality images of each channel.
    channel
        Noisy images of each channel.
    mixture
        Measured superpositions of the same fields.
    method
        One factor per channel (as published), or a function of intensities and spreads.
    samples
        Posterior samples that the prediction will use.
    axes
        Axes of the images where the files do not say.
    """
    with job("calibrate", common, log_folder=run / "logs" if run.is_dir() else None) as work:
        from careamics_denoisplit.calibration import estimator_name

        careamist = _open(run, common)
        images = _images(careamist.config.channel_names, truth, channel, mixture)
        work.say(SPLITTING)
        calibrations = careamist.calibrate(
            truth=images.truth,
            mixture=images.mixture,
            channels=images.channels,
            n_samples=samples,
            method=method,
            seed=work.seed,
            axes=axes,
            device=common.device,
        )
        name = estimator_name("samples", samples)
        fitted = calibrations.estimators[name]
        work.values = {
            "estimator": name,
            "method": method,
            "channels": [
                {
                    "name": label,
                    "factor": fitted.scalar.factors[index],
                    "scores": {
                        key: scores[index].model_dump(mode="json")
                        for key, scores in fitted.scores.items()
                    },
                }
                for index, label in enumerate(calibrations.channel_names)
            ],
        }
        for entry in work.values["channels"]:
            work.say(f"{entry['name']}: factor {entry['factor']:.3f} for {samples} samples")
        work.wrote(run / "model" / "calibration.json", run / REPORT)


def evaluate(
    run: Path,
    /,
    *,
    truth: NamedPaths = None,
    channel: NamedPaths = None,
    mixture: SomePaths = None,
    samples: int = 16,
    spread: Literal["samples", "none"] = "samples",
    axes: str | None = None,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Score the channels against the truth, beside predictors that do not split.

    Parameters
    ----------
    run
        RUN folder.
    truth
        High-quality images of each channel.
    channel
        Noisy images of each channel; they give one more reference, their own blur.
    mixture
        Measured superpositions of the same fields.
    samples
        Posterior samples.
    spread
        Mean and standard deviation of samples, or one pass without standard deviation.
    axes
        Axes of the images where the files do not say.
    """
    with job("evaluate", common, log_folder=run / "logs" if run.is_dir() else None) as work:
        careamist = _open(run, common)
        images = _images(careamist.config.channel_names, truth, channel, mixture)
        work.say(SPLITTING)
        scores = careamist.evaluate(
            truth=images.truth,
            mixture=images.mixture,
            channels=images.channels,
            n_samples=samples,
            spread=spread,
            seed=work.seed,
            axes=axes,
            device=common.device,
        )
        work.values = {key: value for key, value in scores.items() if key not in _COMMON_KEYS}
        for line in table(scores["channels"]):
            work.say(line)
        work.wrote(run / REPORT)


REPORT = "report.html"
SPLITTING = "splitting the images ..."
"""Said before the work that takes minutes on large images."""
_COMMON_KEYS = ("version", "command", "seed", "seconds")


class _Images(NamedTuple):
    """Sources by channel, and the mixture."""

    truth: dict[str, list[Path]]
    channels: dict[str, list[Path]] | None
    mixture: list[Path] | None


def table(channels: Sequence[dict[str, Any]]) -> list[str]:
    """Write the scores of each channel as lines that a person can read.

    Parameters
    ----------
    channels : sequence of dict
        The entry `channels` of an evaluation.

    Returns
    -------
    list of str
        A head and one line per channel; a dash stands for what is not known.
    """
    lines = [
        f"{'channel':<14}{'PSNR':>7}{'MS-SSIM':>9}{'mixture':>9}{'blurred':>9}{'own blur':>10}"
        f"{'leakage':>9}{'(mixture)':>11}{'factor':>8}{'rel.error':>11}"
    ]
    for entry in channels:
        references, calibration = entry["references"], entry["calibration"] or {}
        lines.append(
            f"{entry['name']:<14}"
            + _cell(entry["psnr"], 7, 2)
            + _cell(entry["ms_ssim"], 9, 3)
            + _cell(references["noise_free_mixture"], 9, 2)
            + _cell(references["blurred_mixture"], 9, 2)
            + _cell(references["blurred_own_channel"], 10, 2)
            + _cell(entry["leakage"], 9, 3)
            + _cell(entry["leakage_mixture"], 11, 3)
            + _cell(calibration.get("factor"), 8, 2)
            + _cell(calibration.get("relative_error"), 11, 3)
        )
    return lines


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def _open(run: Path, options: CommonOptions) -> "DenoiSplitCAREamist":
    """Open a RUN folder.

    Raises
    ------
    ConfigurationError
        If it is none.
    """
    if not run.is_dir() or not any((run / part).is_dir() for part in ("model", "checkpoints")):
        raise ConfigurationError(
            f"{run} is not a RUN folder: it has neither model/ nor checkpoints/. Give the folder "
            "that denoisplit train wrote."
        )
    from careamics_denoisplit.careamist import DenoiSplitCAREamist

    return DenoiSplitCAREamist(
        checkpoint_path=run, work_dir=run, enable_progress_bar=not options.quiet
    )


def _images(
    channel_names: Sequence[str],
    truth: list[str] | None,
    channel: list[str] | None,
    mixture: list[str] | None,
) -> _Images:
    """Sort the images by the channels of the model."""
    names = list(channel_names)
    truths = require_all(named_paths(truth, "--truth", names), names, "--truth")
    noisy = named_paths(channel, "--channel", names)
    mixed = existing_paths(mixture or [], "--mixture")
    if not noisy and not mixed:
        raise ConfigurationError(
            "Give the input: --mixture PATH..., or --channel NAME=PATH... for each channel."
        )
    return _Images(
        truth=truths,
        channels=require_all(noisy, names, "--channel") if noisy else None,
        mixture=mixed or None,
    )
