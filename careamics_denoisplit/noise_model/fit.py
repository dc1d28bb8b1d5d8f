"""Maximum-likelihood fits of noise models: from pairs, repeats, or a denoised image."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.noise_model import assessment
from careamics_denoisplit.noise_model.acquisition import (
    Acquisition,
    acquisition_from,
    shared_acquisition,
)
from careamics_denoisplit.noise_model.alignment import AffineAlignment, fit_alignment
from careamics_denoisplit.noise_model.bootstrap import (
    Denoiser,
    bootstrap_planes,
    denoise_by_noise2void,
)
from careamics_denoisplit.noise_model.clipping import clipped_signals
from careamics_denoisplit.noise_model.maximum_likelihood import (
    default_min_variance,
    fit_weights,
    variance_curve,
)
from careamics_denoisplit.noise_model.model import GaussianMixtureNoiseModel, NoiseModelInfo
from careamics_denoisplit.noise_model.pairs import (
    Blocks,
    LazyArray,
    PixelSource,
    as_arrays,
    require_one_order,
    sample_blocks,
)
from careamics_denoisplit.noise_model.repeats import repeat_blocks
from careamics_denoisplit.noise_model.report import AlignmentRecord, NoiseModelReport, Route
from careamics_denoisplit.noise_model.report_files import write_report
from careamics_denoisplit.noise_model.rounding import without_rounding
from careamics_denoisplit.noise_model.verdict import Figures, judge

MAX_PAIRS: Final = 250_000
"""Pixel pairs that a fit uses at most; a model has 2 to 36 parameters."""

MIN_PAIRS: Final = 1000
"""Pixel pairs that a fit needs at least."""

MIN_LEVELS: Final = 3
"""Different gray values that signal and observation need at least."""

MIN_VARIED: Final = 30
"""Pairs with another signal than the most frequent one that a fit needs at least."""

MAX_CLIPPED: Final = 0.25
"""Share of observations at one extreme from which on the noise is refused as clipped."""

HELD_OUT: Final = 0.2
"""Share of the pairs that the fit does not see."""

WORTH: Final = 0.01
"""Nats per held-out pixel that more Gaussians must gain: each makes training slower."""

CANDIDATES: Final = (1, 3)
"""Numbers of Gaussians that are compared when none is asked for."""


@dataclasses.dataclass(frozen=True)
class FittedNoiseModel:
    """A noise model and what is known of its quality."""

    model: GaussianMixtureNoiseModel
    """The fitted model."""
    report: NoiseModelReport
    """Its quality report."""

    def save(self, folder: Path | str) -> tuple[Path, ...]:
        """Write `noise_model_<channel>` as npz, json and png; return the absolute paths."""
        return write_report(folder, self.model, self.report)


def fit_from_pairs(
    signal: PixelSource,
    observation: PixelSource,
    *,
    channel: str,
    n_gaussians: int | None = None,
    n_coefficients: int = 2,
    seed: int = 0,
    align: bool = False,
    max_pairs: int = MAX_PAIRS,
    min_sigma: float | None = None,
    acquisition: Acquisition | None = None,
) -> FittedNoiseModel:
    """Fit a noise model to pairs of a nearly clean and a noisy image (Sec. 4.3).

    Parameters
    ----------
    signal, observation : array, path, or sequence of these
        Images (..., Y, X) in gray values, of equal shapes. They are read in slabs: the fit
        adds some 100 MB, however large they are.
    channel : str
        Name of the channel, stored with the model.
    n_gaussians : int, optional
        Gaussians of the mixture. If not given 1, or 3 where these describe held-out pixels
        better by 0.01 nats.
    n_coefficients : int
        Polynomial coefficients of each parameter.
    seed : int
        Of the choice of pixels; the fit itself draws nothing.
    align : bool
        Whether gain and offset of the signal differ from those of the observation and are to
        be fitted first.
    max_pairs : int
        Largest number of pixel pairs.
    min_sigma : float, optional
        Floor of the variance, in squared gray values. If not given a twentieth of the smallest
        variance found.
    acquisition : Acquisition, optional
        Camera, gain, exposure and date of the observations; what is not given is taken from
        the files, where these say it.

    Raises
    ------
    NoiseModelError
        If the images do not fit together, hold NaN, are constant or mostly clipped, have fewer
        than 1000 pixels, or no finite model is found.
    """
    require_one_order(signal, observation)
    observed = as_arrays(observation)
    blocks = sample_blocks(signal, observed, max_pairs=max_pairs, seed=seed)
    known, doubts = _acquisition(observed, acquisition)
    settings = _Settings(channel, n_gaussians, n_coefficients, seed, min_sigma, known)
    return _fit(blocks, settings, "pairs", align=align, warnings=doubts)


def fit_from_repeats(
    repeats: PixelSource,
    *,
    channel: str,
    n_gaussians: int | None = None,
    n_coefficients: int = 2,
    seed: int = 0,
    max_pairs: int = MAX_PAIRS,
    min_sigma: float | None = None,
    acquisition: Acquisition | None = None,
) -> FittedNoiseModel:
    """Fit a noise model to repeated acquisitions of one static field (Sec. 4.3).

    The signal is the mean of all N acquisitions. An acquisition is part of that mean, so its
    deviation is too small by `sqrt(1 - 1 / N)`; it is enlarged by just that factor, which makes
    the variance unbiased. What remains: the noise of the mean itself blurs the dependence on
    the signal, and the shape of the noise looks slightly more Gaussian than it is. Both shrink
    with N; the report warns below eight.

    Parameters
    ----------
    repeats : array (N, Y, X), path, or sequence
        N acquisitions of the same field, in gray values, at least two.
    channel, n_gaussians, n_coefficients, seed, max_pairs, min_sigma, acquisition
        As in `fit_from_pairs`.

    Raises
    ------
    NoiseModelError
        If there are fewer than two acquisitions, and as in `fit_from_pairs`.
    """
    arrays = as_arrays(repeats)
    found = repeat_blocks(arrays, max_pairs=max_pairs, seed=seed)
    known, doubts = _acquisition(arrays, acquisition)
    settings = _Settings(channel, n_gaussians, n_coefficients, seed, min_sigma, known)
    return _fit(found.blocks, settings, "repeats", warnings=(*found.warnings, *doubts))


def fit_from_bootstrap(
    observation: PixelSource,
    *,
    channel: str,
    denoise: Denoiser | None = None,
    n_gaussians: int | None = None,
    n_coefficients: int = 2,
    seed: int = 0,
    max_pairs: int = MAX_PAIRS,
    min_sigma: float | None = None,
    acquisition: Acquisition | None = None,
) -> FittedNoiseModel:
    """Fit a noise model to noisy images alone, their denoised version is the signal (Sec. 4.3).

    By default careamics' Noise2Void denoises. What it gets wrong is taken for noise: where it
    smooths structure away the model is too wide.

    Parameters
    ----------
    observation : array, path, or sequence
        Noisy images (..., Y, X) in gray values.
    channel : str
        Name of the channel, stored with the model.
    denoise : Denoiser, optional
        Function of a list of images (Y, X) and a seed that returns their denoised versions.
    n_gaussians, n_coefficients, seed, max_pairs, min_sigma, acquisition
        As in `fit_from_pairs`.

    Raises
    ------
    NoiseModelError
        As in `fit_from_pairs`.
    """
    observed = as_arrays(observation)
    planes = bootstrap_planes(observed, seed=seed)
    denoised = (denoise or denoise_by_noise2void)(planes, seed)
    blocks = sample_blocks(denoised, planes, max_pairs=max_pairs, seed=seed)
    known, doubts = _acquisition(observed, acquisition)
    settings = _Settings(channel, n_gaussians, n_coefficients, seed, min_sigma, known)
    return _fit(blocks, settings, "bootstrap", warnings=doubts)


def _acquisition(
    images: Sequence[LazyArray], given: Acquisition | None
) -> tuple[Acquisition, tuple[str, ...]]:
    """Join the settings of the images and those that were given, with doubts in words."""
    attributes = [getattr(image, "attrs", {}) for image in images]
    known = [acquisition_from(each) for each in attributes if isinstance(each, Mapping)]
    return shared_acquisition(known, given)


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What all routes have in common."""

    channel: str
    n_gaussians: int | None
    n_coefficients: int
    seed: int
    min_sigma: float | None
    acquisition: Acquisition

    def __post_init__(self) -> None:
        if (self.n_gaussians is not None and self.n_gaussians < 1) or self.n_coefficients < 1:
            raise NoiseModelError(
                "A noise model needs at least 1 Gaussian and 1 coefficient, got "
                f"{self.n_gaussians} and {self.n_coefficients}. The default is 1 or 3, and 2."
            )
        if self.min_sigma is not None and not self.min_sigma > 0:
            raise NoiseModelError(
                f"min_sigma, the floor of the variance, must be above 0, got {self.min_sigma}. "
                "Leave it out to have it chosen from the data."
            )


