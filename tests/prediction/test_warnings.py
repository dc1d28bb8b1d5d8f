"""The warning channels: 1 and 0 where an image fits, and off where it does not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.config import DenoiSplitConfiguration, create_advanced_denoisplit_config
from careamics_denoisplit.data import LocalSample, Statistics, Superposition
from careamics_denoisplit.data.statistics import compute_statistics
from careamics_denoisplit.errors import DataError
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel
from careamics_denoisplit.prediction import NO_MONITORS, Monitored, Monitors, warning_maps
from careamics_denoisplit.prediction.warning_channels import (
    Consistency,
    InputRange,
    Interpolated,
    NoiseVariance,
)
from careamics_denoisplit.prediction.warning_maps import input_range_of

CHANNELS = ("er", "actin")
SIZE = (192, 160)


@dataclass(frozen=True)
class Model:
    """What the warning channels need of a trained model."""

    statistics: Statistics
    config: DenoiSplitConfiguration
    noise_models: Sequence[GaussianMixtureNoiseModel]


def noise_model(gain: float = 1.0, read: float = 5.0) -> GaussianMixtureNoiseModel:
    """Variance `gain * (signal - 100) + read^2`, as of a camera with an offset of 100."""
    weight = torch.tensor([[0.0, 0.0], [2 * np.log(read), np.log(gain * 1900)], [0.0, 0.0]])
    return GaussianMixtureNoiseModel(weight, 100.0, 2000.0, 1.0)


def channels(seed: int = 0) -> np.ndarray:
    """Clean channels (C, Y, X): blobs on a background, gray values."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    found = np.full((2, *SIZE), 200.0)
    for channel in found:
        for _ in range(40):
            cy, cx = random.uniform(0, SIZE[0]), random.uniform(0, SIZE[1])
            channel += 500 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 80)
    return found


def mixture(clean: np.ndarray, seed: int = 1) -> np.ndarray:
    """The mean of noisy images of the channels."""
    random = np.random.default_rng(seed)
    variance = (clean - 100) + 25
    noisy = clean + np.sqrt(variance) * random.standard_normal(clean.shape)
    return noisy.mean(axis=0).astype(np.float32)


@pytest.fixture(scope="module")
def config() -> DenoiSplitConfiguration:
    return create_advanced_denoisplit_config("tiny", CHANNELS, patch_size=64)


@pytest.fixture(scope="module")
def model(config: DenoiSplitConfiguration) -> Model:
    sample = LocalSample(4 * SIZE[0] * SIZE[1])
    for seed in range(4):
        sample.add(mixture(channels(seed), seed + 10))
    statistics = Statistics(
        input_mean=300.0,
        input_std=100.0,
        target_means=(300.0, 300.0),
        target_stds=(100.0, 100.0),
        channel_names=CHANNELS,
        mixing="mean",
        input_percentiles={"0.1": 150.0, "50": 300.0, "99.9": 900.0},
        local_levels=sample.levels(),
        n_pixels=4 * SIZE[0] * SIZE[1],
    )
    return Model(statistics, config, (noise_model(), noise_model()))


def test_an_image_that_fits_raises_no_warning(model: Model) -> None:
    clean = channels(7)

    found = warning_maps(model, mixture(clean), clean)

    assert found.consistency is not None
    assert found.consistency.shape == found.input_range.shape == SIZE
    assert np.sqrt(np.mean(found.consistency**2)) == pytest.approx(1, abs=0.02)
    assert np.percentile(found.consistency, 1) > 0.85
    assert np.percentile(found.consistency, 99) < 1.15
    assert np.mean(found.input_range != 0) < 0.05


def test_what_the_channels_leave_raises_the_consistency(model: Model) -> None:
    clean = channels(7)
    given_image = mixture(clean)
    brighter, cleaner = 1.5 * given_image, clean.mean(axis=0)

    with_more = warning_maps(model, brighter, clean).consistency
    with_less = warning_maps(model, cleaner, clean).consistency

    assert with_more is not None
    assert with_less is not None
    assert np.median(with_more) > 2
    assert np.median(with_less) < 0.1


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        (lambda image: image + 800, 1),
        (lambda image: 0.3 * image, -1),
        (lambda image: 2 * image, 1),
        (lambda image: image + np.random.default_rng(3).normal(0, 60, image.shape), 1),
    ],
    ids=["offset", "dim", "sum for mean", "more noise"],
)
def test_brightness_and_noise_out_of_range_are_told_with_their_sign(
    model: Model, change: object, sign: int
) -> None:
    assert callable(change)
    image = change(mixture(channels(7))).astype(np.float32)

    found = warning_maps(model, image, channels(7)).input_range

    assert np.mean(np.sign(found) == sign) > 0.5
    assert np.mean(np.sign(found) == -sign) < 0.05


def test_an_image_that_was_denoised_has_too_little_noise(model: Model) -> None:
    clean = channels(7)

    found = warning_maps(model, clean.mean(axis=0), clean).input_range

    assert np.mean(found < 0) > 0.9


def test_the_distance_is_counted_in_widths_of_the_range() -> None:
    module = InputRange(2)
    module.low.fill_(100.0)
    module.high.fill_(300.0)
    wide = torch.tensor([0.0, 1e30, -1e30, 1e30])[:, None].expand(4, 2)
    module.limits.set_points(torch.tensor([100.0, 300.0]), wide)

    found = [float(module(torch.full((1, 1, 9, 9), value))[0, 0, 4, 4]) for value in
             (0.0, 50.0, 200.0, 400.0, 500.0)]  # fmt: skip

    assert found == pytest.approx([-0.5, -0.25, 0.0, 0.5, 1.0], abs=1e-5)


