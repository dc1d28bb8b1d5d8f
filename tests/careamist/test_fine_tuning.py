"""Fine-tuning: a new run that starts from the weights of another model."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.careamist.starting import open_start, start_of
from careamics_denoisplit.checkpoint import TrainedModel, load_model
from careamics_denoisplit.cli.app import run as denoisplit
from careamics_denoisplit.config import (
    DenoiSplitConfiguration,
    configuration_from_dict,
    load_configuration,
    save_configuration,
)
from careamics_denoisplit.errors import CheckpointError, ConfigurationError

BRIGHTER = 1.2
"""Factor of the new images."""


@pytest.fixture(scope="session")
def still(fields: ModuleType) -> DenoiSplitConfiguration:
    """Settings of one step, in which float32 weights do not move."""
    config: DenoiSplitConfiguration = fields.small_config(
        num_epochs=1, num_steps=1, optimizer_params={"lr": 1e-30}
    )
    return config


def longer(config: DenoiSplitConfiguration) -> DenoiSplitConfiguration:
    plain = config.to_plain()
    plain["training_config"]["trainer_params"]["max_epochs"] = 2
    return configuration_from_dict(plain)


@pytest.fixture(scope="session")
def train(fields: ModuleType) -> Callable[..., DenoiSplitCAREamist]:
    """Train on brighter images of the same channels."""
    images = BRIGHTER * fields.NOISY

    def train(opened: DenoiSplitCAREamist, **options: Any) -> DenoiSplitCAREamist:
        opened.train(
            train_data_target=images[:2], val_data_target=images[2:], device="cpu", **options
        )
        return opened

    return train


@pytest.fixture(scope="module")
def origin(run: Path) -> TrainedModel:
    return load_model(run)


@pytest.fixture(scope="module")
def tuned(
    run: Path,
    still: DenoiSplitConfiguration,
    train: Callable[..., DenoiSplitCAREamist],
    tmp_path_factory: pytest.TempPathFactory,
) -> DenoiSplitCAREamist:
    folder = tmp_path_factory.mktemp("tuned") / "tuned"
    return train(
        DenoiSplitCAREamist(still, work_dir=folder, enable_progress_bar=False), start_from=run
    )


def parameters(trained: TrainedModel | None) -> dict[str, torch.Tensor]:
    assert trained is not None
    return dict(trained.network.named_parameters())


def log_of(opened: DenoiSplitCAREamist) -> str:
    return (opened.work_dir / "logs" / "denoisplit.log").read_text(encoding="utf-8")


def test_training_starts_from_the_weights_with_their_statistics_and_noise_models(
    tuned: DenoiSplitCAREamist, origin: TrainedModel
) -> None:
    assert tuned.trained is not None
    for name, tensor in parameters(tuned.trained).items():
        assert torch.equal(tensor, parameters(origin)[name]), name
    after, known = tuned.trained.statistics, origin.statistics
    assert (after.input_mean, after.input_std) == (known.input_mean, known.input_std)
    assert (after.target_means, after.target_stds) == (known.target_means, known.target_stds)
    assert after.input_percentiles["50"] == pytest.approx(
        BRIGHTER * known.input_percentiles["50"], rel=0.05
    )
    for new, old in zip(tuned.trained.noise_models, origin.noise_models, strict=True):
        assert torch.equal(new.weight, old.weight)
    assert tuned.trained.calibrations.estimators == {}


def test_the_run_records_where_it_came_from(tuned: DenoiSplitCAREamist, run: Path) -> None:
    origin = load_configuration(tuned.work_dir / "config.yaml").training_config.origin

    assert origin is not None
    assert (origin.name, origin.experiment_name) == (run.name, "small")
    assert len(origin.weights_sha256) == 64
    assert load_model(tuned.work_dir).config.training_config.origin == origin
    assert f"the weights of {run.name}; its means and standard deviations are kept" in log_of(tuned)
    assert f"the weights of {run.name}" in (tuned.work_dir / "report.html").read_text()


@pytest.mark.parametrize(
    ("part", "name"),
    [(".", "small"), ("model", "small"), ("checkpoints/best.ckpt", "small/best.ckpt")],
)
def test_a_run_its_model_or_a_checkpoint_can_be_the_start(
    run: Path, still: DenoiSplitConfiguration, origin: TrainedModel, part: str, name: str
) -> None:
    config, start = start_of(still, open_start(run / part))

    assert config.training_config.origin is not None
    assert config.training_config.origin.name == name
    for key, tensor in origin.network.state_dict().items():
        assert torch.equal(start.weights[key], tensor)


def test_statistics_are_measured_where_that_was_asked_for(
    still: DenoiSplitConfiguration, origin: TrainedModel
) -> None:
    config, start = start_of(tuned_settings(still, origin), origin, new_statistics=True)

    assert config.data_config.normalization.input_means is None
    assert config.data_config.normalization.target_stds is None
    assert "measured anew, the weights know others" in start.words


def test_the_input_is_measured_where_it_is_mixed_otherwise(
    fields: ModuleType, origin: TrainedModel
) -> None:
    config, start = start_of(fields.small_config(mixing="sum"), origin)

    assert config.data_config.normalization.input_means is None
    assert config.data_config.normalization.target_means == list(origin.statistics.target_means)
    assert "its input was mixed otherwise (mean) than it is now (sum)" in start.words


def tuned_settings(
    config: DenoiSplitConfiguration, origin: TrainedModel, **values: Any
) -> DenoiSplitConfiguration:
    """Settings with statistics in them."""
    plain = start_of(config, origin)[0].to_plain()
    plain["data_config"]["normalization"] |= values
    return configuration_from_dict(plain)


def test_statistics_of_the_configuration_come_first_and_that_is_said(
    still: DenoiSplitConfiguration, origin: TrainedModel
) -> None:
    given = tuned_settings(still, origin, target_means=[150.0, 140.0])

    config, start = start_of(given, origin)

    assert config.data_config.normalization.target_means == [150.0, 140.0]
    assert "target_means of the configuration are not those that the weights were" in start.words


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"filters": 16}, r"cannot start from small: The tensor \S+ has shape"),
        ({"latent_channels": (4, 4, 4)}, r"cannot start from small: The checkpoint has no tensor"),
    ],
    ids=["filters", "levels"],
)
def test_a_network_that_does_not_fit_is_refused_by_its_tensor(
    run: Path,
    tmp_path: Path,
    fields: ModuleType,
    train: Callable[..., DenoiSplitCAREamist],
    network: dict[str, Any],
    message: str,
) -> None:
    known = {"filters": 8, "latent_channels": (4, 4), "stem_stride": 1}
    config = fields.small_config(model_params=known | network)

    with pytest.raises(CheckpointError, match=message):
        train(DenoiSplitCAREamist(config, work_dir=tmp_path / "tuned"), start_from=run)
    assert not (tmp_path / "tuned").exists()


def test_other_channels_are_refused(
    run: Path, tmp_path: Path, fields: ModuleType, train: Callable[..., DenoiSplitCAREamist]
) -> None:
    config = fields.small_config().to_plain()
    config["algorithm_config"]["channel_names"] = ["er", "nuclei"]
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))

    with pytest.raises(ConfigurationError, match=r"splits er, actin, the .* names er, nuclei"):
        train(DenoiSplitCAREamist(file, work_dir=tmp_path / "tuned"), start_from=run)
    assert not (tmp_path / "tuned").exists()


def test_new_statistics_need_other_weights(
    tmp_path: Path, still: DenoiSplitConfiguration, train: Callable[..., DenoiSplitCAREamist]
) -> None:
    with pytest.raises(ConfigurationError, match=r"belongs to a training that starts from"):
        train(DenoiSplitCAREamist(still, work_dir=tmp_path / "tuned"), new_statistics=True)


def test_settings_of_a_fine_tuning_do_not_start_from_random_weights(
    tuned: DenoiSplitCAREamist, run: Path, tmp_path: Path, train: Callable[..., DenoiSplitCAREamist]
) -> None:
    other = DenoiSplitCAREamist(tuned.config, work_dir=tmp_path / "other")

    with pytest.raises(ConfigurationError, match=r"started from the weights of small.*`origin`"):
        train(other, noise_model=run / "noise_models")
    assert not (tmp_path / "other").exists()


def test_a_fine_tuning_that_was_stopped_at_once_needs_its_start_again(
    tuned: DenoiSplitCAREamist,
    run: Path,
    tmp_path: Path,
    still: DenoiSplitConfiguration,
    train: Callable[..., DenoiSplitCAREamist],
) -> None:
    save_configuration(tuned.config, tmp_path / "begun" / "config.yaml")
    for opened in (
        DenoiSplitCAREamist(checkpoint_path=tmp_path / "begun"),
        DenoiSplitCAREamist(still, work_dir=tmp_path / "begun"),
    ):
        with pytest.raises(ConfigurationError, match=r"stopped before its first .*same model"):
            train(opened, noise_model=run / "noise_models", resume=True)


def test_a_fine_tuning_goes_on_with_or_without_its_start(
    tuned: DenoiSplitCAREamist,
    still: DenoiSplitConfiguration,
    train: Callable[..., DenoiSplitCAREamist],
) -> None:
    before = tuned.trained
    assert before is not None
    again = DenoiSplitCAREamist(longer(still), work_dir=tuned.work_dir, enable_progress_bar=False)

    train(again, resume=True)

    assert again.trained is not None
    assert again.trained.statistics == before.statistics
    assert again.config.training_config.origin == tuned.config.training_config.origin
    with pytest.raises(ConfigurationError, match=r"other settings: training_config\.origin"):
        train(again, start_from=tuned.work_dir / "checkpoints" / "best.ckpt", resume=True)


def test_the_command_starts_from_a_run_without_a_configuration(
    run: Path, tmp_path: Path, fields: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    words = []
    for option, part, images in (
        ("--channel", "train", fields.NOISY[:2]),
        ("--val", "val", fields.NOISY[2:]),
    ):
        words.append(option)
        for index, name in enumerate(fields.CHANNELS):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number, image in enumerate(images):
                np.save(folder / f"{number}.npy", image[index])
            words.append(f"{name}={folder}")
    words = ["train", *words, "--run", str(tmp_path / "new"), "--device", "cpu", "--from"]

    assert denoisplit([*words, str(tmp_path / "absent")]) == 2
    assert "There is no model" in capsys.readouterr().err
    assert denoisplit([*words, str(run)]) == 0

    config = load_model(tmp_path / "new").config
    assert config.training_config.origin is not None
    assert config.training_config.origin.name == run.name
    assert config.data_config.axes == "YX"
    assert f"starts from the weights of {run.name}" in capsys.readouterr().err