def _fit(
    blocks: Blocks,
    settings: _Settings,
    route: Route,
    *,
    align: bool = False,
    warnings: Sequence[str] = (),
) -> FittedNoiseModel:
    _require_fittable(blocks)
    alignment = fit_alignment(*blocks.pixels()) if align else None
    if alignment is not None:
        blocks = Blocks(alignment.apply(blocks.signal), blocks.observation)
    cut = clipped_signals(blocks.signal, blocks.observation)
    cuts = _Cuts(assessment.clipped_share(blocks.observation), float(cut.mean()))
    observation = without_rounding(blocks.observation, settings.seed)
    smooth = Blocks(blocks.signal, observation, cut if cut.any() else None)
    fitted_on, held_out = smooth.split(HELD_OUT, settings.seed)
    _require_enough(fitted_on, held_out)
    model = _best_model(fitted_on, held_out, settings)
    report = _report(model, fitted_on, held_out, cuts, settings, route, alignment, warnings)
    return FittedNoiseModel(model.with_info(_information(report)), report)


class _Cuts(NamedTuple):
    """Shares of the pixels at which an image was cut off."""

    observation: float
    signal: float


def _require_enough(fitted_on: Blocks, held_out: Blocks) -> None:
    """Refuse pairs of which too few are left to fit on: the others are cut off, or all alike."""
    if min(fitted_on.n_pairs, held_out.n_pairs) < MIN_PAIRS // 10:
        raise NoiseModelError(
            f"Only {fitted_on.n_pairs} + {held_out.n_pairs} pairs of pixels remain to fit on and "
            "to test with: elsewhere the signal is cut off at its smallest or largest gray value. "
            "Give signal images that are not clipped."
        )
    signal, observation = fitted_on.pixels()
    levels, counts = np.unique(signal, return_counts=True)
    varied = signal.size - int(counts.max())
    if varied < MIN_VARIED:
        raise NoiseModelError(
            f"The signal is nearly constant: of {signal.size} pixels that were drawn all but "
            f"{varied} have the gray value {levels[counts.argmax()]:g}. Give images that show "
            "more structure, or crop them to it."
        )
    noisy = int(np.count_nonzero(signal != observation))
    if noisy < MIN_VARIED:
        raise NoiseModelError(
            f"There is no noise to model: signal and observation differ at {noisy} of "
            f"{signal.size} pixels. Give the noisy image as the observation."
        )


