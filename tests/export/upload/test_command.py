"""`denoisplit upload` on the command line, and what keeps a package from being offered."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from careamics_denoisplit.cli.app import run
from careamics_denoisplit_export.rules import Finding, Report
from careamics_denoisplit_export.upload import (
    TOKEN_VARIABLE,
    Contents,
    obstacles_to_review,
    uploading,
)

Upload = Callable[..., tuple[int, str, str]]
"""Takes options; gives the exit code and what was said on both streams."""


@pytest.fixture
def checked(contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the tiny package, which has no weights to run, passes."""
    monkeypatch.setattr(
        uploading, "check_package", lambda path: Report(str(path), contents.sha256, ())
    )


@pytest.fixture
def token(zoo: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(TOKEN_VARIABLE, zoo.token)
    return str(zoo.token)


@pytest.fixture
def upload(served: Any, contents: Contents, capsys: pytest.CaptureFixture[str]) -> Upload:
    """Upload the tiny package by the command."""

    def command(*options: str) -> tuple[int, str, str]:
        code = run(["upload", str(contents.path), "--server", served.url, *options])
        return code, *capsys.readouterr()

    return command


@pytest.mark.usefixtures("checked", "token")
def test_upload_prints_the_id_of_a_draft(upload: Upload, tmp_path: Path) -> None:
    result = tmp_path / "upload.json"

    code, said, _ = upload("--json", str(result))

    told = json.loads(result.read_text())
    assert code == 0
    assert "draft: bioimage-io/affable-otter" in said
    assert "--submit" in said
    assert (told["id"], told["status"]) == ("bioimage-io/affable-otter", "draft")
    assert (told["command"], told["submitted"], told["dry_run"]) == ("upload", False, False)
    assert {file["name"] for file in told["files"]} == {"rdf.yaml", "README.md", "weights.pt"}
    assert all(file["sent"] for file in told["files"])


@pytest.mark.usefixtures("checked", "token")
def test_submit_asks_for_review(served: Any, upload: Upload) -> None:
    code, said, _ = upload("--submit")

    assert code == 0
    assert "in-review: bioimage-io/affable-otter" in said
    (item,) = served.items.values()
    assert item.versions == []


@pytest.mark.usefixtures("checked")
def test_a_dry_run_needs_no_token_and_asks_nobody(
    served: Any, contents: Contents, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)

    code, shown, _ = upload("--dry-run")

    assert code == 0
    assert "would go to" in shown
    assert all(f"  {name}: " in shown for name in ("rdf.yaml", "README.md", "weights.pt"))
    assert "nothing that is checked here keeps it from reviewers" in shown
    assert "of the keys that the zoo counts" in shown
    assert served.kinds == []
    assert not contents.path.with_name("tiny.upload").exists()


@pytest.mark.usefixtures("checked")
def test_without_a_token_nothing_is_sent(
    served: Any, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)

    code, _, error = upload()

    assert code == 2
    assert TOKEN_VARIABLE in error
    assert served.kinds == []


def test_a_token_that_the_server_does_not_know_is_refused_before_the_check(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "of-yesterday")
    monkeypatch.setattr(uploading, "check_package", lambda path: pytest.fail(f"checked {path}"))

    code, said, error = upload()

    assert code == 2
    assert TOKEN_VARIABLE in error
    assert "checking the package" not in said
    assert "start the server of this machine anew" in error
    assert "of-yesterday" not in said + error


@pytest.mark.usefixtures("token")
def test_a_package_that_breaks_a_rule_is_not_sent(
    served: Any, contents: Contents, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Finding(12, "Axes are batch, channel, y, x", "failed", "they are not")
    monkeypatch.setattr(
        uploading, "check_package", lambda path: Report(str(path), contents.sha256, (broken,))
    )

    code, _, error = upload()

    assert code == 1
    assert "12: Axes are batch" in error
    assert served.kinds == ["read"]


@pytest.mark.usefixtures("token")
def test_a_package_that_changes_under_the_check_is_not_sent(
    served: Any, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "check_package", lambda path: Report(str(path), "0" * 64, ()))

    code, _, error = upload()

    assert code == 2
    assert "changed" in error
    assert served.kinds == ["read"]


@pytest.mark.usefixtures("checked", "token")
def test_a_server_that_refuses_is_a_fault_and_one_line(served: Any, upload: Upload) -> None:
    served.fault = lambda _n, kind, act: httpx.Response(403) if kind == "create" else act()

    code, _, error = upload()

    assert code == 3
    assert error.count("\n") == 1
    assert "HTTP 403" in error


@pytest.mark.parametrize("words", [["--server", "http://zoo.example"], ["--server", "x"]])
@pytest.mark.usefixtures("checked", "token")
def test_a_wrong_address_is_wrong_input(
    contents: Contents, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["upload", str(contents.path), *words]) == 2
    assert "--server" in capsys.readouterr().err


@pytest.mark.usefixtures("token")
def test_a_folder_for_a_package_is_called_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["upload", str(tmp_path)]) == 2
    assert "is a folder. Give the package itself" in capsys.readouterr().err


@pytest.mark.usefixtures("token")
def test_a_missing_package_is_wrong_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["upload", str(tmp_path / "none.zip")]) == 2
    assert "none.zip" in capsys.readouterr().err


