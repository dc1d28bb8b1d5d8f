"""The demo sample and the benchmark noise."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.metrics import psnr_range_invariant
from careamics_denoisplit.synthetic import (
    BIOSR_SIGMA,
    Camera,
    SyntheticSample,
    add_noise,
    expose,
    generate_sample,
    training_maximum,
)


@pytest.fixture(scope="module")
def sample() -> SyntheticSample:
    """Three fields at the demo's settings."""
    return generate_sample(3, seed=1)


def digest(sample: SyntheticSample) -> str:
    return hashlib.sha256(sample.clean.tobytes() + sample.noisy.tobytes()).hexdigest()


def test_the_same_seed_gives_the_same_sample() -> None:
    first, again = generate_sample(1, size=96, seed=7), generate_sample(1, size=96, seed=7)

    assert digest(first) == digest(again)
    assert digest(first) != digest(generate_sample(1, size=96, seed=8))


def test_a_field_does_not_depend_on_how_many_follow() -> None:
    alone, among = generate_sample(1, size=96, seed=7), generate_sample(3, size=96, seed=7)

    np.testing.assert_array_equal(alone.noisy[0], among.noisy[0])
    assert not np.array_equal(among.noisy[0], among.noisy[1])


def test_the_sample_has_the_shape_and_type_of_camera_images(sample: SyntheticSample) -> None:
    assert sample.noisy.shape == sample.clean.shape == (3, 2, 512, 512)
    assert sample.noisy.dtype == np.uint16
    assert sample.clean.dtype == np.float32
    assert len(sample.channel_names) == sample.noisy.shape[1]


@pytest.mark.parametrize("channel", [0, 1])
def test_noisy_channels_lie_between_14_and_17_decibels(
    sample: SyntheticSample, channel: int
) -> None:
    scores = [
        psnr_range_invariant(clean[channel], noisy[channel].astype(np.float32))
        for noisy, clean in zip(sample.noisy, sample.clean, strict=True)
    ]

    assert min(scores) >= 14
    assert max(scores) <= 17


def test_the_two_structures_are_unlike(sample: SyntheticSample) -> None:
    for filaments, vesicles in sample.clean:
        assert abs(np.corrcoef(filaments.ravel(), vesicles.ravel())[0, 1]) < 0.3


def test_a_dark_exposure_has_the_offset_and_the_read_noise() -> None:
    camera = Camera(offset=100.0, gain=2.0, read_noise=3.0)

    dark = expose(np.zeros((400, 400)), camera, np.random.default_rng(0)).astype(float)

    assert dark.mean() == pytest.approx(100, abs=0.1)
    assert dark.std() == pytest.approx(6, rel=0.02)  # 3 photons of 2 counts


def test_the_variance_of_shot_noise_follows_the_photons() -> None:
    camera = Camera(offset=10.0, gain=4.0, read_noise=0.0)

    counts = expose(np.full((500, 500), 50.0), camera, np.random.default_rng(0)).astype(float)

    assert counts.mean() == pytest.approx(10 + 4 * 50, rel=0.01)
    assert counts.var() == pytest.approx(16 * 50, rel=0.02)


def test_a_sample_without_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one field of 64 pixels"):
        generate_sample(0)


@given(
    n_channels=st.integers(1, 4),
    sigma=st.floats(0, 500),
    factor=st.sampled_from([0.0, 1.0, 100.0]),
)
@settings(deadline=None, max_examples=15)
def test_the_mixture_is_the_mean_of_the_noisy_channels(
    n_channels: int, sigma: float, factor: float
) -> None:
    clean = np.random.default_rng(0).uniform(0, 1000, (2, n_channels, 8, 8))

    noisy = add_noise(clean, sigma=sigma, poisson_factor=factor, random=np.random.default_rng(1))

    np.testing.assert_allclose(noisy.mixture, noisy.channels.mean(axis=1), rtol=1e-5, atol=1e-3)
    assert noisy.mixture.shape == (2, 8, 8)


def test_gaussian_noise_has_the_given_strength_and_is_halved_in_the_mixture() -> None:
    clean = np.full((1, 4, 300, 300), 5000.0)
    sigma = BIOSR_SIGMA["er", "ccps"]

    noisy = add_noise(clean, sigma=sigma, poisson_factor=0.0, random=np.random.default_rng(0))

    assert noisy.channels.std() == pytest.approx(sigma, rel=0.01)
    assert noisy.mixture.std() == pytest.approx(sigma / 2, rel=0.01)  # the mean of four


def test_images_are_clipped_before_gaussian_noise_is_added() -> None:
    train, test = np.full((1, 2, 64, 64), 100.0), np.full((1, 2, 64, 64), 900.0)

    noisy = add_noise(
        test,
        sigma=10.0,
        poisson_factor=0.0,
        clip_at=training_maximum(train),
        random=np.random.default_rng(0),
    )

    np.testing.assert_array_equal(noisy.truth, 100.0)
    assert noisy.channels.max() > 100
    assert noisy.channels.mean() == pytest.approx(100, abs=1)


def test_shot_noise_of_negative_gray_values_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        add_noise(np.full((1, 1, 4, 4), -1.0), sigma=0.0, random=np.random.default_rng(0))


@pytest.mark.parametrize(("sigma", "factor"), [(-1.0, 0.0), (0.0, -1.0)])
def test_negative_noise_is_refused(sigma: float, factor: float) -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        add_noise(
            np.ones((1, 1, 4, 4)),
            sigma=sigma,
            poisson_factor=factor,
            random=np.random.default_rng(0),
        )


def test_a_stack_without_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N, C, Y, X\), got \(4, 4\)"):
        add_noise(np.ones((4, 4)), sigma=1.0, random=np.random.default_rng(0))
