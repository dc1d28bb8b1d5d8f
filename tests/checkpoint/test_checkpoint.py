"""The portable model folder: whole, free of pickle, and plain about what does not fit."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from careamics_denoisplit.calibration import (
    CalibrationSet,
    PixelSample,
    fit_estimator,
)
from careamics_denoisplit.checkpoint import TrainedModel, load_model, save_model
from careamics_denoisplit.config import (
    DenoiSplitConfiguration,
    create_advanced_denoisplit_config,
)
from careamics_denoisplit.data import Statistics
from careamics_denoisplit.errors import CheckpointError, ConfigurationError, NoiseModelError
from careamics_denoisplit.files import write_manifest
from careamics_denoisplit.lightning_module import DenoiSplitModule
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelInfo
from careamics_denoisplit.training import WholeFileCheckpointIO

CHANNELS = ("er", "actin")


def configuration(filters: int = 8, algorithm: Any = "denoisplit") -> DenoiSplitConfiguration:
    """Return the settings of a very small network."""
    return create_advanced_denoisplit_config(
        "small",
        CHANNELS,
        algorithm=algorithm,
        patch_size=32,
        model_params={"filters": filters, "latent_channels": (4, 4), "stem_stride": 1},
    )


def trained_model(algorithm: Any = "denoisplit", filters: int = 8) -> TrainedModel:
    """Return an untrained small model with everything a training leaves behind."""
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
    noise_models = tuple(
        GaussianMixtureNoiseModel(
            torch.tensor([[0.0, 0.0], [2.0, 1.0], [0.0, 0.0]]),
            0.0,
            200.0,
            0.5,
            NoiseModelInfo(channel=name),
        )
        for name in CHANNELS
    )
    needed = noise_models if algorithm == "denoisplit" else ()
    module = DenoiSplitModule(configuration(filters, algorithm), statistics, needed)
    return TrainedModel.of(module.eval())


def calibrated(trained: TrainedModel) -> TrainedModel:
    """Return the model with a calibration of 16 samples."""
    random = np.random.default_rng(0)
    mean = random.normal(100, 20, (2, 4000))
    spread = random.uniform(1, 3, (2, 4000))
    pixels = PixelSample(mean, spread, mean + 2 * spread * random.normal(size=mean.shape))
    fitted = CalibrationSet(channel_names=CHANNELS).with_estimator(
        "samples-16", fit_estimator(pixels, joint=False)
    )
    return replace(trained, calibrations=fitted)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder that holds a model."""
    save_model(tmp_path / "run" / "model", trained_model())
    return tmp_path / "run" / "model"


def rewrite(folder: Path, name: str, text: str) -> None:
    """Change a file on purpose, with its entry in the list of hashes."""
    (folder / name).write_text(text, encoding="utf-8")
    write_manifest(folder)


def test_what_was_saved_comes_back_to_the_bit(tmp_path: Path) -> None:
    trained = calibrated(trained_model())

    save_model(tmp_path / "model", trained)
    loaded = load_model(tmp_path / "model")

    for name, tensor in trained.network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[name]), name
    assert loaded.config == trained.config
    assert loaded.statistics == trained.statistics
    assert loaded.calibrations == trained.calibrations
    assert [model.info for model in loaded.noise_models] == [
        model.info for model in trained.noise_models
    ]
    assert torch.equal(loaded.noise_models[1].weight, trained.noise_models[1].weight)
    assert not loaded.network.training


def test_a_calibration_of_other_channels_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", calibrated(trained_model()))
    stored = json.loads((folder / "calibration.json").read_text())
    stored["channel_names"] = ["actin", "er"]
    rewrite(folder, "calibration.json", json.dumps(stored))

    with pytest.raises(CheckpointError, match=r"is that of actin, er, the model has .* er, actin"):
        load_model(folder)


@pytest.mark.parametrize("name", ["mixture.tif", "model/weights.safetensors"])
def test_a_file_that_is_no_checkpoint_is_no_model(folder: Path, name: str) -> None:
    (folder.parent / "mixture.tif").write_bytes(b"II*")

    with pytest.raises(CheckpointError, match=r"is no model\. Give a run folder"):
        load_model(folder.parent / name)


