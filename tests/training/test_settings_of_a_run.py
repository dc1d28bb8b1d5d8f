"""What a run folder, a device and a precision allow, found out before anything is written."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from careamics_denoisplit.errors import (
    CheckpointError,
    ConfigurationError,
    LockedError,
    NoiseModelError,
    OutputExistsError,
)
from careamics_denoisplit.files import lock_run
from careamics_denoisplit.lightning_module import DenoiSplitModule
from careamics_denoisplit.noise_model import GaussianMixtureNoiseModel, NoiseModelInfo
from careamics_denoisplit.training import describe_progress, hardware, read_metrics, train
from careamics_denoisplit.training.hardware import choose_device, choose_precision
from careamics_denoisplit.training.position import Position, read_position, store_position


def start(tiny: ModuleType, run: Path, config: dict[str, Any] | None = None, **options: Any) -> Any:
    settings = tiny.make_config(**{"epochs": 1, "every": None} | (config or {}))
    models = options.pop("noise_models", tiny.make_noise_models())
    data = options.pop("data", None) or tiny.make_data(settings)
    options = {"device": "cpu", "quiet": True} | options
    return train(settings, data, models, run, **options)


@pytest.fixture(scope="module")
def finished(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch that tests look at and do not change."""
    run = tmp_path_factory.mktemp("finished") / "run"
    start(tiny, run)
    return run


def test_a_run_has_the_files_that_are_promised(finished: Path) -> None:
    files = {path.relative_to(finished).as_posix() for path in finished.rglob("*.*")}

    assert files == {
        "config.yaml",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "logs/denoisplit.log",
        "logs/metrics.csv",
    }
    assert len(read_metrics(finished / "logs" / "metrics.csv")) == 1


def test_the_stored_configuration_holds_the_measured_statistics(
    tiny: ModuleType, finished: Path
) -> None:
    from careamics_denoisplit.config import load_configuration

    stored = load_configuration(finished / "config.yaml").data_config.normalization
    expected = tiny.make_data(tiny.make_config()).statistics

    assert stored.input_means == [expected.input_mean]
    assert stored.target_stds == list(expected.target_stds)


def test_the_module_that_is_returned_has_the_best_weights(tiny: ModuleType, tmp_path: Path) -> None:
    # The loss falls, so that the largest is not that of the last epoch.
    module = start(tiny, tmp_path / "run", {"epochs": 3, "best": "max"})

    table = read_metrics(tmp_path / "run" / "logs" / "metrics.csv")
    best = max(range(3), key=lambda epoch: float(table[epoch]["val_loss"]))
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best < 2, "this training must have its best epoch before its last"
    assert read_position(checkpoint).epoch == best + 1
    stored = checkpoint["state_dict"]
    assert all(torch.equal(tensor, stored[name]) for name, tensor in module.state_dict().items())
    assert not module.training


def test_the_module_is_handed_over_while_the_run_is_still_locked(
    tiny: ModuleType, tmp_path: Path
) -> None:
    handed: list[DenoiSplitModule] = []

    def keep(module: DenoiSplitModule) -> None:
        with pytest.raises(LockedError), lock_run(tmp_path / "run"):
            pass
        handed.append(module)

    module = start(tiny, tmp_path / "run", on_end=keep)

    assert handed == [module]


def test_an_existing_run_says_how_far_it_is(tiny: ModuleType, finished: Path) -> None:
    with pytest.raises(OutputExistsError, match=r"epoch 1 of 1: use --resume or --overwrite"):
        start(tiny, finished)


def test_a_run_within_an_epoch_says_its_step(tiny: ModuleType, tmp_path: Path) -> None:
    start(tiny, tmp_path / "run", {"every": 1}, max_hours=1e-9)

    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert describe_progress(last) == "epoch 0 of 1 and step 1 of 3"


