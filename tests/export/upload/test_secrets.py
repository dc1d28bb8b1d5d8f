"""Rows H6 and H7: the token and signatures are nowhere, and go nowhere else."""

import json
import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from careamics_denoisplit.cli.app import run
from careamics_denoisplit.errors import ConfigurationError, DenoiSplitError, FaultError
from careamics_denoisplit_export.rules import Report
from careamics_denoisplit_export.upload import (
    TOKEN_VARIABLE,
    Contents,
    Token,
    server_address,
    uploading,
)
from careamics_denoisplit_export.upload.secrecy import scrubbed, token_from_environment

SIGNATURE = "f00dfacef00dface"

Act = Callable[[], httpx.Response]


def echo(request_token: str) -> Callable[[Act], httpx.Response]:
    """A server that repeats what it was sent."""

    def fault(_act: Act) -> httpx.Response:
        text = f"bad header Authorization: Bearer {request_token} at https://s/x?X-Amz-Signature={SIGNATURE}"
        return httpx.Response(400, text=text)

    return fault


def breaking(request_token: str) -> Callable[[Act], httpx.Response]:
    """A library that puts the address and the header into its message."""

    def fault(_act: Act) -> httpx.Response:
        raise httpx.ConnectError(
            f"cannot reach https://s/x?X-Amz-Signature={SIGNATURE} with {request_token}"
        )

    return fault


@pytest.mark.parametrize("kind", ["nothing", "read", "create", "put_file", "PUT", "GET", "edit"])
@pytest.mark.parametrize("make", [echo, breaking])
def test_h6_no_secret_is_in_any_message_log_or_file(
    zoo: Any,
    contents: Contents,
    kind: str,
    make: Callable[[str], Callable[[Act], httpx.Response]],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "careamics_denoisplit"):
        caplog.set_level(logging.DEBUG, logger=name)
    zoo.fault = lambda _n, k, act: make(zoo.token)(act) if k == kind else act()
    said: list[str] = []
    shown = ""

    try:
        shown = repr(zoo.upload(contents, say=said.append))
    except DenoiSplitError as error:
        shown = "".join(traceback.format_exception(error)) + repr(error)

    everything = "\n".join([shown, caplog.text, *said])
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (zoo.token, SIGNATURE):
        assert secret not in everything
        assert secret.encode() not in files
    assert zoo.leaks == []


@pytest.mark.parametrize("fails", [False, True])
def test_h6_the_whole_command_shows_no_secret(
    served: Any,
    contents: Contents,
    fails: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str | None] = []
    monkeypatch.setenv(TOKEN_VARIABLE, served.token)
    monkeypatch.setattr(uploading, "check_package", passing(contents, seen))
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore.http11", "httpcore.connection"):
        caplog.set_level(logging.DEBUG, logger=name)
    if fails:
        served.fault = lambda _n, k, act: echo(served.token)(act) if k == "PUT" else act()
    result = tmp_path / "result.json"

    code = run(
        ["upload", str(contents.path), "--server", served.url, "--json", str(result), "--debug"]
    )

    captured = capfd.readouterr()
    assert code == (3 if fails else 0)
    assert ("Traceback" in captured.err) is fails
    assert seen == [None], "processes that run weights do not get the token"
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (served.token, SIGNATURE):
        assert secret not in captured.out + captured.err + caplog.text
        assert secret.encode() not in files
    assert result.exists() is not fails


def passing(contents: Contents, seen: list[str | None]) -> Callable[[Path], Report]:
    """A check that passes, and notes the token that it could see."""
    import os

    def check(path: Path) -> Report:
        seen.append(os.environ.get(TOKEN_VARIABLE))
        return Report(str(path), contents.sha256, ())

    return check


def test_h6_a_token_is_neither_shown_nor_written() -> None:
    token = Token("abc.def")

    assert "abc" not in f"{token!r} {token}"
    with pytest.raises(TypeError):
        pickle.dumps(token)
    with pytest.raises(TypeError):
        json.dumps(token)


@pytest.mark.parametrize("text", ["", "  ", "two words", "line\nbreak", "bl\u00fcmchen", "nul\x00"])
def test_h6_what_is_no_token_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with pytest.raises(ConfigurationError, match=TOKEN_VARIABLE) as caught:
        Token(text)
    assert not text.strip() or text not in str(caught.value)

    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match="--dry-run"):
        token_from_environment()


