"""From a user's image to the training input: the map holds for any light and any camera."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.config import create_advanced_denoisplit_config
from careamics_denoisplit.data import (
    SAME_INPUT,
    Statistics,
    Superposition,
    input_map,
    statistics_of_image,
    superposition_of_training,
)
from careamics_denoisplit.errors import ConfigurationError

RULES = ("measured", "sum", "mean")


def image_of(rule: str, light: np.ndarray, offset: float, *, once: bool = False) -> np.ndarray:
    """What a camera with this offset makes of the light (C,) of a pixel."""
    single = light + offset
    if rule == "measured" or (rule == "sum" and once):
        return light.sum() + offset
    return single.sum() if rule == "sum" else single.mean()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from(RULES),
    st.sampled_from(RULES),
    st.lists(st.floats(0, 1e4), min_size=1, max_size=4),
    st.floats(-50, 500),
    st.booleans(),
)
def test_the_map_turns_one_rule_into_the_other(
    training: str, image: str, light: list[float], offset: float, once: bool
) -> None:
    lights = np.array(light)
    gain, shift = input_map(training, image, len(light), offset, offset_counted_once=once)

    mapped = gain * image_of(image, lights, offset) + shift

    assert mapped == pytest.approx(image_of(training, lights, offset, once=once), abs=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_rule_needs_no_map_and_no_offset(rule: str) -> None:
    assert input_map(rule, rule, 2) == SAME_INPUT
    assert input_map("sum", "mean", 3) == (3.0, 0.0)


@pytest.mark.parametrize(("training", "image"), [("mean", "measured"), ("measured", "sum")])
def test_an_offset_that_is_needed_is_asked_for(training: str, image: str) -> None:
    with pytest.raises(ConfigurationError, match=r"without light .* `--offset`"):
        input_map(training, image, 2)


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="got 'average'"):
        input_map("mean", "average", 2)


def test_statistics_of_the_image_do_what_those_of_the_training_do() -> None:
    training = Statistics(
        input_mean=500.0,
        input_std=200.0,
        target_means=(1.0, 2.0),
        target_stds=(3.0, 4.0),
        channel_names=("er", "actin"),
        mixing="mean",
        input_percentiles={"50": 480.0},
        n_pixels=9,
    )
    mapped = input_map("mean", "measured", 2, 100.0)
    superposition = Superposition(weights=(0.5, 0.5))
    image = np.array([[300.0, 900.0]], dtype=np.float32)
    channels = np.array([260.0, 340.0])

    found = statistics_of_image(training, "measured", mapped, superposition)

    as_trained = mapped.gain * image + mapped.offset
    np.testing.assert_allclose(
        found.normalise_input(image), training.normalise_input(as_trained), rtol=1e-6
    )
    assert found.target_means == training.target_means
    assert found.mixing == "measured"
    assert statistics_of_image(training, "mean", SAME_INPUT, superposition) is training
    assert found.input_percentiles == {"50": 860.0}
    assert found.superposition is not None
    # One exposure holds the offset once, the sum of both channels holds it twice.
    remixed = np.dot(found.superposition.weights, channels) + found.superposition.offset
    assert remixed == pytest.approx(channels.sum() - 100)


def test_the_rule_of_the_training_gives_the_weights() -> None:
    def known(**settings: Any) -> Superposition | None:
        config = create_advanced_denoisplit_config("x", ("er", "actin"), patch_size=64, **settings)
        return superposition_of_training(config.algorithm_config)

    assert known(mixing="mean") == Superposition(weights=(0.5, 0.5))
    assert known(mixing="sum") == Superposition(weights=(1.0, 1.0))
    assert known(mixing="measured") is None
    assert known(mixing="mean", algorithm_params={"mixing_jitter": 0.3}) is None


def test_a_camera_offset_that_is_mixed_once_is_part_of_the_superposition() -> None:
    config = create_advanced_denoisplit_config(
        "x",
        ("er", "actin"),
        patch_size=64,
        mixing="sum",
        algorithm_params={"camera_offset": (100.0, 120.0)},
    )

    known = superposition_of_training(config.algorithm_config)

    assert known == Superposition(weights=(1.0, 1.0), offset=110.0 - 220.0)
