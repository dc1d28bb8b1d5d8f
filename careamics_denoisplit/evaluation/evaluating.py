"""Score a trained model on images with truth."""

import math
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Real

from careamics_denoisplit import metrics
from careamics_denoisplit.calibration import (
    BlurWidths,
    CalibrationSet,
    Method,
    TruthAlignment,
    estimator_name,
)
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.evaluation.calibrating import (
    Progress,
    choose_blur,
    require_method,
    share_of,
)
from careamics_denoisplit.evaluation.scenes import Scene, align_truth, open_scenes
from careamics_denoisplit.evaluation.trust import (
    Trust,
    mixture_noise_variance,
    regions,
    relative_error,
    remix,
    trust_in,
)
from careamics_denoisplit.evaluation.uncertainty import UncertaintyReport
from careamics_denoisplit.prediction import Estimate, Spread, Tiling, predict_image

MAX_SIMILARITY_IMAGES = 32
"""Images that are held in memory for MS-SSIM and MicroSSIM, which look at all at once."""

_FEW_IMAGES = 3


def evaluate(
    trained: TrainedModel,
    mixture: Any = None,
    truth: Any = None,
    channels: Any = None,
    *,
    n_samples: int = 16,
    spread: Spread = "samples",
    method: str | None = None,
    seed: int = 0,
    axes: str | None = None,
    align: bool | None = None,
    tiling: Tiling | None = None,
    batch: int = 1,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict images with truth and score channels, uncertainty and trust.

    Parameters
    ----------
    trained : TrainedModel
        Model with its calibrations.
    mixture : array, path, list or None
        Superimposed images; None mixes the noisy channels.
    truth : mapping, array, path or list
        High-SNR images of each channel.
    channels : mapping, array, path, list or None
        Noisy channels; they serve the practical upper bound and the alignment of the truth.
    n_samples : int
        Posterior samples.
    spread : {"samples", "none"}
        Estimator; "none" scores the pass with posterior means, which has no std.
    method : {"scalar", "joint"}, optional
        Calibration that is scored; by default the one that is applied (`CalibrationSet.applied`).
    seed : int
        Seed of the posterior noise.
    axes : str, optional
        Axes of channels and truth; inferred by default.
    align : bool, optional
        Whether gain and offset of the truth are fitted; by default where they differ.
    tiling, batch, device
        As in `predict_image`.
    progress : callable, optional
        Called with (finished, total) passes over all images.

    Returns
    -------
    dict
        Plain JSON types; figures that are not defined are None.

    Raises
    ------
    ConfigurationError
        If the method is unknown, or was not fitted for this estimator.
    DataError
        If truth is missing or images do not fit together.
    """
    started = time.monotonic()
    estimator = estimator_name(spread, n_samples)
    chosen = _scored_method(trained.calibrations, estimator, method)
    scenes = open_scenes(
        trained.statistics, mixture=mixture, truth=truth, channels=channels, axes=axes
    )
    fitted = trained.calibrations.estimators.get(estimator)
    known = trained.calibrations.blur
    if known is None or (scenes.has_channels and known.own_channel is None):
        blur, chosen_on = choose_blur(scenes), "the images that are scored"
    else:
        blur, chosen_on = known, "validation"
    tally = _Tally(trained, UncertaintyReport(len(trained.channel_names), fitted), blur)
    for number, scene in enumerate(scenes):
        estimate = predict_image(
            trained,
            scene.mixture,
            n_samples=n_samples,
            spread=spread,
            seed=seed,
            tiling=tiling,
            batch=batch,
            device=device,
            progress=share_of(progress, number, len(scenes)),
        )
        alignment = align_truth(
            scene, estimate.mean, align=align, recorded=trained.calibrations.alignment
        )
        tally.add(scene, estimate, alignment, chosen)
    scores = {
        "version": _version(),
        "command": "evaluate",
        "seed": seed,
        "seconds": time.monotonic() - started,
        "samples": n_samples if spread == "samples" else 0,
        "spread": spread,
        **tally.summary(chosen),
        "blur": {**blur.model_dump(), "chosen_on": chosen_on},
    }
    scores["warnings"] = [*scenes.warnings, *scores["warnings"]]
    plain: dict[str, Any] = _finite(scores)
    return plain


def _scored_method(calibrations: CalibrationSet, estimator: str, method: str | None) -> Method:
    """Return the method that was asked for, else the one that is applied.

    Raises
    ------
    ConfigurationError
        If the method that was asked for is unknown, or not fitted for the estimator.
    """
    if method is None:
        return calibrations.applied(estimator) or calibrations.method
    chosen = require_method(method)
    if estimator == "none":
        raise ConfigurationError(
            f"The pass with posterior means has no std to calibrate, so that the method {chosen} "
            "cannot be scored. Leave out the method, or take samples."
        )
    if calibrations.get(estimator, chosen) is None:
        raise ConfigurationError(
            f"The {chosen} calibration was not fitted for {estimator} (fitted: "
            f"{calibrations.words()}). Calibrate with this method and number of samples first, "
            "or leave out the method to score the one that is applied."
        )
    return chosen


class _Tally:
    """Everything that is collected from image to image."""

    def __init__(
        self, trained: TrainedModel, uncertainty: UncertaintyReport, blur: BlurWidths
    ) -> None:
        self.trained = trained
        self.uncertainty = uncertainty
        self.blur = blur
        self.images: list[dict[str, Any]] = []
        self._per_image: list[list[dict[str, float]]] = []
        self._matrices: list[np.ndarray] = []
        self._correlations: dict[str, list[float]] = {"prediction": [], "truth": []}
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []
        self._regions: list[tuple[float, float]] = []
        self._alignments: list[tuple[TruthAlignment, ...]] = []

    def add(
        self,
        scene: Scene,
        estimate: Estimate,
        alignment: Sequence[TruthAlignment],
        method: Method,
    ) -> None:
        """Score one image."""
        truth = np.stack([a.apply(t) for a, t in zip(alignment, scene.truth, strict=True)])
        if estimate.spread is not None:
            self.uncertainty.add(estimate.mean, estimate.spread, truth)
        matrix = metrics.psnr_matrix(estimate.mean, truth)
        scores = self._channel_scores(scene, estimate.mean, truth, matrix)
        trust = self._trust(scene, estimate, truth, method)
        self._matrices.append(matrix)
        self._per_image.append(scores)
        self._alignments.append(tuple(alignment))
        if len(self._pairs) < MAX_SIMILARITY_IMAGES:
            self._pairs.append((truth.astype(np.float32), estimate.mean))
        for name, values in (("prediction", estimate.mean), ("truth", truth)):
            correlation = metrics.channel_correlation(values)
            if correlation is not None:
                self._correlations[name].append(correlation)
        self.images.append(
            {
                "name": scene.name,
                "trust": trust.score,
                "relative_variance": trust.relative_variance,
                "relative_residual": trust.relative_residual,
                "relative_error": relative_error(estimate.mean, truth),
                "psnr": [score["psnr"] for score in scores],
                "rmse": [score["rmse"] for score in scores],
            }
        )

    def summary(self, method: Method) -> dict[str, Any]:
        """Return means over images, in the layout of the JSON of `evaluate`."""
        channels = [self._channel(k, name, method) for k, name in enumerate(self._names)]
        permutation, messages = self._permutation()
        trust, basis, count = self._trust_correlation()
        return {
            "channels": channels,
            "mean": {
                key: metrics.mean_defined([_number(c[key]) for c in channels])
                for key in ("psnr", "ms_ssim")
            },
            "channel_correlation": {
                name: metrics.mean_defined(values) for name, values in self._correlations.items()
            },
            "images": self.images,
            "trust_rank_correlation": trust,
            "trust_compared": {"what": basis, "count": count},
            "permutation": permutation,
            "warnings": messages,
        }

    @property
    def _names(self) -> tuple[str, ...]:
        return self.trained.channel_names

    def _channel_scores(
        self,
        scene: Scene,
        mean: Float[np.ndarray, "c y x"],
        truth: Real[np.ndarray, "c y x"],
        matrix: Float[np.ndarray, "c c"],
    ) -> list[dict[str, float]]:
        leakage = metrics.leakage(mean, truth)
        unsplit = metrics.mixture_leakage(scene.mixture, truth)
        noise_free = metrics.noise_free_mixture(scene.truth)
        scores = []
        for k, reference in enumerate(truth):
            blurred = metrics.blur(scene.mixture, self.blur.mixture[k])
            own = math.nan
            if scene.channels is not None and self.blur.own_channel is not None:
                blurred_own = metrics.blur(scene.channels[k], self.blur.own_channel[k])
                own = metrics.psnr_range_invariant(reference, blurred_own)
            scores.append(
                {
                    "psnr": float(matrix[k, k]),
                    "psnr_plain": metrics.psnr_plain(reference, mean[k]),
                    "rmse": metrics.root_mean_square_error(reference, mean[k]),
                    "leakage": float(leakage[k]),
                    "leakage_mixture": float(unsplit[k]),
                    "noise_free_mixture": metrics.psnr_range_invariant(reference, noise_free),
                    "blurred_mixture": metrics.psnr_range_invariant(reference, blurred),
                    "blurred_own_channel": own,
                }
            )
        return scores

    def _trust(
        self,
        scene: Scene,
        estimate: Estimate,
        truth: Real[np.ndarray, "c y x"],
        method: Method,
    ) -> Trust:
        mean, std = estimate.mean, estimate.spread
        if std is not None and self.uncertainty.fitted is not None:
            calibration = self.uncertainty.fitted.method(method)
            std = std if calibration is None else calibration.std(mean, std)
        rule = self.trained.statistics.mixing
        remixed, gains = remix(mean, scene.mixture, rule)
        noise = mixture_noise_variance(self.trained.noise_models, mean, gains)

        def score(rows: slice, columns: slice) -> Trust:
            part = np.s_[..., rows, columns]
            return trust_in(
                scene.mixture[part],
                mean[part],
                None if std is None else std[part],
                remixed[part],
                None if noise is None else noise[part],
            )

        for region in regions(scene.mixture.shape):
            part = np.s_[..., region.rows, region.columns]
            error = relative_error(mean[part], truth[part])
            self._regions.append((score(*region).score, error))
        return score(slice(None), slice(None))

    def _channel(self, channel: int, name: str, method: Method) -> dict[str, Any]:
        def mean(key: str) -> float:
            return metrics.mean_defined([scores[channel][key] for scores in self._per_image])

        squares = [scores[channel]["rmse"] ** 2 for scores in self._per_image]
        sizes = [truth[channel].size for truth, _ in self._pairs] or [1]
        weights = sizes if len(sizes) == len(squares) else None
        references = ("noise_free_mixture", "blurred_mixture", "blurred_own_channel")
        return {
            "name": name,
            "psnr": mean("psnr"),
            "psnr_plain": mean("psnr_plain"),
            **self._similarity(channel),
            "rmse": math.sqrt(float(np.average(squares, weights=weights))),
            "leakage": mean("leakage"),
            "leakage_mixture": mean("leakage_mixture"),
            "references": {key: mean(key) for key in references},
            "calibration": self.uncertainty.of_channel(channel, method),
            "alignment": [each[channel].words for each in self._alignments],
        }

    def _similarity(self, channel: int) -> dict[str, float | None]:
        """MS-SSIM as in the paper and range-invariant, and MicroSSIM."""
        statistics = self.trained.statistics
        centre, scale = statistics.target_means[channel], statistics.target_stds[channel]
        truths = [truth[channel] for truth, _ in self._pairs]
        predictions = [mean[channel] for _, mean in self._pairs]
        matched = [metrics.range_matched(*p) for p in zip(truths, predictions, strict=True)]
        return {
            "ms_ssim": metrics.ms_ssim(
                metrics.standardise_together(truths), [(p - centre) / scale for p in predictions]
            ),
            "ms_ssim_range_invariant": metrics.ms_ssim(*map(list, zip(*matched, strict=True))),
            "micro_ssim": metrics.micro_ssim(truths, predictions),
        }

    def _permutation(self) -> tuple[dict[str, Any] | None, list[str]]:
        found = metrics.better_permutation(np.mean(self._matrices, axis=0))
        if found is None:
            return None, []
        fits = {self._names[t]: self._names[p] for t, p in enumerate(found.order)}
        pairs = ", ".join(f"{p} shows {t}" for t, p in fits.items() if p != t)
        message = (
            f"Channels look swapped: the predicted {pairs}, better by {found.gain:.1f} dB. "
            "Check the order of channels, truths and noise models."
        )
        return {"best_prediction_of": fits, "gain_db": found.gain}, [message]

    def _trust_correlation(self) -> tuple[float | None, str, int]:
        """Rank correlation of trust with the negative error, over images or their regions."""
        pairs = [(image["trust"], image["relative_error"]) for image in self.images]
        basis = "images"
        if len(pairs) < _FEW_IMAGES:
            pairs, basis = self._regions, "regions"
        trust, error = zip(*pairs, strict=True)
        return metrics.rank_correlation(trust, [-value for value in error]), basis, len(pairs)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _finite(value: Any) -> Any:
    """Return plain JSON types; what is not a finite number becomes None."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _version() -> str:
    try:
        return version("careamics-denoisplit")
    except PackageNotFoundError:
        return "unknown"
