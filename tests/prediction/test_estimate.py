"""Mean and spread of an image: any size, any tiling, the same noise everywhere."""

import gc
import logging
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import ConfigurationError, DataError, FaultError, NonFiniteError
from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.prediction import (
    Tiling,
    predict_image,
    sample_image,
)
from careamics_denoisplit.prediction.estimate import require_spread


@dataclass(frozen=True)
class Statistics:
    """Scale of the two channels; they differ, so that a mixed-up channel shows."""

    input_mean: float = 120.0
    input_std: float = 40.0
    target_means: tuple[float, ...] = (100.0, 300.0)
    target_stds: tuple[float, ...] = (30.0, 80.0)
    channel_names: tuple[str, ...] = ("er", "actin")


@dataclass(frozen=True)
class Trained:
    """A network with the statistics of its data."""

    network: LadderVAE
    statistics: Statistics


def small_model(stem_stride: int = 1, seed: int = 0) -> Trained:
    """Return a network of 8 filters and two levels whose BatchNorm has seen data."""
    torch.manual_seed(seed)
    network = LadderVAE(
        latent_channels=(6, 4), filters=8, stem_stride=stem_stride, output_channels=2
    )
    for _ in range(3):
        network(torch.randn(4, 1, 32, 32), noise=lambda level, mean: torch.randn_like(mean))
    return Trained(network.eval(), Statistics())


MODEL = small_model()


