"""Files: written so that careamics reads them, read as if strangers had made them."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from careamics.config import GaussianMixtureNMConfig
from careamics.models.lvae.noise_models import GaussianMixtureNoiseModel as PublishedNoiseModel

from careamics_denoisplit.errors import NoiseModelError
from careamics_denoisplit.noise_model import (
    GaussianMixtureNoiseModel,
    NoiseModelInfo,
    load_noise_model,
)

INFO = NoiseModelInfo(
    channel="F-actin",
    verdict="pass",
    n_pairs=200_000,
    heldout_nll=4.25,
    observation_range=(-3.0, 4095.0),
    camera="Orca Flash 4.0",
    gain=0.46,
    exposure=0.1,
    date="2026-11-22",
)


def valid_arrays(**changes: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "trained_weight": np.zeros((3, 2), np.float32),
        "min_signal": np.float32(0),
        "max_signal": np.float32(100),
        "min_sigma": np.float32(0.125),
    }
    return {name: value for name, value in (arrays | changes).items() if value is not None}


def write(path: Path, **changes: Any) -> Path:
    np.savez(path, **valid_arrays(**changes))
    return path


class Marker:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_model_survives_its_file_to_the_bit(tmp_path: Path) -> None:
    weight = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    model = GaussianMixtureNoiseModel(weight, -12.5, 3000.0, 0.7, INFO)

    model.save(tmp_path / "m.npz")
    again = load_noise_model(tmp_path / "m.npz")

    assert again.info == INFO
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(
        torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items()
    )


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    model = GaussianMixtureNoiseModel(torch.ones(3, 2), 0.0, 1.0, 0.1, INFO)
    for name in ("a.npz", "b.npz"):
        model.save(tmp_path / name)

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_careamics_reads_our_file(tmp_path: Path) -> None:
    GaussianMixtureNoiseModel(torch.ones(6, 2), 2.0, 90.0, 0.1, INFO).save(tmp_path / "m.npz")

    published = PublishedNoiseModel(GaussianMixtureNMConfig(path=tmp_path / "m.npz"))

    assert published.n_gaussian == 2
    assert published.min_signal.item() == 2.0
    assert published.min_sigma.item() == pytest.approx(0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("shape", [(3, 2), (9, 2), (18, 4)])
def test_a_file_of_careamics_is_read(tmp_path: Path, shape: tuple[int, int], dtype: Any) -> None:
    weight = np.arange(shape[0] * shape[1], dtype=dtype).reshape(shape) / 10
    path = write(tmp_path / "m.npz", trained_weight=weight.astype(dtype))

    model = load_noise_model(path)

    np.testing.assert_array_equal(model.weight.numpy(), weight.astype(np.float32))
    assert model.info.channel is None
    assert model.info.verdict == "unknown"


def test_a_file_saved_by_careamics_itself_is_read(tmp_path: Path) -> None:
    source = write(tmp_path / "source.npz", trained_weight=np.full((3, 2), 0.5))
    PublishedNoiseModel(GaussianMixtureNMConfig(path=source)).save(str(tmp_path), "saved.npz")

    model = load_noise_model(tmp_path / "saved.npz")

    assert (model.n_gaussians, model.n_coefficients) == (1, 2)
    assert model.signal_range == (0.0, 100.0)


def test_scalars_may_be_arrays_of_length_one_and_channels_be_numbered(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.npz", min_signal=np.array([-5.0]), channel_index=np.array([1], np.int64)
    )

    model = load_noise_model(path)

    assert model.signal_range == (-5.0, 100.0)
    assert model.info.channel_index == 1


def test_d1_objects_are_refused_and_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = tmp_path / "m.npz"
    np.savez(path, **valid_arrays(channel=np.array([Marker(mark)], dtype=object)))

    with pytest.raises(NoiseModelError, match="Python objects"):
        load_noise_model(path)

    assert not mark.exists()


def test_d1_a_renamed_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    mark, path = tmp_path / "executed", tmp_path / "m.npz"
    path.write_bytes(pickle.dumps(Marker(mark)))

    with pytest.raises(NoiseModelError, match=r"m\.npz cannot be used as an npz file"):
        load_noise_model(path)

    assert not mark.exists()


@pytest.mark.parametrize("key", ["trained_weight", "min_signal", "max_signal", "min_sigma"])
def test_d1_a_missing_entry_is_named(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "m.npz", **{key: None})

    with pytest.raises(NoiseModelError, match=rf"missing are \['{key}'\]"):
        load_noise_model(path)


def test_d1_an_unknown_entry_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "m.npz", min_signl=np.float32(3))

    with pytest.raises(NoiseModelError, match=r"unknown are \['min_signl'\]"):
        load_noise_model(path)


@pytest.mark.parametrize("shape", [(2, 2), (4, 2), (0, 2), (3, 0), (3,), (3, 2, 1), ()])
def test_d1_weights_of_another_shape_than_3g_by_p_are_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = write(tmp_path / "m.npz", trained_weight=np.zeros(shape))

    with pytest.raises(NoiseModelError, match=r"shape \(3 G, P\)"):
        load_noise_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trained_weight": np.array([["a", "b"]] * 3)}, "weights must be numbers"),
        ({"trained_weight": np.zeros((3, 2), bool)}, "weights must be numbers"),
        ({"min_signal": np.zeros(2)}, "'min_signal' must be one number"),
        ({"max_signal": np.array("7")}, "'max_signal' must be one number"),
        ({"channel": np.float32(3)}, "'channel' must be one text"),
        ({"verdict": np.array("splendid")}, "verdict must be one of"),
        ({"observation_range": np.zeros(3)}, "range must be two finite numbers"),
        ({"heldout_nll": np.float32(np.nan)}, "'heldout_nll' must be finite"),
        ({"format_version": np.int64(99)}, "format version 99"),
    ],
)
def test_d1_entries_of_another_kind_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "m.npz", **changes)

    with pytest.raises(NoiseModelError, match=message):
        load_noise_model(path)


def test_d1_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoiseModelError, match=r"no noise model at .*absent\.npz"):
        load_noise_model(tmp_path / "absent.npz")


def test_d1_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.npz")
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(NoiseModelError, match=r"m\.npz"):
        load_noise_model(path)


def test_d2_a_header_of_8_terabytes_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    )
    arrays = valid_arrays(trained_weight=None)
    path = tmp_path / "m.npz"
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("trained_weight.npy", header.getvalue() + bytes(64))

    with pytest.raises(NoiseModelError, match="declares 8000000000000 bytes"):
        load_noise_model(path)


def test_d2_a_compressed_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez_compressed(path, **valid_arrays(trained_weight=np.zeros((3, 3_000_000))))

    with pytest.raises(NoiseModelError, match="at most 1048576 are accepted"):
        load_noise_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trained_weight": np.array([[np.nan, 0.0]] * 3)}, "weights .* finite, got 3 of 6"),
        ({"trained_weight": np.array([[np.inf, 0.0]] * 3)}, "weights .* finite, got 3 of 6"),
        ({"trained_weight": np.full((3, 2), 1e300)}, "weights .* finite, got 6 of 6"),
        ({"trained_weight": np.full((3, 2), 100.0)}, r"variance .* finite, got .* exp\(100\)"),
        ({"min_signal": np.float32(100)}, "min_signal below max_signal"),
        ({"min_signal": np.float32(200)}, "min_signal below max_signal"),
        ({"max_signal": np.float32(np.nan)}, "min_signal below max_signal"),
        ({"max_signal": np.float32(np.inf)}, "min_signal below max_signal"),
        ({"min_sigma": np.float32(0)}, "min_sigma, the floor"),
        ({"min_sigma": np.float32(-125)}, "min_sigma, the floor"),
        ({"min_sigma": np.float32(np.nan)}, "min_sigma, the floor"),
        ({"min_sigma": np.float64(1e-300)}, "min_sigma, the floor"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_d3_parameters_that_describe_no_density_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "m.npz", **changes)

    with pytest.raises(NoiseModelError, match=message):
        load_noise_model(path)
