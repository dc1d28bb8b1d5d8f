"""The zoo's own server software on this machine: started, filled and stopped again."""

import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

SETUP = Path(__file__).with_name("rehearsal_setup.py")
HOST = "127.0.0.1"
SECONDS = 600.0
"""A shared machine may be slow; where it is not, the server is ready in less than ten seconds."""


@dataclass(frozen=True)
class Rehearsal:
    """A running server."""

    url: str
    token: str
    """Of an uploader."""
    admin: str
    """Of an administrator of the collection."""

    def call(self, method: str, **arguments: Any) -> Any:
        """Call the artifact manager as administrator."""
        response = httpx.post(
            f"{self.url}/public/services/artifact-manager/{method}",
            json=arguments,
            headers={"Authorization": f"Bearer {self.admin}"},
            timeout=SECONDS,
            trust_env=False,
        )
        response.raise_for_status()
        return response.json()

    def items(self) -> list[str]:
        """Ids of everything in the collection, staged or not."""
        found = self.call("list", parent_id="bioimage-io/bioimage.io", stage="all", limit=1000)
        return [item["id"] for item in found]

    def stored(self, item_id: str, name: str) -> bytes:
        """Bytes of a staged file, as the website reads them."""
        alias = item_id.partition("/")[2]
        response = httpx.get(
            f"{self.url}/bioimage-io/artifacts/{alias}/files/{name}",
            params={"stage": "true"},
            headers={"Authorization": f"Bearer {self.admin}"},
            follow_redirects=True,
            timeout=SECONDS,
            trust_env=False,
        )
        response.raise_for_status()
        return response.content


@contextmanager
def rehearsing(python: Path, folder: Path) -> Iterator[Rehearsal]:
    """Start the server with a database and a store of its own; stop it by its process."""
    storage, port = free_port(), free_port()
    # The server refuses tokens of fewer than 64 characters in which, by chance, 123 or abc stands.
    root, url = secrets.token_hex(32), f"http://{HOST}:{port}"
    store_url = f"http://{HOST}:{storage}"
    with ExitStack() as stack:
        log = stack.enter_context((folder / "server.log").open("wb"))
        moto = python.with_name("moto_server" + python.suffix)
        store = stack.enter_context(running([moto, "-H", HOST, "-p", storage], folder, log))
        wait_for(f"{store_url}/moto-api/", store, log)  # the server does not wait for it
        server = stack.enter_context(
            running(
                [python, "-m", "hypha.server", f"--host={HOST}", f"--port={port}",
                 "--enable-s3", "--enable-s3-proxy", f"--endpoint-url={store_url}",
                 f"--endpoint-url-public={store_url}", "--access-key-id=test",
                 "--secret-access-key=test123456", "--region-name=us-east-1",
                 "--s3-admin-type=generic", "--workspace-bucket=my-ws",
                 f"--database-uri=sqlite+aiosqlite:///{folder}/hypha.db", f"--root-token={root}"],
                folder,
                log,
            )
        )  # fmt: skip
        wait_for(f"{url}/health/readiness", server, log)
        tokens = folder / "tokens.json"
        subprocess.run(
            [python, SETUP, url, root, tokens], check=True, stdout=log, stderr=log, timeout=SECONDS
        )
        of = json.loads(tokens.read_text())
        yield Rehearsal(url, of["read_write"], of["admin"])


@contextmanager
def running(words: list[Any], folder: Path, log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a process running meanwhile."""
    process = subprocess.Popen([str(word) for word in words], cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Any) -> None:
    """Wait until an address of a process answers; show the end of its log where it stopped."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"stopped at its start:\n{Path(log.name).read_text()[-2000:]}")
        try:
            if httpx.get(url, timeout=30, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"nothing answers at {url}")


def main() -> None:
    """Serve until Ctrl-C, for a person."""
    python = Path(sys.argv[1]).absolute()
    with (
        TemporaryDirectory() as folder,
        suppress(KeyboardInterrupt),
        rehearsing(python, Path(folder)) as server,
    ):
        sys.stdout.write(f"export HYPHA_TOKEN={server.token}\n")
        sys.stdout.write(f"denoisplit upload P.zip --server {server.url}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
