"""`denoisplit export` and `denoisplit check` on the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from careamics_denoisplit.checkpoint import TrainedModel, save_model
from careamics_denoisplit.cli.app import run
from careamics_denoisplit_export import rules
from careamics_denoisplit_export.rules import Report


@pytest.fixture(scope="module")
def model(calibrated: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("run") / "model", calibrated)


def test_export_writes_a_package_and_says_what_is_in_it(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: From the command line\ndescription: A test.\n")
    out, result = tmp_path / "p.zip", tmp_path / "p.json"

    code = run(["export", str(model.parent), "--recipe", str(recipe), "--out", str(out), "--json",
                str(result)])  # fmt: skip

    assert code == 0
    assert out.is_file()
    assert str(out) in capsys.readouterr().out
    told = json.loads(result.read_text())
    assert told["channels"][:4] == ["er", "actin", "er_std", "actin_std"]
    assert told["channels"][4:] == ["consistency", "input_range"]
    assert told["calibrated"] is True
    assert "made up" in told["test_image"]


def test_export_refuses_a_package_that_exists(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.zip"
    out.write_bytes(b"mine")

    assert run(["export", str(model), "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"


def test_check_writes_its_verdicts_and_fails_by_exit_code(
    report: Report,
    package: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = Report(
        report.package,
        report.sha256,
        tuple(vars_replaced(finding) for finding in report.findings),
    )
    verdicts = iter([report, broken])
    monkeypatch.setattr(rules, "check_package", lambda *_, **__: next(verdicts))
    page = tmp_path / "page.html"

    good = run(["check", str(package.path), "--json", "-", "--html", str(page)])
    told = json.loads(capsys.readouterr().out)
    bad = run(["check", str(package.path)])

    assert (good, bad) == (0, 1)
    assert told["passed"] is True
    assert len(told["rules"]) == 39
    assert "Passed" in page.read_text()
    assert "breaks 1 of 39 rules: 12" in capsys.readouterr().err


def vars_replaced(finding: Any) -> Any:
    """Rule 12 broken, everything else as it was."""
    return replace(finding, status="failed") if finding.id == 12 else finding


@pytest.mark.parametrize("content", [None, b"no zip"])
def test_check_of_something_else_is_wrong_input(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.zip"
    if content is not None:
        path.write_bytes(content)

    assert run(["check", str(path)]) == 2
    assert "x.zip" in capsys.readouterr().err
