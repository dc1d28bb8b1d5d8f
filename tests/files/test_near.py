"""What was probably meant by a path where nothing is."""

from pathlib import Path

import pytest

from careamics_denoisplit.files import did_you_mean, nearest_path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with two runs."""
    for name in ("er_actin", "nuclei"):
        (tmp_path / "runs" / name / "model").mkdir(parents=True)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("runs/er_actn", "runs/er_actin"),
        ("runs/ER_ACTIN2", "runs/er_actin"),
        ("rnus/er_actin", "runs/er_actin"),
        ("rnus/er_actn/model", "runs/er_actin/model"),
    ],
)
def test_the_first_wrong_part_of_a_path_is_mended(runs: Path, typed: str, meant: str) -> None:
    assert nearest_path(runs.parent / typed) == runs.parent / meant
    assert did_you_mean(runs.parent / typed) == f" Did you mean {str(runs.parent / meant)!r}?"


@pytest.mark.parametrize("typed", ["runs/golgi", "elsewhere/er_actin", "rnus/golgi"])
def test_what_is_not_alike_is_not_named(runs: Path, typed: str) -> None:
    assert nearest_path(runs.parent / typed) is None
    assert did_you_mean(runs.parent / typed) == ""
