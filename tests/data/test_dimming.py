"""Channels that are dimmed in training look like dimmer recordings of the same camera."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from careamics_denoisplit.data import Light, dimmed, draw_brightness

DARK, GAIN, READ = 100.0, 4.0, 50.0
LIGHT = Light(
    DARK,
    np.linspace(DARK, 1100.0, 50),
    GAIN * np.linspace(0.0, 1000.0, 50) + READ,
)


def recording(signal: float, rng: np.random.Generator, size: int = 400) -> np.ndarray:
    """A uniformly lit image of a camera with shot and read noise."""
    photons = rng.poisson((signal - DARK) / GAIN, (size, size)) * GAIN
    noisy: np.ndarray = (DARK + photons + rng.normal(0.0, READ**0.5, photons.shape)).astype(
        np.float32
    )
    return noisy


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_dimmed_recording_has_mean_and_variance_of_a_dimmer_one(kept: float) -> None:
    rng = np.random.default_rng(0)
    darker = dimmed(recording(600.0, rng), kept, LIGHT, rng)
    expected = DARK + kept * 500.0

    assert darker.dtype == np.float32
    assert darker.mean() == pytest.approx(expected, rel=0.002)
    # 160,000 pixels tell a variance to 0.35 % (one standard error).
    assert darker.var() == pytest.approx(GAIN * (expected - DARK) + READ, rel=0.02)


def test_without_added_noise_the_variance_would_be_too_small() -> None:
    rng = np.random.default_rng(0)
    scaled = DARK + 0.2 * (recording(600.0, rng) - DARK)

    assert scaled.var() < 0.3 * (GAIN * 100.0 + READ)


def test_all_light_kept_is_the_recording_itself() -> None:
    image = recording(600.0, np.random.default_rng(0), 8)

    assert dimmed(image, 1.0, LIGHT, np.random.default_rng(1)) is image


@given(seed=st.integers(0, 2**31), dimming=st.floats(0.01, 0.99))
def test_what_is_kept_lies_between_the_smallest_share_and_all(seed: int, dimming: float) -> None:
    kept = draw_brightness(np.random.default_rng(seed), dimming)

    assert 1.0 - dimming <= kept * (1 + 1e-12)
    assert kept <= 1.0


def test_half_of_the_channels_keep_all_their_light() -> None:
    rng = np.random.default_rng(0)
    draws = [draw_brightness(rng, 0.8) for _ in range(2000)]

    assert np.mean(np.equal(draws, 1.0)) == pytest.approx(0.5, abs=0.04)
    assert min(draws) < 0.25