def test_a_run_that_is_overwritten_starts_anew_and_keeps_files_of_others(
    tiny: ModuleType, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    start(tiny, run)
    run.joinpath("notes.txt").write_text("mine")
    run.joinpath("model").mkdir()

    start(tiny, run, {"seed": 9}, overwrite=True)

    assert run.joinpath("notes.txt").read_text() == "mine"
    assert not run.joinpath("model").exists()
    assert len(read_metrics(run / "logs" / "metrics.csv")) == 1


def test_resume_and_overwrite_together_are_refused(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Continue the run or replace it, not both"):
        start(tiny, tmp_path / "run", resume=True, overwrite=True)


def test_nothing_to_resume_is_named(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run to continue"):
        start(tiny, tmp_path / "run", resume=True)

    assert not (tmp_path / "run").exists()


def test_files_of_a_run_without_a_checkpoint_are_not_overwritten(
    tiny: ModuleType, tmp_path: Path
) -> None:
    tmp_path.joinpath("config.yaml").write_text("mine")

    with pytest.raises(OutputExistsError, match="without a checkpoint"):
        start(tiny, tmp_path)

    assert tmp_path.joinpath("config.yaml").read_text() == "mine"


def test_c4_changed_settings_are_listed_at_resume(tiny: ModuleType, finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*.*")}
    changed = {"seed": 4, "optimizer_params": {"lr": 0.5}}

    with pytest.raises(ConfigurationError, match=r"optimizer\.parameters\.lr.*seed: 3 -> 4"):
        start(tiny, finished, changed, resume=True)

    assert {path: path.read_bytes() for path in finished.rglob("*.*")} == before


def test_other_images_are_refused_at_resume(tiny: ModuleType, finished: Path) -> None:
    from careamics_denoisplit.errors import DataError

    with pytest.raises(DataError, match="not those that the run was started with"):
        start(tiny, finished, resume=True, data=tiny.make_data(tiny.make_config(), 2.0))


def test_other_noise_models_are_refused_at_resume(tiny: ModuleType, finished: Path) -> None:
    with pytest.raises(NoiseModelError, match="not those that the run was started with"):
        start(tiny, finished, resume=True, noise_models=tiny.make_noise_models(2.0))


def test_d4_a_noise_model_that_failed_needs_force(tiny: ModuleType, tmp_path: Path) -> None:
    good = tiny.make_noise_models()
    info = NoiseModelInfo(channel="actin", verdict="fail")
    bad = GaussianMixtureNoiseModel(good[1].weight, 0.0, 500.0, 1.0, info)

    with pytest.raises(NoiseModelError, match=r"noise model of actin failed .*--force"):
        start(tiny, tmp_path / "run", noise_models=(good[0], bad))
    assert not (tmp_path / "run").exists()

    start(tiny, tmp_path / "run", noise_models=(good[0], bad), force=True)


@pytest.mark.parametrize(
    ("name", "value"), [("max_steps", 5), ("val_check_interval", 0.5), ("fast_dev_run", True)]
)
def test_trainer_parameters_that_break_epochs_are_refused(
    tiny: ModuleType, tmp_path: Path, name: str, value: Any
) -> None:
    with pytest.raises(ConfigurationError, match=rf"`trainer_params` sets {name}"):
        start(tiny, tmp_path / "run", {"trainer": {name: value}})

    assert not (tmp_path / "run").exists()


def test_an_unknown_monitor_is_named(tiny: ModuleType, tmp_path: Path) -> None:
    config = tiny.make_config(epochs=1)
    config.training_config.checkpoint_params = {"monitor": "val_lost"}

    with pytest.raises(ConfigurationError, match=r"'val_lost', which is not logged.*val_loss"):
        train(
            config,
            tiny.make_data(config),
            tiny.make_noise_models(),
            tmp_path / "run",
            device="cpu",
            quiet=True,
        )


def test_training_can_be_stopped_from_the_program(tiny: ModuleType, tmp_path: Path) -> None:
    trainers: list[Trainer] = []

    class StopAtOnce(tiny.Callback):  # type: ignore[name-defined,misc]  # a name of the builders
        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            trainers[0].should_stop = True

    start(tiny, tmp_path / "run", on_start=trainers.append, callbacks=[StopAtOnce()])

    assert read_metrics(tmp_path / "run" / "logs" / "metrics.csv") == []
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert read_position(checkpoint) == Position(0, 1, 3)


@pytest.mark.parametrize("device", ["gpu0", "cuda:x", "tpu", ""])
def test_an_unknown_device_is_named(device: str) -> None:
    with pytest.raises(ConfigurationError, match="There is no device"):
        choose_device(device)


def test_i3_a_device_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    with pytest.raises(ConfigurationError, match=r"'cuda:1' is not there.*0 devices"):
        choose_device("cuda:1")


def test_the_best_device_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == ("cpu", 1)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == ("cuda", 1)
    assert choose_device("cuda:1") == ("cuda", [1])


@pytest.mark.parametrize(
    ("setting", "accelerator", "precision"),
    [
        ("auto", "cuda", "32-true"),
        (32, "cpu", "32-true"),
        ("bf16", "cpu", "bf16-mixed"),
        ("16-mixed", "cuda", "16-mixed"),
        ("16-mixed", "cpu", "32-true"),
    ],
)
def test_the_precision_is_one_that_the_device_has(
    setting: Any, accelerator: str, precision: str
) -> None:
    assert choose_precision(setting, accelerator) == precision


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no precision 'half'"):
        choose_precision("half", "cpu")


@pytest.mark.parametrize(("fast", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
@pytest.mark.parametrize("setting", [None, "auto"])
def test_bfloat16_is_chosen_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, fast: bool, precision: str
) -> None:
    assert hardware.has_fast_bfloat16() in {True, False}
    monkeypatch.setattr(hardware, "has_fast_bfloat16", lambda: fast)

    assert choose_precision(setting, "cpu") == precision


def test_a_run_keeps_its_precision_on_another_machine(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epochs, fast in ((1, True), (2, False)):
        monkeypatch.setattr(hardware, "has_fast_bfloat16", lambda fast=fast: fast)
        config = {"epochs": epochs, "trainer": {"precision": "auto"}}
        start(tiny, tmp_path / "run", config, resume=epochs > 1)

    log = (tmp_path / "run" / "logs" / "denoisplit.log").read_text(encoding="utf-8")
    assert log.count("precision bf16-mixed") == 2


def test_a_position_survives_a_checkpoint() -> None:
    checkpoint: dict[str, Any] = {"loops": {"fit_loop": {}}}

    store_position(checkpoint, Position(2, 5, 5))

    assert read_position(checkpoint) == Position(2, 5, 5)
    assert read_position(checkpoint).validation_is_due
    progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    assert progress == {"ready": 3, "started": 3, "processed": 2, "completed": 2}


@pytest.mark.parametrize("content", [{}, {"position": None}, {"position": {"epoch": "x"}}])
def test_a_checkpoint_without_a_position_cannot_be_continued(content: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="does not say where training stood"):
        read_position(content)
