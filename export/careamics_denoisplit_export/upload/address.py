"""Where requests may go: encrypted, or to this machine; never where an answer alone points."""

import ipaddress
import re
from typing import NamedTuple

import httpx

from careamics_denoisplit.errors import ConfigurationError, FaultError
from careamics_denoisplit_export.upload.secrecy import scrubbed

DEFAULT_SERVER = "https://hypha.aicell.io"
"""The server of the BioImage Model Zoo."""

PARENT = "bioimage-io/bioimage.io"
"""The collection of the zoo."""

_WORKSPACE = PARENT.partition("/")[0]
_ALIAS = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
_LONGEST_ALIAS = 128
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


class Server(NamedTuple):
    """A server that may get the token."""

    url: str
    """Scheme, host, port and path, without a slash at the end."""
    is_local: bool
    """Whether it is this machine."""


def server_address(text: str) -> Server:
    """Check the address of a server.

    Parameters
    ----------
    text : str
        As typed; `http://` is accepted for this machine only.

    Raises
    ------
    ConfigurationError
        If it is no address, would send the token in the clear, or carries anything beside
        host, port and path.
    """
    try:
        url = httpx.URL(text)
        host, scheme = url.host, url.scheme
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"--server {scrubbed(text)!r} is no address. Write one such as {DEFAULT_SERVER}."
        ) from error
    if scheme not in ("https", "http") or not _is_host(url):
        raise ConfigurationError(
            f"--server {scrubbed(text)!r} is no address of a server. Write one such as "
            f"{DEFAULT_SERVER}."
        )
    if url.userinfo or url.query or url.fragment:
        raise ConfigurationError(
            "--server must be host, port and path only, without user, password, `?` or `#`; the "
            "token comes from the environment."
        )
    if scheme == "http" and not _is_local(host):
        raise ConfigurationError(
            f"--server {scrubbed(text)!r} is not encrypted, so the token could be read on the way. "
            "Use https://; http:// is for servers on this machine."
        )
    return Server(str(url).rstrip("/"), _is_local(host))


def transfer_address(text: object, server: Server) -> httpx.URL:
    """Check an address that the server gave for the bytes of a file.

    Parameters
    ----------
    text : object
        What the server answered.
    server : Server
        The server.

    Raises
    ------
    FaultError
        If it is no address, is not encrypted, or leads from another machine to this one.
    """
    try:
        url = httpx.URL(text if isinstance(text, str) else "")
        host, scheme = url.host, url.scheme
    except (httpx.InvalidURL, ValueError):
        host, scheme, url = "", "", httpx.URL("")
    if scheme not in ("https", "http") or not _is_host(url) or url.userinfo:
        raise FaultError(
            "The server gave no usable address for a file. Nothing was sent there; try later, and "
            "check --server."
        )
    local = _is_local(host)
    if (scheme == "http" and not (local and server.is_local)) or (local and not server.is_local):
        raise FaultError(
            f"The server gave the address {scheme}://{host} for a file, which is not encrypted or "
            "is this machine itself. Nothing was sent there; check --server."
        )
    return url


def require_item_id(text: object) -> str:
    """Check the id of an item: workspace, slash, alias of small letters, digits and hyphens.

    Parameters
    ----------
    text : object
        What the server answered or the journal holds.

    Raises
    ------
    FaultError
        If it is anything else, such as a path that climbs.
    """
    workspace, _, alias = str(text).partition("/")
    fits = (
        isinstance(text, str)
        and workspace == _WORKSPACE
        and len(alias) <= _LONGEST_ALIAS
        and _ALIAS.fullmatch(alias) is not None
        and text != PARENT
    )
    if not fits:
        raise FaultError(
            f"The server gave the id {scrubbed(repr(text))}, which is none of the zoo "
            f"({_WORKSPACE}/adjective-animal). Nothing more was sent."
        )
    return str(text)


def _is_host(url: httpx.URL) -> bool:
    """Whether the host is a name or a number, and not what a lenient parser left of one."""
    host = url.raw_host.decode("ascii", "replace")
    if _NAME.fullmatch(host):
        return True
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    if host.rstrip(".").casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