def test_h6_texts_of_servers_lose_their_secrets() -> None:
    text = (
        "GET https://s3.x/y?X-Amz-Credential=a%2Fb&X-Amz-Signature=123 failed\n"
        "token=abc; authorization: bearer xyz; signature=q"
    )

    line = scrubbed(text, Token("other"))

    assert not any(secret in line for secret in ("123", "a%2Fb", "abc", "xyz", "=q", "\n"))
    assert "failed" in line
    assert len(scrubbed("x" * 10_000)) < 400


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["read", "create", "PUT", "GET"])
def test_h7_no_redirect_is_followed(zoo: Any, contents: Contents, kind: str, status: int) -> None:
    asked: list[httpx.Request] = []
    there = {"Location": f"https://evil.example/x?X-Amz-Signature={SIGNATURE}"}
    answer = zoo.answer

    def record(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer(request)

    zoo.answer = record
    zoo.fault = lambda _n, k, act: httpx.Response(status, headers=there) if k == kind else act()

    with pytest.raises(FaultError, match=r"redirected to evil\.example") as caught:
        zoo.upload(contents)

    assert {request.url.host for request in asked} == {"127.0.0.1"}
    assert SIGNATURE not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://hypha.aicell.io",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://user:password@hypha.aicell.io",
        "https://hypha.aicell.io/?x=1",
        "https://hypha.aicell.io/#x",
        "hypha.aicell.io",
        "https://",
        "",
        "https://[",
        "http://0.0.0.0",
        "http://10.0.0.1:9000",
    ],
)
def test_h7_a_server_that_may_not_get_the_token_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--server") as caught:
        server_address(url)
    assert "password" not in str(caught.value).replace("user, password", "")


@pytest.mark.parametrize(
    "url",
    ["https://hypha.aicell.io", "https://x.example:8443/base/", "http://127.0.0.1:9599",
     "http://localhost:1", "http://[::1]:2"],
)  # fmt: skip
def test_h7_encrypted_and_local_servers_are_accepted(url: str) -> None:
    assert server_address(url).url == url.rstrip("/")


@pytest.mark.parametrize(
    "address",
    [
        "http://storage.example/x",
        "ftp://storage.example/x",
        "https://user@storage.example/x",
        "/s3/x",
        "",
        None,
        {"url": "https://x"},
        17,
    ],
)
def test_h7_bytes_go_to_encrypted_addresses_only(
    zoo: Any, contents: Contents, address: object
) -> None:
    zoo._address = lambda *_: address

    with pytest.raises(FaultError, match="Nothing was sent there"):
        zoo.upload(contents)
    assert "PUT" not in zoo.kinds


def test_h7_a_server_elsewhere_cannot_point_at_this_machine(zoo: Any, contents: Contents) -> None:
    zoo.url = "https://zoo.example"
    zoo._address = lambda *_: "https://127.0.0.1:8443/admin"

    with pytest.raises(FaultError, match="this machine itself"):
        zoo.upload(contents)
    assert "PUT" not in zoo.kinds


@pytest.mark.parametrize(
    "item_id",
    [
        "bioimage-io/../../x",
        "bioimage-io/a/b",
        "elsewhere/affable-otter",
        "bioimage-io/",
        "bioimage-io/A b",
        "bioimage-io/bioimage.io",
        "bioimage-io/x\n",
        "affable-otter",
        "",
        None,
        3,
    ],
)
def test_h7_an_id_that_is_none_of_the_zoo_is_refused(
    zoo: Any, contents: Contents, item_id: object
) -> None:
    real = zoo._create
    zoo._create = lambda **arguments: {**real(**arguments), "id": item_id}

    with pytest.raises(FaultError, match="none of the zoo"):
        zoo.upload(contents)

    assert zoo.kinds == ["read", "create"]


def test_h7_a_journal_cannot_lead_elsewhere(zoo: Any, contents: Contents) -> None:
    zoo.upload(contents)
    journal = next(contents.path.with_name("tiny.upload").glob("*.json"))
    journal.write_text(
        json.dumps({**json.loads(journal.read_text()), "id": "bioimage-io/../../admin"})
    )
    zoo.kinds.clear()

    with pytest.raises(DenoiSplitError, match="not a journal"):
        zoo.upload(contents)
    assert zoo.kinds == []
