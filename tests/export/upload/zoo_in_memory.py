"""The artifact manager as far as uploads need it, with the answers that the real one gave."""

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx

from careamics_denoisplit_export.upload import (
    Contents,
    Draft,
    Patience,
    Token,
    make_draft,
    server_address,
)

TOKEN = "secret-token-0123456789abcdef"  # noqa: S105 - of this zoo alone
SIGNATURE = "f00dfacef00dface"
PARENT = "bioimage-io/bioimage.io"
PREFIX = "/public/services/artifact-manager/"
ADJECTIVES = ("affable", "brave", "calm", "daring", "eager", "frank", "gentle", "happy")

Act = Callable[[], httpx.Response]
Fault = Callable[[int, str, Act], httpx.Response]


def no_fault(_number: int, _kind: str, act: Act) -> httpx.Response:
    return act()


@dataclass
class Item:
    """One model."""

    manifest: dict[str, Any]
    config: dict[str, Any]
    staging: dict[str, Any] | None
    versions: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)


@dataclass
class Zoo:
    """State of the server; `fault` stands between it and whoever asks."""

    url: str = "http://127.0.0.1:9"
    token: str = TOKEN
    items: dict[str, Item] = field(default_factory=dict)
    created: int = 0
    kinds: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    granted: dict[str, Any] = field(
        default_factory=lambda: {"*": "r", "@": "r+", "rev1": "rw+", "rev2": "rw", "x": ["read"]}
    )
    fault: Fault = no_fault
    time: float = 0.0

    @property
    def patience(self) -> Patience:
        """Waits without waiting."""
        return Patience(sleep=self.sleep, now=lambda: self.time, draw=lambda most: most)

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def upload(self, contents: Contents, **settings: Any) -> Draft:
        """Upload a package through this object, without a network."""
        return make_draft(
            contents,
            server_address(self.url),
            Token(self.token),
            patience=self.patience,
            transport=httpx.MockTransport(self.answer),
            **settings,
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        kind = request.url.path.removeprefix(PREFIX)
        if not request.url.path.startswith(PREFIX):
            kind = request.method
            if "authorization" in request.headers:
                self.leaks.append(str(request.url))
        self.kinds.append(kind)
        return self.fault(len(self.kinds), kind, lambda: self._act(kind, request))

    def _act(self, kind: str, request: httpx.Request) -> httpx.Response:
        body = request.read()
        if kind in ("PUT", "GET"):
            return self._storage(kind, request.url, request.headers, body)
        sent = request.headers.get("authorization")
        if sent != f"Bearer {self.token}":
            status = 403 if sent is None else 401
            return httpx.Response(status, json={"success": False, "detail": "no such token"})
        arguments = json.loads(body)
        try:
            found = getattr(self, f"_{kind}")(**arguments)
            return httpx.Response(200, content=json.dumps(found).encode())
        except KeyError as error:
            detail = f"RemoteException: KeyError: {error}"
            return httpx.Response(404, json={"success": False, "detail": detail})

    def _storage(
        self, kind: str, url: httpx.URL, headers: httpx.Headers, body: bytes
    ) -> httpx.Response:
        signed = parse_qs(url.query.decode()).get("X-Amz-Signature") == [SIGNATURE]
        if not signed or (kind == "PUT" and headers.get("content-type") != ""):
            return httpx.Response(403, text="<Error><Code>SignatureDoesNotMatch</Code></Error>")
        _, _, item_id, name = url.path.split("/", 3)
        item = self.items[item_id.replace("~", "/")]
        if kind == "PUT":
            item.files[name] = body
            return httpx.Response(200)
        return httpx.Response(200, content=item.files[name])

    def _read(self, artifact_id: str, stage: bool = False, **_: Any) -> dict[str, Any]:
        if artifact_id == PARENT:
            return {"id": PARENT, "config": {"permissions": self.granted}}
        item = self.items[artifact_id]
        manifest = item.staging if stage and item.staging is not None else item.manifest
        return {
            "id": artifact_id,
            "manifest": manifest,
            "config": item.config,
            "versions": item.versions,
            "staging": item.staging,
        }

    def _create(
        self,
        parent_id: str,
        alias: str,
        type: str,  # noqa: A002 - the server's word
        manifest: dict[str, Any],
        config: dict[str, Any],
        stage: bool,
        overwrite: bool,
    ) -> dict[str, Any]:
        assert (parent_id, type, stage, overwrite) == (PARENT, "model", True, False)
        name = alias.format(animal_adjective=ADJECTIVES[self.created], animal="otter")
        self.created += 1
        config["permissions"]["uploader"] = "*"
        self.items[f"bioimage-io/{name}"] = Item(manifest, config, copy.deepcopy(manifest))
        return self._read(f"bioimage-io/{name}", stage=True)

    def _list(
        self, parent_id: str, filters: dict[str, Any], stage: str, **_: Any
    ) -> list[dict[str, Any]]:
        assert (parent_id, stage) == (PARENT, "all")
        wanted = filters["manifest"].items()
        return [
            {"id": name, "manifest": item.manifest}
            for name, item in self.items.items()
            if wanted <= {k: v for k, v in item.manifest.items() if isinstance(v, str)}.items()
        ]

    def _edit(self, artifact_id: str, manifest: dict[str, Any], stage: bool) -> dict[str, Any]:
        assert stage, "an edit that is not staged publishes"
        self.items[artifact_id].staging = manifest
        return self._read(artifact_id, stage=True)

    def _list_files(self, artifact_id: str, stage: bool, limit: int) -> list[dict[str, Any]]:
        assert stage
        assert limit >= 1000
        files = self.items[artifact_id].files
        return [{"name": name, "type": "file", "size": len(b)} for name, b in files.items()]

    def _put_file(self, artifact_id: str, file_path: str, download_weight: int) -> str:
        assert self.items[artifact_id].staging is not None
        self.items[artifact_id].weights[file_path] = download_weight
        return self._address(artifact_id, file_path)

    def _get_file(self, artifact_id: str, file_path: str, stage: bool, **_: Any) -> str:
        assert stage
        self.items[artifact_id].files[file_path]  # a KeyError where it is missing
        return self._address(artifact_id, file_path)

    def _address(self, artifact_id: str, name: str) -> str:
        return f"{self.url}/s3/{artifact_id.replace('/', '~')}/{name}?X-Amz-Signature={SIGNATURE}"

    def _remove_file(self, artifact_id: str, file_path: str) -> None:
        del self.items[artifact_id].files[file_path]

    def _discard(self, artifact_id: str) -> None:
        self.items[artifact_id].staging = None
        self.items[artifact_id].files.clear()

    def _delete(self, artifact_id: str, delete_files: bool) -> None:
        assert delete_files
        del self.items[artifact_id]

    def _commit(self, **_: Any) -> None:
        raise AssertionError("an upload never commits")


@contextmanager
def serving(zoo: Zoo) -> Iterator[None]:
    """Answer at an address of this machine, in a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            request = httpx.Request(
                self.command,
                f"{zoo.url}{self.path}",
                headers=list(self.headers.items()),
                content=self.rfile.read(length),
            )
            response = zoo.answer(request)
            self.send_response(response.status_code)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_PUT = do_POST
        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients die here
    zoo.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
