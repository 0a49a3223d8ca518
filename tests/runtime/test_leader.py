"""The Lease: one holder at a time, a fence that closes in time, and an end that a successor need not wait for."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from modelwright.cluster.client import Client
from modelwright.runtime.leader import Leader, LeaseLost, Terms
from tests.clock import FakeClock
from tests.cluster.scripted import ScriptedServer, until

PATH = "/apis/coordination.k8s.io/v1/namespaces/home/leases"
ONE = f"{PATH}/operator"
QUICK = Terms(duration=15.0, renew_within=10.0, every=0.01)


class Leases:
    """One Lease, with the server's optimistic locking."""

    def __init__(self, server: ScriptedServer) -> None:
        self.lease: dict[str, Any] = {}
        self.version = 0
        self.broken = False
        server.answers["GET", ONE] = self.get
        server.answers["POST", PATH] = self.create
        server.answers["PUT", ONE] = self.replace

    @property
    def holder(self) -> str:
        return self.lease.get("spec", {}).get("holderIdentity", "")

    async def get(self, request: web.Request) -> web.Response:
        if self.broken:
            return web.json_response({"message": "etcd"}, status=500)
        if not self.lease:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(self.lease)

    async def create(self, request: web.Request) -> web.Response:
        if self.lease:
            return web.json_response({"message": "exists"}, status=409)
        return self.keep(await request.json())

    async def replace(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.broken:
            return web.json_response({"message": "etcd"}, status=500)
        if body["metadata"].get("resourceVersion") != str(self.version):
            return web.json_response({"message": "modified"}, status=409)
        return self.keep(body)

    def keep(self, body: dict[str, Any]) -> web.Response:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.lease = body
        return web.json_response(body)


class Case:
    def __init__(self, server: ScriptedServer, client: Client) -> None:
        self.leases = Leases(server)
        self.client = client
        self.clock = FakeClock(1000.0)

    def candidate(self, identity: str) -> Leader:
        return Leader(self.client, "operator", "home", identity, terms=QUICK, clock=self.clock)


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    async with ScriptedServer() as server, server.client() as client:
        yield Case(server, client)


@asynccontextmanager
async def acquiring(leader: Leader) -> AsyncGenerator[asyncio.Task[None]]:
    task = asyncio.create_task(leader.acquire())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def soon(leader: Leader) -> None:
    await asyncio.wait_for(leader.acquire(), 10)


async def test_the_first_one_makes_it_and_holds_it(case: Case) -> None:
    first = case.candidate("first")
    assert not first.holds()
    await soon(first)
    assert first.holds()
    assert case.leases.holder == "first"
    assert case.leases.lease["spec"]["leaseDurationSeconds"] == 15


async def test_another_waits_until_it_saw_it_unchanged_for_its_whole_duration(case: Case) -> None:
    await soon(case.candidate("first"))
    second = case.candidate("second")
    async with acquiring(second) as waiting:
        await until(lambda: second._seen[0] == "first")  # pyright: ignore[reportPrivateUsage]
        case.clock.advance(14.9)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        case.clock.advance(0.2)
        await asyncio.wait_for(waiting, 10)
    assert case.leases.holder == "second"
    assert case.leases.lease["spec"]["leaseTransitions"] == 1


async def test_whoever_renews_is_not_overtaken(case: Case) -> None:
    first, second = case.candidate("first"), case.candidate("second")
    await soon(first)
    keeping = asyncio.create_task(first.keep())
    async with acquiring(second) as waiting:
        for _ in range(20):
            version = case.leases.version
            case.clock.advance(5.0)
            await until(lambda version=version: case.leases.version > version)
        assert not waiting.done()
        assert not keeping.done()
    keeping.cancel()


async def test_the_fence_closes_before_anybody_may_take_over(case: Case) -> None:
    first = case.candidate("first")
    await soon(first)
    case.clock.advance(QUICK.renew_within - 0.1)
    assert first.holds()
    case.clock.advance(0.2)
    assert not first.holds()
    assert QUICK.renew_within < QUICK.duration


async def test_a_holder_that_cannot_renew_gives_up_in_time(case: Case) -> None:
    first = case.candidate("first")
    await soon(first)
    case.leases.broken = True
    keeping = asyncio.create_task(first.keep())
    await asyncio.sleep(0.05)
    assert not keeping.done(), "one failure is no loss"
    case.clock.advance(10.1)
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(keeping, 10)


async def test_a_holder_that_was_frozen_finds_the_lease_gone(case: Case) -> None:
    first, second = case.candidate("first"), case.candidate("second")
    await soon(first)
    async with acquiring(second) as waiting:
        await until(lambda: second._seen[0] == "first")  # pyright: ignore[reportPrivateUsage]
        case.clock.advance(30)
        await asyncio.wait_for(waiting, 10)
    assert not first.holds()
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(first.keep(), 10)
    assert case.leases.holder == "second"


async def test_a_released_lease_is_taken_at_once(case: Case) -> None:
    first = case.candidate("first")
    await soon(first)
    await first.release()
    assert not first.holds()
    assert case.leases.holder == ""
    await soon(case.candidate("second"))
    assert case.leases.holder == "second"


async def test_what_is_not_held_is_not_released(case: Case) -> None:
    first, second = case.candidate("first"), case.candidate("second")
    await soon(first)
    await second.release()
    assert case.leases.holder == "first"


async def test_a_restarted_process_with_its_old_name_goes_on(case: Case) -> None:
    await soon(case.candidate("pod-0"))
    again = case.candidate("pod-0")
    await soon(again)
    assert again.holds()


async def test_a_change_by_others_that_keeps_the_holder_is_no_loss(case: Case) -> None:
    first = case.candidate("first")
    await soon(first)
    case.leases.keep(case.leases.lease)
    keeping = asyncio.create_task(first.keep())
    version = case.leases.version
    await until(lambda: case.leases.version > version)
    assert not keeping.done()
    keeping.cancel()
