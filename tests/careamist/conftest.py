"""One small run that all tests of the front end look at."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from careamics_denoisplit import DenoiSplitCAREamist


@pytest.fixture(scope="session")
def fields() -> ModuleType:
    """Images and settings: `CLEAN`, `NOISY`, `MIXTURE`, `CHANNELS`, `small_config`."""
    path = Path(__file__).with_name("fields.py")
    spec = importlib.util.spec_from_file_location("careamist_fields", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def _trained(fields: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained and calibrated for 4 samples."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    careamist = DenoiSplitCAREamist(
        fields.small_config(), work_dir=folder, enable_progress_bar=False
    )
    careamist.fit_noise_models(
        signal=fields.CLEAN,
        observation=fields.NOISY,
        signal_axes="SCYX",
        observation_axes="SCYX",
    )
    careamist.train(train_data_target=fields.NOISY[:2], val_data_target=fields.NOISY[2:])
    careamist.calibrate(channels=fields.NOISY[2:], truth=fields.CLEAN[2:], axes="SCYX", n_samples=4)
    return folder


@pytest.fixture(scope="module")
def run(_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained run for one file of tests, which may go on with it."""
    return Path(shutil.copytree(_trained, tmp_path_factory.mktemp("runs") / "small"))


@pytest.fixture
def careamist(run: Path) -> DenoiSplitCAREamist:
    """The front end of the trained run, opened anew."""
    return DenoiSplitCAREamist(checkpoint_path=run, enable_progress_bar=False)
