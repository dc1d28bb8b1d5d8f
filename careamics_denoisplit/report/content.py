"""What the page of a run says: read from its files, put into words."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from careamics_denoisplit.calibration import CalibrationSet
from careamics_denoisplit.checkpoint import TrainedModel, load_model
from careamics_denoisplit.config import DenoiSplitConfiguration, load_configuration
from careamics_denoisplit.errors import CheckpointError, DenoiSplitError
from careamics_denoisplit.evaluation import load_scores
from careamics_denoisplit.files import did_you_mean, read_json, safe_name
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelReport
from careamics_denoisplit.noise_model.picture import draw_report
from careamics_denoisplit.report.figures import draw_calibration, draw_noise, draw_training
from careamics_denoisplit.report.pictures import RESULT
from careamics_denoisplit.training import read_metrics

_NOISE_FOLDERS = ("noise_models", "logs", "model", ".")
_LARGEST_PICTURE = 8 * 2**20
_METHODS = {
    "raw": "spread, not calibrated",
    "scalar": "scalar factor (paper)",
    "joint": "joint function",
    "intensity_only": "reference: intensity only",
    "constant": "reference: constant",
}


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, with the words that belong to it."""

    source: str
    """Data URI."""
    caption: str
    """What it shows; also for those who cannot see it."""


@dataclass(frozen=True)
class NoiseModelNote:
    """Verdict on one noise model."""

    channel: str
    """Name of the channel."""
    verdict: str
    """pass, warn, fail or unknown."""
    words: str
    """Why."""
    figure: Figure | None
    """Picture of its quality report."""


@dataclass(frozen=True)
class ChannelNote:
    """Scores of one channel for the table, and what they mean."""

    name: str
    """Name of the channel."""
    scores: Mapping[str, Any]
    """The channel's object in the JSON of `evaluate`."""
    gain: float | None
    """PSNR above the better predictor that does not split, dB."""
    methods: tuple[tuple[str, Mapping[str, Any]], ...]
    """Names and figures of the standard deviations."""
    calibration_words: str
    """What may be said about the uncertainty."""
    figure: Figure | None
    """Calibration and sparsification curves."""


@dataclass(frozen=True)
class Content:
    """Everything that the template shows."""

    title: str
    """Name of the experiment."""
    run: str
    """Name of the run folder."""
    settings: tuple[tuple[str, str], ...]
    """The settings that matter most."""
    configuration: str
    """The whole config.yaml."""
    training: Figure | None = None
    """Curves of losses and PSNR."""
    training_words: str = ""
    """How long was trained and what came out."""
    noise_models: tuple[NoiseModelNote, ...] = ()
    """Verdicts and pictures."""
    noise_figure: Figure | None = None
    """Noise against signal of all channels."""
    scores: Mapping[str, Any] | None = None
    """JSON of the last evaluation."""
    channels: tuple[ChannelNote, ...] = ()
    """Scores per channel."""
    result: Figure | None = None
    """Picture of a result, where the run holds one."""
    calibrated: tuple[str, ...] = ()
    """Estimators that are calibrated, with their methods."""
    warnings: tuple[str, ...] = field(default=())
    """What the reader should know before trusting the model."""


