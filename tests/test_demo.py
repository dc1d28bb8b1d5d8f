"""The demo on a small sample: every step runs and every promised key is there."""

from pathlib import Path

import pytest

from careamics_denoisplit.cli.demo import _summary
from careamics_denoisplit.demo import Demo, DemoSettings, run_demo

TINY = DemoSettings(
    size=128,
    fields=(2, 1, 1),
    epochs=1,
    training_seconds=3.0,
    n_samples=8,
    network={"filters": 4, "latent_channels": (4, 4)},
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The whole way, with a network too small to learn much."""
    return run_demo(tmp_path_factory.mktemp("demo"), settings=TINY, device="cpu", quiet=True)


@pytest.mark.slow
def test_the_demo_ends_with_a_package_that_passes_its_check(demo: Demo) -> None:
    broken = [rule for rule in demo.values["check"]["rules"] if rule["status"] == "failed"]

    assert broken == []
    assert demo.values["check"]["passed"] is True
    assert Path(demo.values["package"]).is_file()


@pytest.mark.slow
def test_the_demo_has_the_keys_that_scripts_rely_on(demo: Demo) -> None:
    assert {"samples", "spread", "channels", "mean", "images", "noisy", "package", "check"} <= set(
        demo.values
    )
    channel = demo.values["channels"][0]
    assert {"name", "psnr", "leakage", "leakage_mixture", "references", "calibration"} <= set(
        channel
    )
    assert channel["calibration"]["calibrated"] is True


@pytest.mark.slow
def test_the_demo_writes_everything_it_names(demo: Demo) -> None:
    assert demo.outputs
    assert all(path.exists() for path in demo.outputs)
    assert all(path.is_absolute() for path in demo.outputs)


@pytest.mark.slow
def test_the_demo_knows_how_far_its_training_came(demo: Demo) -> None:
    training = demo.values["training"]

    assert training["max_epochs"] == 1
    assert training["out_of_time"] is (training["epochs"] == 0)


@pytest.mark.parametrize("out_of_time", [True, False])
def test_a_demo_that_ran_out_of_time_says_so(out_of_time: bool) -> None:
    training = {"epochs": 3, "max_epochs": 14, "out_of_time": out_of_time}

    lines = _summary({"training": training, "check": {"rules": []}}, ["er"])

    assert any("was over after 3 of 14 epochs" in line for line in lines) is out_of_time


@pytest.mark.slow
def test_every_step_of_the_demo_is_measured(demo: Demo) -> None:
    assert len(demo.values["steps"]) >= 7
    assert all(seconds >= 0 for seconds in demo.values["steps"].values())
