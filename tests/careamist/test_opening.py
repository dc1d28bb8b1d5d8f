"""What a front end is opened from, and what is refused."""

from pathlib import Path
from types import ModuleType

import pytest

from careamics_denoisplit import DenoiSplitCAREamist
from careamics_denoisplit.config import save_configuration
from careamics_denoisplit.errors import CheckpointError, ConfigurationError, PackageError


def test_exactly_one_source_is_opened(fields: ModuleType) -> None:
    with pytest.raises(ConfigurationError, match=r"Exactly one of .* got 0"):
        DenoiSplitCAREamist(work_dir=".")
    with pytest.raises(ConfigurationError, match=r"Exactly one of .* got 2"):
        DenoiSplitCAREamist(fields.small_config(), checkpoint_path="runs/x", work_dir=".")


def test_a_configuration_may_be_a_file(tmp_path: Path, fields: ModuleType) -> None:
    file = save_configuration(fields.small_config(), tmp_path / "config.yaml")

    opened = DenoiSplitCAREamist(file, work_dir=tmp_path)

    assert opened.config == fields.small_config()
    assert opened.model is None


def test_a_configuration_of_careamics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"got dict.*create_denoisplit_config"):
        DenoiSplitCAREamist({"algorithm": "n2v"}, work_dir=tmp_path)  # type: ignore[arg-type]  # on purpose


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"Cannot read er_actin\.zip"):
        DenoiSplitCAREamist(bmz_path="er_actin.zip", work_dir=tmp_path)


@pytest.mark.parametrize("part", [".", "model", "checkpoints/best.ckpt"])
def test_a_run_is_opened_by_its_folder_its_model_or_a_checkpoint(
    run: Path, part: str, fields: ModuleType
) -> None:
    opened = DenoiSplitCAREamist(checkpoint_path=run / part)

    assert opened.work_dir == run
    assert opened.model is not None
    assert opened.config.channel_names == fields.CHANNELS


def test_a_run_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run"):
        DenoiSplitCAREamist(checkpoint_path=tmp_path)


def test_before_training_there_is_nothing_to_predict_with(
    tmp_path: Path, fields: ModuleType
) -> None:
    opened = DenoiSplitCAREamist(fields.small_config(), work_dir=tmp_path)

    with pytest.raises(CheckpointError, match="Call `train` first"):
        opened.predict(fields.MIXTURE)
    with pytest.raises(CheckpointError, match="no training curves yet"):
        opened.get_losses()
