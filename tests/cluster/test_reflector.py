"""The reflector keeps its store true whatever the server does, and never goes silent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from modelwright.cluster import kinds
from modelwright.cluster.backoff import Backoff
from modelwright.cluster.reflector import HistoryLost, Pace, Reflector
from modelwright.cluster.store import Group, Store
from tests.cluster import scripted
from tests.cluster.scripted import Collection, Fault, ScriptedServer, until

PATH = "/api/v1/configmaps"
QUICK = Pace(stream=30, inactivity=0.3, relist=3600, steady=0.0, backoff=Backoff(0.01, 0.02))
GROUP = Group("vision", "ranker")


class Case:
    """A server, a collection on it, and a reflector that follows it."""

    def __init__(self, server: ScriptedServer, pace: Pace) -> None:
        self.server = server
        self.collection = Collection(server, PATH)
        self.told: list[Group] = []
        self.store = Store("ConfigMap", self.told.append, lambda uid: None)
        self.pace = pace
        self.reflector: Reflector
        self.task: asyncio.Task[None]

    def names(self) -> set[str]:
        return {entry.facts.name for entry in self.store.of(GROUP)}

    def true(self) -> bool:
        """Whether the store has exactly what the server has."""
        there = {
            (b["metadata"]["uid"], int(b["metadata"]["resourceVersion"])) for b in self.collection.objects.values()
        }
        return there == {(entry.uid, entry.version) for entry in self.store.of(GROUP)}


@asynccontextmanager
async def following(server: ScriptedServer, pace: Pace = QUICK) -> AsyncGenerator[Case]:
    case = Case(server, pace)
    await case.collection.put("first")
    async with server.client() as client:
        case.reflector = Reflector(client, kinds.CONFIG_MAP, case.store, selector="a=b", pace=pace)
        task = asyncio.create_task(case.reflector.run())
        case.task = task
        await asyncio.wait_for(case.reflector.synced.wait(), 10)
        await until(lambda: case.collection.watches)
        try:
            yield case
            assert not task.done() or task.exception(), "the reflector ended"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server


async def test_it_lists_and_then_follows(server: ScriptedServer) -> None:
    async with following(server) as case:
        assert case.names() == {"first"}
        await case.collection.put("second")
        await case.collection.put("first", data={"a": "b"})
        await case.collection.delete("second")
        await until(lambda: case.true() and case.names() == {"first"})
        assert case.collection.lists == 1
        assert server.asked[0].query["labelSelector"] == "a=b"


async def test_it_lists_in_chunks(server: ScriptedServer) -> None:
    async with following(server) as case:
        case.collection.page = 2
        for index in range(5):
            await case.collection.put(f"more-{index}", tell=False)
        case.collection.compact()
        await case.collection.fail(scripted.expired)
        await until(case.true)
        assert case.collection.lists >= 1 + 3


FAULTS: list[Fault] = [
    scripted.expired,
    scripted.broken,
    scripted.garbage,
    scripted.html,
    scripted.unknown,
    scripted.dropped,
    scripted.hangs,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_it_recovers_from_a_watch_that_goes_wrong(server: ScriptedServer, fault: Fault) -> None:
    async with following(server) as case:
        await case.collection.fail(fault)
        await case.collection.put("during")
        await until(case.true)
        await case.collection.put("after")
        await until(case.true)


async def test_a_deletion_that_no_event_told_of_is_seen_by_the_next_list(server: ScriptedServer) -> None:
    async with following(server) as case:
        await case.collection.put("second")
        await until(case.true)
        case.told.clear()
        await case.collection.delete("second", tell=False)
        await case.collection.fail(scripted.expired)
        await until(case.true)
        assert case.told == [GROUP]


async def test_an_event_that_never_came_is_made_up_for_by_the_regular_list(server: ScriptedServer) -> None:
    pace = Pace(stream=0.5, inactivity=5, relist=0.0, steady=0.0, backoff=Backoff(0.01, 0.02))
    async with following(server, pace) as case:
        await case.collection.put("untold", tell=False)
        await case.collection.fail(scripted.dropped)
        await until(case.true)


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
async def test_it_recovers_from_lists_that_are_refused(server: ScriptedServer, status: int) -> None:
    async with following(server) as case:
        refusals = [web.json_response({"message": "no"}, status=status) for _ in range(3)]
        case.collection.list_answers.extend(refusals)
        await case.collection.put("second", tell=False)
        await case.collection.fail(scripted.expired)
        await until(case.true)


async def test_a_server_that_is_away_and_comes_back(server: ScriptedServer) -> None:
    async with following(server) as case:
        port = int(server.url.rpartition(":")[2])
        await server.leave()
        await case.collection.fail(scripted.dropped)
        await until(lambda: case.reflector.failures)
        await case.collection.put("meanwhile")
        await server.listen(port)
        await until(case.true)


async def test_every_failing_attempt_is_a_sign_of_life(server: ScriptedServer) -> None:
    async with following(server) as case:
        await server.leave()
        await case.collection.fail(scripted.dropped)
        for _ in range(3):
            before = case.reflector.alive_at
            await until(lambda before=before: case.reflector.alive_at > before)


async def test_a_list_from_the_past_undoes_nothing(server: ScriptedServer) -> None:
    async with following(server) as case:
        await case.collection.put("second")
        await until(case.true)
        past = web.json_response({"metadata": {"resourceVersion": "50"}, "items": []})
        case.collection.list_answers.append(past)
        case.told.clear()
        await case.collection.fail(scripted.expired)
        lists = case.collection.lists
        await until(lambda: case.collection.lists >= lists + 2)
        assert case.names() == {"first", "second"}
        assert case.told == []


async def test_a_restored_backup_ends_it(server: ScriptedServer) -> None:
    async with following(server) as case:
        case.collection.restore()
        await case.collection.fail(scripted.expired)
        with pytest.raises(HistoryLost, match="from 101 to 10"):
            await asyncio.wait_for(case.task, 20)


async def test_an_object_that_cannot_be_read_does_not_end_the_watch(server: ScriptedServer) -> None:
    async with following(server) as case:
        await case.collection.fail(lambda response: scripted.send(response, {"type": "ADDED", "object": {"kind": "X"}}))
        await case.collection.put("after")
        await until(case.true)


async def test_bookmarks_move_the_version_on(server: ScriptedServer) -> None:
    async with following(server) as case:
        case.collection.version += 50
        await case.collection.bookmark()
        await until(lambda: case.reflector.version == str(case.collection.version))
        case.collection.compact()
        await case.collection.fail(scripted.dropped)
        await until(lambda: case.collection.watches == 2)
        await case.collection.put("after")
        await until(case.true)
        assert case.collection.lists == 1
