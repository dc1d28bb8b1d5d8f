"""Single requests that are tried again where that can help, within limits of number and time."""

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import httpx

from careamics_denoisplit.errors import FaultError
from careamics_denoisplit_export.upload.secrecy import Token, scrubbed

MAX_ANSWER_BYTES = 16 * 2**20
"""Largest answer of the server that is read; descriptions of models are far smaller."""

TIMEOUT = httpx.Timeout(60.0, connect=20.0)
"""Seconds without any progress after which one try ends."""

_TEMPORARY = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)

Result = TypeVar("Result")


class RefusedError(FaultError):
    """The server has answered, and will answer the same again.

    Parameters
    ----------
    message : str
        One line.
    status : int
        HTTP status.
    detail : str
        What the server said, without secrets.
    """

    def __init__(self, message: str, status: int, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


class UnreachableError(FaultError):
    """All tries have failed; whether the last one was carried out is not known."""


class TemporaryError(Exception):
    """One try has failed in a way that may pass.

    Parameters
    ----------
    reason : str
        What happened, without secrets.
    wait : float, optional
        Seconds that the server asks to wait.
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def _seconds_drawn(most: float) -> float:
    return secrets.SystemRandom().uniform(most / 2, most)


@dataclass(frozen=True)
class Patience:
    """How often and how long something is tried.

    Attributes
    ----------
    tries : int
        Largest number of tries.
    first_wait, longest_wait : float
        Seconds before the second try, doubled before each further one up to the longest; what
        is waited is drawn between half of it and all of it.
    deadline : float
        Seconds for all tries together; with it no try begins later than this.
    sleep, now, draw : callable
        Waiting, a monotonic clock, and the draw.
    """

    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 30.0
    deadline: float = 300.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    now: Callable[[], float] = field(default=time.monotonic, repr=False)
    draw: Callable[[float], float] = field(default=_seconds_drawn, repr=False)

    def run(self, what: str, once: Callable[[float], Result]) -> Result:
        """Try something until it succeeds.

        Parameters
        ----------
        what : str
            What is tried, for messages.
        once : callable
            One try, which gets the time at which it must end; raises `TemporaryError`.

        Raises
        ------
        UnreachableError
            If no try has succeeded.
        """
        end = self.now() + self.deadline
        for number in range(1, self.tries + 1):
            try:
                return once(end)
            except TemporaryError as error:
                wait = max(self.draw(self._longest(number)), error.wait)
                last = number == self.tries
                if last or self.now() + wait >= end:
                    asked = f", which asks to wait {error.wait:.0f} s" if error.wait else ""
                    raise UnreachableError(
                        f"{what} failed, last of {number} tries: {error}{asked}."
                    ) from None
            self.sleep(wait)
        raise AssertionError  # the last try returns or raises

    def _longest(self, number: int) -> float:
        return float(min(self.longest_wait, self.first_wait * 2 ** (number - 1)))


class Answer(NamedTuple):
    """What a server has answered."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Headers."""
    body: bytes
    """Content, at most `MAX_ANSWER_BYTES`."""


class Wire:
    """Sends one request and turns every failure into one of three errors.

    Parameters
    ----------
    client : httpx.Client
        Follows no redirect and adds no authorisation by itself.
    token : Token
        Added where a request asks for it; hidden in messages.
    now : callable
        A monotonic clock.
    """

    def __init__(
        self, client: httpx.Client, token: Token, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._token = token
        self._now = now

    def ask(self, what: str, url: httpx.URL | str, body: bytes, end: float) -> Answer:
        """Send JSON with the token, read the answer.

        Parameters
        ----------
        what : str
            What is asked, for messages.
        url : httpx.URL or str
            Where.
        body : bytes
            JSON.
        end : float
            Time after which the try is given up.

        Raises
        ------
        TemporaryError
            If another try may succeed.
        RefusedError, FaultError
            If it may not.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = self._client.build_request("POST", url, content=body, headers=headers)
        with self._answered(what, request, self._token) as response:
            answer = Answer(response.status_code, response.headers, self._read(response, end))
        self._require_success(what, answer)
        return answer

    def put(
        self, what: str, url: httpx.URL, blocks: Iterator[bytes], size: int, end: float
    ) -> None:
        """Send the bytes of a file, without the token, from the first byte on.

        Parameters
        ----------
        what : str
            What is sent, for messages.
        url : httpx.URL
            Presigned address.
        blocks : iterator of bytes
            The content.
        size : int
            Its length in bytes.
        end : float
            Time after which the try is given up.

        Raises
        ------
        TemporaryError, RefusedError, FaultError
            As for `ask`.
        """
        # An empty type is part of what was signed.
        headers = {"Content-Type": "", "Content-Length": str(size)}
        limited = self._limited(blocks, end)
        request = self._client.build_request("PUT", url, content=limited, headers=headers)
        with self._answered(what, request) as response:
            answer = Answer(response.status_code, response.headers, self._read(response, end))
        self._require_success(what, answer)

    def sha256(self, what: str, url: httpx.URL, most: int, end: float) -> str:
        """Hash what is stored at an address, without the token.

        Parameters
        ----------
        what : str
            What is read, for messages.
        url : httpx.URL
            Presigned address.
        most : int
            Largest number of bytes that is read.
        end : float
            Time after which the try is given up.

        Returns
        -------
        str
            64 hexadecimal digits; those of the first bytes where there are more than `most`.

        Raises
        ------
        TemporaryError, RefusedError, FaultError
            As for `ask`.
        """
        digest, total = hashlib.sha256(), 0
        request = self._client.build_request("GET", url)
        with self._answered(what, request) as response:
            if response.status_code != HTTPStatus.OK:
                answer = Answer(response.status_code, response.headers, self._read(response, end))
                self._require_success(what, answer)
                raise TemporaryError(f"it was answered with HTTP {answer.status}")
            for block in self._limited(response.iter_bytes(), end):
                digest.update(block)
                total += len(block)
                if total > most:
                    break
        return digest.hexdigest()

    @contextlib.contextmanager
    def _answered(
        self, what: str, request: httpx.Request, auth: httpx.Auth | None = None
    ) -> Iterator[httpx.Response]:
        """Send and give the answer, whose body is still to be read."""
        # Messages of httpx carry whole addresses and headers: they are not chained.
        try:
            response = self._client.send(request, auth=auth, stream=True)
            try:
                yield response
            finally:
                response.close()
        except (httpx.TimeoutException, TimeoutError):
            raise TemporaryError("the server did not answer in time") from None
        except (httpx.TransportError, httpx.DecodingError, httpx.StreamError) as error:
            reason = scrubbed(str(error) or type(error).__name__, self._token)
            if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
                raise FaultError(f"{what} could not be sent: {reason}.") from None
            raise TemporaryError(f"the connection failed ({reason})") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict) as error:
            raise FaultError(f"{what} could not be sent: {type(error).__name__}.") from None

    def _require_success(self, what: str, answer: Answer) -> None:
        status = answer.status
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        detail = self._detail(answer)
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            host = _host(answer.headers.get("location", ""))
            raise RefusedError(
                f"{what} was redirected to {host} (HTTP {status}). Redirects are not followed: "
                "they could carry the token away. Check --server.",
                status,
            )
        if status in _TEMPORARY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise TemporaryError(f"HTTP {status}{_said(detail)}", _asked_to_wait(answer.headers))
        raise RefusedError(f"{what} was refused: HTTP {status}{_said(detail)}.", status, detail)

    def _detail(self, answer: Answer) -> str:
        return scrubbed(answer.body[:2000].decode("utf-8", "replace"), self._token).rstrip(".")

    def _read(self, response: httpx.Response, end: float) -> bytes:
        parts, total = [], 0
        for block in self._limited(response.iter_bytes(), end):
            total += len(block)
            if total > MAX_ANSWER_BYTES:
                raise TemporaryError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            parts.append(block)
        return b"".join(parts)

    def _limited(self, blocks: Iterator[bytes], end: float) -> Iterator[bytes]:
        for block in blocks:
            if self._now() >= end:
                raise TemporaryError("it took too long")
            yield block


def _said(detail: str) -> str:
    return f", {detail}" if detail else ""


def _host(location: str) -> str:
    try:
        host = httpx.URL(location).host
    except (httpx.InvalidURL, ValueError):
        host = ""
    return scrubbed(host) or "another place"


def _asked_to_wait(headers: Mapping[str, str]) -> float:
    """Seconds of `Retry-After`, given as a number or as a date."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0
