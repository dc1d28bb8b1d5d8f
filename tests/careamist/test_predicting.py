"""Prediction in memory, as samples and on disk, in the words of careamics."""

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr

from careamics_denoisplit import DenoiSplitCAREamist, Prediction
from careamics_denoisplit.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    OutputExistsError,
)


def test_one_image_gives_one_prediction_calibrated_where_it_was(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    prediction = careamist.predict(fields.MIXTURE, n_samples=4)

    assert isinstance(prediction, Prediction)
    assert prediction.calibrated
    assert prediction.mean.shape == (2, 96, 96)
    factors = careamist.trained.calibrations.factors("samples-4")
    raw = careamist.predict(fields.MIXTURE, n_samples=5)
    assert not raw.calibrated
    assert factors is not None


def test_the_predictions_name_for_samples_is_that_of_careamics(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    first = careamist.predict(fields.MIXTURE, n_predictions=4)
    second = careamist.predict(fields.MIXTURE, n_samples=4)

    assert first.mean.equals(second.mean)
    with pytest.raises(ConfigurationError, match="two names for the same number"):
        careamist.predict(fields.MIXTURE, n_samples=4, n_predictions=8)


def test_several_images_of_different_size_give_a_list(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    predictions = careamist.predict([fields.MIXTURE, fields.MIXTURE[:50, :33]], n_samples=2)

    assert [each.mean.shape for each in predictions] == [(2, 96, 96), (2, 50, 33)]
    assert [each.source for each in predictions] == ["mixture 0", "mixture 1"]


def test_planes_lead_the_dimensions(careamist: DenoiSplitCAREamist, fields: ModuleType) -> None:
    prediction = careamist.predict(fields.NOISY[:, 0], axes="TYX", n_samples=2)

    assert prediction.mean.dims == ("time", "channel", "y", "x")


def test_arrays_come_in_the_form_of_careamics(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    arrays, sources = careamist.predict_arrays([fields.MIXTURE, fields.MIXTURE], n_samples=2)

    assert [array.shape for array in arrays] == [(2, 96, 96)] * 2
    assert all(isinstance(source, str) for source in sources)


def test_the_input_channel_is_chosen_by_number(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    chosen = careamist.predict(fields.NOISY[0], axes="CYX", channels=[1], n_samples=2)
    alone = careamist.predict(fields.NOISY[0, 1], n_samples=2)

    assert np.array_equal(chosen.mean.values, alone.mean.values)
    with pytest.raises(DataError, match="2 channels; 1 expected"):
        careamist.predict(fields.NOISY[0], axes="CYX")
    with pytest.raises(ConfigurationError, match=r"must hold one number, got \[0, 1\]"):
        careamist.predict(fields.NOISY[0], axes="CYX", channels=[0, 1])


def test_samples_are_those_that_the_mean_is_taken_of(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    samples = careamist.sample(fields.MIXTURE, n_samples=4)

    assert isinstance(samples, xr.DataArray)
    assert samples.dims == ("draw", "channel", "y", "x")
    mean = careamist.predict(fields.MIXTURE, n_samples=4).mean
    np.testing.assert_allclose(samples.mean("draw"), mean, rtol=1e-5)
    several = careamist.sample([fields.MIXTURE, fields.MIXTURE], n_samples=1)
    assert len(several) == 2


def test_tiles_are_those_that_were_asked_for(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    prediction = careamist.predict(
        fields.MIXTURE, n_samples=2, tile_size=(64, 64), tile_overlap=(48, 48)
    )

    assert prediction.mean.attrs["tile"] == [64, 64]
    whole = careamist.predict(fields.MIXTURE, n_samples=2)
    assert np.abs(prediction.mean - whole.mean).max() < float(whole.std.median())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_overlap": (48, 48)}, "without `tile_size`"),
        ({"tile_size": (64,)}, "`tile_size` must be two numbers"),
        ({"output_axes": "YXC"}, "dimensions of a result are named"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"precision": "16", "device": "cpu"}, "Precision 16 exists on GPUs only"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    careamist: DenoiSplitCAREamist, options: dict[str, Any], message: str, fields: ModuleType
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        careamist.predict(fields.MIXTURE, **options)


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_checkpoint_is_chosen_by_name(
    careamist: DenoiSplitCAREamist, checkpoint: str, fields: ModuleType
) -> None:
    by_name = careamist.predict(fields.MIXTURE, n_samples=2, checkpoint=checkpoint)
    file = careamist.work_dir / "checkpoints" / f"{checkpoint}.ckpt"
    by_path = careamist.predict(fields.MIXTURE, n_samples=2, checkpoint=file)

    assert by_name.mean.equals(by_path.mean)


def test_a_checkpoint_that_is_not_there_is_refused(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    with pytest.raises(CheckpointError, match="There is no model at"):
        careamist.predict(fields.MIXTURE, checkpoint="nowhere.ckpt")


def test_folders_are_mirrored_and_nothing_is_overwritten(
    careamist: DenoiSplitCAREamist, tmp_path: Path, fields: ModuleType
) -> None:
    for name in ("a/cell.1.tif", "b/cell.1.tif"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        tifffile.imwrite(tmp_path / "in" / name, fields.MIXTURE[:40, :40])

    written = careamist.predict_to_disk(
        tmp_path / "in", prediction_dir=tmp_path / "out", n_samples=2
    )

    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "a/cell.1_mean.ome.tif",
        "a/cell.1_std.ome.tif",
        "b/cell.1_mean.ome.tif",
        "b/cell.1_std.ome.tif",
    ]
    (tmp_path / "out" / "a" / "cell.1_mean.ome.tif").unlink()
    with pytest.raises(OutputExistsError, match=r"cell\.1_std\.ome\.tif"):
        careamist.predict_to_disk(tmp_path / "in", prediction_dir=tmp_path / "out", n_samples=2)
    assert not (tmp_path / "out" / "a" / "cell.1_mean.ome.tif").exists()


def test_a_format_is_chosen_by_the_words_of_careamics(
    careamist: DenoiSplitCAREamist, tmp_path: Path, fields: ModuleType
) -> None:
    (zarr,) = careamist.predict_to_disk(
        fields.MIXTURE, prediction_dir=tmp_path, write_type="zarr", n_samples=2
    )
    custom = careamist.predict_to_disk(
        fields.MIXTURE,
        prediction_dir=tmp_path,
        write_type="custom",
        write_extension=".npy",
        write_func=lambda path, image, allow_pickle: np.save(
            path, image, allow_pickle=allow_pickle
        ),
        write_func_kwargs={"allow_pickle": False},
        n_samples=2,
    )

    assert zarr.name == "mixture.ome.zarr"
    assert [path.name for path in custom] == ["mixture_mean.npy", "mixture_std.npy"]
    assert np.load(custom[0]).shape == (2, 96, 96)


def test_a_calibration_that_was_not_fitted_is_warned_of(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    with pytest.warns(UserWarning, match=r"joint .* not fitted for samples-4 \(fitted: samples-4"):
        found = careamist.predict(fields.MIXTURE, n_samples=4, method="joint")

    assert not found.calibrated


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"write_type": "custom"}, "needs `write_extension` and `write_func`"),
        ({"pred_data_target": np.zeros((2, 8, 8))}, "`pred_data_target` is not used"),
    ],
)
def test_formats_that_do_not_exist_are_refused(
    careamist: DenoiSplitCAREamist,
    tmp_path: Path,
    options: dict[str, Any],
    message: str,
    fields: ModuleType,
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        careamist.predict_to_disk(fields.MIXTURE, prediction_dir=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_choice_of_tiles_is_said_in_the_log(
    careamist: DenoiSplitCAREamist, caplog: pytest.LogCaptureFixture, fields: ModuleType
) -> None:
    with caplog.at_level(logging.INFO):
        careamist.predict(fields.MIXTURE, n_samples=2)

    assert "Predicting the whole image at once: 96 x 96 px need about" in caplog.text