def gather(run: Path) -> Content:
    """Read a run folder; parts that do not exist yet are left out of the page.

    Raises
    ------
    CheckpointError
        If the folder holds no configuration.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise CheckpointError(
            f"{run} is no run: it has no config.yaml.{did_you_mean(run)} Give the folder of a "
            "training."
        )
    config = load_configuration(path)
    trained = _model_of(run)
    scores = load_scores(run)
    rows = read_metrics(run / "logs" / "metrics.csv")
    channels = tuple(_channel_note(each) for each in (scores or {}).get("channels", ()))
    models = trained.noise_models if trained is not None else ()
    notes = tuple(_noise_note(run, name, models, k) for k, name in enumerate(config.channel_names))
    return Content(
        title=str(config.experiment_name),
        run=run.resolve().name,
        settings=(*_settings(config), *_one_pass(trained)),
        configuration=path.read_text(encoding="utf-8"),
        training=_figure(draw_training(rows, config.channel_names), "svg+xml", _TRAINING),
        training_words=_training_words(rows, config),
        noise_models=tuple(note for note in notes if note is not None),
        noise_figure=_figure(draw_noise(_noise_curves(models, config)), "svg+xml", _NOISE),
        scores=scores,
        channels=channels,
        result=_result_picture(run, scores),
        calibrated=() if trained is None else _calibrated(trained.calibrations),
        warnings=_warnings(scores, trained, notes),
    )


_TRAINING = (
    "Left: training loss and validation negative log-likelihood. Middle: information in each "
    "latent level, level 0 is the finest; a level near zero is not used. Right: range-invariant "
    "PSNR of the noisy validation channels."
)
_NOISE = "Standard deviation of the noise against the signal, by the noise models of the run."
_RESULT = (
    "{image}, its most structured part: mixture, predicted channels, truth, error and uncertainty "
    "(error and uncertainty on one scale)."
)
_CALIBRATION = (
    "Left: pixels sorted by predicted std into 20 bins of equal count; on the line, predicted and "
    "true error agree. Right: error of the remaining pixels while the most uncertain are left "
    "out; the closer to the best possible curve, the better the std finds the errors."
)


def _model_of(run: Path) -> TrainedModel | None:
    try:
        return load_model(run)
    except DenoiSplitError:  # a page about a run without a model is still of use
        return None


def _settings(config: DenoiSplitConfiguration) -> tuple[tuple[str, str], ...]:
    algorithm, data, training = (
        config.algorithm_config,
        config.data_config,
        config.training_config,
    )
    network = algorithm.model
    pairs = {
        "Channels": ", ".join(config.channel_names),
        "Algorithm": algorithm.algorithm,
        "Input": f"{algorithm.mixing} of the channels"
        if algorithm.mixing != "measured"
        else "measured mixture",
        "Network": f"{len(network.latent_channels)} levels, {network.filters} filters, "
        f"latents {', '.join(map(str, network.latent_channels))}",
        "Patch and batch": f"{data.patch_size} px, {data.batch_size}",
        "KL weight": f"{algorithm.kl_weight:g}",
        "Seed": str(config.seed),
        "Largest number of epochs": str(training.trainer_params.get("max_epochs", "-")),
    }
    if training.origin is not None:
        pairs["Started from"] = f"the weights of {training.origin.name}"
    return tuple(pairs.items())


def _one_pass(trained: TrainedModel | None) -> tuple[tuple[str, str], ...]:
    """Say what the gates of the one-pass spread found, where there is one."""
    if trained is None or trained.distillation is None:
        return ()
    return (("Mean and spread in one pass", trained.distillation.words()),)


def _training_words(rows: list[dict[str, str]], config: DenoiSplitConfiguration) -> str:
    if not rows:
        return "Not trained yet."
    seconds = sum(float(row["seconds"]) for row in rows if row.get("seconds"))
    losses = [(float(row["val_loss"]), row["epoch"]) for row in rows if row.get("val_loss")]
    words = f"{len(rows)} epochs in {seconds / 60:.1f} minutes."
    if losses:
        best, epoch = min(losses)
        words += f" Best validation loss {best:.4f} nats per pixel in epoch {epoch}."
    return words


def _noise_note(
    run: Path, channel: str, models: tuple[GaussianMixtureNoiseModel, ...], index: int
) -> NoiseModelNote | None:
    for folder in _NOISE_FOLDERS:
        path = run / folder / f"noise_model_{safe_name(channel)}.json"
        if path.is_file():
            try:
                report = NoiseModelReport.model_validate(read_json(path), strict=False)
            except (ValidationError, DenoiSplitError):
                break
            picture = _figure(draw_report(report), "png", f"Quality of the model of {channel}.")
            return NoiseModelNote(channel, report.verdict, "; ".join(report.reasons), picture)
    if index >= len(models):
        return None
    info = models[index].info
    words = "No quality report lies in the run; the verdict is the one stored with the model."
    return NoiseModelNote(channel, info.verdict, words, None)


def _noise_curves(
    models: tuple[GaussianMixtureNoiseModel, ...], config: DenoiSplitConfiguration
) -> list[tuple[str, list[float], list[float]]]:
    curves = []
    for name, model in zip(config.channel_names, models, strict=False):
        signal = np.linspace(*model.signal_range, 200)
        with torch.no_grad():
            std = model.std(torch.from_numpy(signal.astype(np.float32)))
        curves.append((name, signal.tolist(), std.tolist()))
    return curves


def _channel_note(scores: Mapping[str, Any]) -> ChannelNote:
    references = scores["references"]
    unsplit = [references[key] for key in ("noise_free_mixture", "blurred_mixture")]
    known = [value for value in unsplit if value is not None]
    gain = scores["psnr"] - max(known) if known and scores["psnr"] is not None else None
    calibration = scores["calibration"]
    figures = {
        **calibration.get("methods", {}),
        "intensity_only": calibration.get("intensity_only"),
        "constant": calibration.get("constant"),
    }
    return ChannelNote(
        name=scores["name"],
        scores=scores,
        gain=gain,
        methods=tuple(
            (f"{_METHODS[k]} (scored above)" if k == calibration["method"] else _METHODS[k], v)
            for k, v in figures.items()
            if v is not None
        ),
        calibration_words=calibration_words(calibration),
        figure=_figure(draw_calibration(scores), "svg+xml", _CALIBRATION),
    )


def calibration_words(calibration: Mapping[str, Any]) -> str:
    """Say what may be said about the uncertainty of one channel.

    "Well calibrated" only where the method beats the table of error against intensity in both
    likelihood and ranking.

    Parameters
    ----------
    calibration : mapping
        The `calibration` object of a channel in the JSON of `evaluate`.
    """
    if not calibration["calibrated"]:
        return (
            "Not calibrated for this estimator: the spread ranks pixels, it is no error bar. "
            "Run `denoisplit calibrate` with truth."
        )
    error = calibration["relative_error"]
    measured = (
        "" if error is None else f" Predicted and true error differ by {error:.0%} on average."
    )
    if calibration.get("beats_intensity_only"):
        return "Well calibrated: better than a table of error against intensity alone." + measured
    return (
        "Calibrated on average, but no better than a table of error against intensity alone "
        "(NLL, AUSE): the posterior spread adds little here." + measured
    )


def _calibrated(calibrations: CalibrationSet) -> tuple[str, ...]:
    """Name each calibrated estimator with its methods and the one that is applied."""
    return tuple(
        f"{name} ({' and '.join(fitted.methods)}; applied: {calibrations.applied(name)})"
        for name, fitted in calibrations.estimators.items()
    )


def _warnings(
    scores: Mapping[str, Any] | None,
    trained: TrainedModel | None,
    notes: tuple[NoiseModelNote | None, ...],
) -> tuple[str, ...]:
    found = [
        f"The noise model of {note.channel} was judged {note.verdict}: {note.words}"
        for note in notes
        if note is not None and note.verdict in ("warn", "fail")
    ]
    if trained is None:
        found.append("No finished model in this run yet.")
    elif not trained.calibrations.estimators:
        found.append("Not calibrated yet: standard deviations are spreads of samples only.")
    if scores is None:
        return tuple(found)
    found += [str(message) for message in scores.get("warnings", ())]
    for channel in scores["channels"]:
        note = _channel_note(channel)
        if note.gain is not None and note.gain < 0.0:
            found.append(
                f"{note.name} scores {-note.gain:.1f} dB below a predictor that does not split."
            )
    return tuple(found)


def _result_picture(run: Path, scores: Mapping[str, Any] | None) -> Figure | None:
    path = run / RESULT
    if not path.is_file() or path.stat().st_size > _LARGEST_PICTURE:
        return None
    images = (scores or {}).get("images") or [{"name": "a test image"}]
    return _figure(path.read_bytes(), "png", _RESULT.format(image=images[0]["name"]))


def _figure(content: bytes | None, kind: str, caption: str) -> Figure | None:
    if content is None:
        return None
    return Figure(f"data:image/{kind};base64,{base64.b64encode(content).decode()}", caption)
