"""The one-pass spread in the model folder: whole, tied to the weights it was fitted to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from careamics_denoisplit.calibration import CalibrationSet, PixelSample, fit_estimator
from careamics_denoisplit.checkpoint import TrainedModel, load_model, save_model
from careamics_denoisplit.config import create_advanced_denoisplit_config
from careamics_denoisplit.data import Statistics
from careamics_denoisplit.distillation import Distillation, Gate, weights_digest
from careamics_denoisplit.errors import CheckpointError
from careamics_denoisplit.files import write_manifest
from careamics_denoisplit.network import LadderVAE, head_for

CHANNELS = ("er", "actin")


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    config = create_advanced_denoisplit_config(
        "small",
        CHANNELS,
        patch_size=32,
        algorithm="altered_musplit",
        model_params={"filters": 4, "latent_channels": (4, 4), "stem_stride": 2},
    )
    statistics = Statistics(
        input_mean=100.0,
        input_std=20.0,
        target_means=(90.0, 110.0),
        target_stds=(15.0, 25.0),
        channel_names=CHANNELS,
        mixing="mean",
        input_percentiles={"50": 100.0},
        n_pixels=4096,
    )
    network = LadderVAE(**config.algorithm_config.model.model_dump()).eval()
    return TrainedModel(network, config, statistics, calibrations=CalibrationSet())


@pytest.fixture(scope="module")
def distilled(trained: TrainedModel) -> TrainedModel:
    record = Distillation(
        channel_names=CHANNELS,
        width=6,
        weights_sha256=weights_digest(trained.network),
        gates=(Gate(name="g", title="t", limit="l", status="passed", figures={"er": (1.0,)}),),
    )
    head = head_for(trained.network, 6)
    torch.nn.init.normal_(head.out.weight)
    return trained.with_spread_head(head.eval(), record)


@pytest.fixture
def folder(distilled: TrainedModel, tmp_path: Path) -> Path:
    return save_model(tmp_path / "run" / "model", distilled)


def test_head_and_verdict_come_back_to_the_bit(folder: Path, distilled: TrainedModel) -> None:
    loaded = load_model(folder)

    assert loaded.distillation == distilled.distillation
    assert loaded.spread_head is not None
    assert distilled.spread_head is not None
    for name, tensor in distilled.spread_head.state_dict().items():
        assert torch.equal(tensor, loaded.spread_head.state_dict()[name]), name
    assert not any(each.requires_grad for each in loaded.spread_head.parameters())


def test_its_files_are_in_the_list_of_hashes(folder: Path) -> None:
    listed = json.loads((folder / "manifest.json").read_text())["sha256"]
    assert {"spread.safetensors", "distillation.json"} <= set(listed)

    (folder / "spread.safetensors").write_bytes(b"other")
    with pytest.raises(CheckpointError, match=r"spread\.safetensors is not the file that was"):
        load_model(folder)


def test_a_model_without_a_head_still_loads(trained: TrainedModel, tmp_path: Path) -> None:
    loaded = load_model(save_model(tmp_path / "model", trained))

    assert loaded.spread_head is None
    assert loaded.distillation is None


def test_new_weights_leave_the_old_head_behind(
    folder: Path, distilled: TrainedModel, trained: TrainedModel
) -> None:
    other = LadderVAE(**distilled.config.algorithm_config.model.model_dump())
    safetensors.torch.save_file(other.state_dict(), folder / "weights.safetensors")
    write_manifest(folder)

    with pytest.warns(UserWarning, match="fitted to other weights and is left out. Run"):
        loaded = load_model(folder)
    assert loaded.spread_head is None

    save_model(folder, trained)
    assert not (folder / "spread.safetensors").exists()


def test_a_head_of_former_layers_is_left_behind(folder: Path) -> None:
    noted = json.loads((folder / "distillation.json").read_text())
    (folder / "distillation.json").write_text(json.dumps(noted | {"format_version": 1}))
    write_manifest(folder)

    with pytest.warns(UserWarning, match="of a former kind and is left out. Run `denoisplit dist"):
        loaded = load_model(folder)

    assert loaded.spread_head is None


def test_a_tensor_that_does_not_fit_is_named(folder: Path, distilled: TrainedModel) -> None:
    assert distilled.spread_head is not None
    state = distilled.spread_head.state_dict() | {"look.weight": torch.zeros(6, 5, 3, 3)}
    safetensors.torch.save_file(state, folder / "spread.safetensors")
    write_manifest(folder)

    with pytest.raises(CheckpointError, match=r"look\.weight has shape \(6, 5, 3, 3\)"):
        load_model(folder)


def test_a_new_head_drops_the_calibration_of_the_former_one(distilled: TrainedModel) -> None:
    random = torch.Generator().manual_seed(0)
    mean, spread = (torch.rand(2, 2, 500, generator=random) + 1).double().numpy()
    fitted = fit_estimator(PixelSample(mean, spread, mean + spread), joint=False)
    both = CalibrationSet(channel_names=CHANNELS)
    for name in ("distilled", "samples-16"):
        both = both.with_estimator(name, fitted)
    model = replace(distilled, calibrations=both)
    assert model.spread_head is not None
    assert model.distillation is not None

    again = model.with_spread_head(model.spread_head, model.distillation)

    assert list(again.calibrations.estimators) == ["samples-16"]


def test_the_digest_depends_on_every_number_only(trained: TrainedModel) -> None:
    same = LadderVAE(**trained.config.algorithm_config.model.model_dump())
    same.load_state_dict(trained.network.state_dict())
    same.to(memory_format=torch.channels_last)
    assert weights_digest(same) == weights_digest(trained.network)

    with torch.no_grad():
        same.get_parameter("head.bias")[0] += 1
    assert weights_digest(same) != weights_digest(trained.network)
