"""Scores of structures that are not equally bright."""

import json
from typing import Any

import numpy as np
import pytest

from careamics_denoisplit import metrics
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.evaluation import evaluate, evaluate_ratios, usual_ratios
from careamics_denoisplit.prediction import predict_image


def test_two_channels_are_superimposed_from_one_to_four_to_four_to_one() -> None:
    assert usual_ratios(2) == ((1, 4), (1, 2), (1, 1), (2, 1), (4, 1))
    assert set(usual_ratios(3)) == {
        *((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)),
        *((4, 1, 1), (1, 4, 1), (1, 1, 4)),
    }


def test_equal_brightness_gives_the_scores_of_evaluate(trained: TrainedModel, images: Any) -> None:
    usual = evaluate(trained, truth=images.truth, channels=images.noisy, n_samples=2)

    found = evaluate_ratios(
        trained, truth=images.truth, channels=images.noisy, ratios=[(1, 1)], n_samples=2
    )

    (row,) = found["rows"]
    for channel, expected in zip(row["channels"], usual["channels"], strict=True):
        assert channel["psnr"] == pytest.approx(expected["psnr"], abs=1e-4)
        assert channel["leakage"] == pytest.approx(expected["leakage"], abs=1e-4)
        assert channel["noise_free_mixture"] == pytest.approx(
            expected["references"]["noise_free_mixture"], abs=1e-4
        )
    for image, expected in zip(row["images"], usual["images"], strict=True):
        for key in ("psnr", "leakage", "noise_free_mixture"):
            assert image[key] == pytest.approx(expected[key], abs=1e-4)
    json.dumps(found, allow_nan=False)


def test_a_ratio_weighs_the_light_of_each_channel(trained: TrainedModel, images: Any) -> None:
    noisy, truth = images.noisy, images.truth
    mixture = np.float32(0.2) * noisy["er"][0] + np.float32(0.8) * noisy["actin"][0]
    expected = predict_image(trained, mixture, n_samples=2).mean
    one = {name: planes[:1] for name, planes in noisy.items()}
    clean = {name: planes[:1] for name, planes in truth.items()}

    found = evaluate_ratios(trained, truth=clean, channels=one, ratios=[(1, 4)], n_samples=2)

    (row,) = found["rows"]
    both = np.stack([truth["er"][0], truth["actin"][0]])
    assert [each["psnr"] for each in row["channels"]] == pytest.approx(
        [metrics.psnr_range_invariant(t, m) for t, m in zip(both, expected, strict=True)], abs=1e-3
    )
    # The brighter structure is nearly the mixture, the dimmer one hardly shows in it.
    assert row["channels"][1]["noise_free_mixture"] > row["channels"][0]["noise_free_mixture"] + 10


@pytest.mark.parametrize("ratio", [(1,), (1, 0), (1, -1), (1, float("nan")), (1, 2, 3)])
def test_a_ratio_that_is_none_is_refused(
    trained: TrainedModel, images: Any, ratio: tuple[float, ...]
) -> None:
    with pytest.raises(ConfigurationError, match="one positive number for each of 2 channels"):
        evaluate_ratios(trained, truth=images.truth, channels=images.noisy, ratios=[ratio])


def test_measured_mixtures_keep_their_proportions(trained: TrainedModel, images: Any) -> None:
    statistics = trained.statistics.model_copy(update={"mixing": "measured"})
    measured = trained.__class__(trained.network, trained.config, statistics, trained.noise_models)

    with pytest.raises(DataError, match="cannot be changed"):
        evaluate_ratios(measured, truth=images.truth, channels=images.noisy)
