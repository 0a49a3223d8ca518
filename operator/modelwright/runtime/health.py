"""Probes and metrics over HTTP.

Liveness means that the loops turn, not that the API server answers: an outage there is no reason to restart. It
fails when a watch, the sweep or the event feed gave no sign of life, or the event loop is stuck.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from modelwright.runtime.telemetry import Telemetry

STALE_SECONDS = 180.0
LAG_SECONDS = 5.0
METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"

Complaints = Callable[[], Iterable[str]]
log = logging.getLogger(__name__)


async def serve(port: int, routes: Iterable[web.RouteDef]) -> web.AppRunner:
    """Serve on all addresses; the caller cleans up the runner."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, port=port, reuse_address=True)
    await site.start()
    log.info("listening on %s", ", ".join(sorted({str(address[1]) for address in runner.addresses})))
    return runner


def probes(alive: Complaints, ready: Complaints) -> list[web.RouteDef]:
    """``/healthz`` and ``/readyz``: 200, or 500 with a line per complaint."""

    def probe(complaints: Complaints) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            del request
            found = list(complaints())
            return web.Response(status=500 if found else 200, text="\n".join(found or ["ok"]) + "\n")

        return answer

    return [web.get("/healthz", probe(alive)), web.get("/readyz", probe(ready))]


def metrics(telemetry: Telemetry, refresh: Callable[[], None]) -> list[web.RouteDef]:
    """``/metrics``; `refresh` sets what is only worth counting when asked."""

    async def answer(request: web.Request) -> web.Response:
        del request
        refresh()
        return web.Response(body=telemetry.exposition(), headers={"Content-Type": METRICS_TYPE})

    return [web.get("/metrics", answer)]


def stale(name: str, age: float) -> Iterable[str]:
    """A complaint if there was no sign of life for too long."""
    if age > STALE_SECONDS:
        yield f"{name}: no sign of life for {age:.0f} s"
