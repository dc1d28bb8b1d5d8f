"""Training and validation data for Lightning."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import xarray as xr
import zarr
from careamics.dataset.image_stack import InMemoryImageStack
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.config import (
    DenoiSplitConfiguration,
    changed_keys,
    create_advanced_denoisplit_config,
    load_configuration,
    save_configuration,
)
from careamics_denoisplit.data import (
    DenoiSplitDataModule,
    ImageView,
    MixtureWarning,
    Statistics,
    compute_statistics,
    planes_of,
)
from careamics_denoisplit.data.planes import PatchSource
from careamics_denoisplit.errors import ConfigurationError, DataError
from careamics_denoisplit.images import SaturationWarning, read_images

RNG = np.random.default_rng(0)
NAMES = ("er", "actin")


def field(frames: int = 1, size: int = 80) -> np.ndarray:
    """Noisy channels (S, C, Y, X)."""
    smooth = gaussian_filter(RNG.normal(size=(frames, 2, size, size)), (0, 0, 4, 4)) * 3000
    noisy = smooth + 1000 + RNG.normal(size=smooth.shape) * 30
    return np.asarray(noisy.clip(0, 60_000).astype(np.uint16))


TRAIN, HELD = field(3), field(4)


def config(**options: Any) -> DenoiSplitConfiguration:
    """A small configuration."""
    data = {"patch_size": 32, "batch_size": 4, "num_workers": 0} | options
    data["data_params"] = {"patches_per_epoch": None} | options.get("data_params", {})
    return create_advanced_denoisplit_config("x", NAMES, **data)


def measured(**options: Any) -> DenoiSplitConfiguration:
    """A configuration for measured mixtures."""
    return config(mixing="measured", **options)


def test_batches_have_the_promised_shapes() -> None:
    data = DenoiSplitDataModule(config(), TRAIN, val_data_target=HELD)
    batches = list(data.train_dataloader())
    (held,) = [batch for batch in data.val_dataloader() if len(batch.input) == 4][-1:]

    assert [len(batch.input) for batch in batches] == [4, 4, 4]
    assert batches[0].input.shape == (4, 1, 32, 32)
    assert batches[0].target.shape == held.target.shape == (4, 2, 32, 32)
    assert len(data.val_dataset) == 16


def test_data_can_be_given_by_name_in_any_order() -> None:
    together = DenoiSplitDataModule(config(), TRAIN, val_data_target=HELD)
    by_name = DenoiSplitDataModule(
        config(),
        {"actin": TRAIN[:, 1], "er": TRAIN[:, 0]},
        val_data_target={"er": HELD[:, 0], "actin": HELD[:, 1]},
    )

    assert by_name.statistics == together.statistics
    one, other = next(iter(together.train_dataloader())), next(iter(by_name.train_dataloader()))
    assert torch.equal(one.target, other.target)


def test_validation_arrays_have_the_axes_of_training_arrays() -> None:
    ambiguous = field(2)
    data = DenoiSplitDataModule(config(), TRAIN, val_data_target=ambiguous)

    assert len(data.validation.channels[0]) == 2


def test_statistics_are_those_of_the_training_data_alone() -> None:
    data = DenoiSplitDataModule(config(), TRAIN, val_data_target=HELD)
    direct = compute_statistics(
        [list(TRAIN[:, 0]), list(TRAIN[:, 1])], NAMES, n_pixels=TRAIN[:, 0].size
    )

    assert data.statistics == direct


def test_statistics_of_the_run_are_not_measured_again() -> None:
    first = DenoiSplitDataModule(config(), TRAIN, val_data_target=HELD)
    known = first.statistics.model_copy(update={"input_mean": 7.0})
    again = DenoiSplitDataModule(config(), TRAIN, val_data_target=HELD, statistics=known)

    assert again.statistics is known


def test_statistics_of_other_channels_are_refused() -> None:
    other = compute_statistics([[TRAIN[0, 0]], [TRAIN[0, 1]]], ("er", "nuclei"))
    with pytest.raises(DataError, match="belong to the channels"):
        DenoiSplitDataModule(config(), TRAIN, val_data_target=HELD, statistics=other)


def test_the_resolved_configuration_holds_what_was_inferred() -> None:
    given = config()
    data = DenoiSplitDataModule(given, TRAIN, val_data_target=HELD)
    resolved = data.resolved_config

    assert resolved.data_config.axes == "SCYX"
    assert resolved.data_config.data_type == "array"
    assert resolved.data_config.normalization.target_stds == list(data.statistics.target_stds)
    assert changed_keys(resolved, given) == ()
    again = DenoiSplitDataModule(resolved, TRAIN, val_data_target=HELD)
    assert again.statistics == data.statistics


def test_statistics_in_the_configuration_are_used() -> None:
    normalization = {"input_means": [1.0], "input_stds": [2.0]}
    given = config(data_params={"normalization": normalization})
    data = DenoiSplitDataModule(given, TRAIN, val_data_target=HELD)

    assert (data.statistics.input_mean, data.statistics.input_std) == (1.0, 2.0)


def test_a_position_is_continued_exactly() -> None:
    data = DenoiSplitDataModule(config(augment=True), TRAIN, val_data_target=HELD)
    data.set_position(1)
    whole = torch.cat([batch.input for batch in data.train_dataloader()])
    data.set_position(1, 8)
    rest = torch.cat([batch.input for batch in data.train_dataloader()])

    assert torch.equal(rest, whole[8:])


def test_e7_spawned_workers_see_the_same_data() -> None:
    data = DenoiSplitDataModule(config(), TRAIN, val_data_target=HELD)
    copy = pickle.loads(pickle.dumps(data.train_dataset))  # noqa: S301  (our own object)

    assert torch.equal(copy[17].input, data.train_dataset[17].input)


def test_frames_can_be_split_off() -> None:
    data = DenoiSplitDataModule(config(data_params={"validation_split": "frames"}), TRAIN)

    assert len(data.training.channels[0]) == 2
    assert len(data.val_dataset) == 4


def test_a_missing_image_shows_before_frames_are_split_off() -> None:
    given = config(data_params={"validation_split": "frames"})

    with pytest.raises(DataError, match="3 images of 'er' and 2 of 'actin'"):
        DenoiSplitDataModule(given, {"er": list(TRAIN[:, 0]), "actin": list(TRAIN[1:, 1])})


def test_two_names_of_one_channel_are_refused() -> None:
    twice = {"er": TRAIN[:, 0], "actin": TRAIN[:, 1], " actin": TRAIN[:, 0]}

    with pytest.raises(DataError, match="Give each channel once"):
        DenoiSplitDataModule(config(), twice, val_data_target=HELD)


def test_rows_can_be_split_off_with_a_gap_of_a_patch() -> None:
    high = field(1, 112)
    data = DenoiSplitDataModule(config(data_params={"validation_split": "rows"}), high)
    (upper,), (lower,) = data.training.channels[0], data.validation.channels[0]

    assert (upper.rows, lower.rows) == ((0, 48), (80, 112))


def test_c3_no_validation_data_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"no validation data.*validation_split"):
        DenoiSplitDataModule(config(), TRAIN)


def test_validation_data_equal_to_training_data_are_refused() -> None:
    with pytest.raises(DataError, match="Validation data equal training data"):
        DenoiSplitDataModule(config(), TRAIN, val_data_target=TRAIN[1:2])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a1_a_pixel_that_is_not_finite_is_refused_when_data_are_opened(value: float) -> None:
    bad = TRAIN.astype(np.float32)
    bad[1, 1, 5, 6] = value
    with pytest.raises(DataError, match=r"channel actin: .*\(5, 6\)"):
        DenoiSplitDataModule(config(), bad, val_data_target=HELD)


def test_a1_validation_data_are_checked_too() -> None:
    bad = HELD.astype(np.float32)
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"validation.*channel er: 1 NaN"):
        DenoiSplitDataModule(config(), TRAIN, val_data_target=bad)


@pytest.mark.parametrize("value", [0, 7])
def test_a2_a_constant_channel_is_named(value: int) -> None:
    bad = TRAIN.copy()
    bad[:, 1] = value
    with pytest.raises(DataError, match="channel actin is constant"):
        DenoiSplitDataModule(config(), bad, val_data_target=HELD)


def test_a3_saturation_is_warned_about() -> None:
    bright = np.where(TRAIN > 1100, 65_535, TRAIN).astype(np.uint16)
    with pytest.warns(SaturationWarning, match="saturated at 65535"):
        DenoiSplitDataModule(config(), bright, val_data_target=HELD)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (TRAIN[:, 0], {}, "2 expected"),
        (TRAIN[:, :, :, :, None], {}, "shape|axes"),
        (TRAIN, {"axes": "SYX"}, "3 letters do not fit 4 axes"),
        (TRAIN, {"axes": "CSYX"}, "3 channels; 2 expected"),
        (np.zeros((0, 2, 64, 64)), {}, "shape|no pixels|empty"),
        ({"er": TRAIN[:, 0]}, {}, r"missing \['actin'\]"),
        ({"er": TRAIN[:, 0], "nuclei": TRAIN[:, 1]}, {}, r"unknown \['nuclei'\]"),
        ({"er": TRAIN[:, 0], "actin": TRAIN[:2, 1]}, {}, "3 images of 'er' and 2 of 'actin'"),
        ({"er": TRAIN[:, 0], "actin": TRAIN[:, 1, :64]}, {}, r"\(80, 80\) pixels.*\(64, 80\)"),
        ("no/such/folder", {}, "no/such/folder"),
        ([], {}, "No image was given"),
        (TRAIN.astype(complex), {}, "complex"),
    ],
)
def test_a5_data_that_contradict_the_configuration_are_refused(
    target: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        DenoiSplitDataModule(config(**options), target, val_data_target=HELD)


def test_a5_a_number_of_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"has 2 channels.*selects \[0, 2\]"):
        DenoiSplitDataModule(
            config(axes="SCYX", data_params={"channels": [0, 2]}), TRAIN, val_data_target=HELD
        )


def test_channels_can_be_chosen_by_number() -> None:
    given = config(axes="SCYX", data_params={"channels": [1, 0]})
    data = DenoiSplitDataModule(given, TRAIN, val_data_target=HELD)
    plain = DenoiSplitDataModule(config(), TRAIN, val_data_target=HELD)

    assert data.statistics.target_means == plain.statistics.target_means[::-1]


def test_a6_channels_named_in_another_order_are_refused() -> None:
    swapped = xr.DataArray(
        TRAIN, dims=("sample", "channel", "y", "x"), coords={"channel": ["actin", "er"]}
    )
    with pytest.raises(DataError, match=r"\['actin', 'er'\].*\['er', 'actin'\]"):
        DenoiSplitDataModule(config(), swapped, val_data_target=HELD)


def test_a6_a_file_of_another_channel_is_refused() -> None:
    wrong = xr.DataArray(
        TRAIN[:, :1], dims=("sample", "channel", "y", "x"), coords={"channel": ["actin"]}
    )
    with pytest.raises(DataError, match="given as channel 'er', but calls itself"):
        DenoiSplitDataModule(config(), {"er": wrong, "actin": TRAIN[:, 1]}, val_data_target=HELD)


def test_a6_names_that_agree_or_mean_nothing_are_accepted() -> None:
    for names in (["ER", "Actin"], ["0", "1"]):
        named = xr.DataArray(TRAIN, dims=("sample", "channel", "y", "x"), coords={"channel": names})
        assert DenoiSplitDataModule(config(), named, val_data_target=HELD).statistics.n_pixels


@pytest.mark.parametrize("size", [1, 15, 31])
def test_a7_images_smaller_than_a_patch_are_refused_with_the_needed_size(size: int) -> None:
    small = np.asarray(TRAIN[:, :, :size, :])
    with pytest.raises(DataError, match=rf"\({size}, 80\) pixels; at least \(32, 32\)"):
        DenoiSplitDataModule(config(axes="SCYX"), small, val_data_target=HELD)


@pytest.mark.parametrize("dtype", [">u2", "int32", "float16", "float64"])
def test_a9_other_types_give_the_same_patches(dtype: str) -> None:
    other = TRAIN.astype(dtype)
    other.flags.writeable = False
    reference = DenoiSplitDataModule(config(), other.astype(np.float32), val_data_target=HELD)
    data = DenoiSplitDataModule(config(), other, val_data_target=HELD)

    torch.testing.assert_close(data.train_dataset[5].input, reference.train_dataset[5].input)


def test_independent_channels_may_differ_in_number_and_size() -> None:
    given = config(algorithm_params={"pairing": "independent"})
    data = DenoiSplitDataModule(
        given,
        {"er": TRAIN[:, 0], "actin": HELD[:, 1, :64]},
        val_data_target={"er": field()[:, 0], "actin": field()[:, 1, :70]},
    )

    assert len(data.train_dataset) == 12
    assert data.train_dataset[3].target.shape == (2, 32, 32)
    assert len(data.val_dataset) == 4


def test_a_measured_mixture_is_compared_with_its_channels() -> None:
    total = TRAIN.astype(np.float32).sum(axis=1) - 400
    held = HELD.astype(np.float32).sum(axis=1) - 400
    data = DenoiSplitDataModule(measured(), TRAIN, total, HELD, held)

    assert data.mixture_fit is not None
    assert data.mixture_fit.rule == "sum"
    assert data.mixture_fit.offset == pytest.approx(-400, abs=40)
    assert data.statistics.input_mean == pytest.approx(total.mean(), rel=1e-5)
    assert data.statistics.mixing == "measured"


def test_a_mixture_of_other_fields_is_refused_with_gain_and_offset() -> None:
    total = TRAIN.astype(np.float32).sum(axis=1)
    held = HELD.astype(np.float32).sum(axis=1)
    with pytest.raises(DataError, match=r"does not show the fields.*mixture = .* er .* actin .*"):
        DenoiSplitDataModule(measured(), TRAIN, np.rot90(total, axes=(1, 2))[::-1], HELD, held)


def test_a_mixture_with_foreign_light_is_warned_about() -> None:
    foreign = field(3)[:, 0].astype(np.float32)
    total = TRAIN.astype(np.float32).sum(axis=1) + 2 * foreign
    held = HELD.astype(np.float32).sum(axis=1)
    with pytest.warns(MixtureWarning, match="doubtful"):
        DenoiSplitDataModule(measured(), TRAIN, total, HELD, held)


@pytest.mark.parametrize(
    ("mixing", "mixture", "held", "held_mixture", "message"),
    [
        ("measured", None, HELD, None, "no mixture was given"),
        ("measured", TRAIN[:, 0], HELD, None, "no validation mixture"),
        ("measured", TRAIN[:, 0], None, HELD[:, 0], "without the channels"),
        ("mean", TRAIN[:, 0], HELD, None, "but a mixture was given"),
        ("sum", None, HELD, HELD[:, 0], "but a mixture was given"),
    ],
)
def test_c3_mixing_rule_and_data_must_agree(
    mixing: Any, mixture: Any, held: Any, held_mixture: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DenoiSplitDataModule(config(mixing=mixing), TRAIN, mixture, held, held_mixture)


def write_tiff(folder: Path) -> Path:
    for number, frame in enumerate(TRAIN):
        tifffile.imwrite(folder / f"{number}.tif", frame, metadata={"axes": "CYX"})
    return folder


def write_zarr(folder: Path) -> Path:
    zarr.save_array(str(folder / "data.zarr"), TRAIN)
    return folder / "data.zarr"


@pytest.mark.parametrize("write", [write_tiff, write_zarr])
@pytest.mark.parametrize("in_memory", [True, False])
def test_files_give_the_same_patches_as_arrays(tmp_path: Path, write: Any, in_memory: bool) -> None:
    source = write(tmp_path)
    reference = DenoiSplitDataModule(config(), TRAIN, val_data_target=HELD)
    given = config(data_params={"in_memory": in_memory})
    data = DenoiSplitDataModule(given, source, val_data_target=HELD)

    assert data.statistics == reference.statistics
    for number in (0, 7, 25):
        assert torch.equal(
            data.train_dataset[number].target, reference.train_dataset[number].target
        )
    lazy = pickle.loads(pickle.dumps(data.train_dataset))  # noqa: S301  (our own object)
    assert torch.equal(lazy[9].input, reference.train_dataset[9].input)


def test_depth_and_time_are_planes(tmp_path: Path) -> None:
    stack = field(6).reshape(2, 3, 2, 80, 80)
    tifffile.imwrite(tmp_path / "stack.ome.tif", stack, metadata={"axes": "TZCYX"})
    data = DenoiSplitDataModule(config(), tmp_path / "stack.ome.tif", val_data_target=field())
    (whole,) = {id(p.stack) for p in data.training.channels[0]}

    assert whole
    assert len(data.training.channels[0]) == 6
    for plane, expected in zip(data.training.channels[1], stack.reshape(6, 2, 80, 80), strict=True):
        np.testing.assert_array_equal(plane.crop(0, 0, 80, 80), expected[1])


def test_stacks_of_careamics_serve_planes_too() -> None:
    stack = InMemoryImageStack.from_array(TRAIN, "SCYX")
    volume = InMemoryImageStack.from_array(TRAIN, "ZCYX")

    assert isinstance(stack, PatchSource)
    assert [plane.sample for plane in planes_of(stack, 1)] == [0, 1, 2]
    for one, other in zip(planes_of(stack, 1), planes_of(volume, 1), strict=True):
        np.testing.assert_array_equal(one.crop(3, 5, 20, 30), other.crop(3, 5, 20, 30))


def test_a_view_offers_the_interface_of_careamics() -> None:
    (image, *_) = read_images(TRAIN, axes="SCYX")
    view = ImageView(image, in_memory=False)

    assert view.original_axes == "SCYX"
    assert tuple(view.original_data_shape) == tuple(view.data_shape) == (1, 2, 80, 80)
    assert view.extract_patch(0, None, (0, 0), (4, 5)).shape == (2, 4, 5)
    with pytest.raises(DataError, match="no channel number 2"):
        planes_of(view, 2)


@pytest.mark.parametrize("offset", [300.0, (200.0, 400.0)])
def test_a_camera_offset_is_removed_from_all_but_one_of_the_channels(
    offset: float | tuple[float, ...], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"mixing": "sum", "algorithm_params": {"camera_offset": offset}}
    plain = DenoiSplitDataModule(config(mixing="sum"), TRAIN, val_data_target=HELD)
    data = DenoiSplitDataModule(config(**options), TRAIN, val_data_target=HELD)

    assert data.statistics.input_mean == pytest.approx(plain.statistics.input_mean - 300)
    assert data.statistics.input_std == plain.statistics.input_std
    for name, value in data.statistics.input_percentiles.items():
        assert value == pytest.approx(plain.statistics.input_percentiles[name] - 300, abs=0.01)
    for ours, theirs in (
        (data.train_dataset, plain.train_dataset),
        (data.val_dataset, plain.val_dataset),
    ):
        torch.testing.assert_close(ours[1].input, theirs[1].input, rtol=0, atol=1e-5)
        assert torch.equal(ours[1].target, theirs[1].target)
    recorded = Statistics.model_validate_json(data.statistics.model_dump_json())
    assert sum(recorded.camera_offsets or ()) == 600
    path = tmp_path / "config.yaml"
    save_configuration(data.resolved_config, path)
    assert load_configuration(path).algorithm_config.camera_offset == offset


def test_without_a_camera_offset_images_are_mixed_as_they_are() -> None:
    data = DenoiSplitDataModule(config(mixing="sum"), TRAIN, val_data_target=HELD)
    statistics, batch = data.statistics, data.val_dataset[0]

    assert statistics.camera_offsets is None
    mixed = HELD[0, :, :32, :32].astype(np.float32).sum(axis=0)
    expected = (mixed - statistics.input_mean) / statistics.input_std
    np.testing.assert_array_equal(batch.input[0].numpy(), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"camera_offset": (1.0, 2.0, 3.0)}, "3 values of `camera_offset` for 2 channels"),
        ({"camera_offset": float("nan")}, "camera_offset"),
        ({"camera_offset": True}, "camera_offset"),
        ({"camera_offset": 100.0, "mixing": "measured"}, "no effect on a measured mixture"),
    ],
)
def test_a_camera_offset_that_cannot_be_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        config(algorithm_params=settings)
