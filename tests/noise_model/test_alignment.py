"""Gain and offset are found in spite of noise, shot noise and clipping."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.noise_model import fit_alignment


@settings(max_examples=20, deadline=None, derandomize=True)
@given(gain=st.floats(0.01, 100), offset=st.floats(-1000, 1000), seed=st.integers(0, 99))
def test_gain_and_offset_are_found_under_noise(gain: float, offset: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = rng.gamma(2, 100, 20_000).astype(np.float32)
    noise = rng.standard_normal(20_000) * gain * np.sqrt(100 + signal)
    observation = (gain * signal + offset + noise).astype(np.float32)

    found = fit_alignment(signal, observation)

    assert found.gain == pytest.approx(gain, rel=0.02)
    assert found.offset == pytest.approx(offset, abs=2 * gain + 1e-3 * abs(offset))
    assert found.direction == "signal to observation"


def test_clipping_of_both_images_hardly_bends_the_line() -> None:
    rng = np.random.default_rng(0)
    signal = rng.gamma(2, 40, 100_000)
    low = 0.7 * signal + 20 + rng.standard_normal(signal.shape) * np.sqrt(4 * signal + 50)
    high = np.clip(np.round(signal), 0, 255).astype(np.float32)
    clipped = np.clip(np.round(low), 0, 160).astype(np.float32)

    found = fit_alignment(high, clipped)

    plain_gain, _ = np.polyfit(high, clipped, 1)
    assert found.gain == pytest.approx(0.7, rel=0.02)
    assert found.offset == pytest.approx(20, abs=1.0)
    assert abs(plain_gain - 0.7) > abs(found.gain - 0.7)


def test_the_clean_image_is_mapped_onto_the_noisy_one_never_the_reverse() -> None:
    """The reverse regression would flatten the line by the noise's share of the variance."""
    rng = np.random.default_rng(1)
    signal = rng.uniform(0, 100, 50_000).astype(np.float32)
    observation = (signal + 50 * rng.standard_normal(signal.shape)).astype(np.float32)

    assert fit_alignment(signal, observation).gain == pytest.approx(1, abs=0.05)
    assert 1 / fit_alignment(observation, signal).gain > 2


def test_an_alignment_is_applied_in_its_direction(pair: Any) -> None:
    found = fit_alignment(pair.signal.ravel(), (3 * pair.signal + 7).ravel())

    np.testing.assert_allclose(found.apply(pair.signal), 3 * pair.signal + 7, rtol=1e-3, atol=0.1)


def test_d5_a_constant_signal_cannot_be_aligned() -> None:
    with pytest.raises(NoiseModelError, match="different gray values"):
        fit_alignment(np.ones(100, np.float32), np.arange(100, dtype=np.float32))


def test_inverted_images_are_refused(pair_maker: Callable[..., Any]) -> None:
    pair = pair_maker(2)

    with pytest.raises(NoiseModelError, match="does not grow with the signal"):
        fit_alignment(pair.signal.ravel(), -pair.observation.ravel())
