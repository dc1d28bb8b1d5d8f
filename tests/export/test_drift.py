"""Test images that another version of libtorch reproduces."""

import numpy as np
import pytest

from careamics_denoisplit.data import Statistics
from careamics_denoisplit_export.package.drift import expected_drift
from careamics_denoisplit_export.package.sample_image import made_up_images


def test_pixels_near_zero_count_only_beside_bright_ones() -> None:
    dim = np.array([[0.0, 3.0, 80.0]], dtype=np.float32)

    assert expected_drift(dim).misses == 0
    drift, misses = expected_drift(dim * 100)
    assert (drift, misses) == (pytest.approx(8000 * 4e-7), 1)


def test_later_made_up_images_leave_the_darkest_percentiles_out() -> None:
    statistics = Statistics(
        input_mean=50.0,
        input_std=20.0,
        target_means=(50.0, 50.0),
        target_stds=(20.0, 20.0),
        channel_names=("a", "b"),
        mixing="mean",
        input_percentiles={"0.1": 0.0, "50": 50.0, "99.9": 100.0},
        n_pixels=1000,
    )

    images = list(made_up_images(statistics))

    darkest = [float(image.raw.min()) for image in images]
    assert darkest == sorted(darkest)
    assert darkest[0] == 0.0
    assert darkest[-1] >= 49.0
    assert {float(image.raw.max()) for image in images} == {100.0}
    assert "from the 50th on" in images[-1].origin
    assert not np.array_equal(images[0].raw, images[1].raw)
