"""The report: verdicts with reasons, JSON, a picture, and noise that breaks the model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from pydantic import ValidationError
from scipy import stats
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.errors import StorageError
from careamics_denoisplit.noise_model import (
    NoiseModelReport,
    fit_from_pairs,
    load_noise_model,
)
from careamics_denoisplit.noise_model.verdict import Figures, judge

GOOD = Figures(
    heldout_nll=4.0,
    constant_nll=4.3,
    distance=0.01,
    worst_distance=0.03,
    share_outside=0.0,
    clipped=0.0,
    correlation=0.02,
)


def test_e9_a_file_in_place_of_the_folder_is_named(pair: Any, tmp_path: Path) -> None:
    fitted = fit_from_pairs(pair.signal, pair.observation, channel="er", max_pairs=2000)
    (tmp_path / "taken").write_bytes(b"x")

    with pytest.raises(StorageError, match="taken"):
        fitted.save(tmp_path / "taken")


def test_a_report_is_written_as_model_json_and_picture(pair: Any, tmp_path: Path) -> None:
    fitted = fit_from_pairs(pair.signal, pair.observation, channel="F-actin $x$")

    paths = fitted.save(tmp_path / "new" / "folder")

    assert [path.name for path in paths] == [
        f"noise_model_F_actin_x.{suffix}" for suffix in ("npz", "json", "png")
    ]
    assert all(path.is_absolute() for path in paths)
    assert load_noise_model(paths[0]).info == fitted.model.info
    values = json.loads(paths[1].read_text())
    assert NoiseModelReport.model_validate_json(paths[1].read_text()) == fitted.report
    assert {"verdict", "reasons", "heldout_nll", "constant_nll", "pit", "sigma_curve"} < set(values)
    picture = imread(paths[2])
    assert picture.shape[:2] == (750, 1500)
    assert picture.std() > 0.1


def test_the_sigma_curve_shows_the_true_noise_and_the_model(pair: Any) -> None:
    report = fit_from_pairs(pair.signal, pair.observation, channel="er").report

    for point in report.sigma_curve:
        if point.signal > -150:
            true = np.sqrt(2 * (point.signal + 200) + 50)
            assert point.model_std == pytest.approx(true, rel=0.06)
            assert point.empirical_std == pytest.approx(true, rel=5 / np.sqrt(2 * point.count))


def test_distances_to_uniform_equal_those_of_scipy() -> None:
    from careamics_denoisplit.noise_model.assessment import uniformity
    from careamics_denoisplit.noise_model.pairs import Blocks

    rng = np.random.default_rng(0)
    signal = rng.uniform(0, 100, (50, 8, 8)).astype(np.float32)
    observation = (signal + 13 * rng.standard_normal(signal.shape)).astype(np.float32)
    fitted = fit_from_pairs(signal, observation, channel="er").model

    found = uniformity(fitted, Blocks(signal, observation))

    deviation = (observation - signal).ravel() / fitted.std(
        torch.from_numpy(signal.ravel())
    ).numpy()
    transform = stats.norm.cdf(deviation)
    assert fitted.n_gaussians == 1
    assert found.kolmogorov_smirnov == pytest.approx(
        stats.kstest(transform, "uniform").statistic, abs=1e-5
    )
    ideal = (np.arange(transform.size) + 0.5) / transform.size
    assert found.wasserstein == pytest.approx(
        stats.wasserstein_distance(transform, ideal), abs=1e-5
    )
    assert sum(found.histogram) == pytest.approx(1)


def test_noise_that_is_correlated_between_neighbours_fails(pair: Any) -> None:
    rng = np.random.default_rng(4)
    blurred = gaussian_filter(rng.standard_normal(pair.signal.shape), 1.0)
    observation = (pair.signal + 30 * blurred / blurred.std()).astype(np.float32)

    report = fit_from_pairs(pair.signal, observation, channel="er").report

    assert report.autocorrelation.x > 0.6
    assert report.verdict == "fail"
    assert any("neighbouring pixels is correlated" in reason for reason in report.reasons)


def test_noise_that_is_correlated_along_rows_only_is_noticed(pair: Any) -> None:
    noise = np.random.default_rng(4).standard_normal((192, 193))
    rows = (noise[:, 1:] + 0.25 * noise[:, :-1]) * 30

    report = fit_from_pairs(
        pair.signal, (pair.signal + rows).astype(np.float32), channel="er"
    ).report

    assert report.autocorrelation.x == pytest.approx(0.235, abs=0.04)
    assert abs(report.autocorrelation.y) < 0.04
    assert report.verdict == "warn"


def test_good_figures_pass_with_what_speaks_for_them() -> None:
    verdict, reasons = judge(GOOD)

    assert verdict == "pass"
    assert "0.300 nats per pixel better" in reasons[0]


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"heldout_nll": 4.35}, "warn", "worse than that of a Gaussian of constant width"),
        ({"heldout_nll": 5.0}, "fail", "worse than that of a Gaussian of constant width"),
        ({"distance": 0.07}, "warn", "another shape or width"),
        ({"distance": 0.2}, "fail", "another shape or width"),
        ({"worst_distance": 0.15}, "warn", "at some intensities"),
        ({"worst_distance": 0.3}, "fail", "at some intensities"),
        ({"share_outside": 0.05}, "warn", "5.0% of the pixels lie outside"),
        ({"share_outside": 0.5}, "fail", "50.0% of the pixels lie outside"),
        ({"clipped": 0.02}, "warn", "2.0% of the pixels are clipped"),
        ({"clipped": 0.2}, "fail", "20.0% of the pixels are clipped"),
        ({"correlation": 0.2}, "warn", "correlated"),
        ({"correlation": 0.4}, "fail", "correlated"),
        ({"slow": 0.3}, "warn", "30% of what is taken for noise is alike over many pixels"),
        ({"slow": 0.6}, "fail", "alike over many pixels"),
        ({"signal_clipped": 0.7}, "warn", "the signal of 70.0% of the pixels is cut off"),
        ({"signal_clipped": 0.96}, "fail", "is cut off"),
    ],
)
def test_each_figure_can_warn_and_fail(changes: dict[str, float], verdict: str, words: str) -> None:
    judged, reasons = judge(GOOD._replace(**changes))

    assert judged == verdict
    assert words in reasons[0]


def test_doubts_of_the_route_warn() -> None:
    assert judge(GOOD, ["only 3 acquisitions"]) == ("warn", ("only 3 acquisitions",))


def test_a_report_is_frozen_closed_and_free_of_nan(pair: Any) -> None:
    report = fit_from_pairs(pair.signal, pair.observation, channel="er").report
    values = report.model_dump()

    with pytest.raises(ValidationError):
        report.verdict = "pass"
    with pytest.raises(ValidationError):
        NoiseModelReport(**(values | {"heldout_nll": float("nan")}))
    with pytest.raises(ValidationError):
        NoiseModelReport(**(values | {"heldout": 1.0}))


def test_slow_deviations_are_no_correlated_noise(pair: Any) -> None:
    height, width = pair.signal.shape
    shading = 20 * np.sin(np.linspace(0, 3, height))[:, None] * np.cos(np.linspace(0, 4, width))
    observation = (pair.observation + shading).astype(np.float32)

    found = fit_from_pairs(pair.signal, observation, channel="er").report.autocorrelation

    share = ((shading - shading.mean()) ** 2 / (pair.std**2 + shading.var())).mean()
    assert found.largest < 0.05
    assert found.slow == pytest.approx(share, rel=0.3)


def test_stripes_are_correlated_noise(pair: Any) -> None:
    rows = np.random.default_rng(2).normal(0, 30, (pair.signal.shape[0], 1))
    observation = (pair.observation + rows).astype(np.float32)

    found = fit_from_pairs(pair.signal, observation, channel="er").report

    assert found.autocorrelation.x > 0.3
    assert abs(found.autocorrelation.y) < 0.1
    assert found.verdict == "fail"


def test_a_signal_that_was_cut_off_is_left_out_and_named(pair: Any) -> None:
    dark = float(np.quantile(pair.signal, 0.3))
    cut = np.maximum(pair.signal, dark)

    fitted = fit_from_pairs(cut, pair.observation, channel="er")

    report = fitted.report
    assert report.signal_clipped_share == pytest.approx(0.3, abs=0.02)
    assert report.verdict == "warn"
    assert any("is cut off at its smallest or largest gray value" in r for r in report.reasons)
    bright = torch.from_numpy(pair.signal[pair.signal > dark])
    np.testing.assert_allclose(
        fitted.model.std(bright).numpy(), pair.std[pair.signal > dark], rtol=0.05
    )


def test_a_true_background_of_one_value_is_used(pair: Any) -> None:
    dark = float(np.quantile(pair.signal, 0.3))
    flat = np.maximum(pair.signal, dark)
    observation = (flat + pair.observation - pair.signal).astype(np.float32)

    report = fit_from_pairs(flat, observation, channel="er").report

    assert report.signal_clipped_share == 0
    assert report.n_pairs + report.n_heldout == pair.signal.size
