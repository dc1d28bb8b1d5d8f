"""`denoisplit export` and `denoisplit check` on the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from careamics_denoisplit.checkpoint import TrainedModel, save_model
from careamics_denoisplit.cli.app import run
from careamics_denoisplit.errors import DataError
from careamics_denoisplit_export import consumers, rules
from careamics_denoisplit_export.consumers import checking, halos
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

    without = ["--consumers", "none"]
    good = run(["check", str(package.path), "--json", "-", "--html", str(page), *without])
    told = json.loads(capsys.readouterr().out)
    bad = run(["check", str(package.path), *without])

    assert (good, bad) == (0, 1)
    assert told["passed"] is True
    assert len(told["rules"]) == 39
    assert "Passed" in page.read_text()
    assert "fails 1 of 39 checks: rule 12" in capsys.readouterr().err


def vars_replaced(finding: Any) -> Any:
    """Rule 12 broken, everything else as it was."""
    return replace(finding, status="failed") if finding.id == 12 else finding


def test_check_fails_where_a_consumer_returns_other_numbers(
    report: Report,
    package: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = {
        "name": "zoo",
        "engine": "bioimageio.core 0.11.0",
        "versions": {},
        "message": "test: 3 differ",
    }
    answers = [{**record, "status": status} for status in ("skipped", "failed")]
    given: list[dict[str, Any]] = []

    def answer(*arguments: Any, **options: Any) -> tuple[dict[str, Any], ...]:
        given.append({"which": arguments[1], **options})
        return (answers.pop(0),)

    monkeypatch.setattr(rules, "check_package", lambda *_, **__: report)
    monkeypatch.setattr(checking, "check_consumers", answer)
    np.save(tmp_path / "image.npy", np.ones((2, 30, 40), np.uint16))
    page = tmp_path / "page.html"

    skipped = run(["check", str(package.path), "--json", "-"])
    told = json.loads(capsys.readouterr().out)
    failed = run(["check", str(package.path), "--consumers", "all", "--html", str(page), "--image",
                  str(tmp_path / "image.npy")])  # fmt: skip

    assert (skipped, failed) == (0, 1)
    assert told["skipped"] == report.skipped + 1
    assert told["consumers"][0]["status"] == "skipped"
    assert [each["which"] for each in given] == ["auto", "all"]
    assert given[0]["image"] is None
    assert given[1]["image"].shape == (30, 40)
    assert "fails 1 of 40 checks: zoo" in capsys.readouterr().err
    assert "test: 3 differ" in page.read_text()


def test_faults_of_consumers_and_seams_leave_the_verdict(
    report: Report,
    package: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = replace(report, findings=tuple(vars_replaced(each) for each in report.findings))

    def stop(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault of ours")

    def refuse(*_: Any, **__: Any) -> None:
        raise DataError("the image has no seams")

    monkeypatch.setattr(checking, "check_consumers", stop)
    monkeypatch.setattr(halos, "trade_of_package", refuse)
    alone = ["check", str(package.path), "--json", "-"]
    seams = [*alone, "--consumers", "none", "--seams", str(tmp_path / "seams.png")]
    codes, told, said = [], [], []
    for judged, command in ((report, alone), (report, seams), (broken, seams)):
        monkeypatch.setattr(rules, "check_package", lambda *_, found=judged, **__: found)
        page = str(tmp_path / f"{len(codes)}.html")
        codes.append(run([*command, "--html", page]))
        out, err = capsys.readouterr()
        told.append(json.loads(out))
        said.append(err)

    assert codes == [3, 2, 1]
    assert [each["passed"] for each in told] == [False, True, False]
    assert {len(each["rules"]) for each in told} == {39}
    assert all("rules passed" in each for each in said)
    assert "no picture of seams: the image has no seams" in said[2]
    assert "fails 1 of 39 checks: rule 12" in said[2]
    assert "no seams" in said[1]
    assert (tmp_path / "1.html").exists()
    assert (tmp_path / "2.html").exists()


def test_check_measures_seams_and_draws_them(
    report: Report,
    package: Any,
    make_image: Callable[..., np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(rules, "check_package", lambda *_, **__: report)
    np.save(tmp_path / "image.npy", make_image((180, 520)))
    picture = tmp_path / "seams.png"
    command = ["check", str(package.path), "--consumers", "none", "--image",
               str(tmp_path / "image.npy"), "--seams"]  # fmt: skip

    assert run([*command, str(picture), "--json", "-"]) == 0

    told = json.loads(capsys.readouterr().out)["seams"]
    assert [row["halo"] for row in told["halos"]] == [0, 32, 64]
    assert (told["tile"], told["halo"], told["shape"]) == (512, 32, [180, 520])
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert run([*command, str(picture)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run([*command, str(tmp_path / "seams.txt")]) == 2
    assert "is a .png file" in capsys.readouterr().err


def test_consumers_are_built_without_a_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failures: list[dict[str, str]] = [{}, {"fiji": "no Java"}]
    monkeypatch.setattr(consumers, "build_consumers", lambda _: failures.pop(0))

    assert run(["check", "--build-consumers"]) == 0
    assert str(consumers.consumers_folder()) in capsys.readouterr().out
    assert run(["check", "--build-consumers"]) == 3
    assert "1 consumers were not built: fiji" in capsys.readouterr().err
    assert run(["check"]) == 2
    assert "Give a package" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"no zip"])
def test_check_of_something_else_is_wrong_input(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.zip"
    if content is not None:
        path.write_bytes(content)

    assert run(["check", str(path)]) == 2
    assert "x.zip" in capsys.readouterr().err