def test_a_mistyped_run_is_answered_with_the_nearest_one(folder: Path) -> None:
    run = folder.parent

    with pytest.raises(CheckpointError, match=f"Did you mean '{run}'"):
        load_model(run.with_name("rum"))
    with pytest.raises(CheckpointError, match=f"is no run.* It holds the runs {run}"):
        load_model(run.parent)


def test_the_layout_of_weights_in_memory_plays_no_part(tmp_path: Path) -> None:
    trained = trained_model()
    expected = {name: each.clone() for name, each in trained.network.state_dict().items()}
    trained.network.to(memory_format=torch.channels_last)

    save_model(tmp_path / "model", trained)

    weights = load_model(tmp_path / "model").network.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in expected.items())


def test_the_folder_holds_the_files_that_users_are_promised(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "weights.safetensors",
        "config.yaml",
        "statistics.json",
        "calibration.json",
        "noise_model_er.npz",
        "noise_model_actin.npz",
        "manifest.json",
    }


def test_the_manifest_lists_every_file(folder: Path) -> None:
    listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["sha256"]

    assert set(listed) == {path.name for path in folder.iterdir()} - {"manifest.json"}


def test_a_run_is_read_from_its_model_folder(folder: Path) -> None:
    loaded = load_model(folder.parent)

    assert loaded.source == folder.absolute()


def test_a_gaussian_likelihood_needs_no_noise_models(tmp_path: Path) -> None:
    save_model(tmp_path / "model", trained_model("altered_musplit"))

    assert load_model(tmp_path / "model").noise_models == ()


def test_saving_again_replaces_the_folder_as_a_whole(folder: Path) -> None:
    (folder / "stray.txt").write_text("left over", encoding="utf-8")

    save_model(folder, calibrated(trained_model()))

    assert not (folder / "stray.txt").exists()
    assert load_model(folder).calibrations.factors("samples-16") is not None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_i2_the_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_model(tmp_path / "model", trained_model())
    finally:
        os.umask(before)

    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()}
    assert modes == {0o644}


def change_weights(folder: Path, change: Any) -> None:
    """Write weights that `change` has altered in place."""
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "weights.safetensors")
    write_manifest(folder)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("head.bias"))

    with pytest.raises(CheckpointError, match=r"no tensor head\.bias of shape \(2,\)"):
        load_model(folder)


def test_a_superfluous_tensor_is_named(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"tail.weight": torch.zeros(3)}))

    with pytest.raises(CheckpointError, match=r"a tensor tail\.weight that this network does not"):
        load_model(folder)


def test_a_checkpoint_of_another_architecture_is_refused_with_the_tensor(folder: Path) -> None:
    other = yaml.safe_dump(configuration(filters=12).to_plain())

    rewrite(folder, "config.yaml", other)

    with pytest.raises(CheckpointError, match=r"tensor stem\.weight has shape \(8, .*\(12, "):
        load_model(folder)


def test_e1_weights_that_are_no_numbers_are_neither_saved_nor_loaded(folder: Path) -> None:
    trained = trained_model()
    with torch.no_grad():
        trained.network.head.bias[0] = torch.nan

    with pytest.raises(CheckpointError, match=r"NaN or infinite numbers in the tensor head\.bias"):
        save_model(folder, trained)
    change_weights(folder, lambda weights: weights["head.bias"].fill_(torch.inf))
    with pytest.raises(CheckpointError, match=r"NaN or infinite numbers in the tensor head\.bias"):
        load_model(folder)


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "config.yaml", "statistics.json", "noise_model_er.npz"]
)
def test_a_changed_byte_is_found_in_every_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(CheckpointError, match=f"{name} is not the file that was saved"):
        load_model(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "statistics.json").unlink()

    with pytest.raises(CheckpointError, match=r"statistics\.json is missing"):
        load_model(folder)


