"""A Snapshot from the caches: everything of the model, and no Job's end before its pod's last words."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from modelwright import naming
from modelwright.cluster import kinds
from modelwright.cluster.cache import Cache
from modelwright.cluster.kinds import Key
from modelwright.cluster.observe import LAST_WORDS_SECONDS, Observer
from modelwright.cluster.owned import Models, Policies
from modelwright.core.snapshot import ApplyError, Snapshot
from tests.builders import IMAGES
from tests.clock import FakeClock
from tests.cluster.scripted import Collection, ScriptedServer, make_object, until

KEY = Key("vision", "ranker")
DISCOVERY = kinds.HTTP_ROUTE.root


@dataclass
class Case:
    server: ScriptedServer
    cache: Cache
    observer: Observer
    clock: FakeClock
    again: list[tuple[Key, float]]

    def see(self, kind: str, name: str, version: int, **parts: Any) -> None:
        """Let the caches know of an object."""
        body = make_object(name, version, name, **parts)
        self.cache.wrote(kind, {**body, "kind": kind})

    def look(self) -> Snapshot:
        snapshot = self.observer.observe(KEY)
        assert snapshot
        return snapshot


def told(key: Key, *, by_person: bool) -> None:
    """Nobody is told."""


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    async with ScriptedServer() as server:
        for kind in (*kinds.ALWAYS, *kinds.ROUTES):
            Collection(server, kind.collection())
        models, clock = Models(told), FakeClock(100.0)
        metadata = {"name": "ranker", "namespace": "vision", "uid": "m-1", "generation": 1, "resourceVersion": "1"}
        models.upsert({"metadata": metadata, "spec": {"model": {"uri": "s3://models/ranker/7/"}}})
        again: list[tuple[Key, float]] = []
        async with server.client() as client:
            cache = Cache(client, (), lambda group: None, clock=clock)
            await asyncio.wait_for(cache.start(), 20)
            policies = Policies(lambda: None)
            observer = Observer(models, policies, cache, IMAGES, lambda k, s: again.append((k, s)), clock)
            yield Case(server, cache, observer, clock, again)
            await cache.stop()


ENDED = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}


def pod(phase: str) -> dict[str, Any]:
    labels = {naming.LABEL_MODEL: "ranker", "job-name": "job"}
    metadata = {"name": "pod", "namespace": "vision", "uid": "pod", "labels": labels}
    return {"metadata": metadata, "status": {"phase": phase}}


def see_pod(case: Case, version: int, phase: str) -> None:
    body = pod(phase)
    body["metadata"]["resourceVersion"] = str(version)
    case.cache.wrote("Pod", body)


async def test_everything_of_the_model_and_nothing_of_others(case: Case) -> None:
    for version, kind in enumerate(("Job", "Deployment", "Service", "ConfigMap"), start=200):
        case.see(kind, kind.lower(), version)
    foreign = make_object("foreign", 300, "foreign")
    foreign["metadata"]["labels"][naming.LABEL_MODEL] = "another"
    case.cache.wrote("ConfigMap", foreign)
    snapshot = case.look()
    assert [child.name for child in snapshot.jobs] == ["job"]
    assert [child.name for child in snapshot.deployments] == ["deployment"]
    assert sorted(child.name for child in snapshot.others) == ["configmap", "service"]
    assert snapshot.model.uid == "m-1"
    assert snapshot.images.operator == IMAGES.operator


async def test_a_model_that_does_not_exist_has_no_snapshot(case: Case) -> None:
    assert case.observer.observe(Key("vision", "unknown")) is None


async def test_what_was_refused_is_passed_on(case: Case) -> None:
    refused = (ApplyError("Job", "x", forbidden=True, message="no"),)
    snapshot = case.observer.observe(KEY, refused)
    assert snapshot
    assert snapshot.apply_errors == refused


async def test_a_job_has_not_ended_before_its_pods_last_words(case: Case) -> None:
    see_pod(case, 200, "Running")
    case.see("Job", "job", 201, **ENDED)
    (job,) = case.look().jobs
    assert (job.succeeded, job.active) == (False, 1)
    assert case.again == [(KEY, LAST_WORDS_SECONDS)]
    see_pod(case, 202, "Succeeded")
    (job,) = case.look().jobs
    assert job.succeeded


async def test_a_job_whose_pod_never_shows_has_ended_after_a_while(case: Case) -> None:
    case.see("Job", "job", 201, **ENDED)
    assert not case.look().jobs[0].succeeded
    case.clock.advance(LAST_WORDS_SECONDS)
    assert case.look().jobs[0].succeeded


async def test_a_cluster_without_the_gateway_api_works_and_one_that_gets_it_is_noticed(case: Case) -> None:
    assert not case.look().images.gateway_api
    plurals = [{"name": kind.plural} for kind in kinds.ROUTES]
    case.server.on("GET", DISCOVERY, 200, {"resources": plurals[:1]})
    await case.cache.discover()
    assert not case.cache.gateway_api, "one kind of route is not enough"
    case.server.on("GET", DISCOVERY, 200, {"resources": plurals})
    await case.cache.discover()
    await asyncio.wait_for(case.cache.synced(), 20)
    case.see("HTTPRoute", "ranker", 200)
    snapshot = case.look()
    assert snapshot.images.gateway_api
    assert [route.name for route in snapshot.routes] == ["ranker"]


async def test_routes_are_given_up_only_if_they_are_missing_twice(case: Case) -> None:
    case.server.on("GET", DISCOVERY, 200, {"resources": [{"name": kind.plural} for kind in kinds.ROUTES]})
    await case.cache.discover()
    for status, still in ((503, True), (404, True), (503, True), (404, False)):
        case.server.on("GET", DISCOVERY, status, {"message": "no"})
        await case.cache.discover()
        assert case.cache.gateway_api == still, status


async def test_several_namespaces_are_watched_one_by_one() -> None:
    async with ScriptedServer() as server, server.client() as client:
        for kind in kinds.ALWAYS:
            for namespace in ("a", "b"):
                Collection(server, kind.collection(namespace))
        cache = Cache(client, ("a", "b"), lambda group: None)
        await asyncio.wait_for(cache.start(), 20)
        await until(lambda: all(reflector.version for reflector in cache.reflectors))
        assert len(list(cache.reflectors)) == 2 * len(kinds.ALWAYS)
        await cache.stop()
