"""The JSON of `evaluate`, its references, and what it says about wrong input."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from careamics_denoisplit import metrics
from careamics_denoisplit.calibration import CalibrationSet
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.data import Superposition
from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.evaluation import (
    Example,
    calibrate,
    evaluate,
    evaluating,
    load_scores,
    save_scores,
    tally,
)
from careamics_denoisplit.evaluation.trust import mixture_noise_variance, trust_in
from careamics_denoisplit.prediction import Estimate, predict_image, whole_image

KEYS = {
    "version", "command", "seed", "seconds", "samples", "spread", "channels", "mean",
    "channel_correlation", "images", "trust_rank_correlation",
}  # fmt: skip
CHANNEL_KEYS = {
    "name", "psnr", "psnr_plain", "ms_ssim", "micro_ssim", "rmse", "leakage", "leakage_mixture",
    "references", "calibration",
}  # fmt: skip
CALIBRATION_KEYS = {
    "calibrated", "factor", "nll_before", "nll_after", "relative_error", "ause", "ence",
    "coverage_90", "intensity_only", "constant", "bins", "bins_equal_width",
}  # fmt: skip


def test_evaluate_returns_the_promised_keys_as_plain_json(
    calibrated: TrainedModel, images: Any
) -> None:
    scores = evaluate(calibrated, images.mixture, images.truth, images.noisy, n_samples=10)

    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert scores.keys() >= KEYS
    assert [channel["name"] for channel in scores["channels"]] == ["er", "actin"]
    for channel in scores["channels"]:
        assert channel.keys() >= CHANNEL_KEYS
        assert channel["calibration"].keys() >= CALIBRATION_KEYS
        for reference in ("intensity_only", "constant"):
            assert set(channel["calibration"][reference]) == {"nll", "ause", "ence", "coverage_90"}
        for kind in ("bins", "bins_equal_width"):
            assert len(channel["calibration"][kind]) == 20
            assert set(channel["calibration"][kind][0]) == {"rmv", "rmse", "count"}
    assert scores["mean"].keys() >= {"psnr", "ms_ssim"}
    assert set(scores["channel_correlation"]) == {"prediction", "truth"}
    assert len(scores["images"]) == 2


def test_scores_are_those_of_the_prediction(calibrated: TrainedModel, images: Any) -> None:
    scores = evaluate(calibrated, images.mixture, images.truth, n_samples=10, seed=4)

    expected = []
    for index, mixture in enumerate(images.mixture):
        mean = predict_image(calibrated, mixture, n_samples=10, seed=4).mean
        expected.append(metrics.psnr_range_invariant(images.truth["actin"][index], mean[1]))
    assert scores["channels"][1]["psnr"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert scores["images"][1]["psnr"][1] == pytest.approx(expected[1], abs=1e-6)
    assert scores["mean"]["psnr"] == pytest.approx(
        np.mean([channel["psnr"] for channel in scores["channels"]])
    )


def test_references_are_those_of_predictors_that_do_not_split(
    calibrated: TrainedModel, images: Any
) -> None:
    scores = evaluate(calibrated, None, images.truth, images.noisy, n_samples=10)

    references = scores["channels"][0]["references"]
    truth = np.stack([images.truth[name] for name in ("er", "actin")], axis=1)
    expected = [metrics.psnr_range_invariant(t[0], t.mean(axis=0)) for t in truth]
    assert references["noise_free_mixture"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert references["blurred_own_channel"] > references["blurred_mixture"]
    assert scores["blur"]["chosen_on"] == "validation"


def test_without_noisy_channels_the_upper_bound_is_null(
    calibrated: TrainedModel, images: Any
) -> None:
    scores = evaluate(calibrated, images.mixture, images.truth, n_samples=10)

    assert scores["channels"][0]["references"]["blurred_own_channel"] is None


def test_without_a_calibration_the_raw_spread_is_scored_and_called_so(
    trained: TrainedModel, images: Any
) -> None:
    scores = evaluate(trained, images.mixture, images.truth, n_samples=4)

    calibration = scores["channels"][0]["calibration"]
    assert calibration["calibrated"] is False
    assert calibration["factor"] is calibration["nll_after"] is None
    assert calibration["intensity_only"] is None
    assert calibration["nll_before"] is not None
    assert scores["blur"]["chosen_on"] == "the images that are scored"


def test_a_calibration_of_other_samples_is_not_applied(
    calibrated: TrainedModel, images: Any
) -> None:
    other, own = (evaluate(calibrated, images.mixture, images.truth, n_samples=n) for n in (6, 8))

    assert other["channels"][0]["calibration"]["calibrated"] is False
    assert own["channels"][0]["calibration"]["calibrated"] is True


def test_the_pass_with_posterior_means_has_no_uncertainty(
    calibrated: TrainedModel, images: Any
) -> None:
    scores = evaluate(calibrated, images.mixture, images.truth, spread="none")

    calibration = scores["channels"][0]["calibration"]
    assert scores["samples"] == 0
    assert calibration["calibrated"] is False
    assert calibration["bins"] == []
    assert calibration["nll_before"] is None


def test_calibration_improves_the_likelihood_and_fits_its_own_images(
    calibrated: TrainedModel, images: Any
) -> None:
    for method in ("scalar", "joint"):
        scores = evaluate(calibrated, None, images.truth, images.noisy, n_samples=10, method=method)
        for channel in scores["channels"]:
            calibration = channel["calibration"]
            assert calibration["method"] == method
            assert calibration["nll_after"] < calibration["nll_before"]
            assert 0.8 < calibration["coverage_90"] < 1.0


def test_calibrate_serves_packages_too_and_keeps_other_estimators(
    calibrated: TrainedModel, images: Any
) -> None:
    again = calibrate(calibrated, truth=images.truth, channels=images.noisy, n_samples=5)

    assert set(calibrated.calibrations.estimators) == {"samples-8", "samples-10"}
    assert set(again.estimators) == {"samples-5", "samples-8", "samples-10"}
    assert again.method == "scalar"
    assert again.estimators["samples-5"].joint is None
    assert calibrated.calibrations.method == "joint"


def test_the_factor_and_the_joint_function_of_the_same_images_live_side_by_side(
    calibrated: TrainedModel, images: Any
) -> None:
    joint = calibrated.calibrations.estimators["samples-8"]

    again = calibrate(calibrated, truth=images.truth, channels=images.noisy, n_samples=8, seed=1)

    kept = again.estimators["samples-8"]
    assert kept.joint == joint.joint
    assert kept.scalar != joint.scalar  # fitted anew, with another seed
    assert kept.scores["joint"] != joint.scores["joint"]
    assert kept.fitted_on.seed == 1
    assert again.applied("samples-8") == "scalar"
    assert again.estimators["samples-10"] == calibrated.calibrations.estimators["samples-10"]
    model = dataclasses.replace(calibrated, calibrations=again)
    applied, asked = (
        evaluate(model, None, images.truth, images.noisy, n_samples=8, method=method)
        for method in (None, "joint")
    )
    assert applied["channels"][0]["calibration"]["method"] == "scalar"
    assert asked["channels"][0]["calibration"]["method"] == "joint"


def test_truth_on_another_scale_is_known_as_the_same_images(
    calibrated: TrainedModel, images: Any
) -> None:
    far = {name: 30.0 * truth + 1000.0 for name, truth in images.truth.items()}

    few, many = (
        calibrate(calibrated, truth=far, mixture=images.mixture, n_samples=count)
        for count in (5, 6)
    )

    # Without noisy channels the truth is aligned with the prediction, which the samples change.
    assert few.estimators["samples-5"].fitted_on.same_data(many.estimators["samples-6"].fitted_on)


def test_trust_knows_the_offset_of_a_sum(trained: TrainedModel, images: Any) -> None:
    mixture = 2 * images.mixture - 100.0
    statistics = trained.statistics.model_copy(
        update={"mixing": "sum", "superposition": Superposition(weights=(1, 1), offset=-100)}
    )
    known = dataclasses.replace(trained, statistics=statistics)

    scores = evaluate(known, mixture, images.truth, spread="none")
    prediction = predict_image(known, mixture[0], spread="none").mean

    noise = mixture_noise_variance(known.noise_models, prediction, np.ones(2))
    expected = trust_in(mixture[0], prediction, None, prediction.sum(axis=0) - 100.0, noise)
    assert scores["images"][0]["relative_residual"] == pytest.approx(expected.relative_residual)


def test_a_joint_function_of_other_images_is_dropped_with_a_warning(
    calibrated: TrainedModel, images: Any
) -> None:
    images.noisy["er"] = images.noisy["er"] + np.float32(1.0)

    with pytest.warns(UserWarning, match=r"joint calibration was dropped.*samples-8"):
        again = calibrate(calibrated, truth=images.truth, channels=images.noisy, n_samples=8)

    assert again.estimators["samples-8"].methods == ("scalar",)
    assert again.estimators["samples-10"].methods == ("scalar", "joint")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "joint", "n_samples": 6}, r"joint calibration was not fitted for samples-6"),
        (
            {"method": "scalar", "n_samples": 6},
            r"\(fitted: samples-8 \(scalar, joint\), samples-10",
        ),
        ({"method": "joint", "spread": "none"}, "has no std to calibrate"),
    ],
)
def test_scoring_a_method_that_was_not_fitted_is_refused_before_work(
    calibrated: TrainedModel, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        evaluate(calibrated, truth={"er": Path("absent.tif")}, **options)


def test_the_package_calibration_is_that_of_its_own_8_samples(
    trained: TrainedModel, images: Any
) -> None:
    short = calibrate(trained, truth=images.truth, channels=images.noisy, n_samples=8)
    long = calibrate(trained, truth=images.truth, channels=images.noisy, n_samples=12)

    assert long.factors("samples-8") == pytest.approx(short.factors("samples-8"), rel=1e-6)
    assert long.factors("samples-12") != long.factors("samples-8")


def test_calibration_is_the_same_for_the_same_seed(trained: TrainedModel, images: Any) -> None:
    first, second = (
        calibrate(trained, truth=images.truth, channels=images.noisy, n_samples=4) for _ in range(2)
    )

    assert first == second


def test_a_truth_of_another_gain_and_offset_is_aligned_and_recorded(
    trained: TrainedModel, images: Any
) -> None:
    other = {name: 0.25 * truth + 7.0 for name, truth in images.truth.items()}

    own = calibrate(trained, truth=images.truth, channels=images.noisy, n_samples=4)
    aligned = calibrate(trained, truth=other, channels=images.noisy, n_samples=4)

    assert all(a.fitted == "none" for a in own.alignment)
    assert aligned.alignment[0].fitted == "noisy channel on truth"
    assert aligned.alignment[0].scale == pytest.approx(4.0, rel=0.05)
    assert aligned.factors("samples-4") == pytest.approx(own.factors("samples-4"), rel=0.05)
    scored = evaluate(
        dataclasses.replace(trained, calibrations=aligned), None, other, images.noisy, n_samples=4
    )
    assert "noisy channel on truth" in scored["channels"][0]["alignment"][0]


def test_evaluation_without_channels_uses_the_alignment_of_the_calibration(
    trained: TrainedModel, images: Any
) -> None:
    other = {name: 0.25 * truth + 7.0 for name, truth in images.truth.items()}
    fitted = calibrate(trained, truth=other, channels=images.noisy, n_samples=4)
    model = dataclasses.replace(trained, calibrations=fitted)

    aligned = evaluate(model, images.mixture, other, n_samples=4)
    unaligned = evaluate(model, images.mixture, other, n_samples=4, align=False)

    assert aligned["channels"][0]["rmse"] < 0.7 * unaligned["channels"][0]["rmse"]
    assert unaligned["channels"][0]["alignment"] == ["truth taken as it is"] * 2


def test_calibration_without_truth_says_what_is_missing(trained: TrainedModel, images: Any) -> None:
    with pytest.raises(DataError, match=r"No truth was given.*high-SNR"):
        calibrate(trained, truth=None, channels=images.noisy)


def test_evaluation_without_any_input_says_what_is_missing(
    trained: TrainedModel, images: Any
) -> None:
    with pytest.raises(DataError, match="give the mixture or the noisy channels"):
        evaluate(trained, None, images.truth)


def test_channels_cannot_replace_a_measured_mixture(trained: TrainedModel, images: Any) -> None:
    measured = trained.statistics.model_copy(update={"mixing": "measured"})
    model = dataclasses.replace(trained, statistics=measured)

    with pytest.raises(DataError, match="trained on measured mixtures"):
        evaluate(model, None, images.truth, images.noisy)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_calibration_of_three_samples_is_refused_before_work(
    trained: TrainedModel, samples: int
) -> None:
    with pytest.raises(ConfigurationError, match="at least 4 posterior samples"):
        calibrate(trained, truth={"er": Path("absent.tif")}, n_samples=samples)


def test_an_unknown_method_is_refused(trained: TrainedModel, images: Any) -> None:
    for verb in (calibrate, evaluate):
        with pytest.raises(ConfigurationError, match='"scalar" or "joint", got \'isotonic\''):
            verb(trained, truth=images.truth, channels=images.noisy, method="isotonic")


def test_images_of_unequal_number_or_size_are_refused(trained: TrainedModel, images: Any) -> None:
    with pytest.raises(DataError, match="mixture has 1 images, the truth of er 2"):
        evaluate(trained, images.mixture[:1], images.truth)
    with pytest.raises(DataError, match=r"\(72, 60\) pixels .* the truth of er \(72, 64\)"):
        evaluate(trained, images.mixture[:, :, :60], images.truth)


def test_a1_a_nan_pixel_is_refused_before_any_prediction(
    trained: TrainedModel, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "predict_image", None)
    images.truth["actin"][1, 3, 5] = np.nan

    with pytest.raises(DataError, match="actin"):
        evaluate(trained, images.mixture, images.truth)


def test_a3_a_saturated_image_is_named_in_the_warnings(trained: TrainedModel, images: Any) -> None:
    mixture = np.clip(images.mixture, 0, 120).astype(np.uint8)
    mixture[mixture >= 110] = 255

    scores = evaluate(trained, mixture, images.truth, n_samples=4)

    assert any("saturated" in message for message in scores["warnings"])


def test_a6_swapped_channels_are_reported(
    trained: TrainedModel, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = list(np.stack([images.truth["actin"], images.truth["er"]], axis=1))

    def swapped(*args: Any, n_samples: int, **options: Any) -> Estimate:
        mean = queue.pop(0) + np.random.default_rng(1).normal(0, 1, (2, 72, 64)).astype("float32")
        return Estimate(mean, np.ones_like(mean), n_samples, 0, whole_image((72, 64), 4))

    monkeypatch.setattr(evaluating, "predict_image", swapped)

    scores = evaluate(trained, images.mixture, images.truth, n_samples=4)

    assert scores["permutation"]["best_prediction_of"] == {"er": "actin", "actin": "er"}
    assert scores["permutation"]["gain_db"] > 3.0
    assert any("look swapped" in message for message in scores["warnings"])


def test_the_rmse_is_that_of_all_pixels_of_images_of_different_size(
    trained: TrainedModel, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MAX_SIMILARITY_IMAGES", 1)
    sizes = [(72, 64), (24, 32)]
    cut = [np.s_[k, :height, :width] for k, (height, width) in enumerate(sizes)]
    mixture = [images.mixture[part] for part in cut]
    truth = {name: [stack[part] for part in cut] for name, stack in images.truth.items()}

    scores = evaluate(trained, mixture, truth, n_samples=4, align=False)

    squares = [
        np.square(predict_image(trained, x, n_samples=4).mean[0] - t).ravel()
        for x, t in zip(mixture, truth["er"], strict=True)
    ]
    expected = np.sqrt(np.concatenate(squares).mean())
    assert scores["channels"][0]["rmse"] == pytest.approx(expected, rel=1e-5)
    assert scores["similarity_images"] == 1
    assert len(scores["images"]) == 2


def test_the_noise_free_mixture_is_that_of_the_aligned_truth(
    trained: TrainedModel, images: Any
) -> None:
    dimmer = {"er": 0.25 * images.truth["er"], "actin": images.truth["actin"]}

    one, other = (
        evaluate(trained, None, truth, images.noisy, n_samples=4, align=True)
        for truth in (images.truth, dimmer)
    )

    for first, second in zip(one["channels"], other["channels"], strict=True):
        reference = first["references"]["noise_free_mixture"]
        assert second["references"]["noise_free_mixture"] == pytest.approx(reference, abs=1e-3)


def test_images_of_the_calibration_are_no_new_ones(calibrated: TrainedModel, images: Any) -> None:
    fresh = {name: np.flip(stack, axis=1).copy() for name, stack in images.noisy.items()}
    truth = {name: np.flip(stack, axis=1).copy() for name, stack in images.truth.items()}

    again = evaluate(calibrated, images.mixture, images.truth, n_samples=8)
    new = evaluate(calibrated, None, truth, fresh, n_samples=8)

    assert any("2 of 2 images are those of the calibration" in w for w in again["warnings"])
    assert not any("calibration" in warning for warning in new["warnings"])


def test_the_first_image_is_shown_once_with_the_std_that_is_scored(
    calibrated: TrainedModel, images: Any
) -> None:
    shown: list[Example] = []

    evaluate(calibrated, images.mixture, images.truth, n_samples=8, show=shown.append)

    (example,) = shown
    np.testing.assert_array_equal(example.mixture, images.mixture[0])
    np.testing.assert_array_equal(example.truth[1], images.truth["actin"][0])
    estimate = predict_image(calibrated, images.mixture[0], n_samples=8)
    np.testing.assert_array_equal(example.mean, estimate.mean)
    std = calibrated.calibrations.std(estimate.mean, estimate.spread, "samples-8", "joint")
    np.testing.assert_allclose(example.std, std)
    assert example.calibrated


def test_a_blur_of_the_own_channel_that_validation_lacked_leaves_the_other_one(
    trained: TrainedModel, images: Any
) -> None:
    fitted = calibrate(trained, truth=images.truth, mixture=images.mixture, n_samples=4)
    model = dataclasses.replace(trained, calibrations=fitted)

    scores = evaluate(model, None, images.truth, images.noisy, n_samples=4)

    assert fitted.blur.own_channel is None
    assert scores["blur"]["mixture"] == list(fitted.blur.mixture)
    assert "for the own channel the images that are scored" in scores["blur"]["chosen_on"]
    assert scores["channels"][0]["references"]["blurred_own_channel"] is not None


def test_progress_counts_the_passes_of_all_images(trained: TrainedModel, images: Any) -> None:
    seen: list[tuple[int, int]] = []

    evaluate(
        trained,
        images.mixture,
        images.truth,
        n_samples=4,
        progress=lambda done, total: seen.append((done, total)),
    )

    assert seen[-1] == (8, 8)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_input_arrays_are_never_changed(trained: TrainedModel, images: Any) -> None:
    before = images.truth["er"].copy(), images.mixture.copy()
    for array in (*images.truth.values(), *images.noisy.values()):
        array.flags.writeable = False

    evaluate(trained, None, images.truth, images.noisy, n_samples=4)

    np.testing.assert_array_equal(images.truth["er"], before[0])
    np.testing.assert_array_equal(images.mixture, before[1])


def test_scores_are_kept_in_the_run(tmp_path: Path) -> None:
    assert load_scores(tmp_path) is None

    path = save_scores(tmp_path, {"seed": 3})

    assert path == tmp_path / "logs" / "evaluation.json"
    assert load_scores(tmp_path) == {"seed": 3}


def test_an_empty_calibration_set_is_the_default(trained: TrainedModel) -> None:
    assert trained.calibrations == CalibrationSet()
