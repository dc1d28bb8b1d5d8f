"""Images from readers become named results, plane by plane."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import xarray as xr

from careamics_denoisplit.errors import (
    ConfigurationError,
    DataError,
    OutputExistsError,
)
from careamics_denoisplit.images import Image, read_images
from careamics_denoisplit.network import LadderVAE
from careamics_denoisplit.prediction import (
    Estimator,
    Prediction,
    Tiling,
    Workload,
    predict_image,
    predict_stack,
    sample_stack,
    seam_difference,
)


@dataclass(frozen=True)
class Statistics:
    """Scale of the two channels."""

    input_mean: float = 120.0
    input_std: float = 40.0
    target_means: tuple[float, ...] = (100.0, 300.0)
    target_stds: tuple[float, ...] = (30.0, 80.0)
    channel_names: tuple[str, ...] = ("er", "actin")


def network() -> LadderVAE:
    """Return a network of 8 filters and two levels."""
    torch.manual_seed(0)
    return LadderVAE(latent_channels=(6, 4), filters=8).eval()


@dataclass(frozen=True)
class Trained:
    """A network with the statistics of its data."""

    network: LadderVAE = field(default_factory=network)
    statistics: Statistics = field(default_factory=Statistics)


MODEL = Trained()
TWO = Estimator(n_samples=2)


def mixture(shape: tuple[int, ...], axes: str, **names: object) -> Image:
    """Return a mixture as the readers do."""
    values = np.random.default_rng(3).normal(120, 40, shape).astype(np.float32)
    return read_images(values, axes=axes, name="mixture", **names)[0]


def labelled_mixture() -> Image:
    """Return a mixture whose pixel size is known."""
    pixels = xr.DataArray(
        np.random.default_rng(3).normal(120, 40, (20, 24)).astype(np.float32),
        dims=("y", "x"),
        coords={
            "y": ("y", np.arange(20) * 0.2, {"units": "micrometer"}),
            "x": ("x", np.arange(24) * 0.1, {"units": "micrometer"}),
        },
    )
    return read_images(pixels)[0]


def test_the_result_has_named_channels_and_says_how_it_was_made() -> None:
    prediction = predict_stack(MODEL, mixture((20, 24), "YX"), Estimator(n_samples=4, seed=7))

    assert prediction.mean.dims == ("channel", "y", "x")
    assert prediction.channel_names == ("er", "actin")
    assert prediction.std is not None
    assert prediction.std.shape == (2, 20, 24)
    assert prediction.source == "mixture"
    assert prediction.mean.attrs["seed"] == 7
    assert prediction.mean.attrs["n_samples"] == 4
    assert prediction.mean.attrs["units"] == "gray values"
    assert not prediction.calibrated


def test_the_pixel_size_is_carried_over() -> None:
    prediction = predict_stack(MODEL, labelled_mixture(), TWO)

    np.testing.assert_allclose(prediction.mean["y"][:3], [0, 0.2, 0.4])
    assert prediction.mean["x"].attrs["units"] == "micrometer"


def test_planes_of_time_and_depth_lead_the_dimensions_and_are_predicted_one_by_one() -> None:
    image = mixture((2, 3, 12, 16), "TZYX")

    prediction = predict_stack(MODEL, image, TWO)

    assert prediction.mean.dims == ("time", "z", "channel", "y", "x")
    assert prediction.mean.shape == (2, 3, 2, 12, 16)
    plane = image.data.values[1, 2, 0]
    alone = predict_image(MODEL, plane, n_samples=2)
    assert np.array_equal(prediction.mean.values[1, 2], alone.mean)
    assert np.array_equal(prediction.std.values[1, 2], alone.spread)


def test_an_input_channel_is_chosen_by_its_number() -> None:
    image = mixture((3, 12, 16), "CYX")

    prediction = predict_stack(MODEL, image, TWO, channel=2)

    alone = predict_image(MODEL, image.data.values[2], n_samples=2)
    assert np.array_equal(prediction.mean.values, alone.mean)


def test_an_input_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="has 3 channels, numbered from 0; channel 3 was asked"):
        predict_stack(MODEL, mixture((3, 12, 16), "CYX"), TWO, channel=3)


def test_a1_a_pixel_that_is_no_number_is_refused_with_its_plane() -> None:
    values = np.ones((3, 8, 8), np.float32)
    values[2, 4, 5] = np.nan
    image = read_images(values, axes="ZYX", name="mixture")[0]

    with pytest.raises(DataError, match=r"mixture, z 2, channel 0: 1 pixels .* \(y=4, x=5\)"):
        predict_stack(MODEL, image, TWO)


def test_a_calibration_is_applied_to_every_plane() -> None:
    image = mixture((2, 12, 16), "ZYX")

    raw = predict_stack(MODEL, image, TWO)
    scaled = predict_stack(MODEL, image, TWO, calibrate=lambda mean, spread: 3 * spread)

    assert scaled.calibrated
    np.testing.assert_allclose(scaled.std.values, 3 * raw.std.values, rtol=1e-6)
    assert np.array_equal(scaled.mean.values, raw.mean.values)
    assert scaled.mean.attrs["calibrated"] == 1


def test_without_a_matching_calibration_the_spread_is_returned_and_said_to_be_raw() -> None:
    image = mixture((12, 16), "YX")

    prediction = predict_stack(MODEL, image, TWO, calibrate=lambda mean, spread: None)

    assert not prediction.calibrated
    assert np.array_equal(prediction.std.values, predict_stack(MODEL, image, TWO).std.values)


@pytest.mark.parametrize(
    "estimator", [Estimator(spread="none"), Estimator(n_samples=1)], ids=["mean pass", "one sample"]
)
def test_without_a_spread_there_is_no_std(estimator: Estimator) -> None:
    prediction = predict_stack(
        MODEL, mixture((12, 16), "YX"), estimator, calibrate=lambda mean, spread: spread
    )

    assert prediction.std is None
    assert not prediction.calibrated
    assert set(prediction.to_dataset()) == {"estimate"}


def test_the_progress_counts_over_all_planes() -> None:
    seen: list[tuple[int, int]] = []
    workload = Workload(progress=lambda done, total: seen.append((done, total)))

    predict_stack(MODEL, mixture((3, 12, 16), "ZYX"), Estimator(n_samples=2, workload=workload))

    assert seen == [(done, 6) for done in range(1, 7)]


def test_samples_are_drawn_per_plane_with_their_own_dimension() -> None:
    image = mixture((2, 12, 16), "ZYX")

    samples = sample_stack(MODEL, image, Estimator(n_samples=3))

    assert samples.dims == ("z", "draw", "channel", "y", "x")
    assert samples.shape == (2, 3, 2, 12, 16)
    mean = predict_stack(MODEL, image, Estimator(n_samples=3)).mean
    np.testing.assert_allclose(samples.mean("draw"), mean, rtol=1e-5)


def test_a_dataset_names_estimate_and_uncertainty() -> None:
    dataset = predict_stack(MODEL, mixture((12, 16), "YX"), TWO).to_dataset()

    assert set(dataset) == {"estimate", "uncertainty"}
    assert dataset.attrs["spread"] == "samples"


def test_a_prediction_is_frozen() -> None:
    prediction = predict_stack(MODEL, mixture((12, 16), "YX"), TWO)

    with pytest.raises(AttributeError):
        prediction.calibrated = True


def test_a_tiff_carries_channel_names_and_pixel_size(tmp_path: Path) -> None:
    prediction = predict_stack(MODEL, labelled_mixture(), TWO)

    written = prediction.save(tmp_path / "cell.1.ome.tif")

    assert [path.name for path in written] == ["cell.1_mean.ome.tif", "cell.1_std.ome.tif"]
    assert all(path.is_absolute() for path in written)
    again = read_images(written[0])[0]
    assert again.channel_names == ("er", "actin")
    assert again.pixel_size == pytest.approx((0.2, 0.1))
    assert np.array_equal(tifffile.imread(written[1]), prediction.std.values)


@pytest.mark.parametrize(("calibrated", "names"), [(True, "std"), (False, "spread")])
def test_a_zarr_holds_both_and_says_whether_the_std_is_calibrated(
    tmp_path: Path, calibrated: bool, names: str
) -> None:
    prediction = predict_stack(
        MODEL,
        labelled_mixture(),
        TWO,
        calibrate=(lambda mean, spread: spread) if calibrated else None,
    )

    (written,) = prediction.save(tmp_path / "cell.ome.zarr")

    again = read_images(written)[0]
    assert again.channel_names == ("er", "actin", f"er_{names}", f"actin_{names}")
    assert np.array_equal(again.data.values[:2], prediction.mean.values)


def test_nothing_is_overwritten_unless_asked_for(tmp_path: Path) -> None:
    prediction = predict_stack(MODEL, mixture((12, 16), "YX"), TWO)
    prediction.save(tmp_path / "cell.tif")
    (tmp_path / "cell_mean.ome.tif").unlink()

    with pytest.raises(OutputExistsError, match=r"cell_std\.ome\.tif"):
        prediction.save(tmp_path / "cell.tif")
    assert not (tmp_path / "cell_mean.ome.tif").exists()
    assert len(prediction.save(tmp_path / "cell.tif", overwrite=True)) == 2


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    prediction = predict_stack(MODEL, mixture((12, 16), "YX"), TWO)

    with pytest.raises(ConfigurationError, match=r"`\.ome\.tif` or `\.ome\.zarr`, got cell\.png"):
        prediction.save(tmp_path / "cell.png")


@pytest.mark.parametrize(
    ("mean", "std", "calibrated", "message"),
    [
        (np.zeros((8, 8)), None, False, "dimensions"),
        (np.zeros((2, 8, 8)), None, True, "without a std cannot be calibrated"),
        (np.zeros((2, 8, 8)), np.zeros((2, 8, 9)), False, "Mean and std differ"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    mean: np.ndarray, std: np.ndarray | None, calibrated: bool, message: str
) -> None:
    def array(values: np.ndarray) -> xr.DataArray:
        return xr.DataArray(values, dims=("channel", "y", "x")[-values.ndim :])

    with pytest.raises(ConfigurationError, match=message):
        Prediction(array(mean), None if std is None else array(std), calibrated)


def test_seams_are_small_against_the_std() -> None:
    image = mixture((96, 128), "YX")
    tiled_too = Workload(tiling=Tiling((64, 64), (48, 48), blend=16))

    whole = predict_stack(MODEL, image, Estimator(n_samples=4))
    tiled = predict_stack(MODEL, image, Estimator(n_samples=4, workload=tiled_too))

    seams = seam_difference(tiled.mean.values, whole.mean.values, whole.std.values)
    assert 0 <= seams.median <= seams.p999 <= seams.maximum
    assert seams.median < 1e-3
    assert seams.p999 < 0.1
    assert tiled.mean.attrs["tile"] == [64, 64]


def test_seams_in_units_of_nothing_are_refused() -> None:
    values = np.zeros((1, 4, 4), np.float32)

    with pytest.raises(DataError, match="must be above 0"):
        seam_difference(values, values, values)
