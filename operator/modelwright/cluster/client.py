"""A lean client of the API server: one session with a bounded pool for requests, one for watches.

A request is sent once. Whoever asked retries, for only he knows whether it still matters; here is only the
breaker that keeps an outage cheap (`Gate`) and the fence that stops writes once the Lease may be another's.
"""

import asyncio
import json
import logging
import ssl
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

import aiohttp

from modelwright.cluster.classify import error_of, message_of
from modelwright.cluster.credentials import Credentials, LoginError
from modelwright.cluster.gate import Gate
from modelwright.errors import Unavailable

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

POOL = 48
CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 30.0
INACTIVITY_SECONDS = 70.0
"""The API server sends a bookmark every minute; a watch that is silent for longer is dead."""

TOKEN_SECONDS = 60.0
CHUNK = 500
LONGEST_LINE = 8 * 1024 * 1024
_READING = frozenset({"GET", "HEAD"})
# Answers that speak for the state of the whole server and not of one request.
_OVERLOADED = frozenset({429, 503})

Body = dict[str, Any]
log = logging.getLogger(__name__)


class Meter(Protocol):
    """Where requests are counted."""

    def __call__(self, verb: str, code: int, seconds: float) -> None:
        """One request was answered with `code`; 0 for no answer."""


class Client:
    """Talks to one API server. Use as an async context manager."""

    def __init__(
        self,
        login: Callable[[], Credentials],
        *,
        user_agent: str,
        gate: Gate,
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._login = login
        self._user_agent = user_agent
        self._gate = gate
        self._meter = meter
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._renewed_at = clock()
        self._credentials: Credentials
        self._sessions: _Sessions
        self.fence: Callable[[], bool] = lambda: True
        """Whether writes are allowed; set by whoever holds the Lease."""

    @property
    def namespace(self) -> str:
        """The namespace we are at home in."""
        return self._credentials.namespace

    async def __aenter__(self) -> Self:
        self._credentials = await asyncio.to_thread(self._login)
        self._sessions = _Sessions(self._credentials, self._user_agent)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sessions.close()

    async def request(  # noqa: PLR0913 - what HTTP needs
        self,
        verb: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        urgent: bool = False,
    ) -> Body:
        """Send one request and return the decoded answer.

        Args:
            verb: HTTP method.
            path: Path below the server's root.
            params: Query.
            body: JSON to send.
            content_type: Kind of `body`.
            accept: Kind of answer.
            urgent: Pass the breaker and the fence: for the Lease, and for readers with their own back-off.
        """
        self._admit(verb, urgent=urgent)
        headers = {"Accept": accept, "Content-Type": content_type}
        data = json.dumps(body, separators=(",", ":")).encode() if body is not None else None
        started = self._clock()
        try:
            status, answer, retry_after = await self._send(verb, path, params, data, headers)
        except Unavailable:
            self._meter(verb, 0, self._clock() - started)
            self._gate.failed()
            raise
        self._meter(verb, status, self._clock() - started)
        if status in _OVERLOADED:
            error = error_of(status, message_of(status, answer), retry_after)
            self._gate.failed(error.retry_after)
            raise error
        self._gate.succeeded()
        if status >= 400:
            raise error_of(status, message_of(status, answer), retry_after)
        return _decoded(answer)

    async def pages(
        self, path: str, *, selector: str = "", accept: str = JSON
    ) -> AsyncGenerator[tuple[list[Body], str], None]:
        """A whole collection in chunks: the items, and the resourceVersion of the list."""
        params = {"limit": str(CHUNK), **({"labelSelector": selector} if selector else {})}
        while True:
            answer = await self.request("GET", path, params=params, accept=accept, urgent=True)
            metadata = answer.get("metadata", {})
            yield answer.get("items") or [], metadata.get("resourceVersion", "")
            if not metadata.get("continue"):
                return
            params["continue"] = metadata["continue"]

    async def watch(self, path: str, *, params: Mapping[str, str], inactivity: float) -> AsyncGenerator[Body, None]:
        """Events of a collection until the server ends the stream."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=inactivity)
        try:
            async with self._sessions.streams.get(
                self._credentials.server + path,
                params={"watch": "true", "allowWatchBookmarks": "true", **params},
                headers=self._headers(),
                timeout=timeout,
            ) as response:
                self._meter("WATCH", response.status, 0.0)
                if response.status >= 400:
                    message = message_of(response.status, await response.read())
                    if response.status == 401:
                        await self._renew()
                    raise error_of(response.status, message, response.headers.get("Retry-After"))
                async for line in _lines(response.content):
                    yield _decoded(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"watch of {path}: {_words(error)}") from error

    async def _send(
        self,
        verb: str,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes, str | None]:
        """Send, and once more with fresh credentials if the server does not know us."""
        for last in (False, True):
            try:
                async with self._sessions.requests.request(
                    verb,
                    self._credentials.server + path,
                    params=params,
                    data=data,
                    headers={**headers, **self._headers()},
                ) as response:
                    answer = await response.read()
                    if response.status != 401 or last:
                        return response.status, answer, response.headers.get("Retry-After")
            except aiohttp.ClientSSLError as error:
                if last:
                    raise Unavailable(f"{verb} {path}: {_words(error)}") from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Unavailable(f"{verb} {path}: {_words(error)}") from error
            await self._renew()
        raise AssertionError("the second attempt returns or raises")

    def _admit(self, verb: str, *, urgent: bool) -> None:
        if urgent:
            return
        if verb not in _READING and not self.fence():
            raise Unavailable("the Lease may be another's: nothing is written")
        if wait := self._gate.wait():
            raise Unavailable("the API server does not answer", retry_after=wait)

    def _headers(self) -> dict[str, str]:
        if self._credentials.token_file and self._clock() - self._renewed_at > TOKEN_SECONDS:
            self._renewed_at = self._clock()
            try:
                self._credentials = self._credentials.renewed()
            except OSError as error:
                log.warning("token file: %s", error)
        return self._credentials.headers()

    async def _renew(self) -> None:
        """Read the credentials again; new certificates need new sessions."""
        async with self._renewing:
            try:
                fresh = await asyncio.to_thread(self._login)
            except LoginError as error:
                log.warning("%s", error)
                return
            old, self._credentials = self._credentials, fresh
            if (old.ca, old.certificate, old.key) != (fresh.ca, fresh.certificate, fresh.key):
                former, self._sessions = self._sessions, _Sessions(fresh, self._user_agent)
                await former.close()


class _Sessions:
    """The two connection pools. Watches have their own: they would fill a bounded one for good."""

    def __init__(self, credentials: Credentials, user_agent: str) -> None:
        context = _ssl_context(credentials)
        headers = {"User-Agent": user_agent}
        self.requests = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=POOL, ssl=context, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
            headers=headers,
        )
        self.streams = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=context), headers=headers)

    async def close(self) -> None:
        await self.requests.close()
        await self.streams.close()


def _ssl_context(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=credentials.ca or None)
    if credentials.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credentials.certificate:
        # `ssl` reads client certificates from files only.
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder, "pair.pem")
            pair.touch(mode=0o600)
            pair.write_text(f"{credentials.certificate}\n{credentials.key}\n")
            context.load_cert_chain(pair)
    return context


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of a stream. aiohttp's own iteration gives up at 128 KiB, and a ConfigMap may have 1 MiB."""
    buffer = bytearray()
    async for chunk in content.iter_any():
        buffer += chunk
        if b"\n" in chunk:
            *lines, rest = buffer.split(b"\n")
            buffer = rest
            for line in lines:
                if line.strip():
                    yield bytes(line)
        elif len(buffer) > LONGEST_LINE:
            raise Unavailable(f"a line of more than {LONGEST_LINE} bytes")


def _decoded(data: bytes) -> Body:
    try:
        decoded: Any = json.loads(data)
    except ValueError as error:
        raise Garbage(f"not JSON: {data[:80]!r}") from error
    if not isinstance(decoded, dict):
        raise Garbage(f"not a JSON object: {data[:80]!r}")
    return cast("Body", decoded)


class Garbage(Unavailable):
    """Whatever answered is not an API server, or a stream broke within a line."""


def _words(error: BaseException) -> str:
    """What an exception says; aiohttp's time-outs say nothing."""
    return str(error) or type(error).__name__
