"""Factors, joint function, references and alignment of the truth."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from careamics_denoisplit.calibration import (
    CalibrationSet,
    EstimatorCalibration,
    FittedOn,
    IntensityTable,
    JointCalibration,
    PixelSample,
    ScalarCalibration,
    TruthAlignment,
    UncertaintyScores,
    estimator_name,
    fit_alignment,
    fit_estimator,
    fit_intensity_table,
    fit_joint,
    fit_scalar,
    require_enough_samples,
    units_differ,
)


def ambiguous_pixels(seed: int = 0, n: int = 60_000) -> tuple[PixelSample, np.ndarray]:
    """Pixels whose error grows with the intensity of both channels; spread knows one of them."""
    random = np.random.default_rng(seed)
    mean = random.gamma(2.0, 100.0, (2, n)) + 100.0
    std = np.stack([5.0 + 0.05 * mean[0] + 0.05 * mean[1], 3.0 + 0.1 * mean[0]])
    spread = 0.4 * (5.0 + 0.1 * mean) * np.sqrt(random.chisquare(15, (2, n)) / 15)
    return PixelSample(mean, spread, mean + std * random.normal(size=(2, n))), std


@pytest.fixture(scope="module")
def fitted() -> EstimatorCalibration:
    """Every method of one estimator, on the ambiguous pixels."""
    return fit_estimator(ambiguous_pixels()[0])


@pytest.fixture(scope="module")
def calibrations(fitted: EstimatorCalibration) -> CalibrationSet:
    """A set of one estimator."""
    return CalibrationSet(channel_names=("er", "actin")).with_estimator("samples-16", fitted)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), factor=st.floats(0.05, 20.0))
def test_the_factor_is_found_in_closed_form(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    spread = random.gamma(4.0, 10.0, (2, 5000)) + 5.0
    error = factor * spread * random.choice([-1.0, 1.0], spread.shape)

    found = fit_scalar(PixelSample(error, spread, np.zeros_like(error)))

    assert found.factors == pytest.approx((factor, factor), rel=1e-9)


def test_no_other_factor_has_a_higher_likelihood() -> None:
    pixels, _ = ambiguous_pixels(1, 20_000)
    best = fit_scalar(pixels)

    def nll(scale: float) -> float:
        scores = UncertaintyScores()
        scores.add(scale * best.std(pixels.mean, pixels.spread)[0], pixels.error[0])
        return scores.nll

    assert nll(1.0) < min(nll(0.98), nll(1.02))


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(1e-6, 1e6))
def test_the_factor_does_not_depend_on_the_unit(scale: float) -> None:
    pixels, _ = ambiguous_pixels(2, 2000)
    scaled = PixelSample(*(scale * rows for rows in pixels))

    assert fit_scalar(scaled).factors == pytest.approx(fit_scalar(pixels).factors, rel=1e-9)


def test_pixels_whose_samples_all_agree_do_not_blow_up_the_factor() -> None:
    pixels, _ = ambiguous_pixels(3, 2000)
    pixels.spread[:, :3] = 0.0

    found = fit_scalar(pixels)

    assert max(found.factors) < 100.0
    assert np.all(found.std(pixels.mean, pixels.spread) > 0.0)


@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_three_samples_and_fewer_are_refused_with_the_reason(n_samples: int) -> None:
    with pytest.raises(ValueError, match=rf"at least 4 .* got {n_samples}.*diverges"):
        require_enough_samples(n_samples)


def test_four_samples_are_enough() -> None:
    require_enough_samples(4)


def test_the_joint_function_finds_what_the_spread_does_not_know(
    fitted: EstimatorCalibration,
) -> None:
    pixels, std = ambiguous_pixels(9)

    found = fitted.joint.std(pixels.mean, pixels.spread)

    assert np.abs(np.log(found / std)).mean() < 0.04
    assert fitted.scores["joint"][1].beats(fitted.scores["intensity_only"][1])
    assert not fitted.scores["scalar"][1].beats(fitted.scores["intensity_only"][1])


def test_the_joint_fit_is_the_same_for_the_same_seed() -> None:
    pixels, _ = ambiguous_pixels(4, 2000)

    first = fit_joint(pixels, seed=3)

    assert fit_joint(pixels, seed=3) == first
    assert fit_joint(pixels, seed=4) != first


def test_a_spread_beyond_the_fitted_range_raises_the_std_in_proportion(
    fitted: EstimatorCalibration,
) -> None:
    edge = np.exp(np.array(fitted.joint.high[2:]))[:, None]
    mean = np.full((2, 1), 300.0)

    at_edge, twice = (fitted.joint.std(mean, factor * edge) for factor in (1.0, 2.0))

    np.testing.assert_allclose(twice, 2.0 * at_edge, rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    mean=st.floats(-1e9, 1e9),
    spread=st.floats(0.0, 1e9),
)
def test_the_joint_std_is_positive_and_finite_for_any_pixel(mean: float, spread: float) -> None:
    joint = JOINT.std(np.full((2, 1), mean), np.full((2, 1), spread))

    assert np.all(np.isfinite(joint))
    assert np.all(joint > 0.0)


JOINT = fit_joint(ambiguous_pixels(5, 500)[0])


def test_the_joint_function_is_two_1x1_convolutions() -> None:
    pixels, _ = ambiguous_pixels(6, 64)
    layers = JOINT.layers()
    mean, spread = (
        torch.from_numpy(rows.reshape(1, 2, 8, 8)) for rows in (pixels.mean, pixels.spread)
    )

    def column(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values)[:, None, None]

    def convolve(x: torch.Tensor, weight: np.ndarray, bias: np.ndarray) -> torch.Tensor:
        kernel = torch.from_numpy(weight)[:, :, None, None]
        return torch.nn.functional.conv2d(x, kernel, torch.from_numpy(bias))

    x = torch.cat([mean, torch.maximum(spread, column(layers.floors)).log()], dim=1)
    clipped = torch.minimum(torch.maximum(x, column(layers.low)), column(layers.high))
    hidden = torch.tanh(convolve(clipped, layers.hidden_weight, layers.hidden_bias))
    log_std = convolve(hidden, layers.output_weight, layers.output_bias)
    std = (log_std + (x - column(layers.high)).clamp(min=0.0)[:, 2:]).exp()

    expected = JOINT.std(pixels.mean, pixels.spread).reshape(1, 2, 8, 8)
    torch.testing.assert_close(std, torch.from_numpy(expected))


def test_long_rows_of_pixels_are_done_in_parts_with_the_same_result() -> None:
    pixels, _ = ambiguous_pixels(7, 300_000)

    whole = JOINT.std(pixels.mean, pixels.spread)

    np.testing.assert_allclose(
        whole[:, -10:], JOINT.std(pixels.mean[:, -10:], pixels.spread[:, -10:]), rtol=1e-12
    )


def test_the_intensity_table_holds_the_error_of_each_bin() -> None:
    random = np.random.default_rng(8)
    mean = random.uniform(0.0, 100.0, 100_000)
    error = (1.0 + mean) * random.normal(size=mean.size)

    table = fit_intensity_table(mean, error)

    assert len(table.rmse) == 20
    np.testing.assert_allclose(table.std(np.array([12.5, 87.5])), [13.5, 88.5], rtol=0.05)
    assert table.std(np.array([-1e9]))[0] == table.rmse[0]
    assert table.std(np.array([1e9]))[0] == table.rmse[-1]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=50))
def test_the_intensity_table_copes_with_ties(values: list[int]) -> None:
    mean = np.array(values, dtype=float)

    table = fit_intensity_table(mean, np.ones_like(mean))

    np.testing.assert_allclose(table.std(mean), 1.0)


def test_a_table_whose_edges_and_bins_disagree_is_refused() -> None:
    with pytest.raises(ValidationError, match="2 edges need 3 bins"):
        IntensityTable(edges=(1.0, 2.0), rmse=(1.0,))


def test_joint_weights_of_another_channel_count_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"output_bias do not fit 2 channels"):
        JointCalibration.model_validate(JOINT.model_dump() | {"output_bias": (1.0,)})


def test_a_set_survives_json_to_the_bit(calibrations: CalibrationSet) -> None:
    assert CalibrationSet.from_json(calibrations.to_json()) == calibrations


def test_an_empty_set_calibrates_nothing() -> None:
    empty = CalibrationSet()
    image = np.ones((2, 4, 4), dtype=np.float32)

    assert empty.std(image, image) is None
    assert empty.factors("samples-16") is None
    assert not empty.well_calibrated("samples-16", "scalar", 0)
    assert CalibrationSet.from_json(empty.to_json()) == empty


def test_only_the_matching_estimator_and_method_is_applied(calibrations: CalibrationSet) -> None:
    image = np.full((2, 4, 4), 200.0, dtype=np.float32)

    scaled = calibrations.std(image, image, "samples-16", "scalar")

    assert scaled.dtype == np.float32
    assert scaled.shape == image.shape
    np.testing.assert_allclose(
        scaled[1] / image[1], calibrations.factors("samples-16")[1], rtol=1e-6
    )
    assert calibrations.std(image, image, "samples-16", "joint").shape == image.shape
    assert calibrations.std(image, image, "samples-8", "scalar") is None
    assert calibrations.std(image, image, "samples-16", "unheard-of") is None


def test_the_method_of_the_last_calibration_is_applied_where_it_was_fitted(
    calibrations: CalibrationSet, fitted: EstimatorCalibration
) -> None:
    factor_only = fitted.model_copy(update={"joint": None})
    both = calibrations.with_estimator("samples-8", factor_only)
    image = np.full((2, 4, 4), 200.0)

    assert [both.applied(name) for name in ("samples-16", "samples-8")] == ["scalar", "scalar"]
    switched = both.model_copy(update={"method": "joint"})
    assert switched.applied("samples-16") == "joint"
    assert switched.applied("samples-8") == "scalar"
    assert switched.applied("samples-50") is None
    for name, method in (("samples-16", "joint"), ("samples-8", "scalar")):
        np.testing.assert_array_equal(
            switched.std(image, image, name), switched.std(image, image, name, method)
        )
    assert both.words() == "samples-16 (scalar, joint), samples-8 (scalar)"


def test_a_kept_joint_function_is_scored_on_the_new_pixels() -> None:
    pixels, _ = ambiguous_pixels(10, 4000)

    fitted = fit_estimator(pixels, joint=False, kept=JOINT, fitted_on=FittedOn(images=("F7",)))

    assert fitted.joint == JOINT
    assert fitted.methods == ("scalar", "joint")
    std = JOINT.std(pixels.mean, pixels.spread)[1]
    error = pixels.error[1]
    expected = np.mean(0.5 * (error / std) ** 2 + np.log(std) + 0.5 * np.log(2.0 * np.pi))
    assert fitted.scores["joint"][1].nll == pytest.approx(expected)
    assert fitted.fitted_on.images == ("F7",)


def test_images_whose_hash_was_not_recorded_are_not_called_the_same() -> None:
    known, unknown = FittedOn(sha256=("ab", "cd"), seed=1), FittedOn()

    assert known.same_data(FittedOn(sha256=("cd", "ab"), seed=2))
    assert not known.same_data(FittedOn(sha256=("ab",)))
    assert not unknown.same_data(unknown)


def test_a_file_of_format_1_is_read_with_what_it_knew() -> None:
    text = (Path(__file__).parent / "calibration_format_1.json").read_bytes()

    found = CalibrationSet.from_json(text)

    assert found.format_version == 2
    assert found.method == "joint"
    for estimator in found.estimators.values():
        assert estimator.fitted_on == FittedOn(images=("F7.tif",), seed=3)
    mean, spread = np.full((2, 1), 200.0), np.full((2, 1), 10.0)
    joint = found.std(mean, spread, "samples-8")
    np.testing.assert_allclose(joint.ravel(), [25.509325956941648, 22.789820436352002], rtol=1e-12)
    scalar = found.std(mean, spread, "samples-16")  # here the joint function was not fitted
    np.testing.assert_allclose(scalar.ravel(), [31.006945804495647, 33.83770364601342], rtol=1e-12)
    assert found.alignment[1].scale == 2.0
    assert CalibrationSet.from_json(found.to_json()) == found


def test_it_is_well_calibrated_only_where_it_beats_the_intensity(
    calibrations: CalibrationSet,
) -> None:
    assert calibrations.well_calibrated("samples-16", "joint", 1)
    assert not calibrations.well_calibrated("samples-16", "scalar", 1)
    assert not calibrations.well_calibrated("samples-8", "joint", 1)


def test_calibrations_and_their_values_are_frozen(calibrations: CalibrationSet) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        calibrations.method = "joint"
    with pytest.raises(ValidationError, match="frozen"):
        calibrations.estimators["samples-16"].scalar.factors = (1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 3}, "Input should be 2"),
        ({"extra": 1}, "Extra inputs are not permitted"),
        ({"channel_names": ("er",)}, "has 2 channels, the set names 1: er"),
    ],
)
def test_a_file_of_another_layout_is_refused(
    calibrations: CalibrationSet, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        CalibrationSet.model_validate(calibrations.model_dump() | change)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1.0", "0.0"])
def test_a_factor_that_is_not_positive_and_finite_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        ScalarCalibration.model_validate_json(f'{{"factors": [{value}], "floors": [1.0]}}')


def test_estimators_are_named_by_spread_and_sample_count() -> None:
    assert estimator_name("samples", 16) == "samples-16"
    assert estimator_name("distilled", 16) == "distilled"


def test_pixels_are_drawn_alike_for_the_same_seed_and_without_repetition() -> None:
    image = np.arange(400.0).reshape(1, 20, 20)

    first, second = (
        PixelSample.draw(image, image, image, 50, np.random.default_rng(1)) for _ in range(2)
    )

    np.testing.assert_array_equal(first.mean, second.mean)
    assert np.unique(first.mean).size == first.n_pixels == 50
    assert PixelSample.draw(image, image, image, 10**6, np.random.default_rng(1)).n_pixels == 400


def test_pixels_of_several_images_are_joined() -> None:
    image = np.ones((2, 3, 3))
    part = PixelSample.draw(image, image, image, 9, np.random.default_rng(1))

    assert PixelSample.join([part, part]).n_pixels == 18


def test_pixels_that_are_not_finite_are_counted_and_refused() -> None:
    image = np.ones((2, 3, 3))
    broken = image.copy()
    broken[1, 2, 2] = np.nan

    with pytest.raises(ValueError, match="truth of 1 of 18 pixels is not finite"):
        PixelSample.draw(image, image, broken, 9, np.random.default_rng(1))
    with pytest.raises(ValueError, match="cannot be negative"):
        PixelSample.draw(image, -image, image, 9, np.random.default_rng(1))


@settings(deadline=None, max_examples=25)
@given(scale=st.floats(1e-2, 1e2), offset=st.floats(-1e3, 1e3))
def test_alignment_undoes_gain_and_offset_of_the_truth(scale: float, offset: float) -> None:
    truth = np.random.default_rng(1).gamma(2.0, 100.0, (64, 64))

    found = fit_alignment(truth, scale * truth + offset, "noisy channel on truth")

    np.testing.assert_allclose(found.apply(truth), scale * truth + offset, rtol=1e-6, atol=1e-6)
    assert "noisy channel on truth" in found.words


def test_noise_of_the_observation_does_not_flatten_the_alignment() -> None:
    random = np.random.default_rng(2)
    truth = random.gamma(2.0, 100.0, (256, 256))

    found = fit_alignment(
        truth, 2.0 * truth + 50.0 + random.normal(0, 500, truth.shape), "noisy channel on truth"
    )

    assert found.scale == pytest.approx(2.0, abs=0.05)


def test_a_truth_of_another_field_is_refused() -> None:
    truth = np.random.default_rng(3).gamma(2.0, 100.0, (64, 64))

    with pytest.raises(ValueError, match="unrelated"):
        fit_alignment(truth, -truth, "noisy channel on truth")
    with pytest.raises(ValueError, match="unrelated"):
        fit_alignment(np.ones_like(truth), truth, "noisy channel on truth")


def test_units_differ_only_when_gain_or_offset_matter() -> None:
    truth = np.random.default_rng(4).gamma(2.0, 100.0, (64, 64))
    image = "noisy channel on truth"

    assert not units_differ(TruthAlignment(scale=1.001, offset=0.1, fitted=image), truth, 0.05)
    assert units_differ(TruthAlignment(scale=1.5, offset=0.0, fitted=image), truth, 0.05)
    assert units_differ(TruthAlignment(scale=1.0, offset=100.0, fitted=image), truth, 0.05)


def test_a_truth_taken_as_it_is_stays_the_same_array() -> None:
    truth = np.ones((4, 4))

    assert TruthAlignment().apply(truth) is truth
    assert TruthAlignment().words == "truth taken as it is"
