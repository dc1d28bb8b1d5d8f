"""Everything that is collected from image to image, and its means."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from careamics_denoisplit import metrics
from careamics_denoisplit.calibration import BlurWidths, Method, TruthAlignment
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.evaluation.familiarity import superposition_in
from careamics_denoisplit.evaluation.scenes import Scene
from careamics_denoisplit.evaluation.trust import (
    Trust,
    mixture_noise_variance,
    regions,
    relative_error,
    trust_in,
)
from careamics_denoisplit.evaluation.uncertainty import UncertaintyReport
from careamics_denoisplit.prediction import Estimate

MAX_SIMILARITY_IMAGES = 32
"""Images that are held in memory for MS-SSIM and MicroSSIM, which look at all at once."""

_FEW_IMAGES = 3
_OF_EACH_IMAGE = (
    *("psnr", "rmse", "leakage", "leakage_mixture"),
    *("noise_free_mixture", "blurred_mixture", "blurred_own_channel"),
)


class Tally:
    """Scores of the images so far.

    Parameters
    ----------
    trained : TrainedModel
        Model that is scored.
    uncertainty : UncertaintyReport
        Collects the scores of the standard deviations.
    blur : BlurWidths
        Blur of the predictors that do not split.
    """

    def __init__(
        self, trained: TrainedModel, uncertainty: UncertaintyReport, blur: BlurWidths
    ) -> None:
        self.trained = trained
        self.uncertainty = uncertainty
        self.blur = blur
        self.images: list[dict[str, Any]] = []
        self._per_image: list[list[dict[str, float]]] = []
        self._sizes: list[int] = []
        self._matrices: list[np.ndarray] = []
        self._correlations: dict[str, list[float]] = {"prediction": [], "truth": []}
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []
        self._regions: list[tuple[float, float]] = []
        self._alignments: list[tuple[TruthAlignment, ...]] = []

    def add(
        self,
        scene: Scene,
        estimate: Estimate,
        truth: Real[np.ndarray, "c y x"],
        alignment: Sequence[TruthAlignment],
        method: Method,
    ) -> None:
        """Score one image against its aligned truth (C, Y, X), gray values."""
        if estimate.spread is not None:
            self.uncertainty.add(estimate.mean, estimate.spread, truth)
        matrix = metrics.psnr_matrix(estimate.mean, truth)
        scores = self._channel_scores(scene, estimate.mean, truth, matrix)
        trust = self._trust(scene, estimate, truth, method)
        self._matrices.append(matrix)
        self._per_image.append(scores)
        self._sizes.append(scene.mixture.size)
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
                **{key: [score[key] for score in scores] for key in _OF_EACH_IMAGE},
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
            "similarity_images": len(self._pairs),
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
        noise_free = metrics.noise_free_mixture(truth)
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
        gains, offset = superposition_in(self.trained, scene.mixture, mean)
        remixed = np.tensordot(gains, mean, axes=1) + offset
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
        references = ("noise_free_mixture", "blurred_mixture", "blurred_own_channel")
        return {
            "name": name,
            "psnr": mean("psnr"),
            "psnr_plain": mean("psnr_plain"),
            **self._similarity(channel),
            "rmse": math.sqrt(float(np.average(squares, weights=self._sizes))),
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
