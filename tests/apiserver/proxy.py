"""A proxy between an operator and the API server that numbers writes and, at the chosen one, kills the operator."""

import asyncio
import threading
from collections.abc import Callable
from typing import Literal, Self

import aiohttp
from aiohttp import web

from e2e.cluster.apiserver import free_ports
from tests.apiserver.world import NOT_COUNTED

Moment = Literal["before", "after"]
_HOP = {"host", "transfer-encoding", "content-length", "connection", "content-encoding"}


class Proxy:
    """Plain HTTP on loopback to the API server's TLS; passes on whatever token comes in."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._strike: Callable[[], None] | None = None
        self._at = -1
        self._moment: Moment = "after"
        self.writes: list[str] = []
        self.port = free_ports(1)[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def arm(self, at: int, moment: Moment, strike: Callable[[], None]) -> None:
        """Count from here on and call `strike` at write number `at` (from 0), before or after the server gets it."""
        self.writes, self._at, self._moment, self._strike = [], at, moment, strike

    def disarm(self) -> None:
        self.writes, self._at, self._strike = [], -1, None

    def __enter__(self) -> Self:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=False, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _stop(self) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        struck = self._counts(request) and self._is_due(request)
        if struck and self._moment == "before":
            self._kill()
            raise ConnectionResetError
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        url = f"{self._upstream}{request.rel_url}"
        async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
            if struck:
                await answer.read()
                self._kill()
                raise ConnectionResetError
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP or k.lower() == "content-encoding"}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    def _counts(self, request: web.Request) -> bool:
        kinds = set(request.path.split("/"))
        return request.method in {"POST", "PUT", "PATCH", "DELETE"} and not kinds & NOT_COUNTED

    def _is_due(self, request: web.Request) -> bool:
        self.writes.append(f"{request.method} {request.path}")
        return len(self.writes) - 1 == self._at

    def _kill(self) -> None:
        strike, self._strike = self._strike, None
        if strike:
            strike()