def image_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an image (Y, X) in raw gray values."""
    return np.random.default_rng(seed).normal(120, 40, (height, width)).astype(np.float32)


@given(height=st.integers(1, 40), width=st.integers(1, 40))
@settings(deadline=None, max_examples=25)
def test_a7_images_from_one_pixel_on_are_predicted_in_their_own_size(
    height: int, width: int
) -> None:
    estimate = predict_image(MODEL, image_of(height, width), n_samples=2)

    assert estimate.mean.shape == (2, height, width)
    assert estimate.spread is not None
    assert estimate.spread.shape == (2, height, width)
    assert np.isfinite(estimate.mean).all()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_a7_an_empty_image_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="height and a width of 1 px or more"):
        predict_image(MODEL, np.zeros(shape, np.float32))


@given(height=st.integers(2, 30), width=st.integers(2, 30), stem_stride=st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=15)
def test_a8_an_odd_size_equals_the_prediction_of_the_mirrored_image(
    height: int, width: int, stem_stride: int
) -> None:
    model = small_model(stem_stride)
    image = image_of(height, width)
    multiple = model.network.size_multiple
    mirrored = np.pad(image, [(0, -height % multiple), (0, -width % multiple)], mode="reflect")

    estimate = predict_image(model, image, n_samples=2)
    whole = predict_image(model, mirrored, n_samples=2)

    assert np.array_equal(estimate.mean, whole.mean[:, :height, :width])


def test_mean_and_spread_are_the_moments_of_the_samples() -> None:
    image = image_of(24, 33)

    estimate = predict_image(MODEL, image, n_samples=6, seed=3)
    samples = sample_image(MODEL, image, n_samples=6, seed=3)

    np.testing.assert_allclose(estimate.mean, samples.mean(0), rtol=1e-5)
    np.testing.assert_allclose(estimate.spread, samples.std(0, ddof=1), rtol=1e-3, atol=1e-4)


def test_fewer_samples_from_the_same_pass_equal_a_prediction_with_fewer() -> None:
    image = image_of(20, 20)

    estimate = predict_image(MODEL, image, n_samples=8, snapshots=(1, 4))
    alone = predict_image(MODEL, image, n_samples=4)

    assert set(estimate.snapshots) == {1, 4}
    assert np.array_equal(estimate.snapshots[4].mean, alone.mean)
    assert np.array_equal(estimate.snapshots[4].spread, alone.spread)
    assert estimate.snapshots[1].spread is None
    assert not np.array_equal(estimate.mean, alone.mean)


def test_the_spread_scales_with_the_standard_deviation_of_its_own_channel() -> None:
    image = image_of(16, 16)
    wider = Trained(MODEL.network, Statistics(target_stds=(30.0, 160.0)))

    first, second = (predict_image(model, image, n_samples=4) for model in (MODEL, wider))

    np.testing.assert_allclose(second.spread[0], first.spread[0], rtol=1e-6)
    np.testing.assert_allclose(second.spread[1], 2 * first.spread[1], rtol=1e-5)
    np.testing.assert_allclose(second.mean[1] - 300, 2 * (first.mean[1] - 300), atol=1e-3)


def test_the_pass_with_posterior_means_has_no_spread_and_no_randomness() -> None:
    image = image_of(20, 21)

    first = predict_image(MODEL, image, spread="none", seed=0)
    second = predict_image(MODEL, image, spread="none", seed=1)

    assert first.spread is None
    assert first.n_samples == 0
    assert np.array_equal(first.mean, second.mean)


def test_a_seed_gives_the_same_bits_and_another_seed_other_ones() -> None:
    image = image_of(20, 21)

    first, again, other = (predict_image(MODEL, image, n_samples=2, seed=s) for s in (1, 1, 2))

    assert np.array_equal(first.mean, again.mean)
    assert not np.array_equal(first.mean, other.mean)
    assert first.seed == 1


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_f7_the_batch_does_not_change_a_bit(batch: int) -> None:
    image = image_of(70, 90)
    tiling = Tiling((32, 32), (8, 8), blend=4, multiple=4)

    one = predict_image(MODEL, image, n_samples=3, tiling=tiling)
    many = predict_image(MODEL, image, n_samples=3, tiling=tiling, batch=batch)

    assert np.array_equal(one.mean, many.mean)
    assert np.array_equal(one.spread, many.spread)


def test_f7_a_tile_computed_alone_equals_its_part_of_the_image() -> None:
    image = image_of(64, 96)
    tiling = Tiling((32, 32), (0, 0), multiple=4)

    estimate = predict_image(MODEL, image, n_samples=2, tiling=tiling)
    alone = predict_image(MODEL, image[:32, :32], n_samples=2)

    assert np.array_equal(estimate.mean[:, :32, :32], alone.mean)


def test_samples_differ_between_tilings_only_by_what_the_overlap_leaves() -> None:
    image = image_of(96, 128)

    whole = sample_image(MODEL, image, n_samples=2)
    tiled = sample_image(MODEL, image, n_samples=2, tiling=Tiling((64, 64), (48, 48)))
    fresh = sample_image(MODEL, image, n_samples=2, seed=9)

    between_tilings = np.abs(tiled - whole).max()
    between_seeds = np.abs(fresh - whole).max()
    assert between_tilings < 0.05 * between_seeds


def test_a2_a_constant_image_is_predicted_with_finite_numbers() -> None:
    estimate = predict_image(MODEL, np.full((40, 40), 7, np.uint8), n_samples=2)

    assert np.isfinite(estimate.mean).all()
    assert np.isfinite(estimate.spread).all()


def bytes_held() -> int:
    """Count the bytes of all living tensors, every storage once."""
    living = (each for each in gc.get_objects() if issubclass(type(each), torch.Tensor))
    return sum(
        {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in living}.values()
    )


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    image = image_of(128, 128)
    peaks = []
    for n_samples in (4, 24):
        held: list[int] = []
        predict_image(
            MODEL,
            image,
            n_samples=n_samples,
            progress=lambda *_, held=held: held.append(bytes_held()),
        )
        peaks.append(max(held))

    assert peaks[0] > 2 * image.nbytes
    assert peaks[1] == peaks[0]


def test_progress_counts_every_pass_over_every_tile() -> None:
    seen: list[tuple[int, int]] = []
    tiling = Tiling((32, 32), (0, 0), multiple=4)

    predict_image(
        MODEL,
        image_of(64, 96),
        n_samples=2,
        tiling=tiling,
        batch=4,
        progress=lambda done, total: seen.append((done, total)),
    )

    assert seen == [(done, 12) for done in range(1, 13)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a1_a_pixel_that_is_no_number_is_refused(value: float) -> None:
    image = image_of(16, 16)
    image[3, 5] = value

    with pytest.raises(DataError, match=r"1 pixels that are NaN or infinite.*\(y=3, x=5\)"):
        predict_image(MODEL, image)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "uint16", "int32", "float16", "float64", ">f4", ">u2"]
)
def test_a9_every_real_dtype_gives_the_numbers_of_float32(dtype: str) -> None:
    image = np.clip(image_of(12, 12), 0, 255).astype(dtype)
    image.flags.writeable = False

    estimate = predict_image(MODEL, image, n_samples=2)
    native = predict_image(MODEL, image.astype(np.float32), n_samples=2)

    assert np.array_equal(estimate.mean, native.mean)


@pytest.mark.parametrize("view", ["fortran", "reversed", "strided"])
def test_a9_the_layout_in_memory_plays_no_part(view: str) -> None:
    image = image_of(12, 14)
    views = {
        "fortran": np.asfortranarray(image),
        "reversed": np.ascontiguousarray(image[::-1])[::-1],
        "strided": np.repeat(image, 2, axis=0)[::2],
    }

    estimate = predict_image(MODEL, views[view], n_samples=2)

    assert np.array_equal(estimate.mean, predict_image(MODEL, image, n_samples=2).mean)


def test_a9_the_callers_image_is_not_changed() -> None:
    image = image_of(13, 13)
    before = image.copy()

    predict_image(MODEL, image, n_samples=2)

    assert np.array_equal(image, before)


@pytest.mark.parametrize("dtype", [complex, object, str])
def test_a9_other_dtypes_are_refused(dtype: type) -> None:
    with pytest.raises(DataError, match="real numbers are needed"):
        predict_image(MODEL, np.zeros((8, 8)).astype(dtype))


def test_a_stack_is_refused_with_the_way_to_predict_it() -> None:
    with pytest.raises(DataError, match=r"shape \(3, 8, 8\).*plane by plane"):
        predict_image(MODEL, np.zeros((3, 8, 8), np.float32))


def test_an_output_that_is_no_number_stops_with_tile_and_channel() -> None:
    model = small_model()
    with torch.no_grad():
        model.network.head.bias[1] = torch.nan

    with pytest.raises(NonFiniteError, match=r"tile \(y 0-16, x 0-16\).*channel 'actin'"):
        predict_image(model, image_of(16, 16), n_samples=2)


def test_training_mode_is_restored_and_plays_no_part() -> None:
    model = small_model()
    image = image_of(16, 16)
    expected = predict_image(model, image, n_samples=2)

    model.network.train()
    estimate = predict_image(model, image, n_samples=2)

    assert model.network.training
    assert np.array_equal(estimate.mean, expected.mean)


@pytest.mark.parametrize("spread", ["distil", "std"])
def test_an_unknown_spread_is_refused(spread: str) -> None:
    with pytest.raises(ConfigurationError, match=f"samples, distilled, none, got '{spread}'"):
        require_spread(spread)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"n_samples": 0}, "`n_samples` must be 1 or more, got 0"),
        ({"n_samples": 4, "snapshots": (5,)}, r"between 1 and the 4 samples, got \(5,\)"),
        ({"batch": 0}, "batch must be 1 tile or more, got 0"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings_: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        predict_image(MODEL, image_of(8, 8), **settings_)


class Cramped(LadderVAE):
    """A network that runs out of memory above a number of pixels, as an allocator would say it."""

    limit = 64 * 64
    error: Exception = MemoryError()

    def encode(self, x: torch.Tensor):
        """Encode what fits."""
        if x.shape[0] * x.shape[-2] * x.shape[-1] > self.limit:
            raise self.error
        return super().encode(x)


def cramped(error: Exception, limit: int = 64 * 64) -> Trained:
    """Return the small model on a machine with room for `limit` pixels."""
    torch.manual_seed(0)
    network = Cramped(latent_channels=(6, 4), filters=8).eval()
    network.error, network.limit = error, limit
    return Trained(network, Statistics())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    ],
)
def test_i3_the_tile_is_halved_where_memory_runs_out_and_the_work_goes_on(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    model = cramped(error)
    image = image_of(200, 200)

    with caplog.at_level(logging.WARNING):
        estimate = predict_image(model, image, n_samples=2)

    assert max(estimate.tiling.tile) <= 64
    assert "Out of memory: going on with tiles of" in caplog.text
    free = Trained(model.network, Statistics())
    model.network.limit = 10**9
    again = predict_image(free, image, n_samples=2, tiling=estimate.tiling)
    assert np.array_equal(estimate.mean, again.mean)


def test_i3_too_little_memory_for_the_smallest_tile_is_an_error_with_its_size() -> None:
    with pytest.raises(FaultError, match=r"image of 200 x 200 px, even in tiles of \d+ x \d+ px"):
        predict_image(cramped(MemoryError(), limit=10), image_of(200, 200), n_samples=2)


def test_i3_an_error_that_is_not_about_memory_is_not_called_that() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        predict_image(cramped(RuntimeError("mat1 and mat2 differ")), image_of(200, 200))
