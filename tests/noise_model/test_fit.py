"""Fits find the noise that was put in, say when they cannot, and stay small and silent."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.noise_model import (
    Acquisition,
    GaussianMixtureNoiseModel,
    fit_from_bootstrap,
    fit_from_pairs,
    fit_from_repeats,
)
from careamics_denoisplit.noise_model.bootstrap import denoise_by_noise2void
from careamics_denoisplit.noise_model.rounding import without_rounding

Array = npt.NDArray[Any]


def model_std(model: GaussianMixtureNoiseModel, signal: Array) -> Array:
    std: Array = model.std(torch.from_numpy(signal.astype(np.float32))).numpy()
    return std


def test_a_fit_to_pairs_finds_the_noise_at_every_signal(pair: Any) -> None:
    fitted = fit_from_pairs(pair.signal, pair.observation, channel="er")

    np.testing.assert_allclose(model_std(fitted.model, pair.signal), pair.std, rtol=0.05)
    assert fitted.report.verdict == "pass"
    assert fitted.report.n_gaussians == 1
    assert fitted.report.heldout_nll < fitted.report.constant_nll - 0.02


def test_held_out_likelihood_is_close_to_that_of_the_true_noise(pair: Any) -> None:
    fitted = fit_from_pairs(pair.signal, pair.observation, channel="er")

    true_nll = float((np.log(pair.std) + 0.5 * np.log(2 * np.pi) + 0.5).mean())
    assert fitted.report.heldout_nll == pytest.approx(true_nll, abs=0.02)


def test_skewed_noise_is_described_by_more_gaussians(pair: Any) -> None:
    rng = np.random.default_rng(3)
    skewed = 15 * (rng.gamma(1.5, size=pair.signal.shape) - 1.5)
    observation = (pair.signal + skewed).astype(np.float32)

    fitted, single = (
        fit_from_pairs(
            pair.signal, observation, channel="er", max_pairs=40_000, n_gaussians=gaussians
        )
        for gaussians in (None, 1)
    )

    assert fitted.model.n_gaussians == 3
    assert fitted.report.heldout_nll < single.report.heldout_nll - 0.05
    assert single.report.verdict != "pass"


@pytest.mark.parametrize(("gaussians", "coefficients"), [(1, 1), (2, 3), (6, 4)])
def test_other_sizes_can_be_asked_for(pair: Any, gaussians: int, coefficients: int) -> None:
    fitted = fit_from_pairs(
        pair.signal,
        pair.observation,
        channel="er",
        n_gaussians=gaussians,
        n_coefficients=coefficients,
        max_pairs=20_000,
    )

    assert fitted.model.weight.shape == (3 * gaussians, coefficients)
    if coefficients > 1:
        np.testing.assert_allclose(model_std(fitted.model, pair.signal), pair.std, rtol=0.15)


def test_one_seed_gives_one_model_and_another_seed_other_pairs(pair: Any) -> None:
    first, again, other = (
        fit_from_pairs(
            pair.signal, pair.observation, channel="er", max_pairs=20_000, seed=seed
        ).model.weight
        for seed in (1, 1, 2)
    )

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_fit_prints_nothing(pair: Any, capfd: pytest.CaptureFixture[str]) -> None:
    fit_from_pairs(pair.signal, pair.observation, channel="er", max_pairs=20_000)

    assert capfd.readouterr() == ("", "")


def test_signal_and_observation_of_the_caller_are_not_changed(pair: Any) -> None:
    signal, observation = pair.signal.copy(), pair.observation.copy()
    for array in (signal, observation):
        array.flags.writeable = False

    fit_from_pairs(signal, observation, channel="er", max_pairs=20_000, align=True)

    assert np.array_equal(signal, pair.signal)


def test_images_of_different_sizes_are_fitted_together(pair_maker: Callable[..., Any]) -> None:
    pairs = [pair_maker(seed, (64 + 24 * seed, 90)) for seed in range(3)]

    fitted = fit_from_pairs(
        [each.signal for each in pairs], [each.observation for each in pairs], channel="er"
    )

    np.testing.assert_allclose(model_std(fitted.model, pairs[0].signal), pairs[0].std, rtol=0.15)


def test_files_are_read(pair: Any, tmp_path: Path) -> None:
    for name in ("signal", "observation"):
        np.save(tmp_path / f"{name}.npy", getattr(pair, name))

    from_files = fit_from_pairs(
        tmp_path / "signal.npy", str(tmp_path / "observation.npy"), channel="er"
    )
    from_arrays = fit_from_pairs(pair.signal, pair.observation, channel="er")

    assert torch.equal(from_files.model.weight, from_arrays.model.weight)


def test_an_aligned_fit_undoes_gain_and_offset_and_records_the_direction(pair: Any) -> None:
    high = (pair.signal - 40) / 0.25

    fitted = fit_from_pairs(high, pair.observation, channel="er", align=True)

    alignment = fitted.report.alignment
    assert alignment is not None
    assert alignment.direction == "signal to observation"
    assert alignment.gain == pytest.approx(0.25, rel=0.01)
    assert alignment.offset == pytest.approx(40, abs=2)
    np.testing.assert_allclose(model_std(fitted.model, pair.signal), pair.std, rtol=0.05)


def test_without_the_alignment_the_same_pair_fails(pair: Any) -> None:
    fitted = fit_from_pairs(0.5 * pair.signal, pair.observation, channel="er")

    assert fitted.report.verdict == "fail"
    assert "fail" in fitted.report.words()


@pytest.mark.parametrize("count", [2, 4, 20])
def test_repeats_give_an_unbiased_width(count: int, pair_maker: Callable[..., Any]) -> None:
    pair = pair_maker(5, (count, 128, 128))

    fitted = fit_from_repeats(pair.observation, channel="er", n_gaussians=1)

    inner = pair.signal[0][(pair.signal[0] > 0) & (pair.signal[0] < 600)]
    true = np.sqrt(2 * (inner + 200) + 50)
    np.testing.assert_allclose(model_std(fitted.model, inner), true, rtol=0.06)
    few = "acquisitions" in " ".join(fitted.report.reasons)
    assert few == (count < 8)


def test_repeats_that_bleach_are_noticed(pair_maker: Callable[..., Any]) -> None:
    pair = pair_maker(5, (10, 64, 64))
    fading = pair.observation * np.linspace(1, 0.8, 10, dtype=np.float32)[:, None, None]

    fitted = fit_from_repeats(list(fading), channel="er", n_gaussians=1)

    assert any("bleaching or drift" in reason for reason in fitted.report.reasons)


def test_a_bootstrap_uses_the_denoised_image_as_its_signal(pair: Any) -> None:
    asked = []

    def denoise(images: list[Array], seed: int) -> list[Array]:
        asked.append((len(images), seed))
        return [pair.signal for _ in images]

    fitted = fit_from_bootstrap(pair.observation, channel="er", denoise=denoise, seed=7)

    assert asked == [(1, 7)]
    assert fitted.report.route == "bootstrap"
    np.testing.assert_allclose(model_std(fitted.model, pair.signal), pair.std, rtol=0.05)


@pytest.mark.slow
def test_noise2void_of_careamics_denoises_and_leaves_no_trace(
    pair_maker: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    pair = pair_maker(0, (128, 128), slope=8.0)
    before = torch.get_rng_state()

    (denoised,) = denoise_by_noise2void([pair.observation], 0, epochs=2, steps_per_epoch=30)

    assert torch.equal(before, torch.get_rng_state())
    assert capfd.readouterr() == ("", "")
    assert np.std(denoised - pair.signal) < 0.8 * np.std(pair.observation - pair.signal)


def test_d5_an_image_too_small_to_denoise_is_refused() -> None:
    with pytest.raises(NoiseModelError, match="at least 64 x 64 pixels, got 40 x 200"):
        fit_from_bootstrap(np.ones((40, 200), np.float32), channel="er")


@pytest.mark.parametrize("value", [0.0, 7.0, 65535.0])
@pytest.mark.parametrize("which", ["signal", "observation"])
def test_d5_a_constant_image_is_refused(pair: Any, value: float, which: str) -> None:
    images = {"signal": pair.signal, "observation": pair.observation}
    images[which] = np.full_like(pair.signal, value)

    with pytest.raises(NoiseModelError, match=f"The {which} is constant"):
        fit_from_pairs(**images, channel="er")


def test_d5_one_grey_level_on_black_is_refused(pair: Any) -> None:
    signal = np.where(pair.signal > 300, 255, 0).astype(np.uint8)

    with pytest.raises(NoiseModelError, match="signal is constant or nearly so"):
        fit_from_pairs(signal, pair.observation, channel="er")


@pytest.mark.parametrize("shape", [(2, 5), (8, 8), (24, 24)])
def test_d5_ten_or_a_few_hundred_pairs_are_too_few(pair: Any, shape: tuple[int, int]) -> None:
    y, x = shape

    with pytest.raises(NoiseModelError, match="at least"):
        fit_from_pairs(pair.signal[:y, :x], pair.observation[:y, :x], channel="er")


def test_d5_unequal_shapes_are_refused_with_both(pair: Any) -> None:
    with pytest.raises(NoiseModelError, match=r"equal shapes, got \(192, 100\) and \(192, 192\)"):
        fit_from_pairs(pair.signal[:, :100], pair.observation, channel="er")


def test_d5_unequal_counts_of_images_are_refused(pair: Any) -> None:
    with pytest.raises(NoiseModelError, match="equally many images, got 1 and 2"):
        fit_from_pairs([pair.signal], [pair.observation] * 2, channel="er")


def test_d5_equal_images_are_refused(pair: Any) -> None:
    with pytest.raises(NoiseModelError, match="no noise to model"):
        fit_from_pairs(pair.observation, pair.observation, channel="er")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["signal", "observation"])
def test_a1_a_pixel_that_is_not_finite_is_refused_with_its_place(
    pair: Any, value: float, which: str
) -> None:
    images = {"signal": pair.signal.copy(), "observation": pair.observation.copy()}
    images[which][31, 17] = value

    with pytest.raises(NoiseModelError, match=rf"The {which} .* 1 NaN .* \(y, x\) = \(31, 17\)"):
        fit_from_pairs(**images, channel="er")


def test_a3_mostly_clipped_noise_is_refused_and_some_warns(pair: Any) -> None:
    half = np.maximum(pair.observation, float(np.median(pair.observation)))
    some = np.maximum(pair.observation, float(np.quantile(pair.observation, 0.05)))

    with pytest.raises(NoiseModelError, match="50% of the observations are clipped"):
        fit_from_pairs(pair.signal, half, channel="er")
    report = fit_from_pairs(pair.signal, some, channel="er").report
    assert report.verdict != "pass"
    assert any("clipped" in reason for reason in report.reasons)


@pytest.mark.parametrize("dtype", [complex, object, "U3"])
def test_a9_images_that_hold_no_real_numbers_are_refused(pair: Any, dtype: Any) -> None:
    with pytest.raises(NoiseModelError, match="must hold real numbers"):
        fit_from_pairs(pair.signal, pair.observation.astype(dtype), channel="er")


@pytest.mark.parametrize("images", [3.0, [1.0, 2.0], None])
def test_what_is_no_image_is_refused(pair: Any, images: Any) -> None:
    from careamics_denoisplit.noise_model.pairs import as_arrays

    unchecked = getattr(as_arrays, "__wrapped__", as_arrays)
    with pytest.raises((NoiseModelError, TypeError), match=r"must be arrays or paths|Type-check"):
        unchecked(images)


def test_too_few_repeats_are_refused(pair: Any) -> None:
    with pytest.raises(NoiseModelError, match="at least 2, got 1"):
        fit_from_repeats(pair.observation, channel="er")


def test_repeats_of_different_sizes_are_refused(pair: Any) -> None:
    with pytest.raises(NoiseModelError, match="must have equal shapes"):
        fit_from_repeats([pair.observation, pair.observation[:100]], channel="er")


MARKED = np.arange(4096).reshape(64, 64)
"""Numbers of the pixels of a small image."""


def test_d5_a_signal_of_nearly_one_value_is_refused_with_that_value() -> None:
    signal = np.where(MARKED < 3, 200.0, 100.0) + (MARKED == 9)
    observation = signal + np.random.default_rng(0).normal(0, 5, signal.shape)

    with pytest.raises(NoiseModelError, match=r"nearly constant.* gray value 100"):
        fit_from_pairs(signal, observation, channel="er")


def test_d5_noise_at_single_pixels_is_none(pair: Any) -> None:
    observation = pair.signal.copy()
    observation[3, 4] += 1

    with pytest.raises(NoiseModelError, match="no noise to model"):
        fit_from_pairs(pair.signal, observation, channel="er")


def odd_pairs() -> dict[str, tuple[Array, Array]]:
    """Pairs of images as no one means them, but as they occur."""
    rng = np.random.default_rng(0)
    signal = rng.gamma(2, 100, (64, 64)).astype(np.float32)
    noise = rng.normal(0, 5, signal.shape)
    return {
        "few_values": (np.where(MARKED < 40, 200.0, 100.0) + (MARKED == 99), 100 + noise),
        "one_row": (signal[:1], signal[:1] + noise[:1]),
        "tiny": (signal[:8, :8], signal[:8, :8] + noise[:8, :8]),
        "just_enough": (signal[:40, :32], signal[:40, :32] + noise[:40, :32]),
        "int8": ((signal / 8).astype(np.int8), (signal / 8 + noise).astype(np.int8)),
        "wrapped": (signal.astype(np.uint8), (signal + noise).astype(np.uint8)),
        "truth_values": (signal, signal > 200),
        "large_int64": (
            (signal * 1e14).astype(np.int64),
            ((signal + noise) * 1e14).astype(np.int64),
        ),
        "dark_cut": (signal, np.maximum(signal + noise, 200)),
        "bright_cut": (signal, np.minimum(signal + noise, 400)),
        "outside": (signal * 10 + 1e5, signal + noise),
        "negative": (signal - 1000, signal - 1000 + noise),
        "outlier": (signal, np.where(MARKED == 5, 1e30, signal + noise)),
        "huge": (signal * 1e30, (signal + noise) * 1e30),
        "too_huge": (signal.astype(np.float64) * 1e40, signal),
        "minute": (signal * 1e-30, (signal + noise) * 1e-30),
        "two_values_of_noise": (signal, signal + np.sign(noise)),
        "on_a_pedestal": (signal * 1e-3 + 1e7, signal * 1e-3 + 1e7 + noise),
        "masked": (np.ma.masked_greater(signal, 500), signal),
        "few_photons": (signal * 1e-3, rng.poisson(signal * 1e-3)),
        "inverted": (signal, noise - signal),
    }


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("name", odd_pairs())
def test_odd_images_give_a_sound_model_or_one_error(name: str, align: bool) -> None:
    signal, observation = odd_pairs()[name]
    fitted, error = None, ""

    try:
        fitted = fit_from_pairs(signal, observation, channel="er", align=align)
    except NoiseModelError as refused:
        error = str(refused)

    if fitted is None:
        assert re.search(r"\. (Give|Remove|Check|Fit|Ask|Crop)", error), error
    else:
        std = fitted.model.std(torch.linspace(*fitted.report.signal_range, 9))
        assert bool((std > 0).all())
        assert bool(torch.isfinite(std).all())


def test_files_beside_the_namesake_of_another_are_refused(pair: Any, tmp_path: Path) -> None:
    for kind, image in (("clean", pair.signal), ("noisy", pair.observation)):
        for number in (1, 2, 3):
            tifffile.imwrite(tmp_path / f"{kind}_{number}.tif", image)
    clean = [tmp_path / f"clean_{number}.tif" for number in (1, 2)]
    noisy = [tmp_path / f"noisy_{number}.tif" for number in (2, 3)]

    with pytest.raises(NoiseModelError, match=r"clean_2.tif is paired with .*noisy_3.tif"):
        fit_from_pairs(clean, noisy, channel="er")


def test_a_negative_seed_is_refused(pair: Any) -> None:
    with pytest.raises(NoiseModelError, match="seed must be 0 or a positive number, got -1"):
        fit_from_pairs(pair.signal, pair.observation, channel="er", seed=-1)


@pytest.mark.parametrize(("gaussians", "coefficients"), [(0, 2), (1, 0), (-1, 2)])
def test_models_without_gaussians_or_coefficients_are_refused(
    pair: Any, gaussians: int, coefficients: int
) -> None:
    with pytest.raises(NoiseModelError, match="at least 1 Gaussian and 1 coefficient"):
        fit_from_pairs(
            pair.signal,
            pair.observation,
            channel="er",
            n_gaussians=gaussians,
            n_coefficients=coefficients,
        )


def test_d3_a_floor_of_zero_is_refused(pair: Any) -> None:
    with pytest.raises(NoiseModelError, match="min_sigma"):
        fit_from_pairs(pair.signal, pair.observation, channel="er", min_sigma=0.0)


def test_whole_numbers_are_spread_over_what_rounds_to_them() -> None:
    stretched = np.random.default_rng(0).integers(0, 9, (50, 50)).astype(np.float32) * 3

    spread = without_rounding(stretched, seed=1)

    assert np.abs(spread - stretched).max() <= 1.5
    assert np.unique(spread).size > 2000
    assert without_rounding(stretched + 0.5, seed=1) is not stretched
    np.testing.assert_array_equal(without_rounding(stretched + 0.5, seed=1), stretched + 0.5)


def test_rounded_images_are_fitted_as_well_as_unrounded_ones(pair: Any) -> None:
    rounded = np.round(pair.observation).astype(np.int32)

    fitted = fit_from_pairs(pair.signal, rounded, channel="er")

    assert fitted.report.verdict == "pass"
    np.testing.assert_allclose(model_std(fitted.model, pair.signal), pair.std, rtol=0.05)


def test_camera_settings_travel_with_the_model(pair: Any) -> None:
    settings = Acquisition(camera="Orca", gain=0.46, exposure=0.1, date="2026-11-22")

    fitted = fit_from_pairs(
        pair.signal, pair.observation, channel="er", max_pairs=20_000, acquisition=settings
    )

    info = fitted.model.info
    assert (info.camera, info.gain, info.exposure, info.date) == (
        "Orca", 0.46, 0.1, "2026-11-22"
    )  # fmt: skip
    assert fitted.report.exposure == 0.1


def test_a_fit_to_21_gigabytes_adds_less_than_300_megabytes() -> None:
    program = textwrap.dedent(
        """
        import resource
        import numpy as np
        from careamics_denoisplit.noise_model import fit_from_pairs

        class Large:
            shape = (20, 16384, 16384)

            def __init__(self, tile):
                self.tile = tile

            def __getitem__(self, key):
                rows = key[-1].stop - key[-1].start
                return np.tile(self.tile, (rows // 64 + 1, 64))[:rows]

        rng = np.random.default_rng(0)
        signal = rng.uniform(0, 1000, (64, 256)).astype(np.float32)
        observation = (signal + 20 * rng.standard_normal(signal.shape)).astype(np.float32)
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        import torch
        torch.set_num_threads(1)
        before = peak()
        fitted = fit_from_pairs(Large(signal), Large(observation), channel="er")
        assert fitted.report.n_pairs > 100_000
        print((peak() - before) / 1024)
        """
    )
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )

    assert float(finished.stdout) < 300
