"""Camera settings travel from image files into noise models, and differences are named."""

from pathlib import Path
from typing import Any

import pytest
import tifffile

from careamics_denoisplit.data import ImageView, planes_of
from careamics_denoisplit.images import read_images
from careamics_denoisplit.noise_model import (
    Acquisition,
    acquisition_from,
    acquisition_warnings,
    fit_from_pairs,
)
from careamics_denoisplit.noise_model.acquisition import shared_acquisition


def write_ome(path: Path, image: Any, milliseconds: float) -> Path:
    plane = {"ExposureTime": [milliseconds], "ExposureTimeUnit": ["ms"]}
    tifffile.imwrite(path, image, ome=True, metadata={"axes": "YX", "Plane": plane})
    return path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100 ms", 0.1),
        ("0.25 s", 0.25),
        ("250", 0.25e3),
        (0.5, 0.5),
        ("50 µs", 5e-5),
        ("1.5e2ms", 0.15),
        ("2 fortnights", None),
        ("long", None),
        ("1-2", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_exposures_are_read_in_seconds(text: Any, seconds: float | None) -> None:
    assert acquisition_from({"exposure": text}).exposure == pytest.approx(seconds)


def test_settings_of_one_among_several_channels_do_not_count() -> None:
    values = {"camera": "Flash", "gain": "2", "exposure": "1 s", "date": "2026-01-02"}

    assert acquisition_from(values) == Acquisition("Flash", 2.0, 1.0, "2026-01-02")
    several = acquisition_from(values, one_channel=False)
    assert several == Acquisition("Flash", None, None, "2026-01-02")


def test_the_exposure_of_a_file_travels_with_the_model(pair: Any, tmp_path: Path) -> None:
    clean = tmp_path / "clean.tif"
    tifffile.imwrite(clean, pair.signal)
    noisy = write_ome(tmp_path / "noisy.ome.tif", pair.observation, 20)

    fitted = fit_from_pairs(clean, noisy, channel="er")
    told = fit_from_pairs(clean, noisy, channel="er", acquisition=Acquisition(exposure=3.0))

    assert fitted.report.exposure == fitted.model.info.exposure == pytest.approx(0.02)
    assert fitted.report.verdict == "pass"
    assert told.report.exposure == 3.0
    (view,) = (ImageView(image, in_memory=True) for image in read_images(noisy))
    images = acquisition_from(planes_of(view, 0)[0].stack.acquisition)  # type: ignore[attr-defined]  # a view has it
    assert acquisition_warnings(fitted.model.info, images) == ()
    (warning,) = acquisition_warnings(told.model.info, images)
    assert "exposure 3.0, these images have 0.02" in warning


def test_images_that_were_taken_differently_warn(pair: Any, tmp_path: Path) -> None:
    noisy = [write_ome(tmp_path / f"{ms}.ome.tif", pair.observation, ms) for ms in (20, 40)]

    report = fit_from_pairs([pair.signal] * 2, noisy, channel="er").report

    assert report.verdict == "warn"
    assert "not taken alike: exposure 0.02 and 0.04" in report.reasons[0]
    assert report.exposure is None


def test_what_only_some_images_know_is_kept() -> None:
    known = [Acquisition(camera="Flash"), Acquisition(gain=2.0), Acquisition(camera="flash ")]

    assert shared_acquisition(known) == (Acquisition(camera="Flash", gain=2.0), ())
