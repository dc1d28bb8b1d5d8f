"""Fewer digits: close to float32, refused where the device lacks them, said in the result."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.images import read_images
from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.prediction import (
    Estimator,
    Tiling,
    Workload,
    predict_image,
    predict_stack,
    reduced_type,
)
from careamics_denoisplit.prediction.precision import computing_in


@dataclass(frozen=True)
class Statistics:
    """Scale of the two channels, far from zero: offsets must not be rounded to eight bits."""

    input_mean: float = 1000.0
    input_std: float = 40.0
    target_means: tuple[float, ...] = (1001.0, 3001.0)
    target_stds: tuple[float, ...] = (30.0, 80.0)
    channel_names: tuple[str, ...] = ("er", "actin")


@dataclass(frozen=True)
class Trained:
    """A network with the statistics of its data."""

    network: LadderVAE
    statistics: Statistics


def small_model() -> Trained:
    """Return a network whose BatchNorm has seen data."""
    torch.manual_seed(0)
    network = LadderVAE(latent_channels=(6, 4), filters=8, stem_stride=1, output_channels=2)
    for _ in range(3):
        network(torch.randn(4, 1, 32, 32), noise=lambda level, mean: torch.randn_like(mean))
    return Trained(network.eval(), Statistics())


MODEL = small_model()
IMAGE = np.random.default_rng(0).normal(1000, 40, (64, 64)).astype(np.float32)


def test_automatic_precision_is_float32_to_the_bit() -> None:
    automatic = predict_image(MODEL, IMAGE, n_samples=4)
    full = predict_image(MODEL, IMAGE, n_samples=4, precision="32")

    assert np.array_equal(automatic.mean, full.mean)
    assert automatic.spread is not None
    assert np.array_equal(automatic.spread, full.spread)


def test_convolutions_on_such_a_gpu_keep_all_digits_while_it_predicts() -> None:
    former = torch.backends.cudnn.allow_tf32

    with computing_in(None, torch.device("cuda")):
        within = torch.backends.cudnn.allow_tf32

    assert not within
    assert torch.backends.cudnn.allow_tf32 == former


def test_bfloat16_moves_the_mean_by_little_of_the_spread() -> None:
    full = predict_image(MODEL, IMAGE, n_samples=8)
    reduced = predict_image(MODEL, IMAGE, n_samples=8, precision="bf16")

    assert full.spread is not None
    assert reduced.spread is not None
    distance = np.abs(full.mean - reduced.mean) / full.spread
    assert 0 < np.median(distance) < 0.05
    assert np.median(reduced.spread / full.spread) == pytest.approx(1, abs=0.02)
    assert reduced.mean.dtype == np.float32


def test_bfloat16_does_not_depend_on_the_batch() -> None:
    tiling = Tiling((32, 32), (16, 16))

    one, many = (
        predict_image(MODEL, IMAGE, n_samples=2, tiling=tiling, batch=batch, precision="bf16")
        for batch in (1, 5)
    )

    assert np.array_equal(one.mean, many.mean)


def test_training_goes_on_in_the_types_of_the_weights() -> None:
    predict_image(MODEL, IMAGE, n_samples=2, precision="bf16")

    assert {parameter.dtype for parameter in MODEL.network.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("16", "Precision 16 exists on GPUs only; this prediction runs on 'cpu'.* bf16 or 32"),
        ("half", "`precision` must be one of auto, 32, bf16, 16, got 'half'"),
    ],
)
def test_a_precision_that_the_device_lacks_is_refused(precision: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        reduced_type(precision, "cpu")


@pytest.mark.parametrize(("precision", "said"), [("auto", "32"), ("bf16", "bf16")])
def test_the_result_says_how_it_was_computed(precision: str, said: str) -> None:
    (image,) = read_images(IMAGE, axes="YX")
    estimator = Estimator(n_samples=2, workload=Workload(precision=precision))  # type: ignore[arg-type]  # of the list above

    assert predict_stack(MODEL, image, estimator).mean.attrs["precision"] == said
