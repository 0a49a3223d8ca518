"""The census finds what no event told of, and reads only what differs."""

from collections.abc import AsyncIterator

import pytest

from modelwright.cluster import kinds
from modelwright.cluster.census import Census
from modelwright.cluster.kinds import Key
from modelwright.cluster.owned import Models, Policies
from tests.cluster.scripted import Body, Collection, ScriptedServer

MODELS = kinds.MODEL.collection()
POLICIES = kinds.POLICY.collection()
SPEC = {"model": {"uri": "s3://models/ranker/7/"}}


class Case:
    def __init__(self, server: ScriptedServer, census: Census) -> None:
        self.server, self.census = server, census
        self.collection = Collection(server, MODELS)
        Collection(server, POLICIES)

    async def put(self, name: str) -> Body:
        body = await self.collection.put(name, spec=SPEC)
        self.server.on("GET", kinds.MODEL.path("vision", name), 200, body)
        return body

    def read(self) -> list[str]:
        """Objects that were read one by one."""
        return [asked.path.rpartition("/")[2] for asked in self.server.asked if asked.path.count("/") > 5]

    def known(self) -> set[str]:
        return {key.name for key in self.census.models.versions()}


def told(key: Key, *, by_person: bool) -> None:
    """Nobody is told."""


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    async with ScriptedServer() as server, server.client() as client:
        case = Case(server, Census(client, Models(told), Policies(lambda: None), ()))
        await case.put("a")
        await case.put("b")
        await case.census.prime()
        yield case


async def test_priming_reads_everything_by_lists_alone(case: Case) -> None:
    assert case.known() == {"a", "b"}
    assert case.read() == []


async def test_nothing_new_is_two_lists_of_metadata(case: Case) -> None:
    case.server.asked.clear()
    assert await case.census.take() == ()
    assert [asked.path for asked in case.server.asked] == [POLICIES, MODELS]


async def test_only_what_differs_is_read(case: Case) -> None:
    body = await case.put("b")
    (missed,) = await case.census.take()
    assert (missed.uid, str(missed.version)) == (body["metadata"]["uid"], body["metadata"]["resourceVersion"])
    assert case.read() == ["b"]


async def test_a_missed_deletion_is_found(case: Case) -> None:
    await case.collection.delete("a", tell=False)
    await case.census.take()
    assert case.known() == {"b"}


async def test_an_object_made_anew_under_the_same_name_is_another(case: Case) -> None:
    await case.collection.delete("a", tell=False)
    body = await case.put("a")
    await case.census.take()
    assert case.census.models.versions()[Key("vision", "a")].uid == body["metadata"]["uid"]


async def test_what_came_after_the_list_stays(case: Case) -> None:
    later = {**await case.put("c")}
    del case.collection.objects["c"]
    case.collection.version -= 1
    case.census.models.upsert(later)
    await case.census.take()
    assert "c" in case.known()


async def test_an_object_that_goes_between_list_and_read_is_no_failure(case: Case) -> None:
    await case.put("c")
    del case.server.answers["GET", kinds.MODEL.path("vision", "c")]
    assert await case.census.take() == ()