UNREADY: dict[str, tuple[dict[str, bytes], dict[str, Any], str]] = {
    "its name says demonstration": ({}, {"name": "Tiny (demonstration)"}, "demonstration"),
    "its facts say demonstration": (
        {},
        {"config": {"careamics_denoisplit": {"status": "demonstration"}}},
        "demonstration",
    ),
    "its card says demonstration": (
        {"README.md": b"# Tiny\n\n**Demonstration model.**\n\n## Validation\n\nGood.\n"},
        {},
        "demonstration",
    ),
    "no authors": ({}, {"authors": []}, "no authors"),
    "placeholder author": ({}, {"authors": [{"name": "Unnamed author"}]}, "authors are"),
    "no maintainers": ({}, {"maintainers": []}, "no maintainers"),
    "placeholder maintainer": (
        {},
        {"maintainers": [{"github_user": "your-github-name"}]},
        "maintainers are",
    ),
    "the sample of the template as validation": (
        {
            "README.md": b"# T\n\n## Validation\n\nPSNR per channel on 5 fields of another day, "
            b"beside the mixture itself\n"
        },
        {},
        "sample of the recipe template",
    ),
    "the sample of the template as parent": (
        {},
        {"parent": {"id": "affable-otter"}},
        "its `parent` is the sample",
    ),
    "the sample of the template as packager": (
        {},
        {"packaged_by": [{"name": "Full name"}]},
        "its `packaged_by` is the sample",
    ),
    "no chapter on validation": ({"README.md": b"# Tiny\n"}, {}, "validation"),
    "an empty chapter on validation": (
        {"README.md": b"# Tiny\n\n## Validation\n\n```\nrun\n```\n\n## Other\n\nText.\n"},
        {},
        "validation",
    ),
    "a chapter that states none": (
        {"README.md": b"# T\n\n## Validation\n\nThe author states no validation.\n"},
        {},
        "validation",
    ),
}


@pytest.mark.parametrize(("changes", "rdf", "message"), UNREADY.values(), ids=UNREADY)
@pytest.mark.usefixtures("token")
def test_what_a_reviewer_would_send_back_is_not_offered(
    served: Any,
    make_package: Callable[..., Contents],
    changes: dict[str, bytes],
    rdf: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = make_package(changes, **rdf)

    code = run(["upload", str(package.path), "--server", served.url, "--submit"])

    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert "--submit" in error
    assert served.kinds == []


def test_a_package_fit_for_review_meets_no_obstacle(contents: Contents) -> None:
    assert obstacles_to_review(contents) == ()


def test_the_help_says_that_only_reviewers_publish(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["upload", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("\u2502", " ").split())
    assert TOKEN_VARIABLE in text
    assert "only they publish" in text
