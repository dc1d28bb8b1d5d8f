"""Rows H3 and H4: every request of an upload meets every fault, one at a time."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from careamics_denoisplit.errors import ConfigurationError, DenoiSplitError, FaultError
from careamics_denoisplit_export.upload import Contents
from careamics_denoisplit_export.upload.transport import UnreachableError

Act = Callable[[], httpx.Response]

CODES = (400, 401, 403, 404, 409, 413, 422)
KINDS = ("read", "create", "list_files", "put_file", "PUT", "get_file", "GET", "edit")


def requests_of_an_upload(zoo: Any, contents: Contents) -> int:
    """Count the requests of an upload that meets no fault, then forget it."""
    zoo.upload(contents, submit=True)
    count = len(zoo.kinds)
    forget(zoo, contents)
    return count


def forget(zoo: Any, contents: Contents) -> None:
    for file in contents.path.with_name("tiny.upload").glob("*"):
        file.unlink()
    zoo.items.clear()
    zoo.kinds.clear()
    zoo.created = 0


def outcome(zoo: Any, contents: Contents) -> DenoiSplitError | None:
    """Upload and return the error, if any."""
    try:
        zoo.upload(contents, submit=True)
    except DenoiSplitError as error:
        return error
    return None


def only(number: int, fault: Callable[[Act], httpx.Response]) -> Any:
    """Let one request meet a fault."""
    return lambda n, _kind, act: fault(act) if n == number else act()


def always(kind: str, fault: Callable[[Act], httpx.Response]) -> Any:
    """Let every request of a kind meet a fault."""
    return lambda _n, k, act: fault(act) if k == kind else act()


def raising(error: type[Exception]) -> Callable[[Act], httpx.Response]:
    def fault(act: Act) -> httpx.Response:
        raise error("the line broke at https://x/y?X-Amz-Signature=f00dfacef00dface")

    return fault


def answer_lost(act: Act) -> httpx.Response:
    act()
    raise httpx.ReadTimeout("no answer")


def cut_short(act: Act) -> httpx.Response:
    act()

    def body() -> Iterator[bytes]:
        yield b'{"id": "bioimage-io/af'
        raise httpx.RemoteProtocolError("peer closed connection")

    return httpx.Response(200, content=body())


TEMPORARY: dict[str, Callable[[Act], httpx.Response]] = {
    "429": lambda _act: httpx.Response(429, headers={"Retry-After": "2"}),
    "500": lambda _act: httpx.Response(500, json={"success": False, "detail": "oops"}),
    "connect": raising(httpx.ConnectError),
    "read": raising(httpx.ReadError),
    "answer lost": answer_lost,
    "answer cut short": cut_short,
    "short JSON": lambda act: (act(), httpx.Response(200, content=b'{"id": "bioi'))[1],
    "a page": lambda _act: httpx.Response(200, html="<html>log in to the network</html>"),
}
CARRIED_OUT = [TEMPORARY[name] for name in ("answer lost", "answer cut short", "short JSON")]


@pytest.mark.parametrize("code", CODES)
def test_h3_a_refused_request_is_not_repeated_and_leaves_no_half_draft(
    zoo: Any, contents: Contents, code: int
) -> None:
    total = requests_of_an_upload(zoo, contents)
    assert total > 15

    for number in range(1, total + 1):
        seen: list[str] = []

        def fault(n: int, kind: str, act: Act, number: int = number, seen: list[str] = seen) -> Any:
            if n != number:
                return act()
            seen.append(kind)
            return httpx.Response(code, json={"success": False, "detail": "no"})

        zoo.fault = fault
        before = len(zoo.kinds)
        error = outcome(zoo, contents)
        if error is None:
            # What is not there when it is read back is sent again, and a draft that is gone when
            # it is looked for was never there: neither is a refusal.
            assert (code, seen) in [(404, ["get_file"]), (404, ["GET"])], number
        else:
            message = str(error)
            assert "\n" not in message
            assert f"{code}" in message or (code == 404 and seen == ["read"])
            # Either nothing is left, or the message says what is.
            assert zoo.items == {} or next(iter(zoo.items)) in message, (number, message)
            token_refused = code == 401 and seen not in (["PUT"], ["GET"])
            assert error.exit_code == (2 if token_refused else 3)
        assert all(item.versions == [] for item in zoo.items.values())
        assert len(zoo.kinds) > before
        zoo.fault = lambda _n, _k, act: act()
        forget(zoo, contents)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [400, 403, 413])
def test_h3_no_second_try_follows_a_refusal(
    zoo: Any, contents: Contents, kind: str, code: int
) -> None:
    zoo.fault = always(kind, lambda _act: httpx.Response(code))

    with pytest.raises(FaultError, match=f"HTTP {code}"):
        zoo.upload(contents)

    cleaning = 1 if kind in ("read", "edit") else 0
    assert zoo.kinds.count(kind) <= 1 + cleaning


@pytest.mark.parametrize("fault", TEMPORARY.values(), ids=TEMPORARY)
def test_h4_one_fault_that_passes_changes_nothing(
    zoo: Any, contents: Contents, fault: Callable[[Act], httpx.Response]
) -> None:
    total = requests_of_an_upload(zoo, contents)
    zoo.upload(contents, submit=True)
    expected = dict(next(iter(zoo.items.values())).files)
    forget(zoo, contents)

    for number in range(1, total + 1):
        zoo.fault = only(number, fault)
        draft = zoo.upload(contents, submit=True)

        assert list(zoo.items) == [draft.id], f"request {number}"
        (item,) = zoo.items.values()
        assert {k: v for k, v in item.files.items() if k != "rdf.yaml"} == {
            k: v for k, v in expected.items() if k != "rdf.yaml"
        }
        assert item.versions == []
        assert item.staging["status"] == "in-review"
        forget(zoo, contents)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", TEMPORARY.values(), ids=TEMPORARY)
def test_h4_a_fault_that_stays_is_met_five_times_at_most(
    zoo: Any, contents: Contents, kind: str, fault: Callable[[Act], httpx.Response]
) -> None:
    zoo.fault = always(kind, fault)
    stored = kind == "PUT" and fault is TEMPORARY["short JSON"]  # nobody reads that answer
    if stored or (kind == "create" and fault in CARRIED_OUT):
        draft = zoo.upload(contents)
        assert list(zoo.items) == [draft.id]
        return

    with pytest.raises(FaultError) as caught:
        zoo.upload(contents)

    cleaning = 2 if kind in ("read", "edit") else 0
    assert 1 < zoo.kinds.count(kind) <= 5 + cleaning
    message = str(caught.value)
    assert "\n" not in message
    assert "f00dface" not in message
    assert not zoo.items or next(iter(zoo.items)) in message or "finds it" in message
    assert zoo.time > 4

    zoo.fault = lambda _n, _k, act: act()
    draft = zoo.upload(contents)
    assert list(zoo.items) == [draft.id]


def test_h4_waits_grow_and_the_server_may_ask_for_more(zoo: Any, contents: Contents) -> None:
    waits: list[float] = []
    zoo.sleep = lambda seconds: waits.append(seconds)
    zoo.fault = always("read", lambda _act: httpx.Response(503))
    with pytest.raises(UnreachableError, match="5 tries"):
        zoo.upload(contents)
    assert waits == [1, 2, 4, 8]

    waits.clear()
    zoo.fault = only(
        1 + len(zoo.kinds), lambda _act: httpx.Response(429, headers={"Retry-After": "7"})
    )
    zoo.upload(contents)
    assert waits == [7]


def test_h4_a_date_is_waited_for(zoo: Any, contents: Contents) -> None:
    date = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    zoo.fault = only(1, lambda _act: httpx.Response(503, headers=date))

    zoo.upload(contents)

    assert zoo.time == 1, "the date has passed"


def test_h4_a_wait_beyond_the_deadline_is_not_begun(zoo: Any, contents: Contents) -> None:
    zoo.fault = always("read", lambda _act: httpx.Response(429, headers={"Retry-After": "86400"}))

    with pytest.raises(UnreachableError, match="asks to wait 86400 s"):
        zoo.upload(contents)

    assert zoo.time == 0
    assert len(zoo.kinds) == 1


def test_h4_a_body_is_sent_again_from_its_first_byte(zoo: Any, contents: Contents) -> None:
    tries = 0

    def reset_in_the_body(request: httpx.Request) -> httpx.Response:
        nonlocal tries
        if request.method == "PUT" and request.url.path.endswith("weights.pt"):
            tries += 1
            if tries < 3:
                next(iter(request.stream))  # type: ignore[call-overload]  # httpx types both kinds of streams
                raise httpx.WriteError("broken pipe")
        return zoo.answer(request)

    from careamics_denoisplit_export.upload import Token, make_draft, server_address

    make_draft(
        contents,
        server_address(zoo.url),
        Token(zoo.token),
        patience=zoo.patience,
        transport=httpx.MockTransport(reset_in_the_body),
    )

    (item,) = zoo.items.values()
    assert tries == 3
    assert item.files["weights.pt"] == b"".join(contents.members[1].blocks())


def test_h4_a_server_that_drips_is_given_up(zoo: Any, contents: Contents) -> None:
    def drip(_act: Act) -> httpx.Response:
        def body() -> Iterator[bytes]:
            for _ in range(1000):
                zoo.time += 60
                yield b" "

        return httpx.Response(200, content=body())

    zoo.fault = always("read", drip)

    with pytest.raises(UnreachableError, match="took too long"):
        zoo.upload(contents)
    assert zoo.time < 1000


def test_h4_an_endless_answer_is_not_read_to_its_end(zoo: Any, contents: Contents) -> None:
    sent = 0

    def endless(_act: Act) -> httpx.Response:
        def body() -> Iterator[bytes]:
            nonlocal sent
            for _ in range(10_000):
                sent += 2**20
                yield b" " * 2**20

        return httpx.Response(200, content=body())

    zoo.fault = always("read", endless)

    with pytest.raises(UnreachableError, match="larger than"):
        zoo.upload(contents)
    assert sent < 6 * 20 * 2**20


def test_a_token_that_is_not_accepted_is_wrong_input(zoo: Any, contents: Contents) -> None:
    zoo.fault = only(1, lambda _act: httpx.Response(401))

    with pytest.raises(ConfigurationError, match="HYPHA_TOKEN"):
        zoo.upload(contents)
    assert not list(contents.path.with_name("tiny.upload").glob("*.json"))


def test_a_draft_that_cannot_be_removed_is_named(zoo: Any, contents: Contents) -> None:
    def fault(_n: int, kind: str, act: Act) -> httpx.Response:
        return httpx.Response(403) if kind in ("PUT", "delete") else act()

    zoo.fault = fault

    with pytest.raises(FaultError, match="bioimage-io/affable-otter is unfinished"):
        zoo.upload(contents)
    (item,) = zoo.items.values()
    assert item.staging is not None, "it is a draft still"

    zoo.fault = lambda _n, _k, act: act()
    assert zoo.upload(contents).id == "bioimage-io/affable-otter"
    assert zoo.created == 1