def _require_fittable(blocks: Blocks) -> None:
    if blocks.n_pairs < MIN_PAIRS:
        raise NoiseModelError(
            f"A noise model needs at least {MIN_PAIRS} pairs of pixels, got {blocks.n_pairs}. "
            "Give larger or more images, or raise `max_pairs`."
        )
    for what, values in {"signal": blocks.signal, "observation": blocks.observation}.items():
        levels = np.unique(values)
        if levels.size < MIN_LEVELS:
            raise NoiseModelError(
                f"The {what} is constant or nearly so: it has only the gray values "
                f"{levels.tolist()}. Give images that show structure and noise."
            )
    if np.array_equal(blocks.signal, blocks.observation):
        raise NoiseModelError(
            "Signal and observation are equal, there is no noise to model. Give the noisy image "
            "as the observation."
        )
    clipped = assessment.clipped_share(blocks.observation)
    if clipped > MAX_CLIPPED:
        raise NoiseModelError(
            f"{clipped:.0%} of the observations are clipped at {blocks.observation.min():g} or "
            f"{blocks.observation.max():g}: most of the noise is cut off. Give images whose "
            "background is not clipped."
        )


def _best_model(
    fitted_on: Blocks, held_out: Blocks, settings: _Settings
) -> GaussianMixtureNoiseModel:
    """Return the asked-for model, or the smallest that more Gaussians do not clearly beat."""
    signal, observation = fitted_on.pixels()
    min_variance = settings.min_sigma or default_min_variance(variance_curve(signal, observation))
    sizes = CANDIDATES if settings.n_gaussians is None else (settings.n_gaussians,)
    models = [
        fit_weights(
            signal,
            observation,
            n_gaussians=size,
            n_coefficients=settings.n_coefficients,
            min_variance=min_variance,
        )
        for size in sizes
    ]
    nll = [assessment.mean_nll(model, held_out) for model in models]
    return next(model for model, nats in zip(models, nll, strict=True) if nats <= min(nll) + WORTH)


