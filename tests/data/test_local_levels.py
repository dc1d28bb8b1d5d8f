"""Brightness and noise around a pixel: right in the middle, at borders and for any size."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.data import LocalLevels, LocalSample
from careamics_denoisplit.data.local_levels import WINDOW, LocalMean, Roughness
from careamics_denoisplit.data.local_statistics import LevelsByBrightness
from careamics_denoisplit.data.statistics import Statistics, compute_statistics


def maps(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))[None, None]


def test_the_local_mean_is_a_gaussian_blur_away_from_the_border() -> None:
    image = np.random.default_rng(0).normal(100, 5, (96, 128))

    found = LocalMean()(maps(image))[0, 0].numpy()

    expected = gaussian_filter(image, WINDOW, truncate=3.0)
    np.testing.assert_allclose(found[21:-21, 21:-21], expected[21:-21, 21:-21], rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3), (60, 45)])
def test_the_local_mean_of_a_constant_is_the_constant_at_every_pixel(size: tuple[int, int]) -> None:
    found = LocalMean()(torch.full((2, 1, *size), 7.0))

    torch.testing.assert_close(found, torch.full((2, 1, *size), 7.0))


@pytest.mark.parametrize("sigma", [1.0, 30.0])
def test_the_mean_roughness_of_noise_is_its_standard_deviation(sigma: float) -> None:
    noise = np.random.default_rng(1).normal(400, sigma, (256, 256))

    found = float(Roughness()(maps(noise)).mean())

    assert found == pytest.approx(sigma, rel=0.02)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4, 4)])
def test_a_slope_has_no_roughness_and_every_size_has_one(size: tuple[int, int]) -> None:
    y, x = np.mgrid[: size[0], : size[1]]

    found = Roughness()(maps(5.0 * y - 3.0 * x))

    assert found.shape == (1, 1, *size)
    assert float(found[..., 1:-1, 1:-1].sum()) == pytest.approx(0, abs=1e-5)


def test_levels_of_a_stream_tell_brightness_noise_and_deviation() -> None:
    random = np.random.default_rng(2)
    sample = LocalSample(3 * 128 * 128)
    for brightness in (100, 200, 300):
        sample.add(random.normal(brightness, 10, (128, 128)).astype(np.float32))

    levels = sample.levels()

    assert levels.intensity["0.1"] == pytest.approx(100, abs=3)
    assert levels.intensity["50"] == pytest.approx(200, abs=3)
    assert levels.intensity["99.9"] == pytest.approx(300, abs=3)
    assert levels.noise["50"] == pytest.approx(10, rel=0.03)
    assert levels.std == pytest.approx(np.hypot(10, 100 * np.sqrt(2 / 3)), rel=0.02)


def test_blocks_that_may_not_be_changed_are_read() -> None:
    block = np.arange(64, dtype=np.float32).reshape(8, 8)
    block.flags.writeable = False
    sample = LocalSample(block.size)

    sample.add(block)

    assert sample.levels().intensity["50"] == pytest.approx(31.5, abs=2)


def test_of_a_long_stream_evenly_spaced_blocks_are_taken() -> None:
    sample = LocalSample(4 * 2**24)

    for number in range(9):
        sample.add(np.full((8, 8), float(number), dtype=np.float32))

    assert sample.levels().intensity == pytest.approx(
        dict(zip(("0.1", "1", "5", "50", "95", "99", "99.9"), (0, 0, 0, 4, 8, 8, 8), strict=True)),
        abs=0.2,
    )


def test_levels_of_another_scale_are_mapped() -> None:
    random = np.random.default_rng(3)
    image = random.normal(300, 12, (64, 64)).astype(np.float32)
    one, other = LocalSample(image.size), LocalSample(image.size)
    one.add(image)
    other.add(2 * image - 50)

    mapped, expected = one.levels().mapped(2.0, -50.0), other.levels()

    assert mapped.intensity == pytest.approx(expected.intensity, rel=1e-4)
    assert mapped.noise == pytest.approx(expected.noise, rel=1e-4)
    assert mapped.std == pytest.approx(expected.std, rel=1e-4)
    assert mapped.by_brightness is not None
    assert expected.by_brightness is not None
    for name, values in expected.by_brightness.model_dump().items():
        assert getattr(mapped.by_brightness, name) == pytest.approx(values, rel=1e-3)


def test_percentiles_that_do_not_ascend_are_refused() -> None:
    good = dict(zip(("0.1", "1", "5", "50", "95", "99", "99.9"), range(7), strict=True))

    with pytest.raises(ValidationError, match="ascend"):
        LocalLevels(intensity=good, noise={**good, "99": 0.0}, std=1.0)
    with pytest.raises(ValidationError, match="ascend"):
        LocalLevels(intensity={"50": 1.0}, noise=good, std=1.0)


def test_noise_and_contrast_are_known_for_each_brightness() -> None:
    random = np.random.default_rng(6)
    sample = LocalSample(4 * 128 * 128)
    for brightness in (100, 200, 300, 400):
        noise = random.normal(0, brightness / 20, (128, 128))
        sample.add((brightness + noise).astype(np.float32))

    known = sample.levels().by_brightness

    assert known is not None
    assert np.all(np.diff(known.brightness) >= 0)
    assert known.brightness[0] == pytest.approx(100, abs=3)
    assert known.brightness[-1] == pytest.approx(400, abs=3)
    assert known.least_noise[0] < 5 < known.most_noise[0] < 7
    assert known.least_noise[-1] < 20 < known.most_noise[-1] < 25
    assert known.most_contrast[0] < known.least_contrast[-1]


def test_of_few_pixels_one_range_holds_for_all_brightnesses() -> None:
    sample = LocalSample(64)
    sample.add(np.arange(64, dtype=np.float32).reshape(8, 8))

    known = sample.levels().by_brightness

    assert known is not None
    assert len(known.brightness) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"brightness": (2.0, 1.0)}, "ascend"),
        ({"most_noise": (1.0,)}, "one value for each"),
        ({"least_contrast": (0.0, 9.0)}, "above the largest"),
    ],
)
def test_ranges_that_do_not_fit_together_are_refused(
    changed: dict[str, tuple[float, ...]], message: str
) -> None:
    good = {
        "brightness": (1.0, 2.0),
        "least_noise": (0.0, 0.0),
        "most_noise": (1.0, 1.0),
        "least_contrast": (0.0, 0.0),
        "most_contrast": (1.0, 1.0),
    }

    with pytest.raises(ValidationError, match=message):
        LevelsByBrightness(**good | changed)


def test_training_statistics_hold_the_levels_of_the_mixed_input() -> None:
    random = np.random.default_rng(4)
    channels = [[random.normal(100, 8, (64, 64))], [random.normal(300, 8, (64, 64))]]

    statistics = compute_statistics(channels, ("er", "actin"), n_pixels=64 * 64)

    assert statistics.local_levels is not None
    assert statistics.local_levels.intensity["50"] == pytest.approx(200, abs=1)
    assert statistics.local_levels.noise["50"] == pytest.approx(8 / np.sqrt(2), rel=0.1)
    again = Statistics.model_validate_json(statistics.model_dump_json())
    assert again == statistics


def test_statistics_of_earlier_versions_are_read_without_levels() -> None:
    channels = [[np.arange(64.0).reshape(8, 8)], [np.arange(64.0).reshape(8, 8)]]
    known = compute_statistics(channels, ("er", "actin")).model_dump(mode="json")

    old = Statistics.model_validate(
        {k: v for k, v in known.items() if k not in ("local_levels", "superposition")}
    )

    assert old.local_levels is None
    assert old.superposition is None
