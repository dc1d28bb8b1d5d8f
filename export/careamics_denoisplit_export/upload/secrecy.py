"""The token and presigned addresses stay out of messages, logs and representations."""

import logging
import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import httpx

from careamics_denoisplit.errors import ConfigurationError

TOKEN_VARIABLE = "HYPHA_TOKEN"  # noqa: S105 - the name of a variable, not a token
"""Environment variable that holds the token; there is no other way to give one."""

_GET_ONE = "Log in at bioimage.io, take a token from bioimage.io/#/api and set it in the shell"
_QUERY = re.compile(r"\?[^\s\"'<>]*")
_SIGNATURE = re.compile(
    r"(?i)\b(x-amz-[a-z-]+|awsaccesskeyid|signature|sig|token|access_token)=[^\s&\"'<>]*"
)
_BEARER = re.compile(r"(?i)\bbearer\s+[^\s\"',;]+")
_LONGEST_MESSAGE = 300
# They write addresses with their signatures, or headers, into the log.
_TALKATIVE = ("httpx", "httpcore", "httpcore.connection", "httpcore.http11", "httpcore.proxy")


class Token(httpx.Auth):
    """A token that can be sent and does nothing else: it is never shown.

    Parameters
    ----------
    text : str
        The token, in letters, digits and signs of ASCII.

    Raises
    ------
    ConfigurationError
        If it is empty or holds anything that no token has; the message does not repeat it.
    """

    def __init__(self, text: str) -> None:
        text = text.strip()
        if not text:
            raise ConfigurationError(f"{TOKEN_VARIABLE} is empty. {_GET_ONE}.")
        if not all("!" <= letter <= "~" for letter in text):
            raise ConfigurationError(
                f"{TOKEN_VARIABLE} holds blanks, line breaks or letters outside ASCII, so it is no "
                f"token. {_GET_ONE} without anything around it."
            )
        self._text = text

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header to one request; answers that redirect are not followed."""
        request.headers["Authorization"] = f"Bearer {self._text}"
        yield request

    def hide(self, text: str) -> str:
        """Return text without the token."""
        return text.replace(self._text, "[token]")

    def __repr__(self) -> str:
        return "Token(hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a token is not written anywhere")


def token_from_environment() -> Token:
    """Read the token.

    Raises
    ------
    ConfigurationError
        If it is missing or no token.
    """
    text = os.environ.get(TOKEN_VARIABLE)
    if text is None:
        raise ConfigurationError(
            f"No token: the environment variable {TOKEN_VARIABLE} is not set. {_GET_ONE}, or use "
            "--dry-run, which needs none."
        )
    return Token(text)


def scrubbed(text: str, token: Token | None = None) -> str:
    """Make text of a server or a library fit for a message: one short line without secrets.

    Parameters
    ----------
    text : str
        What came.
    token : Token, optional
        What must not occur in it.
    """
    if token is not None:
        text = token.hide(text)
    for pattern, replacement in (
        (_BEARER, "Bearer [token]"),
        (_QUERY, "?[hidden]"),
        (_SIGNATURE, "[hidden]"),
    ):
        text = pattern.sub(replacement, text)
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}..."


@contextmanager
def without_token() -> Iterator[None]:
    """Keep the token out of the environment of processes that are started meanwhile."""
    text = os.environ.pop(TOKEN_VARIABLE, None)
    try:
        yield
    finally:
        if text is not None:
            os.environ[TOKEN_VARIABLE] = text


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop what the HTTP libraries log: it carries signatures of presigned addresses."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    for logger in loggers:
        logger.addFilter(_drop)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_drop)


def _drop(_record: logging.LogRecord) -> bool:
    return False
