"""Warning maps and trust of predicted images, without truth."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.evaluation import familiarity, familiarity_of, trust_in
from careamics_denoisplit.evaluation.trust import mixture_noise_variance
from careamics_denoisplit.images import Image, read_images
from careamics_denoisplit.prediction import (
    CONSISTENT,
    Estimator,
    Prediction,
    outside_training,
    predict_stack,
    warning_maps,
)


@pytest.fixture(scope="module")
def familiar(trained: TrainedModel) -> TrainedModel:
    """The model, trained on images of 60 to 140 gray values."""
    known = trained.statistics.model_copy(
        update={"input_percentiles": {"0.1": 60.0, "99.9": 140.0}}
    )
    return replace(trained, statistics=known)


@pytest.fixture(scope="module")
def image() -> Image:
    """A stack of two planes of 70 x 50 px, in the range of the model."""
    planes = np.random.default_rng(4).normal(100, 30, (2, 70, 50)).astype(np.float32)
    return read_images(planes, axes="ZYX")[0]


@pytest.fixture(scope="module")
def prediction(trained: TrainedModel, image: Image) -> Prediction:
    return predict_stack(trained, image, Estimator(n_samples=2))


def test_bands_give_the_maps_and_the_trust_of_the_whole_plane(
    familiar: TrainedModel, image: Image, prediction: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = familiarity_of(familiar, image, prediction, keep_maps=True)
    monkeypatch.setattr(familiarity, "_PIXELS_AT_ONCE", 50 * 7)
    banded = familiarity_of(familiar, image, prediction, keep_maps=True)

    for plane in range(2):
        raw, mean = image.data.values[plane, 0], prediction.mean.values[plane]
        expected = warning_maps(familiar, raw, mean)
        for found in (whole, banded):
            for name in ("consistency", "input_range"):
                np.testing.assert_allclose(
                    found.maps[name].values[plane, 0], getattr(expected, name), atol=1e-5, rtol=1e-5
                )
    assert banded.trust == pytest.approx(whole.trust, rel=1e-6)
    assert banded.outside == pytest.approx(whole.outside, abs=1e-3)


def test_trust_is_that_of_evaluate(
    trained: TrainedModel, image: Image, prediction: Prediction
) -> None:
    plane = read_images(image.data.values[0, 0], axes="YX")[0]
    one = Prediction(prediction.mean[0], None if prediction.std is None else prediction.std[0])
    raw, mean = plane.data.values[0], one.mean.values
    remixed, gains = mean.mean(axis=0), np.array([0.5, 0.5])
    noise = mixture_noise_variance(trained.noise_models, mean, gains)
    assert one.std is not None

    found = familiarity_of(trained, plane, one).trust

    assert found == pytest.approx(trust_in(raw, mean, one.std.values, remixed, noise), rel=1e-6)


def test_a_map_has_the_dimensions_and_positions_of_the_mean(
    trained: TrainedModel, image: Image, prediction: Prediction
) -> None:
    found = familiarity_of(trained, image, prediction, keep_maps=True).maps["input_range"]

    assert found.dims == prediction.mean.dims
    assert found.shape == (2, 1, 70, 50)
    assert found["channel"].values.tolist() == ["input_range"]
    assert familiarity_of(trained, image, prediction).maps == {}


def test_the_share_outside_is_said_and_counted(familiar: TrainedModel) -> None:
    random = np.random.default_rng(0)
    mean = xr.DataArray(
        random.normal(100, 5, (2, 90, 80)).astype(np.float32),
        dims=("channel", "y", "x"),
        coords={"channel": ["er", "actin"]},
    )
    fitting = mean.values.mean(axis=0) + random.normal(0, 20 / np.sqrt(2), (90, 80))
    bright = fitting.astype(np.float32)
    bright[:45] += 5000

    found = familiarity_of(familiar, read_images(bright, axes="YX")[0], Prediction(mean))

    assert 0.5 < found.outside < 1  # half the image, and what is near it
    assert f"{100 * found.outside:.0f} % of the image is outside what" in found.words()
    assert found.to_dict()["outside"] == found.outside
    assert found.to_dict()["relative_variance"] is None


@pytest.mark.parametrize(
    ("consistency", "input_range", "outside"),
    [
        (1.0, 0.0, False),
        (CONSISTENT[0] - 0.01, 0.0, True),
        (CONSISTENT[1] + 0.01, 0.0, True),
        (1.0, 0.1, True),
        (1.0, -0.1, True),
        (None, 0.0, False),
        (None, 0.1, True),
    ],
)
def test_a_pixel_is_outside_by_either_map(
    consistency: float | None, input_range: float, outside: bool
) -> None:
    first = None if consistency is None else np.array([consistency])

    assert outside_training(first, np.array([input_range])).tolist() == [outside]


def test_weights_that_nobody_knows_are_fitted(
    trained: TrainedModel, prediction: Prediction
) -> None:
    algorithm = trained.config.algorithm_config.model_copy(update={"mixing": "measured"})
    config = trained.config.model_copy(update={"algorithm_config": algorithm})
    measured = TrainedModel(trained.network, config, trained.statistics, trained.noise_models)
    mean: Any = prediction.mean[0]
    mixture = (0.8 * mean[0] + 0.3 * mean[1] + 12.0).values.astype(np.float32)

    found = familiarity_of(measured, read_images(mixture, axes="YX")[0], Prediction(mean))

    assert found.consistency is None
    assert found.trust.relative_residual == pytest.approx(0, abs=1e-6)
