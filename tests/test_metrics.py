"""Scores: parity with careamics, invariances, and what is not defined."""

import itertools
import math

import numpy as np
import pytest
from careamics.lvae_training.metrics import compute_stats
from careamics.metrics.metrics import multiscale_ssim, scale_invariant_psnr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from skimage.metrics import peak_signal_noise_ratio

from careamics_denoisplit import metrics

SCALES = st.floats(1e-3, 1e3)
OFFSETS = st.floats(-1e4, 1e4)
SEEDS = st.integers(0, 2**32 - 1)


def images(seed: int, *shape: int) -> np.ndarray:
    """Smooth positive images in gray values."""
    random = np.random.default_rng(seed)
    return gaussian_filter(random.gamma(2.0, 100.0, size=shape), 1.0, axes=(-2, -1))


def pair(seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A truth and a noisy version of it."""
    truth = images(seed, size, size)
    return truth, truth + np.random.default_rng(seed + 1).normal(0.0, 20.0, truth.shape)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint16])
def test_psnr_equals_the_one_of_careamics(dtype: type) -> None:
    truth, prediction = (image.clip(0).astype(dtype) for image in pair(3))

    expected = scale_invariant_psnr(truth.astype(np.float64), prediction.astype(np.float64))

    assert metrics.psnr_range_invariant(truth, prediction) == pytest.approx(expected, abs=1e-9)


def test_plain_psnr_equals_the_one_of_scikit_image() -> None:
    truth, prediction = pair(4)

    expected = peak_signal_noise_ratio(truth, prediction, data_range=np.ptp(truth))

    assert metrics.psnr_plain(truth, prediction) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, scale=SCALES, offset=OFFSETS)
def test_psnr_ignores_scale_and_offset_of_the_prediction(
    seed: int, scale: float, offset: float
) -> None:
    truth, prediction = pair(seed % 1000)

    changed = metrics.psnr_range_invariant(truth, scale * prediction + offset)

    assert changed == pytest.approx(metrics.psnr_range_invariant(truth, prediction), abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(scale=SCALES, offset=OFFSETS)
def test_psnr_ignores_the_unit_of_the_truth(scale: float, offset: float) -> None:
    truth, prediction = pair(5)

    changed = metrics.psnr_range_invariant(scale * truth + offset, prediction)

    assert changed == pytest.approx(metrics.psnr_range_invariant(truth, prediction), abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_psnr_falls_when_noise_is_added(seed: int) -> None:
    truth, prediction = pair(seed)
    noise = np.random.default_rng(seed + 2).normal(0.0, 60.0, truth.shape)

    worse = metrics.psnr_range_invariant(truth, prediction + noise)

    assert worse < metrics.psnr_range_invariant(truth, prediction)


def test_an_exact_prediction_scores_infinitely_well() -> None:
    truth, _ = pair(6)

    assert metrics.psnr_plain(truth, truth) == math.inf
    assert metrics.psnr_range_invariant(truth, 2.0 * truth + 3.0) > 200.0


def test_a_constant_truth_has_no_psnr() -> None:
    _, prediction = pair(7)
    constant = np.full_like(prediction, 1234.5)

    assert math.isnan(metrics.psnr_range_invariant(constant, prediction))
    assert math.isnan(metrics.psnr_plain(constant, prediction))


def test_a_constant_prediction_has_a_finite_psnr() -> None:
    truth, _ = pair(8)

    value = metrics.psnr_range_invariant(truth, np.full_like(truth, 7.0))

    assert value == pytest.approx(20 * np.log10(np.ptp(truth) / truth.std()))


def test_ms_ssim_equals_the_one_of_careamics_when_ranges_are_matched() -> None:
    truths, predictions = zip(*(pair(seed, 192) for seed in (1, 2)), strict=True)
    matched = [
        metrics.range_matched(t, p) for t, p in zip(truths[:1], predictions[:1], strict=True)
    ]

    ours = metrics.ms_ssim(*zip(*matched, strict=True))
    theirs = multiscale_ssim(
        truths[0][None, ..., None].astype(np.float32),
        predictions[0][None, ..., None].astype(np.float32),
    )

    assert ours == pytest.approx(theirs[0], abs=1e-5)


def test_ms_ssim_of_the_truth_itself_is_one() -> None:
    truth = images(9, 176, 180)

    assert metrics.ms_ssim([truth], [truth]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("shape", [(160, 400), (400, 160), (175, 175), (20, 20)])
def test_ms_ssim_of_a_small_image_is_none(shape: tuple[int, int]) -> None:
    truth = images(10, *shape)

    assert metrics.ms_ssim([truth], [truth]) is None


def test_scores_of_similarity_refuse_to_score_a_constant_truth() -> None:
    constant = np.ones((180, 180))

    assert metrics.ms_ssim([constant], [images(1, 180, 180)]) is None
    assert metrics.micro_ssim([constant], [images(1, 180, 180)]) is None


def test_micro_ssim_equals_the_one_of_careamics(capsys: pytest.CaptureFixture[str]) -> None:
    truths, predictions = zip(*(pair(seed, 192) for seed in (3, 4)), strict=True)

    ours = metrics.micro_ssim(truths, predictions)
    printed = capsys.readouterr()
    theirs = compute_stats(
        [truth[..., None] for truth in truths],
        [prediction[..., None] for prediction in predictions],
        verbose=False,
    )

    assert ours == pytest.approx(theirs["microssim"][0][0], abs=1e-6)
    assert printed.out == printed.err == ""


def test_micro_ssim_of_an_image_below_the_window_is_none() -> None:
    assert metrics.micro_ssim([images(1, 10, 40)], [images(2, 10, 40)]) is None


def test_images_and_truths_of_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one truth of its own shape.*\(32, 32\)"):
        metrics.ms_ssim([images(1, 32, 32)], [images(1, 32, 33)])


@settings(deadline=None, max_examples=30)
@given(scale=SCALES, offset=OFFSETS)
def test_the_affine_fit_finds_scale_and_offset(scale: float, offset: float) -> None:
    source = images(11, 24, 24)

    found = metrics.affine_map(source, scale * source + offset)

    assert found.scale == pytest.approx(scale, rel=1e-6)
    assert found.offset == pytest.approx(offset, rel=1e-6, abs=1e-4 * (1 + scale))
    np.testing.assert_allclose(found.apply(source), scale * source + offset, rtol=1e-6, atol=1e-4)


def test_the_affine_fit_of_a_constant_gives_the_mean() -> None:
    assert metrics.affine_map(np.full((4, 4), 5.0), np.arange(16.0).reshape(4, 4)) == (0.0, 7.5)


@settings(deadline=None, max_examples=30)
@given(scale=SCALES, offset=OFFSETS)
def test_hagen_normalisation_ignores_the_unit_of_the_image(scale: float, offset: float) -> None:
    truth = images(12, 24, 24)

    changed = metrics.hagen_normalise(scale * truth + offset)

    np.testing.assert_allclose(changed, metrics.hagen_normalise(truth), atol=1e-5)
    assert np.percentile(changed, 3.0) == pytest.approx(0.0, abs=1e-6)
    assert np.percentile(changed, 99.8) == pytest.approx(1.0, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    weight=st.floats(0.0, 1.0),
    scale=st.floats(1e-2, 1e2),
    offset=st.floats(-1e3, 1e3),
    seed=st.integers(0, 99),
)
def test_leakage_is_the_share_of_the_other_channel(
    weight: float, scale: float, offset: float, seed: int
) -> None:
    truth = np.stack([metrics.standardise(images(seed + k, 32, 32)) for k in (0, 1000)])
    own, other = truth
    prediction = np.stack([(1 - weight) * own + weight * other, other]) * scale + offset

    leak = metrics.leakage(prediction, truth)

    assert leak == pytest.approx([weight, 0.0], abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999))
def test_permuting_the_channels_permutes_the_leakage(seed: int) -> None:
    truth = images(seed, 3, 24, 24)
    prediction = images(seed + 1, 3, 24, 24)
    order = [2, 0, 1]

    permuted = metrics.leakage(prediction[order], truth[order])

    np.testing.assert_allclose(permuted, metrics.leakage(prediction, truth)[order], rtol=1e-6)


def test_leakage_of_the_mixture_of_equal_channels_is_one_half() -> None:
    truth = np.stack([metrics.standardise(images(seed, 64, 64)) for seed in (1, 2)])

    leak = metrics.mixture_leakage(truth.mean(axis=0), truth)

    assert leak == pytest.approx([0.5, 0.5], abs=1e-9)


def test_leakage_of_a_prediction_that_no_truth_explains_is_not_a_number() -> None:
    truth = images(1, 2, 16, 16)

    leak = metrics.leakage(np.stack([truth[0], np.ones((16, 16))]), truth)

    assert leak[0] == pytest.approx(0.0, abs=1e-9)
    assert math.isnan(leak[1])


def test_correlation_of_channels_is_pearsons() -> None:
    channels = images(13, 2, 20, 20)

    expected = np.corrcoef(channels[0].ravel(), channels[1].ravel())[0, 1]

    assert metrics.channel_correlation(channels) == pytest.approx(expected)
    assert metrics.channel_correlation(channels[:1]) is None


def test_correlation_of_three_channels_is_the_mean_over_pairs() -> None:
    channels = images(14, 3, 20, 20)

    expected = np.mean(
        [
            metrics.channel_correlation(channels[list(p)])
            for p in itertools.combinations((0, 1, 2), 2)
        ]
    )

    assert metrics.channel_correlation(channels) == pytest.approx(expected)


def test_the_best_blur_removes_more_of_stronger_noise() -> None:
    truth = metrics.blur(np.random.default_rng(1).normal(size=(96, 96)), 3.0) * 1000.0
    noise = np.random.default_rng(2).normal(size=truth.shape)

    weak, strong = (metrics.best_blur([truth + s * noise], [truth]) for s in (20.0, 400.0))

    assert 1.0 <= weak < strong <= 8.0
    unblurred = metrics.psnr_range_invariant(truth, truth + 400.0 * noise)
    blurred = metrics.psnr_range_invariant(truth, metrics.blur(truth + 400.0 * noise, strong))
    assert blurred > unblurred + 3.0


def test_a6_swapped_channels_are_reported_with_the_better_order() -> None:
    truth = images(15, 3, 48, 48)
    prediction = truth[[2, 0, 1]] + np.random.default_rng(1).normal(0, 5.0, truth.shape)

    found = metrics.better_permutation(metrics.psnr_matrix(prediction, truth))

    assert found is not None
    assert found.order == (1, 2, 0)
    assert found.gain > 3.0
    straight = metrics.psnr_matrix(prediction[list(found.order)], truth)
    assert metrics.better_permutation(straight) is None


def test_a6_a_gain_within_the_margin_is_not_reported() -> None:
    psnr = np.array([[20.0, 22.0], [22.0, 20.0]])

    assert metrics.better_permutation(psnr) is None
    assert metrics.better_permutation(psnr, margin=1.0) == ((1, 0), 2.0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=12))
def test_rank_correlation_equals_the_one_of_scipy(pairs: list[tuple[int, int]]) -> None:
    first, second = ([float(value) for value in side] for side in zip(*pairs, strict=True))

    ours = metrics.rank_correlation(first, second)

    if len(set(first)) == 1 or len(set(second)) == 1:
        assert ours is None
    else:
        assert ours == pytest.approx(spearmanr(first, second).statistic, abs=1e-9)


def test_two_images_have_no_rank_correlation() -> None:
    assert metrics.rank_correlation([1.0, 2.0], [1.0, 2.0]) is None
    assert metrics.rank_correlation([1.0, 2.0, 3.0], [1.0, 2.0, math.nan]) is None


def test_no_score_changes_the_arrays_it_is_given() -> None:
    truth, prediction = images(1, 2, 180, 180), images(2, 2, 180, 180)
    for array in (truth, prediction):
        array.flags.writeable = False

    assert metrics.psnr_range_invariant(truth[0], prediction[0]) > 0
    assert metrics.ms_ssim(list(truth), list(prediction)) is not None
    assert metrics.micro_ssim(list(truth), list(prediction)) is not None
    assert metrics.leakage(prediction, truth).shape == (2,)
