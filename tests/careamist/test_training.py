"""Noise models and training: one run folder, continued and never replaced unasked."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from careamics.lightning.utils.csv_logger import TrainingReport
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.config import load_configuration
from careamics_denoisplit.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    NoiseModelError,
    OutputExistsError,
)


def test_the_run_holds_what_users_are_promised(run: Path) -> None:
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}

    assert {
        "config.yaml",
        "model/weights.safetensors",
        "model/calibration.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "logs/metrics.csv",
        "logs/denoisplit.log",
        "report.html",
        "noise_models/noise_model_er.npz",
        "noise_models/noise_model_actin.json",
    } <= files


def test_noise_models_are_not_overwritten_unless_asked_for(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    with pytest.raises(OutputExistsError, match=r"noise_model_er\.npz"):
        careamist.fit_noise_models(signal=fields.CLEAN, observation=fields.NOISY)


def test_noise_models_are_fitted_by_name(tmp_path: Path, fields: ModuleType) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(), work_dir=tmp_path)

    reports = opened.fit_noise_models(
        signal={"actin": fields.CLEAN[:, 1], "er": fields.CLEAN[:, 0]},
        observation={"er": fields.NOISY[:, 0], "actin": fields.NOISY[:, 1]},
        signal_axes="SYX",
        observation_axes="SYX",
    )

    assert [report.channel for report in reports] == list(fields.CHANNELS)


@pytest.mark.parametrize(
    ("images", "bootstrap"),
    [
        ([], False),
        (["signal"], False),
        (["observation"], False),
        (["signal", "observation"], True),
        (["repeats", "observation"], False),
    ],
    ids=["nothing", "signal", "observation", "both and bootstrap", "repeats and observation"],
)
def test_images_that_belong_to_no_route_are_refused(
    tmp_path: Path, images: list[str], bootstrap: bool, fields: ModuleType
) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(), work_dir=tmp_path)
    given = dict.fromkeys(images, fields.NOISY)

    with pytest.raises(ConfigurationError, match="Give `signal` and `observation`, or `repeats`"):
        opened.fit_noise_models(
            **given, bootstrap=bootstrap, signal_axes="SCYX", observation_axes="SCYX"
        )


def test_a_noise_model_of_an_unknown_channel_is_refused(tmp_path: Path, fields: ModuleType) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(), work_dir=tmp_path)

    with pytest.raises(DataError, match=r"signal has the channels \['er', 'golgi'\]"):
        opened.fit_noise_models(
            signal={"er": fields.CLEAN[:, 0], "golgi": fields.CLEAN[:, 1]}, observation=fields.NOISY
        )


def test_training_without_noise_models_says_how_to_get_them(
    tmp_path: Path, fields: ModuleType
) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(), work_dir=tmp_path / "run")

    with pytest.raises(NoiseModelError, match=r"first, or give .*to `--noise-model`"):
        opened.train(train_data_target=fields.NOISY[:2], val_data_target=fields.NOISY[2:])
    assert not (tmp_path / "run").exists()


def test_noise_models_are_superfluous_for_a_gaussian_likelihood(
    run: Path, tmp_path: Path, fields: ModuleType
) -> None:
    opened = DenoiSplitCAREamist(
        fields.small_config(algorithm="altered_musplit"), work_dir=tmp_path
    )

    with pytest.raises(NoiseModelError, match="uses no noise models"):
        opened.train(
            train_data_target=fields.NOISY[:2],
            val_data_target=fields.NOISY[2:],
            noise_model=run / "noise_models",
        )


def test_swapped_noise_models_are_refused(run: Path, tmp_path: Path, fields: ModuleType) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(), work_dir=tmp_path)
    folder = run / "noise_models"

    with pytest.raises(NoiseModelError, match="swapped"):
        opened.train(
            train_data_target=fields.NOISY[:2],
            val_data_target=fields.NOISY[2:],
            noise_model=[folder / "noise_model_actin.npz", folder / "noise_model_er.npz"],
        )


def test_training_needs_the_noisy_channels(tmp_path: Path, fields: ModuleType) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(), work_dir=tmp_path)

    with pytest.raises(ConfigurationError, match="noisy channels as `train_data_target`"):
        opened.train(train_data=fields.MIXTURE)


def test_a_filtering_mask_is_refused_with_what_to_do(tmp_path: Path, fields: ModuleType) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(), work_dir=tmp_path)

    with pytest.raises(ConfigurationError, match=r"`filtering_mask` is not supported.*Crop"):
        opened.train(train_data_target=fields.NOISY, filtering_mask=fields.NOISY)


def test_callbacks_that_training_sets_up_itself_are_refused(
    tmp_path: Path, fields: ModuleType
) -> None:
    with pytest.raises(ConfigurationError, match="ModelCheckpoint is set up by the training"):
        DenoiSplitCAREamist(fields.small_config(), work_dir=tmp_path, callbacks=[ModelCheckpoint()])


class StopAtOnce(Callback):
    """Asks to stop after the first step, as a button would."""

    careamist: DenoiSplitCAREamist

    def on_train_batch_end(self, *args: Any) -> None:
        """Stop."""
        self.careamist.stop_training()


def test_a_stopped_training_is_continued_from_its_folder(
    run: Path, tmp_path: Path, fields: ModuleType
) -> None:
    button = StopAtOnce()
    stopped = DenoiSplitCAREamist(
        fields.small_config(), work_dir=tmp_path, callbacks=[button], enable_progress_bar=False
    )
    button.careamist = stopped
    data = {"train_data_target": fields.NOISY[:2], "val_data_target": fields.NOISY[2:]}
    stopped.train(**data, noise_model=run / "noise_models")
    with pytest.raises(CheckpointError, match="no training curves yet"):
        stopped.get_losses()

    goes_on = DenoiSplitCAREamist(checkpoint_path=tmp_path, enable_progress_bar=False)
    goes_on.train(**data)

    assert goes_on.get_losses().train_loss.epoch == [0, 1]
    unbroken = DenoiSplitCAREamist(checkpoint_path=run)
    for name, tensor in unbroken.trained.network.state_dict().items():
        assert torch.equal(tensor, goes_on.trained.network.state_dict()[name]), name


def test_a_run_is_not_replaced_unless_asked_for(run: Path, fields: ModuleType) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(), work_dir=run, enable_progress_bar=False)

    with pytest.raises(OutputExistsError, match="epoch 2 of 2"):
        opened.train(
            train_data_target=fields.NOISY[:2],
            val_data_target=fields.NOISY[2:],
            noise_model=run / "noise_models",
        )


def test_only_the_last_checkpoint_of_a_run_is_continued(run: Path, fields: ModuleType) -> None:
    opened = DenoiSplitCAREamist(checkpoint_path=run / "checkpoints" / "best.ckpt")

    with pytest.raises(ConfigurationError, match="continues a run from its last checkpoint"):
        opened.train(train_data_target=fields.NOISY[:2], val_data_target=fields.NOISY[2:])


def test_the_curves_are_those_of_careamics(careamist: DenoiSplitCAREamist) -> None:
    report = careamist.get_losses()

    assert isinstance(report, TrainingReport)
    assert report.train_loss.epoch == [0, 1]
    assert len(report.val_loss.value) == 2
    assert "reconstruction_er" in report.metrics


def test_checkpoints_are_the_best_and_the_last(careamist: DenoiSplitCAREamist, run: Path) -> None:
    assert careamist.get_checkpoints() == [
        run / "checkpoints" / "best.ckpt",
        run / "checkpoints" / "last.ckpt",
    ]


def test_a_finished_run_says_so_and_what_lets_it_go_on(
    run: Path, fields: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = DenoiSplitCAREamist(checkpoint_path=run)
    capsys.readouterr()

    opened.train(train_data_target=fields.NOISY[:2], val_data_target=fields.NOISY[2:])

    said = capsys.readouterr().err
    assert "This run is finished: it has reached epoch 2 of 2. Nothing was trained." in said
    assert "raise `max_epochs`" in said


def test_what_was_inferred_from_the_data_is_written_into_the_run(
    run: Path, fields: ModuleType
) -> None:
    stored = load_configuration(run / "config.yaml").data_config

    assert (stored.axes, stored.data_type) == ("SCYX", "array")
    assert stored.normalization.input_means == pytest.approx([fields.NOISY[:2].mean()], rel=1e-4)
