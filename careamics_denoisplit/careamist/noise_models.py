"""Noise models on the way into a training: fitted, loaded, or made from the data themselves."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from careamics_denoisplit.careamist.sources import middle_of, training_planes
from careamics_denoisplit.config import DenoiSplitConfiguration
from careamics_denoisplit.data import DenoiSplitDataModule, Plane
from careamics_denoisplit.errors import ConfigurationError, NoiseModelError
from careamics_denoisplit.files import require_absent
from careamics_denoisplit.noise_model import (
    Acquisition,
    FittedNoiseModel,
    GaussianMixtureNoiseModel,
    acquisition_from,
    acquisition_warnings,
    check_noise_models,
    fit_from_bootstrap,
    fit_from_pairs,
    fit_from_repeats,
    load_noise_models,
    noise_model_file,
)

logger = logging.getLogger(__name__)

BOOTSTRAP = "bootstrap"
Models = tuple[GaussianMixtureNoiseModel, ...]


def fit_channels(
    names: Sequence[str],
    *,
    signal: Mapping[str, Any] | None = None,
    observation: Mapping[str, Any] | None = None,
    repeats: Mapping[str, Any] | None = None,
    bootstrap: bool = False,
    align: bool = False,
    n_gaussians: int | None = None,
    n_coefficients: int = 2,
    seed: int = 0,
    acquisition: Acquisition | None = None,
) -> tuple[FittedNoiseModel, ...]:
    """Fit one noise model per channel, by the route that the given images allow.

    Parameters
    ----------
    names : sequence of str
        Name of each channel.
    signal, observation, repeats : mapping of str to images or None
        Nearly clean and noisy images, or repeated acquisitions, of each channel.
    bootstrap : bool
        Whether to denoise the observations first and take that for the signal.
    align : bool
        Whether gain and offset of the signal differ from those of the observation.
    n_gaussians, n_coefficients, seed, acquisition
        As in `fit_from_pairs`.

    Returns
    -------
    tuple of C FittedNoiseModel
        Models with their reports.

    Raises
    ------
    ConfigurationError
        If not exactly one route is given.
    NoiseModelError
        If the images do not allow a fit.
    """
    pairs = signal is not None and observation is not None
    alone = observation is not None and signal is None
    routes = [pairs and not bootstrap, repeats is not None, alone and bootstrap]
    if sum(routes) != 1 or (repeats is not None and observation is not None):
        raise ConfigurationError(
            "Give `signal` and `observation`, or `repeats` alone, or `observation` with "
            "`bootstrap=True`; got "
            f"signal={signal is not None}, observation={observation is not None}, "
            f"repeats={repeats is not None}, bootstrap={bootstrap}."
        )
    fitted = []
    for name in names:
        options: dict[str, Any] = {
            "channel": name,
            "n_gaussians": n_gaussians,
            "n_coefficients": n_coefficients,
            "seed": seed,
            "acquisition": acquisition,
        }
        if repeats is not None:
            fitted.append(fit_from_repeats(repeats[name], **options))
        elif signal is not None and observation is not None:
            fitted.append(fit_from_pairs(signal[name], observation[name], align=align, **options))
        elif observation is not None:
            fitted.append(fit_from_bootstrap(observation[name], **options))
        logger.info("%s", fitted[-1].report.words())
    return tuple(fitted)


def require_absent_models(folder: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuse to fit where noise models are already, unless they may be replaced.

    Raises
    ------
    OutputExistsError
        Naming the file.
    """
    for name in names:
        require_absent(folder / noise_model_file(name), overwrite)


def models_for_training(
    given: Any,
    config: DenoiSplitConfiguration,
    datamodule: DenoiSplitDataModule,
    *,
    folder: Path,
    resume: bool,
) -> Models:
    """Collect the noise models of a training and compare them with its images.

    Parameters
    ----------
    given : "bootstrap", models, fitted models, paths, a folder, a mapping of these, or None
        What the user gave.
    config : DenoiSplitConfiguration
        Says whether the algorithm needs any.
    datamodule : DenoiSplitDataModule
        Training images.
    folder : pathlib.Path
        Where the models of a bootstrap are written.
    resume : bool
        Whether a run is continued, which holds its models already.

    Returns
    -------
    tuple of GaussianMixtureNoiseModel
        One per channel, none for a Gaussian likelihood or a run that is continued without any.

    Raises
    ------
    NoiseModelError
        If they are missing, superfluous, or swapped between channels.
    """
    names = config.channel_names
    if not config.algorithm_config.needs_noise_models:
        if given is not None:
            raise NoiseModelError(
                f"The algorithm {config.algorithm_config.algorithm!r} has a Gaussian likelihood "
                "and uses no noise models. Leave `noise_model` out, or choose "
                '`algorithm="denoisplit"`.'
            )
        return ()
    if given is None:
        if resume:
            return ()
        raise NoiseModelError(
            f"The algorithm {config.algorithm_config.algorithm!r} needs a noise model for each of "
            f"{', '.join(names)}. Call `fit_noise_models` first, or give `noise_model=` a folder, "
            'files, or "bootstrap"; on the command line, run `denoisplit noise-model fit` and give '
            "its folder to `--noise-model`."
        )
    if isinstance(given, str) and given == BOOTSTRAP:
        models = _bootstrapped(names, datamodule, config.seed, folder)
    else:
        models = load_noise_models(_without_reports(given), names)
    observations = [middle_of(planes[0]) for planes in datamodule.training.channels]
    for warning in check_noise_models(models, observations, names):
        logger.warning("%s", warning)
    for model, planes in zip(models, datamodule.training.channels, strict=True):
        for warning in acquisition_warnings(model.info, _acquisition_of(planes[0])):
            logger.warning("%s", warning)
    return models


def _acquisition_of(plane: Plane) -> Acquisition:
    """Camera settings of the image of a plane, where its file says them."""
    one_channel = plane.stack.data_shape[1] == 1
    return acquisition_from(getattr(plane.stack, "acquisition", {}), one_channel=one_channel)


def _bootstrapped(
    names: Sequence[str], datamodule: DenoiSplitDataModule, seed: int, folder: Path
) -> Models:
    observation = dict(zip(names, training_planes(datamodule), strict=True))
    fitted = fit_channels(names, observation=observation, bootstrap=True, seed=seed)
    for each in fitted:
        each.save(folder)
    return tuple(each.model for each in fitted)


def _without_reports(given: Any) -> Any:
    """Take the models out of fitted ones."""
    if isinstance(given, FittedNoiseModel):
        return given.model
    if isinstance(given, Mapping):
        return {name: _without_reports(each) for name, each in given.items()}
    if isinstance(given, list | tuple):
        return [_without_reports(each) for each in given]
    return given
