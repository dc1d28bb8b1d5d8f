"""Noise models and training: one run folder, continued and never replaced unasked."""

import logging
import shutil
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from careamics.lightning.utils.csv_logger import TrainingReport
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.careamist import hooks
from careamics_denoisplit.checkpoint import load_model, save_model
from careamics_denoisplit.config import load_configuration
from careamics_denoisplit.distillation import Distillation, weights_digest
from careamics_denoisplit.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    NoiseModelError,
    OutputExistsError,
    StoppedError,
    StorageError,
)
from careamics_denoisplit.network import head_for
from careamics_denoisplit.training import RunCheckpoint


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


@pytest.fixture
def fitted_run(run: Path, tmp_path: Path) -> Path:
    """A copy of the trained run with a calibration and a one-pass spread."""
    copied = Path(shutil.copytree(run, tmp_path / "fitted"))
    trained = load_model(copied)
    record = Distillation(
        channel_names=trained.channel_names, width=4, weights_sha256=weights_digest(trained.network)
    )
    save_model(copied / "model", trained.with_spread_head(head_for(trained.network, 4), record))
    return copied


def test_a_finished_run_keeps_what_was_fitted_to_its_weights(
    fitted_run: Path, fields: ModuleType
) -> None:
    before = load_model(fitted_run)
    opened = DenoiSplitCAREamist(checkpoint_path=fitted_run, enable_progress_bar=False)

    opened.train(train_data_target=fields.NOISY[:2], val_data_target=fields.NOISY[2:])

    after = load_model(fitted_run)
    assert set(before.calibrations.estimators) == {"samples-4"}
    assert after.calibrations == before.calibrations
    assert after.distillation == before.distillation
    assert before.spread_head is not None
    assert after.spread_head is not None
    for name, tensor in before.spread_head.state_dict().items():
        assert torch.equal(tensor, after.spread_head.state_dict()[name]), name


@pytest.fixture
def every_epoch_is_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunCheckpoint, "_is_better", lambda *_: True)


@pytest.mark.usefixtures("every_epoch_is_the_best")
def test_better_weights_drop_what_was_fitted_to_the_former_ones_with_a_warning(
    fitted_run: Path, fields: ModuleType
) -> None:
    opened = DenoiSplitCAREamist(
        fields.small_config(num_epochs=3), work_dir=fitted_run, enable_progress_bar=False
    )

    with pytest.warns(
        UserWarning,
        match=r"the calibration of samples-4 and the one-pass spread\. "
        r"Run `denoisplit distil` and `denoisplit calibrate` again",
    ):
        opened.train(
            train_data_target=fields.NOISY[:2], val_data_target=fields.NOISY[2:], resume=True
        )

    after = load_model(fitted_run)
    assert after.calibrations.estimators == {}
    assert (after.spread_head, after.distillation) == (None, None)


class Terminate(Callback):
    """Sends SIGTERM to this process after the first step of an epoch, as a scheduler would."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        """Send it."""
        if trainer.current_epoch == self.epoch:
            signal.raise_signal(signal.SIGTERM)


def train_until_terminated(run: Path, fields: ModuleType, epoch: int) -> DenoiSplitCAREamist:
    """Continue a run of 2 epochs, and stop in this one."""
    opened = DenoiSplitCAREamist(
        fields.small_config(num_epochs=5),
        work_dir=run,
        callbacks=[Terminate(epoch)],
        enable_progress_bar=False,
    )
    with pytest.raises(StoppedError, match="Stopped by SIGTERM") as stopped:
        opened.train(
            train_data_target=fields.NOISY[:2], val_data_target=fields.NOISY[2:], resume=True
        )
    assert stopped.value.exit_code == 143
    return opened


@pytest.mark.usefixtures("every_epoch_is_the_best")
def test_e4_a_run_that_went_on_and_was_stopped_has_its_best_weights_in_the_model(
    fitted_run: Path, fields: ModuleType
) -> None:
    before = weights_digest(load_model(fitted_run).network)

    with pytest.warns(UserWarning, match="was dropped: the calibration of samples-4"):
        opened = train_until_terminated(fitted_run, fields, epoch=3)

    best = weights_digest(load_model(fitted_run / "checkpoints" / "best.ckpt").network)
    after = load_model(fitted_run)
    assert weights_digest(after.network) == best != before
    assert after.spread_head is None
    assert opened.trained is not None
    assert weights_digest(opened.trained.network) == best


def test_e4_a_run_that_was_stopped_without_better_weights_keeps_its_model_untouched(
    fitted_run: Path, fields: ModuleType
) -> None:
    manifest = fitted_run / "model" / "manifest.json"
    before = (manifest.read_bytes(), manifest.stat().st_ino)

    train_until_terminated(fitted_run, fields, epoch=2)

    assert (manifest.read_bytes(), manifest.stat().st_ino) == before


@pytest.mark.usefixtures("every_epoch_is_the_best")
def test_e4_a_model_that_cannot_be_written_does_not_hide_that_training_was_stopped(
    fitted_run: Path,
    fields: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full_disk(*_: Any) -> Path:
        raise StorageError("No space left on device.")

    monkeypatch.setattr(hooks, "save_model", full_disk)

    with caplog.at_level(logging.WARNING):
        train_until_terminated(fitted_run, fields, epoch=3)

    assert "still holds the weights of before" in caplog.text
    assert "No space left on device." in caplog.text


def test_what_was_inferred_from_the_data_is_written_into_the_run(
    run: Path, fields: ModuleType
) -> None:
    stored = load_configuration(run / "config.yaml").data_config

    assert (stored.axes, stored.data_type) == ("SCYX", "array")
    assert stored.normalization.input_means == pytest.approx([fields.NOISY[:2].mean()], rel=1e-4)