def test_a_dark_place_made_bright_has_too_little_contrast_for_its_brightness(model: Model) -> None:
    image = mixture(channels(7))
    dark = image < 320

    plain = warning_maps(model, image, channels(7)).input_range
    raised = warning_maps(model, image + 150, channels(7)).input_range

    assert np.mean(plain[dark] != 0) < 0.05
    assert np.mean(raised[dark] < 0) > 0.5


def test_noise_that_goes_with_brightness_is_compared_at_each_brightness() -> None:
    random = np.random.default_rng(5)
    brightness = np.repeat([200.0, 1000.0], 32)[:, None] * np.ones((64, 256))
    shot = (brightness + random.normal(0, brightness**0.5)).astype(np.float32)
    flat = (brightness + random.normal(0, 200**0.5, brightness.shape)).astype(np.float32)
    statistics = compute_statistics([[shot], [shot]], CHANNELS, n_pixels=shot.size)
    module = input_range_of(statistics)

    def outside(image: np.ndarray) -> np.ndarray:
        return module(torch.from_numpy(image)[None, None])[0, 0].numpy() != 0

    assert np.mean(outside(shot)) < 0.02
    assert np.mean(outside(flat)[48:]) > 0.9
    assert np.mean(outside(flat)[:16]) < 0.05


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**31))
def test_between_known_places_limits_are_interpolated(steps: int, rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    places = np.sort(random.choice(1000, steps, replace=False)).astype(np.float32)
    values = random.normal(0, 10, (rows, steps)).astype(np.float32)
    at = random.uniform(-100, 1100, (6, 7)).astype(np.float32)
    module = Interpolated(rows, steps).set_points(torch.tensor(places), torch.tensor(values))

    found = module(torch.from_numpy(at)[None, None])[0].numpy()

    np.testing.assert_allclose(
        found, [np.interp(at, places, row) for row in values], rtol=1e-4, atol=1e-3
    )


def test_one_hot_pixel_makes_no_region_unfamiliar(model: Model) -> None:
    image = mixture(channels(7))
    plain = warning_maps(model, image, channels(7)).input_range
    image[90, 80] = 65535

    found = warning_maps(model, image, channels(7)).input_range

    assert np.mean(np.abs(found - plain) > 0.1) < 0.01


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_the_variance_is_that_of_the_noise_model(
    gaussians: int, coefficients: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = 2 * torch.randn(3 * gaussians, coefficients, generator=generator)
    known = GaussianMixtureNoiseModel(weight, 90.0, 700.0, 0.5)
    signal = torch.linspace(-100, 900, 60).reshape(1, 1, 6, 10)
    module = NoiseVariance(gaussians, coefficients)

    module.load_state_dict(dict(known.state_dict()))

    torch.testing.assert_close(module(signal), known.variance(signal), rtol=2e-5, atol=1e-5)


def test_a_superposition_that_is_known_counts_for_more_than_the_rule(model: Model) -> None:
    clean = channels(7)
    in_one_exposure = 2 * mixture(clean) - 100
    known = Superposition(weights=(1.0, 1.0), offset=-100.0)
    mapped = Model(
        model.statistics.model_copy(update={"superposition": known}),
        model.config,
        model.noise_models,
    )

    here = warning_maps(mapped, in_one_exposure, clean).consistency
    there = warning_maps(model, mixture(clean), clean).consistency

    np.testing.assert_allclose(here, there, rtol=1e-3)


def test_without_a_rule_or_noise_models_there_is_no_consistency(model: Model) -> None:
    measured = create_advanced_denoisplit_config("t", CHANNELS, patch_size=64, mixing="measured")
    of_measured = Monitors.of(Model(model.statistics, measured, model.noise_models))
    without = Monitors.of(Model(model.statistics, model.config, ()))

    assert of_measured.names == without.names == ("input_range",)
    assert "weights of the channels" in of_measured.why_not
    assert "noise models" in without.why_not
    assert Monitors.of(model).names == ("consistency", "input_range")
    assert warning_maps(Model(model.statistics, measured, ()), mixture(channels()),
                        channels()).consistency is None  # fmt: skip
    assert NO_MONITORS.maps(mixture(channels()), channels()).shape == (0, *SIZE)


def test_runs_that_measured_no_levels_are_compared_by_their_pixels(model: Model) -> None:
    old = model.statistics.model_copy(update={"local_levels": None})
    image = mixture(channels(7))

    found = warning_maps(Model(old, model.config, ()), image, channels(7)).input_range
    far = warning_maps(Model(old, model.config, ()), image + 2000, channels(7)).input_range

    assert (found == 0).all()
    assert (far > 1).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (43, 44)])
def test_maps_exist_for_every_size(model: Model, size: tuple[int, int]) -> None:
    image = np.full(size, 300, dtype=np.uint16)

    found = warning_maps(model, image, np.full((2, *size), 300.0))

    assert found.consistency is not None
    assert found.consistency.shape == found.input_range.shape == size
    assert np.isfinite(found.consistency).all()
    assert np.isfinite(found.input_range).all()


def test_a1_an_image_with_nan_is_refused(model: Model) -> None:
    with pytest.raises(DataError, match=r"NaN|nan|finite"):
        warning_maps(model, np.full(SIZE, np.nan, np.float32), channels())


def test_a_trained_model_is_what_the_warnings_need(model: Model) -> None:
    assert isinstance(model, Monitored)
    assert Consistency([(1, 2)]).mixtures == ((1, 2),)
