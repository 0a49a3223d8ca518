"""The client: what it sends, how it takes failure, how it stays logged in."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from modelwright.cluster.client import Client, Garbage
from modelwright.cluster.credentials import Credentials, LoginError
from modelwright.cluster.gate import Gate
from modelwright.errors import Rejected, Unavailable
from tests.cluster.scripted import Collection, ScriptedServer, make_client


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        server.on("GET", "/ok", 200, {"a": 1})
        server.on("PATCH", "/ok", 200, {"a": 1})
        yield server


async def test_a_request_and_its_answer(server: ScriptedServer) -> None:
    async with server.client() as client:
        assert await client.request("GET", "/ok", params={"x": "y"}) == {"a": 1}
        with pytest.raises(Rejected, match="not found"):
            await client.request("GET", "/nothing")
    assert server.asked[0].query == {"x": "y"}


async def test_what_is_not_json_is_no_api_server(server: ScriptedServer) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>welcome</html>")

    server.answers["GET", "/page"] = page
    async with server.client() as client:
        with pytest.raises(Garbage):
            await client.request("GET", "/page")


async def test_nobody_there_is_unavailable() -> None:
    async with make_client(lambda: Credentials("http://127.0.0.1:1")) as client:
        with pytest.raises(Unavailable, match="GET /ok"):
            await client.request("GET", "/ok")


async def test_a_refused_token_is_read_again_and_the_request_sent_once_more(server: ScriptedServer) -> None:
    server.token = "old"
    async with server.client() as client:
        await client.request("GET", "/ok")
        server.token = "new"
        assert await client.request("GET", "/ok") == {"a": 1}
    assert len(server.asked) == 3


async def test_a_token_that_stays_refused_is_unavailable_and_not_a_right_that_is_missing(
    server: ScriptedServer,
) -> None:
    server.token = "secret"
    async with make_client(lambda: Credentials(server.url, token="wrong")) as client:
        with pytest.raises(Unavailable, match="Unauthorized"):
            await client.request("GET", "/ok")


async def test_a_login_that_fails_later_keeps_the_old_credentials(server: ScriptedServer) -> None:
    answers = iter([Credentials(server.url, token="t")])

    def login() -> Credentials:
        try:
            return next(answers)
        except StopIteration:
            raise LoginError("gone") from None

    server.token = "t"
    async with make_client(login) as client:
        server.token = "other"
        with pytest.raises(Unavailable):
            await client.request("GET", "/ok")
        server.token = "t"
        assert await client.request("GET", "/ok") == {"a": 1}


async def test_a_token_file_is_read_again_now_and_then(server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    now = [0.0]
    login = lambda: Credentials(server.url, token=path.read_text(), token_file=path)  # noqa: E731
    gate = Gate(time.monotonic, random.random)
    client = Client(login, user_agent="t", gate=gate, meter=lambda verb, code, seconds: None, clock=lambda: now[0])
    async with client:
        server.token = "first"
        await client.request("GET", "/ok")
        path.write_text("second")
        server.token = "second"
        now[0] = 61.0
        await client.request("GET", "/ok")
    assert len(server.asked) == 2, "no request was refused in between"


async def test_a_closed_fence_stops_writes_and_nothing_else(server: ScriptedServer) -> None:
    async with server.client() as client:
        client.fence = lambda: False
        assert await client.request("GET", "/ok")
        with pytest.raises(Unavailable, match="Lease"):
            await client.request("PATCH", "/ok", body={})
        assert await client.request("PATCH", "/ok", body={}, urgent=True)


async def test_a_server_that_asks_for_rest_is_left_alone(server: ScriptedServer) -> None:
    server.on("GET", "/busy", 429, {"message": "slow down"}, Retry_After="30")
    gate = Gate(lambda: 0.0, lambda: 0.0)
    login = lambda: Credentials(server.url)  # noqa: E731
    async with Client(login, user_agent="t", gate=gate, meter=lambda verb, code, seconds: None) as client:
        with pytest.raises(Unavailable) as first:
            await client.request("GET", "/busy")
        assert first.value.retry_after == 30
        for _ in range(100):
            with pytest.raises(Unavailable):
                await client.request("GET", "/ok")
    assert len(server.asked) == 1


async def test_requests_are_counted_by_verb_and_code(server: ScriptedServer) -> None:
    counted: list[tuple[str, int]] = []
    gate = Gate(time.monotonic, random.random)
    login = lambda: Credentials(server.url)  # noqa: E731

    def meter(verb: str, code: int, seconds: float) -> None:
        counted.append((verb, code))

    async with Client(login, user_agent="t", gate=gate, meter=meter) as client:
        await client.request("GET", "/ok")
        with pytest.raises(Rejected):
            await client.request("GET", "/nothing")
    assert counted == [("GET", 200), ("GET", 404)]


async def test_a_line_may_be_longer_than_a_read(server: ScriptedServer) -> None:
    collection = Collection(server, "/things")
    await collection.put("big", data={"x": "y" * 700_000})
    async with server.client() as client:
        events = client.watch("/things", params={"resourceVersion": "100"}, inactivity=10)
        event = await asyncio.wait_for(anext(events), 20)
        await events.aclose()
    assert len(event["object"]["data"]["x"]) == 700_000
