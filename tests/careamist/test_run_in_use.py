"""Two processes and one run: nothing that one of them wrote is lost."""

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.calibration import CalibrationSet
from careamics_denoisplit.checkpoint import load_model, save_model
from careamics_denoisplit.errors import ChangedError, LockedError
from careamics_denoisplit.files import lock_run


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """A run whose model a test may change."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def calibrate(careamist: DenoiSplitCAREamist, fields: ModuleType, count: int = 5) -> None:
    careamist.calibrate(
        channels=fields.NOISY[2:], truth=fields.CLEAN[2:], axes="SCYX", n_samples=count
    )


def change_model(run: Path) -> bytes:
    """Do what another process does that removes all calibrations; return the new manifest."""
    folder = save_model(run / "model", load_model(run).with_calibrations(CalibrationSet()))
    return (folder / "manifest.json").read_bytes()


def opened_run(path: Path) -> DenoiSplitCAREamist:
    return DenoiSplitCAREamist(checkpoint_path=path, enable_progress_bar=False)


def test_a_model_that_another_process_changed_is_read_anew(
    copied: Path, fields: ModuleType
) -> None:
    careamist = opened_run(copied)
    assert careamist.trained is not None
    assert set(careamist.trained.calibrations.estimators) == {"samples-4"}
    change_model(copied)

    calibrate(careamist, fields)

    assert set(load_model(copied).calibrations.estimators) == {"samples-5"}


def test_a_checkpoint_that_was_named_is_not_exchanged_for_the_model_of_its_run(
    copied: Path, fields: ModuleType
) -> None:
    careamist = opened_run(copied / "checkpoints" / "last.ckpt")
    opened = careamist.trained
    change_model(copied)

    careamist.predict(fields.MIXTURE, n_samples=2, axes="YX")

    assert careamist.trained is opened


def test_e6_a_result_is_not_written_over_what_another_process_wrote_meanwhile(
    copied: Path, fields: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    careamist = opened_run(copied)
    written: list[bytes] = []

    def work(*args: Any, **options: Any) -> CalibrationSet:
        written.append(change_model(copied))
        return CalibrationSet()

    monkeypatch.setattr("careamics_denoisplit.evaluation.calibrate", work)
    with pytest.raises(ChangedError, match=r"nothing was overwritten\. Run the command again"):
        calibrate(careamist, fields)

    assert (copied / "model" / "manifest.json").read_bytes() == written[0]
    monkeypatch.undo()
    calibrate(careamist, fields)
    assert set(load_model(copied).calibrations.estimators) == {"samples-5"}


def test_e6_a_result_is_not_written_into_a_run_that_another_process_works_on(
    copied: Path, fields: ModuleType
) -> None:
    careamist = opened_run(copied)
    before = (copied / "model" / "manifest.json").read_bytes()

    with lock_run(copied), pytest.raises(LockedError, match="is in use by process"):
        calibrate(careamist, fields)

    assert (copied / "model" / "manifest.json").read_bytes() == before


def test_a_checkpoint_without_a_model_folder_is_calibrated_more_than_once(
    copied: Path, fields: ModuleType
) -> None:
    shutil.rmtree(copied / "model")
    careamist = opened_run(copied / "checkpoints" / "best.ckpt")

    calibrate(careamist, fields, 4)
    calibrate(careamist, fields, 5)

    assert set(load_model(copied).calibrations.estimators) == {"samples-4", "samples-5"}


def test_training_replaces_a_model_that_another_process_changed(
    copied: Path, fields: ModuleType
) -> None:
    careamist = opened_run(copied)
    change_model(copied)

    careamist.train(
        train_data_target=fields.NOISY[:2],
        val_data_target=fields.NOISY[2:],
        noise_model=copied / "noise_models",
        resume=False,
        overwrite=True,
    )

    calibrate(careamist, fields)
    assert set(load_model(copied).calibrations.estimators) == {"samples-5"}
