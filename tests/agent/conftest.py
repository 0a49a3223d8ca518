"""Real servers on loopback: a registry, a web server that can be told to misbehave, a bucket."""

import contextlib
import hashlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from modelwright.agent import retry

Action = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSES", (0.01, 0.01))


@pytest.fixture(autouse=True)
def _no_proxy_and_no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


# A web server that can be told to misbehave


@dataclass
class Web:
    """Paths and what happens on each; every request is written down as (method, path, headers)."""

    url: str
    routes: dict[str, Action] = field(default_factory=dict[str, Action])
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list[tuple[str, str, dict[str, str]]])
    bodies: list[bytes] = field(default_factory=list[bytes])
    release: threading.Event = field(default_factory=threading.Event)
    fallback: Action | None = None

    @property
    def netloc(self) -> str:
        return urlsplit(self.url).netloc

    def gives(self, path: str, data: bytes) -> None:
        self.routes[path] = lambda handler: answer(handler, 200, data)

    def says(self, path: str, status: int, **headers: str) -> None:
        self.routes[path] = lambda handler: answer(handler, status, b"", **headers)

    def hangs(self, path: str) -> None:
        def action(handler: BaseHTTPRequestHandler) -> None:
            del handler
            self.release.wait(30)

        self.routes[path] = action

    def breaks_off(self, path: str, data: bytes, *, promised: int, times: int = 1_000_000) -> None:
        """Promise more bytes than are sent, for the first `times` requests."""
        left = [times]

        def action(handler: BaseHTTPRequestHandler) -> None:
            left[0] -= 1
            if left[0] < 0:
                answer(handler, 200, data)
                return
            handler.send_response(200)
            handler.send_header("Content-Length", str(promised))
            handler.end_headers()
            handler.wfile.write(data[: promised // 2])
            handler.close_connection = True

        self.routes[path] = action


def answer(handler: BaseHTTPRequestHandler, status: int, data: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(data)


W = TypeVar("W", bound=Web)


@contextlib.contextmanager
def serving(make: Callable[[str], W]) -> Generator[W]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            web.seen.append((self.command, self.path, dict(self.headers.items())))
            action = web.routes.get(self.path) or web.routes.get(urlsplit(self.path).path) or web.fallback
            with contextlib.suppress(ConnectionError):
                if action is None:
                    answer(self, 404, b"")
                else:
                    action(self)

        do_GET = do_HEAD = do_PUT = do_POST = _do  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web = make(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.release.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web) as made:
        yield made


@pytest.fixture
def elsewhere() -> Iterator[Web]:
    with serving(Web) as made:
        yield made


# A bucket: the few calls of S3 that a reader makes


@dataclass
class Bucket(Web):
    """Objects under their keys, and statuses that stand in for some of them."""

    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    failing: dict[str, int] = field(default_factory=dict[str, int])
    signed: bool = False

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        if bucket != "models":
            answer(handler, 404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif self.signed and "Authorization" not in handler.headers:
            answer(handler, 403, b"<Error><Code>AccessDenied</Code></Error>")
        elif key in self.failing:
            answer(handler, self.failing[key], b"<Error><Code>Scripted</Code></Error>")
        elif "list-type" in parts.query:
            answer(handler, 200, self._listing(parse_qs(parts.query).get("prefix", [""])[0]))
        elif key in self.objects:
            data = self.objects[key]
            answer(handler, 200, data, ETag=f'"{sha(data)}"', Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT")
        else:
            answer(handler, 404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _listing(self, prefix: str) -> bytes:
        rows = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(data)}</Size><ETag>e</ETag>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving(Bucket) as made:
        made.fallback = made.handle
        yield made


@pytest.fixture
def secret(tmp_path: Path) -> Callable[..., Path]:
    """Writes a Secret as the kubelet mounts one: keys are links into a hidden folder."""

    def write(**keys: str) -> Path:
        folder = tmp_path / "secret"
        data = folder / "..data"
        data.mkdir(parents=True)
        for name, value in keys.items():
            key = name.replace("dockerconfigjson", ".dockerconfigjson")
            (data / key).write_text(value)
            (folder / key).symlink_to(Path("..data", key))
        return folder

    return write


# A real registry

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "{address}"}}
"""
_PASSWORDS = "user:$2b$04$UJgrWGXvs5scLZYnYqDKTe0Z9i1vGMv5CHLzW4gRckJpMcYrH5f46\n"  # "secret"


@pytest.fixture(scope="session")
def registry_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `registry` keeps its blobs."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="session")
def registry(registry_folder: Path) -> Iterator[str]:
    """`host:port` of a registry that asks for no login."""
    with _registry(registry_folder, extra="") as address:
        yield address


@pytest.fixture(scope="session")
def guarded_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a registry whose user is `user` with the password `secret`."""
    root = tmp_path_factory.mktemp("guarded")
    (root / "passwords").write_text(_PASSWORDS)
    with _registry(root, extra=f"auth: {{htpasswd: {{realm: test, path: {root}/passwords}}}}\n") as address:
        yield address


@contextlib.contextmanager
def _registry(root: Path, *, extra: str) -> Generator[str]:
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        pytest.fail("These tests need a registry: apt-get install --no-install-recommends docker-registry")
    address = f"127.0.0.1:{_free_port()}"
    (root / "config.yml").write_text(_CONFIG.format(root=root / "data", address=address) + extra)
    with (root / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", root / "config.yml"], stdout=log, stderr=log)
        try:
            _wait_for(f"http://{address}/v2/", process, root / "log")
            yield address
        finally:
            process.terminate()
            process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(500):
        try:
            opener.open(url, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"the registry did not start: {log.read_text()}")
