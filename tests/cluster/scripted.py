"""An API server on loopback that misbehaves on demand: lists and watches of one collection, and any other answer."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from modelwright import naming
from modelwright.cluster.client import Client
from modelwright.cluster.credentials import Credentials
from modelwright.cluster.gate import Gate

Body = dict[str, Any]
Fault = Callable[[web.StreamResponse], Awaitable[None]]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    verb: str
    path: str
    query: Mapping[str, str]
    body: Any


@dataclass
class ScriptedServer:
    """Answers requests by path; everything it was asked is in `asked`."""

    asked: list[Asked] = field(default_factory=list[Asked])
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict[tuple[str, str], Answer])
    url: str = ""
    token: str = ""
    """If set, whoever sends another one gets 401."""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def listen(self, port: int = 0) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", port)
        await self._site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def leave(self) -> None:
        """Refuse connections from now on."""
        await self._site.stop()

    def on(self, verb: str, path: str, status: int, body: Any, **headers: str) -> None:
        """Answer so from now on."""

        async def answer(request: web.Request) -> web.Response:
            del request
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.json_response(body, status=status, headers=names)

        self.answers[verb, path] = answer

    def client(self) -> Client:
        login = lambda: Credentials(server=self.url, token=self.token)  # noqa: E731
        return make_client(login)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        body = json.loads(data) if data else None
        self.asked.append(Asked(request.method, request.path, dict(request.query), body))
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"message": "Unauthorized"}, status=401)
        answer = self.answers.get((request.method, request.path))
        if answer is None:
            return web.json_response({"message": f"{request.path} not found"}, status=404)
        return await answer(request)


def make_client(login: Callable[[], Credentials]) -> Client:
    """A client that forgives at once."""
    gate = Gate(clock=lambda: 0.0, jitter=lambda: 0.0)
    gate.failed = lambda retry_after=None: None  # pyright: ignore[reportAttributeAccessIssue]
    return Client(login, user_agent="test", gate=gate, meter=lambda verb, code, seconds: None)


class Collection:
    """Objects of one kind, listed and watched as the API server does it, with faults in between."""

    def __init__(self, server: ScriptedServer, path: str) -> None:
        self.objects: dict[str, Body] = {}
        self.version = 100
        self.lists = 0
        self.watches = 0
        self.faults: deque[Fault] = deque()
        """Each replaces what one watch would do after its first events."""
        self.list_answers: deque[web.Response] = deque()
        """Each replaces one list."""
        self.page = 1000
        self._events: list[Body] = []
        self._news = asyncio.Condition()
        self._oldest = 100
        server.answers["GET", path] = self._get

    async def put(self, name: str, *, tell: bool = True, **parts: Any) -> Body:
        """Make or change an object; `tell` it to the watches."""
        self.version += 1
        before = self.objects.get(name)
        body = make_object(name, self.version, before["metadata"]["uid"] if before else f"uid-{self.version}", **parts)
        self.objects[name] = body
        await self._tell({"type": "MODIFIED" if before else "ADDED", "object": body}, tell=tell)
        return body

    async def delete(self, name: str, *, tell: bool = True) -> None:
        self.version += 1
        body = self.objects.pop(name)
        gone = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        await self._tell({"type": "DELETED", "object": gone}, tell=tell)

    async def bookmark(self) -> None:
        metadata = {"resourceVersion": str(self.version)}
        await self._tell({"type": "BOOKMARK", "object": {"kind": "X", "metadata": metadata}}, tell=True)

    def compact(self) -> None:
        """Forget the history: whoever asks for an older version gets 410."""
        self._oldest = self.version

    def restore(self) -> None:
        """Go back in history, to an empty backup."""
        self.objects.clear()
        self._events.clear()
        self.version, self._oldest = 10, 0

    async def _tell(self, event: Body, *, tell: bool) -> None:
        async with self._news:
            if tell:
                self._events.append(event)
            self._news.notify_all()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            self.watches += 1
            return await self._watch(request)
        self.lists += 1
        if self.list_answers:
            return self.list_answers.popleft()
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        start = int(request.query.get("continue", "0"))
        names = sorted(self.objects)
        rest = start + self.page < len(names)
        metadata = {"resourceVersion": str(self.version), **({"continue": str(start + self.page)} if rest else {})}
        items = [self.objects[name] for name in names[start : start + self.page]]
        return web.json_response({"metadata": metadata, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        since = int(request.query["resourceVersion"])
        if since < self._oldest:
            await response.prepare(request)
            await send(response, {"type": "ERROR", "object": {"code": 410, "message": "too old"}})
            return response
        await response.prepare(request)
        if self.faults:
            await self.faults.popleft()(response)
            return response
        sent = 0
        while True:
            async with self._news:
                while len(self._events) <= sent and not self.faults:
                    await self._news.wait()
                fresh, sent = self._events[sent:], len(self._events)
            for event in fresh:
                if int(event["object"]["metadata"]["resourceVersion"]) > since:
                    await send(response, event)
            if self.faults:
                await self.faults.popleft()(response)
                return response

    async def fail(self, fault: Fault) -> None:
        """Let the watch at work, or else the next one, go wrong."""
        async with self._news:
            self.faults.append(fault)
            self._news.notify_all()


async def send(response: web.StreamResponse, event: Any) -> None:
    await response.write(json.dumps(event).encode() + b"\n")


async def expired(response: web.StreamResponse) -> None:
    await send(response, {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})


async def broken(response: web.StreamResponse) -> None:
    await send(response, {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is unwell"}})


async def garbage(response: web.StreamResponse) -> None:
    await response.write(b'{"type": "ADDED", "obj\n')


async def html(response: web.StreamResponse) -> None:
    await response.write(b"<html>502 Bad Gateway</html>\n")


async def unknown(response: web.StreamResponse) -> None:
    await send(response, {"type": "SURPRISE", "object": {}})


async def hangs(response: web.StreamResponse) -> None:
    del response
    await asyncio.sleep(3600)


async def dropped(response: web.StreamResponse) -> None:
    request: Any = response._req  # pyright: ignore[reportPrivateUsage]
    request.transport.abort()


def make_object(name: str, version: int, uid: str, **parts: Any) -> Body:
    """A ConfigMap of the model `ranker`."""
    labels = {naming.LABEL_MANAGED_BY: naming.MANAGED_BY, naming.LABEL_MODEL: "ranker"}
    metadata = {"name": name, "namespace": "vision", "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **parts}


async def until(holds: Callable[[], Any], what: str = "") -> None:
    """Wait until it holds; how long is nobody's business, but not for ever."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - anything may make it true, not only what could set an event
            await asyncio.sleep(0.005)
    assert holds(), what