def _report(
    model: GaussianMixtureNoiseModel,
    fitted_on: Blocks,
    held_out: Blocks,
    cuts: _Cuts,
    settings: _Settings,
    route: Route,
    alignment: AffineAlignment | None,
    warnings: Sequence[str],
) -> NoiseModelReport:
    _, observed = fitted_on.pixels()
    observation_range = float(observed.min()), float(observed.max())
    pit = assessment.uniformity(model, held_out)
    correlation = assessment.autocorrelation(model, held_out)
    figures = Figures(
        heldout_nll=assessment.mean_nll(model, held_out),
        constant_nll=assessment.constant_width_nll(fitted_on, held_out),
        distance=pit.kolmogorov_smirnov,
        worst_distance=pit.worst_by_signal,
        share_outside=assessment.share_outside(held_out, observation_range),
        clipped=cuts.observation,
        correlation=correlation.largest,
        slow=correlation.slow,
        signal_clipped=cuts.signal,
    )
    if not np.isfinite(figures).all():
        raise NoiseModelError(
            "The noise is too wide to be computed with: some observations lie further from their "
            "signal than 10^19 times the width of the others. Remove such outliers, or divide the "
            "images by a constant."
        )
    verdict, reasons = judge(figures, warnings)
    return NoiseModelReport(
        channel=settings.channel,
        verdict=verdict,
        reasons=reasons,
        route=route,
        seed=settings.seed,
        n_gaussians=model.n_gaussians,
        n_coefficients=model.n_coefficients,
        n_pairs=fitted_on.n_pairs,
        n_heldout=held_out.n_pairs,
        signal_range=model.signal_range,
        observation_range=observation_range,
        min_sigma=float(model.min_sigma),
        heldout_nll=figures.heldout_nll,
        constant_nll=figures.constant_nll,
        pit=pit,
        sigma_curve=assessment.sigma_curve(model, held_out),
        share_outside_range=figures.share_outside,
        clipped_share=figures.clipped,
        signal_clipped_share=figures.signal_clipped,
        autocorrelation=correlation,
        alignment=AlignmentRecord(**alignment.as_dict()) if alignment else None,
        **dataclasses.asdict(settings.acquisition),
    )


def _information(report: NoiseModelReport) -> NoiseModelInfo:
    return NoiseModelInfo(
        channel=report.channel,
        verdict=report.verdict,
        n_pairs=report.n_pairs,
        heldout_nll=report.heldout_nll,
        observation_range=report.observation_range,
        camera=report.camera,
        gain=report.gain,
        exposure=report.exposure,
        date=report.date,
    )
