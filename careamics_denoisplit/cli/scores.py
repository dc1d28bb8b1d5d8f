"""`denoisplit calibrate` and `denoisplit evaluate`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from careamics_denoisplit.cli.job import Job, job
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
    spread: Literal["samples", "distilled"] = "samples",
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
        One factor per channel (as published), or a function of intensities and spreads beside
        it. Applied by predict, evaluate and export from now on.
    samples
        Posterior samples that the prediction will use.
    spread
        What is scaled: the spread of samples, or that of the one pass (denoisplit distil).
    axes
        Axes of the images where the files do not say.
    """
    with _scoring("calibrate", run, truth, channel, mixture, common) as task:
        from careamics_denoisplit.calibration import estimator_name

        work = task.work
        calibrations = task.careamist.calibrate(
            **task.images._asdict(),
            n_samples=samples,
            spread=spread,
            method=method,
            seed=work.seed,
            axes=axes,
            device=common.device,
        )
        name = estimator_name(spread, samples)
        words = f"{samples} samples" if spread == "samples" else "the one pass"
        fitted = calibrations.estimators[name]
        work.values = {
            "estimator": name,
            "method": method,
            "fitted_on": list(fitted.fitted_on.images),
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
            nats = ", ".join(
                f"{key} {scores['nll']:.3f}" for key, scores in entry["scores"].items()
            )
            work.say(f"{entry['name']}: factor {entry['factor']:.3f} for {words}")
            work.say(f"  negative log-likelihood on these images, nats per pixel: {nats}")
        work.say(f"fitted: {calibrations.words()}; predict, evaluate and export apply {method}")
        work.wrote(run / "model" / "calibration.json", run / REPORT)


def evaluate(
    run: Path,
    /,
    *,
    truth: NamedPaths = None,
    channel: NamedPaths = None,
    mixture: SomePaths = None,
    samples: int = 16,
    spread: Literal["samples", "distilled", "none"] = "samples",
    method: Literal["scalar", "joint"] | None = None,
    axes: str | None = None,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Score the channels against the truth, beside predictors that do not split.

    Parameters
    ----------
    run
        RUN folder, or a package, beside which nothing is written: use --json.
    truth
        High-quality images of each channel.
    channel
        Noisy images of each channel; they give one more reference, their own blur.
    mixture
        Measured superpositions of the same fields.
    samples
        Posterior samples.
    spread
        Mean and standard deviation of samples, the same in one pass (after denoisplit distil), or
        one pass without standard deviation.
    method
        Calibration that is scored; without it the one that predict applies.
    axes
        Axes of the images where the files do not say.
    """
    with _scoring("evaluate", run, truth, channel, mixture, common) as task:
        from careamics_denoisplit.report import calibration_words

        work = task.work
        options: dict[str, Any] = {
            **task.images._asdict(),
            "n_samples": samples,
            "spread": spread,
            "method": method,
            "seed": work.seed,
            "axes": axes,
            "device": common.device,
        }
        in_run = run.is_dir()
        scores = task.careamist.evaluate(**options) if in_run else _score_package(run, options)
        work.values = {key: value for key, value in scores.items() if key not in _COMMON_KEYS}
        for line in (*table(scores["channels"]), *LEGEND):
            work.say(line)
        for entry in scores["channels"] if spread != "none" else ():
            work.say(f"{entry['name']}: {calibration_words(entry['calibration'])}")
        if scores["trust_rank_correlation"] is not None:
            work.say(
                f"trust: rank correlation {scores['trust_rank_correlation']:.2f} with the true "
                f"accuracy over {scores['trust_compared']['count']} "
                f"{scores['trust_compared']['what']}"
            )
        for message in scores["warnings"]:
            work.say(f"note: {message}")
        if in_run:
            work.wrote(run / SCORES, run / RESULT, run / REPORT)


REPORT = "report.html"
RESULT, SCORES = Path("logs") / "result.png", Path("logs") / "evaluation.json"
SPLITTING = "splitting the images ..."
"""Said before the work that takes minutes on large images."""
LEGEND = (
    "PSNR in dB, range-invariant, higher is better. Predictors that do not split, also in dB:",
    "  mixture = the noise-free mixture, blurred = the noisy mixture after its best blur;",
    "  own blur = the channel's own noisy image after its best blur, the practical upper bound.",
    "leakage: share of the other channels in the result, 0 is a clean split; (mixture): unsplit.",
    "factor: by it the scalar calibration multiplies the spread; the joint one does not use it.",
    "rel.error: of the applied calibration; mean gap of predicted and true error in 20 bins,",
    "  divided by the RMSE of all pixels; 0 is ideal.",
)
"""What the columns of `table` mean."""
_COMMON_KEYS = ("version", "command", "seed", "seconds")


class _Images(NamedTuple):
    """Sources by channel, and the mixture."""

    truth: dict[str, list[Path]]
    channels: dict[str, list[Path]] | None
    mixture: list[Path] | None


class _Scoring(NamedTuple):
    """What both commands open before their work."""

    work: Job
    careamist: "DenoiSplitCAREamist"
    images: _Images


@contextmanager
def _scoring(
    command: str,
    run: Path,
    truth: list[str] | None,
    channel: list[str] | None,
    mixture: list[str] | None,
    common: CommonOptions,
) -> Iterator[_Scoring]:
    """Open run and images, and say that the work begins."""
    with job(command, common, log_folder=run / "logs" if run.is_dir() else None) as work:
        careamist = _open(command, run, common)
        images = _images(careamist.config.channel_names, truth, channel, mixture)
        work.say(SPLITTING)
        yield _Scoring(work, careamist, images)


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


def _open(command: str, run: Path, options: CommonOptions) -> "DenoiSplitCAREamist":
    """Open a run, or to evaluate it a package."""
    if command != "evaluate" or run.is_dir() or run.suffix.lower() != ".zip":
        return open_run(run, options)
    from careamics_denoisplit.careamist import DenoiSplitCAREamist

    return DenoiSplitCAREamist(bmz_path=run, work_dir=run.parent)


def _score_package(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Score a package: as it predicts mixtures, or on mixtures of channels as in training."""
    from careamics_denoisplit.careamist.estimators import workload_of
    from careamics_denoisplit.evaluation import evaluate as score
    from careamics_denoisplit.packages import load_package

    package = load_package(path)
    trained = package.as_trained if options["mixture"] is None else package.trained
    device = workload_of(None, None, None, options.pop("device")).device
    return score(trained, **options, device=device)


def open_run(run: Path, options: CommonOptions) -> "DenoiSplitCAREamist":
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
    if not truth:
        raise ConfigurationError(
            "No truth was given: errors can only be measured against high-SNR images of the same "
            f"fields. Add {' '.join(f'--truth {name}=PATH' for name in names)}."
        )
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
