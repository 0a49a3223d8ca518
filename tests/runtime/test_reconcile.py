"""One pass: the order of its writes, and what comes after it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from modelwright import naming
from modelwright.cluster import kinds
from modelwright.cluster.apply import Applier
from modelwright.cluster.cache import Cache
from modelwright.cluster.events import EventWriter
from modelwright.cluster.kinds import Key
from modelwright.cluster.observe import Observer
from modelwright.cluster.owned import Models, Policies
from modelwright.core.plan import Apply, Event, Plan
from modelwright.core.snapshot import Snapshot
from modelwright.render.stamp import stamped
from modelwright.runtime.queue import KeyedQueue
from modelwright.runtime.reconcile import RESTLESS_PASSES, Reconciler
from modelwright.runtime.telemetry import Telemetry
from tests.builders import IMAGES
from tests.clock import FakeClock
from tests.cluster.scripted import Asked, Collection, ScriptedServer

KEY = Key("vision", "ranker")
STATUS = kinds.MODEL.path("vision", "ranker", "status")
CHILD = "/api/v1/namespaces/vision/configmaps/child"
EVENTS = "/apis/events.k8s.io/v1/namespaces/vision/events"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FORBIDDEN = {"message": 'User "u" cannot patch resource "configmaps"'}


def model_json(version: int, status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "ranker", "namespace": "vision", "uid": "m-1", "generation": 1, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"model": {"uri": "s3://models/ranker/7/"}}, "status": status}


class Case:
    """A model on a scripted server, and a `decide` that plans what the test says."""

    def __init__(self, server: ScriptedServer, cache: Cache, reconciler: Reconciler, clock: FakeClock) -> None:
        self.server, self.cache, self.reconciler, self.clock = server, cache, reconciler, clock
        self.seen: list[Snapshot] = []
        self.plan: Callable[[Snapshot], Plan] = lambda snapshot: Plan()
        self.version = 1

    def decide(self, snapshot: Snapshot, now: datetime) -> Plan:
        assert now == NOON
        self.seen.append(snapshot)
        return self.plan(snapshot)

    async def store_status(self, request: web.Request) -> web.Response:
        """Be the server: refuse an old version, merge, answer."""
        body = await request.json()
        if body["metadata"]["resourceVersion"] != str(self.version):
            return web.json_response({"message": "modified"}, status=409)
        self.version += 1
        return web.json_response(model_json(self.version, body["status"]))

    @property
    def writes(self) -> list[Asked]:
        return [asked for asked in self.server.asked if asked.verb != "GET"]

    async def reconcile(self) -> None:
        await self.reconciler(KEY)

    @property
    def next(self) -> float | None:
        """Seconds until the next pass; None if there is none."""
        queue = self.reconciler.queue
        if len(queue):
            return 0.0
        due = queue.next_due()
        return None if due is None else due - self.clock.now


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    async with ScriptedServer() as server, server.client() as client:
        for kind in kinds.ALWAYS:
            Collection(server, kind.collection())
        clock = FakeClock(100.0)
        queue: KeyedQueue[Key] = KeyedQueue(clock)
        models = Models(lambda key, by_person: None)
        models.upsert(model_json(1, {}))
        cache = Cache(client, (), lambda group: None)
        await asyncio.wait_for(cache.start(), 20)
        server.asked.clear()
        reconciler = Reconciler(
            observer=Observer(models, Policies(lambda: None), cache, IMAGES, queue.add_after),
            decide=lambda snapshot, now: case.decide(snapshot, now),  # noqa: PLW0108 - `case` comes below
            applier=Applier(client, cache),
            client=client,
            models=models,
            events=EventWriter(client, "replica", clock, lambda: NOON),
            telemetry=Telemetry(),
            now=lambda: NOON,
            queue=queue,
        )
        case = Case(server, cache, reconciler, clock)
        server.answers["PATCH", STATUS] = case.store_status
        server.on("POST", EVENTS, 201, {})
        server.on("PATCH", CHILD, 201, child_json())
        yield case
        await cache.stop()


def child_json() -> dict[str, Any]:
    labels = {naming.LABEL_MANAGED_BY: naming.MANAGED_BY, naming.LABEL_MODEL: "ranker"}
    metadata = {"name": "child", "namespace": "vision", "uid": "c-1", "resourceVersion": "500", "labels": labels}
    return stamped({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


CREATE = Apply(child_json())
TOLD = Event("Normal", "Serving", "all is well")


async def test_a_pass_that_changes_nothing_sends_nothing(case: Case) -> None:
    case.plan = lambda snapshot: Plan(status=dict(snapshot.model.status_json))
    await case.reconcile()
    assert case.writes == []
    assert case.next is None


async def test_children_come_first_then_one_status_then_events_then_a_look_at_the_result(case: Case) -> None:
    plan = Plan(status={"url": "x"}, actions=(CREATE,), events=(TOLD,))
    case.plan = lambda snapshot: plan
    await case.reconcile()
    assert [asked.path for asked in case.writes] == [CHILD, STATUS, EVENTS]
    assert case.next == 0.0


async def test_an_intent_is_written_alone_and_followed_at_once(case: Case) -> None:
    case.plan = lambda snapshot: Plan(status={"url": "x"}, intent=True, actions=(CREATE,), events=(TOLD,))
    await case.reconcile()
    assert [asked.path for asked in case.writes] == [STATUS, EVENTS]
    assert case.next == 0.0


async def test_the_next_pass_sees_what_this_one_wrote(case: Case) -> None:
    case.plan = lambda snapshot: Plan(status={"url": "x"}, actions=(CREATE,))
    await case.reconcile()
    case.plan = lambda snapshot: Plan()
    await case.reconcile()
    snapshot = case.seen[1]
    assert snapshot.model.status.url == "x"
    assert snapshot.model.resource_version == "2"
    assert snapshot.child("ConfigMap", "child") is not None


async def test_a_conflict_tells_nothing_and_is_observed_again_now(case: Case) -> None:
    case.version = 7
    case.plan = lambda snapshot: Plan(status={"url": "x"}, events=(TOLD,))
    await case.reconcile()
    assert [asked.path for asked in case.writes] == [STATUS]
    assert case.next is not None
    assert case.next < 0.1


async def test_the_status_is_written_even_if_a_child_failed(case: Case) -> None:
    case.server.on("PATCH", CHILD, 500, {"message": "etcd"})
    case.plan = lambda snapshot: Plan(status={"url": "x"}, actions=(CREATE,))
    await case.reconcile()
    assert [asked.path for asked in case.writes] == [CHILD, STATUS]
    assert case.next
    assert case.next <= 15


async def test_what_was_refused_is_shown_to_the_next_pass_and_then_retried_slowly(case: Case) -> None:
    case.server.on("PATCH", CHILD, 403, FORBIDDEN)
    case.plan = lambda snapshot: Plan(actions=(CREATE,))
    await case.reconcile()
    assert case.next == 0.0, "news: status has to tell"
    await case.reconcile()
    (refusal,) = case.seen[1].apply_errors
    assert (refusal.kind, refusal.name, refusal.forbidden) == ("ConfigMap", "child", True)
    waits: list[float] = []
    for _ in range(8):
        handed = case.reconciler.queue.take()
        if handed:
            case.reconciler.queue.done(KEY)
        await case.reconcile()
        wait = case.next
        assert wait is not None
        waits.append(wait)
        case.clock.advance(wait)
    assert waits[-1] > 20
    assert max(waits) <= 45


async def test_what_is_no_longer_refused_is_forgotten(case: Case) -> None:
    case.server.on("PATCH", CHILD, 403, FORBIDDEN)
    case.plan = lambda snapshot: Plan(actions=(CREATE,))
    await case.reconcile()
    case.server.on("PATCH", CHILD, 201, child_json())
    await case.reconcile()
    case.plan = lambda snapshot: Plan()
    await case.reconcile()
    assert case.seen[2].apply_errors == ()


async def test_an_outage_takes_no_refusal_back(case: Case) -> None:
    case.server.on("PATCH", CHILD, 403, FORBIDDEN)
    case.plan = lambda snapshot: Plan(actions=(CREATE,))
    await case.reconcile()
    case.server.on("PATCH", CHILD, 500, {"message": "etcd"})
    await case.reconcile()
    await case.reconcile()
    assert [refusal.forbidden for refusal in case.seen[2].apply_errors] == [True]


async def test_an_appointment_is_kept(case: Case) -> None:
    case.plan = lambda snapshot: Plan(requeue_after=30.0)
    await case.reconcile()
    assert case.next == 30.0


async def test_a_model_that_is_gone_is_forgotten(case: Case) -> None:
    case.plan = lambda snapshot: Plan(status={"conditions": [{"type": "Ready", "status": "True", "reason": "Serving"}]})
    await case.reconcile()
    assert b'name="ranker"' in case.reconciler.telemetry.exposition()
    case.reconciler.models.remove(KEY, "m-1")
    case.seen.clear()
    await case.reconcile()
    assert case.seen == []
    assert b'name="ranker"' not in case.reconciler.telemetry.exposition()


async def test_a_model_deleted_meanwhile_is_no_error(case: Case) -> None:
    del case.server.answers["PATCH", STATUS]
    case.plan = lambda snapshot: Plan(status={"url": "x"}, events=(TOLD,))
    await case.reconcile()
    assert case.next is None


async def test_an_unforeseen_error_backs_off_and_is_told(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    def fail(snapshot: Snapshot) -> Plan:
        raise ZeroDivisionError("a bug")

    case.plan = fail
    await case.reconcile()
    assert case.next
    assert "a bug" in caplog.text
    assert b'error="ZeroDivisionError"' in case.reconciler.telemetry.exposition()


async def test_passes_that_never_come_to_rest_are_slowed_down(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.plan = lambda snapshot: Plan(status={"url": f"{snapshot.model.resource_version}"})
    for _ in range(RESTLESS_PASSES + 12):
        handed = case.reconciler.queue.take()
        await case.reconcile()
        if handed:
            case.reconciler.queue.done(KEY)
        case.clock.advance(case.next or 0.0)
    assert "slowing down" in caplog.text
    handed = case.reconciler.queue.take()
    await case.reconcile()
    if handed:
        case.reconciler.queue.done(KEY)
    assert case.next
    assert case.next >= 20


async def test_a_model_that_was_replaced_is_another_one(case: Case) -> None:
    case.plan = lambda snapshot: Plan()
    await case.reconcile()
    body = model_json(50, {})
    case.reconciler.models.upsert({**body, "metadata": {**body["metadata"], "uid": "m-2"}})
    await case.reconcile()
    assert [snapshot.model.uid for snapshot in case.seen] == ["m-1", "m-2"]
