"""Row H5: an upload that was killed at any request, and what the same command makes of it."""

import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from careamics_denoisplit_export.upload import Contents, Token, make_draft, server_address

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked here")


class Deadly(httpx.HTTPTransport):
    """Kills its process at one request, before it is sent or after it was carried out."""

    def __init__(self, number: int, after: bool) -> None:
        super().__init__()
        self.left = number
        self.after = after

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.left -= 1
        if self.left == 0 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        response = super().handle_request(request)
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return response


def in_a_child(work: Callable[[], object]) -> int:
    """Run something in a process of its own; return its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child only sends requests
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def upload(zoo: Any, contents: Contents, transport: httpx.BaseTransport | None = None) -> Any:
    return make_draft(
        contents, server_address(zoo.url), Token(zoo.token), submit=True, transport=transport
    )


@pytest.mark.parametrize("after", [False, True])
def test_h5_a_kill_at_any_request_leaves_one_draft_after_the_retry(
    served: Any, contents: Contents, after: bool
) -> None:
    upload(served, contents)
    total = len(served.kinds)
    assert total > 15

    for number in range(1, total + 1):
        served.items.clear()
        served.created = 0
        for file in contents.path.with_name("tiny.upload").iterdir():
            file.unlink()

        killed = in_a_child(lambda n=number: upload(served, contents, Deadly(n, after)))
        draft = upload(served, contents)

        assert killed == -signal.SIGKILL
        assert list(served.items) == [draft.id], f"request {number}"
        assert served.created == 1
        (item,) = served.items.values()
        assert item.versions == []
        assert item.staging["status"] == "in-review"
        assert set(item.files) == {file.name for file in draft.files}
        left = [file.name for file in contents.path.with_name("tiny.upload").iterdir()]
        assert left == [f"{served.url.removeprefix('http://').replace(':', '_')}.json"]


def test_h5_a_lost_answer_to_create_makes_one_draft(zoo: Any, contents: Contents) -> None:
    def lose(_n: int, kind: str, act: Callable[[], httpx.Response]) -> httpx.Response:
        response = act()
        if kind == "create" and zoo.created == 1:
            zoo.created += 1
            raise httpx.ReadTimeout("lost")
        return response

    zoo.fault = lose

    draft = zoo.upload(contents)

    assert list(zoo.items) == [draft.id]
    assert zoo.kinds.count("create") == 1


def test_h5_a_draft_made_by_a_late_request_is_removed(zoo: Any, contents: Contents) -> None:
    late: list[Callable[[], httpx.Response]] = []

    def delay(_n: int, kind: str, act: Callable[[], httpx.Response]) -> httpx.Response:
        if kind == "create" and not late:
            late.append(act)
            raise httpx.ReadTimeout("on its way")
        if kind == "create":
            late[0]()  # arrives just before the second one
        return act()

    zoo.fault = delay

    draft = zoo.upload(contents)

    assert list(zoo.items) == [draft.id]
    assert zoo.created == 2


@pytest.mark.parametrize(
    "text",
    [
        "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
        "<Error><Code>RequestTimeTooSkewed</Code></Error>",
        "<Error><Code>ExpiredToken</Code></Error>",
    ],
)
@pytest.mark.parametrize("kind", ["PUT", "GET"])
def test_h5_an_expired_address_is_replaced_by_a_new_one(
    zoo: Any, contents: Contents, kind: str, text: str
) -> None:
    expired = 0

    def expire(_n: int, k: str, act: Callable[[], httpx.Response]) -> httpx.Response:
        nonlocal expired
        if k == kind and expired < 2:
            expired += 1
            return httpx.Response(403, text=text)
        return act()

    zoo.fault = expire

    draft = zoo.upload(contents)

    assert expired == 2
    assert list(zoo.items) == [draft.id]
    assert zoo.kinds.count("put_file" if kind == "PUT" else "get_file") == 3 + 2


def test_h5_ctrl_c_keeps_the_draft_and_says_so(zoo: Any, contents: Contents) -> None:
    said: list[str] = []

    def stop(_n: int, kind: str, act: Callable[[], httpx.Response]) -> httpx.Response:
        if kind == "PUT":
            raise KeyboardInterrupt
        return act()

    zoo.fault = stop
    with pytest.raises(KeyboardInterrupt):
        zoo.upload(contents, say=said.append)
    zoo.fault = lambda _n, _k, act: act()

    assert "bioimage-io/affable-otter" in said[-1]
    assert zoo.upload(contents).id == "bioimage-io/affable-otter"
    assert len(zoo.items) == 1