def test_weights_that_are_cut_are_refused(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    write_manifest(folder)

    with pytest.raises(CheckpointError, match="cut or damaged"):
        load_model(folder)


def test_statistics_of_other_channels_are_refused(folder: Path) -> None:
    text = (folder / "statistics.json").read_text(encoding="utf-8")

    rewrite(folder, "statistics.json", text.replace('"er"', '"nuclei"'))

    with pytest.raises(CheckpointError, match="those of nuclei, actin, the configuration names er"):
        load_model(folder)


def test_statistics_without_a_standard_deviation_are_refused(folder: Path) -> None:
    text = (folder / "statistics.json").read_text(encoding="utf-8")

    rewrite(folder, "statistics.json", text.replace('"input_std": 20.0', '"input_std": 0.0'))

    with pytest.raises(CheckpointError, match=r"statistics\.json: input_std: .* got 0\.0"):
        load_model(folder)


def test_c1_an_unknown_key_of_the_configuration_is_refused(folder: Path) -> None:
    text = (folder / "config.yaml").read_text(encoding="utf-8")

    rewrite(folder, "config.yaml", text.replace("kl_weight:", "kl_wieght:"))

    with pytest.raises(ConfigurationError, match="Did you mean `kl_weight`"):
        load_model(folder)


def test_swapped_noise_models_are_refused(folder: Path) -> None:
    first, second = folder / "noise_model_er.npz", folder / "noise_model_actin.npz"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    write_manifest(folder)

    with pytest.raises(NoiseModelError, match="swapped"):
        load_model(folder)


def test_a_missing_noise_model_is_refused(folder: Path) -> None:
    (folder / "noise_model_er.npz").unlink()
    write_manifest(folder)

    with pytest.raises(NoiseModelError, match="er"):
        load_model(folder)


def test_a_folder_without_a_model_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither `model/manifest\.json` nor `checkpoints/`"):
        load_model(tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no model at"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("address", ["http://example.org/best.ckpt", "s3://bucket/run"])
def test_g1_models_are_not_fetched_from_the_network(address: str) -> None:
    with pytest.raises(CheckpointError, match="local files only"):
        load_model(address)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("forced", [False, True])
def test_g1_code_in_a_checkpoint_is_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forced: bool
) -> None:
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = tmp_path / "executed"
    torch.save({"state_dict": Payload(marker)}, tmp_path / "bad.ckpt")

    with pytest.raises(CheckpointError, match="only weights are read"):
        load_model(tmp_path / "bad.ckpt")
    assert not marker.exists()


def test_g1_the_payload_of_this_test_would_run_if_it_were_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    torch.save({"state_dict": Payload(marker)}, tmp_path / "bad.ckpt")

    torch.load(tmp_path / "bad.ckpt", weights_only=False)

    assert marker.exists()


def training_checkpoint(trained: TrainedModel, path: Path) -> None:
    """Write what a training would, without a trainer."""
    module = DenoiSplitModule(trained.config, trained.statistics, trained.noise_models)
    module.network.load_state_dict(trained.network.state_dict())
    content: dict[str, Any] = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
    }
    module.on_save_checkpoint(content)
    WholeFileCheckpointIO().save_checkpoint(content, path)


def test_a_checkpoint_of_a_training_gives_the_same_network(tmp_path: Path) -> None:
    trained = trained_model()
    training_checkpoint(trained, tmp_path / "run" / "checkpoints" / "best.ckpt")

    from_file = load_model(tmp_path / "run" / "checkpoints" / "best.ckpt")
    from_run = load_model(tmp_path / "run")

    for loaded in (from_file, from_run):
        assert torch.equal(loaded.network.head.weight, trained.network.head.weight)
        assert loaded.statistics == trained.statistics
        assert loaded.noise_models[0].info.channel == "er"


def test_a_folder_set_aside_by_a_killed_process_is_found_again(folder: Path) -> None:
    folder.rename(folder.parent / ".denoisplit-old-model")

    assert load_model(folder.parent).channel_names == CHANNELS
