"""Fits on real images: real camera noise, and synthetic noise whose width is known."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from careamics_denoisplit.noise_model import check_noise_models, fit_from_pairs

ROWS = 1280
"""Training rows of the 60x and 20x images."""


@pytest.mark.parametrize(("channel", "gain"), [("actin", 0.67), ("mito", 0.70)])
def test_a_fit_to_real_camera_noise_passes_and_follows_the_noise_found(
    shared_data: Path, channel: str, gain: float
) -> None:
    folder = shared_data / "hagen_actin_mito"
    high, low = (
        tifffile.imread(folder / f"60x_{channel}_{exposure}.tif")[:ROWS]
        for exposure in ("high", "low")
    )

    fitted = fit_from_pairs(high, low, channel=channel, align=True, max_pairs=60_000)

    report = fitted.report
    assert report.verdict == "pass"
    assert report.heldout_nll < report.constant_nll - 0.15
    assert report.alignment is not None
    assert report.alignment.gain == pytest.approx(gain, abs=0.04)
    errors = [
        abs(point.model_std / point.empirical_std - 1)
        for point in report.sigma_curve
        if point.count > 300
    ]
    assert len(errors) > 5
    assert np.median(errors) < 0.1


@pytest.mark.parametrize("pair", [("er", "nuclei")])
def test_a_fit_to_synthetic_noise_finds_its_width(
    shared_data: Path, pair: tuple[str, str], tmp_path: Path
) -> None:
    program = shared_data / "make_noisy.py"
    command = [sys.executable, str(program), "--pair", *pair, "--out", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    sigma = float(finished.stdout.split()[2])
    models, images = [], []
    for channel in pair:
        clean, noisy = (
            [
                tifffile.imread(tmp_path / f"{field}_{channel}_{kind}.tif")
                for field in ("B7", "D6", "D7")
            ]
            for kind in ("clean", "noisy")
        )

        fitted = fit_from_pairs(clean, noisy, channel=channel, max_pairs=60_000)

        low, high = fitted.report.signal_range
        signal = np.linspace(low, low + 0.7 * (high - low), 20).astype(np.float32)
        expected = np.sqrt(50 * signal + sigma**2)
        np.testing.assert_allclose(fitted.model.std(torch.from_numpy(signal)), expected, rtol=0.05)
        assert fitted.report.verdict == "pass"
        assert fitted.model.n_gaussians == 1
        models.append(fitted.model)
        images.append(noisy[0])

    assert check_noise_models(models, images, pair) == ()
