"""Carrying out actions: which requests go out, and what an answer means."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from modelwright import naming
from modelwright.cluster.apply import Applier
from modelwright.cluster.cache import Cache
from modelwright.cluster.kinds import Key
from modelwright.cluster.owned import Models, group_of
from modelwright.cluster.status import patch_status
from modelwright.core.plan import Action, Apply, Delete, Scale
from modelwright.core.snapshot import ObservedDeployment
from modelwright.errors import Conflict, Forbidden, Rejected, Unavailable
from modelwright.render.stamp import hash_of, stamped
from tests.builders import make_model
from tests.cluster.scripted import Asked, Collection, ScriptedServer, make_object

MODEL = make_model().observed()
KEY = Key(MODEL.namespace, MODEL.name)
GROUP = group_of(KEY)
ONE = "/api/v1/namespaces/vision/configmaps/one"
COLLECTIONS = {
    "/api/v1/configmaps": "ConfigMap",
    "/api/v1/services": "Service",
    "/api/v1/pods": "Pod",
    "/apis/batch/v1/jobs": "Job",
    "/apis/apps/v1/deployments": "Deployment",
}


@dataclass
class Case:
    server: ScriptedServer
    cache: Cache
    applier: Applier
    collections: dict[str, Collection]

    def sent(self, verb: str) -> list[Asked]:
        return [asked for asked in self.server.asked if asked.verb == verb]

    @property
    def asked(self) -> list[Asked]:
        """Requests, without the watches."""
        return [asked for asked in self.server.asked if "watch" not in asked.query]

    async def do(self, *actions: Action) -> Any:
        return await self.applier.carry_out(MODEL, actions)


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    async with ScriptedServer() as server:
        collections = {path: Collection(server, path) for path in COLLECTIONS}
        await collections["/api/v1/configmaps"].put("known", tell=False)
        async with server.client() as client:
            cache = Cache(client, (), lambda group: None)
            await asyncio.wait_for(cache.start(), 20)
            server.asked.clear()
            yield Case(server, cache, Applier(client, cache), collections)
            await cache.stop()


def ignored(key: Key, *, by_person: bool) -> None:
    """Nobody is told."""


def desired(name: str) -> dict[str, Any]:
    labels = {naming.LABEL_MANAGED_BY: naming.MANAGED_BY, naming.LABEL_MODEL: "ranker"}
    metadata = {"name": name, "namespace": "vision", "labels": labels}
    return stamped({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}})


async def test_a_missing_child_is_created_and_never_taken_over(case: Case) -> None:
    case.server.on("PATCH", ONE, 201, make_object("one", 200, "new", data={"a": "b"}))
    outcome = await case.do(Apply(desired("one")))
    (asked,) = case.asked
    assert (outcome.wrote, outcome.errors) == (True, ())
    assert asked.query == {"fieldManager": "modelwright", "force": "true"}
    assert asked.body["metadata"]["resourceVersion"] == "1"
    assert asked.body["metadata"]["annotations"][naming.ANNOTATION_APPLIED] == hash_of(desired("one"))


async def test_the_answer_is_known_before_the_watch_tells(case: Case) -> None:
    case.server.on("PATCH", ONE, 201, make_object("one", 200, "new", data={"a": "b"}))
    await case.do(Apply(desired("one")))
    assert {child.name for child in case.cache.children("ConfigMap", GROUP)} == {"known", "one"}


async def test_a_known_child_is_changed_only_while_it_is_the_same(case: Case) -> None:
    known = case.cache.find("ConfigMap", "vision", "known")
    assert known
    path = "/api/v1/namespaces/vision/configmaps/known"
    case.server.on("PATCH", path, 422, {"message": 'metadata.uid: Invalid value: "x": field is immutable'})
    outcome = await case.do(Apply(desired("known")))
    assert case.asked[0].body["metadata"]["uid"] == known.uid
    assert isinstance(outcome.errors[0], Conflict)
    assert outcome.refused == ()


async def test_a_name_that_is_somebody_elses_is_left_alone_and_reported(case: Case) -> None:
    case.server.on("PATCH", ONE, 409, {"message": "the object has been modified"})
    case.server.on("GET", ONE, 200, make_object("one", 50, "theirs"))
    outcome = await case.do(Apply(desired("one")))
    (refusal,) = outcome.refused
    assert (refusal.kind, refusal.name, refusal.foreign, refusal.forbidden) == ("ConfigMap", "one", True, False)
    assert len(case.sent("PATCH")) == 1
    assert not outcome.wrote


async def test_our_own_child_that_the_caches_lack_is_applied_by_uid(case: Case) -> None:
    ours = make_object("one", 50, "ours")
    owner = {"apiVersion": naming.API_VERSION, "kind": naming.MODEL_KIND, "uid": MODEL.uid, "controller": True}
    ours["metadata"]["ownerReferences"] = [owner]
    case.server.on("GET", ONE, 200, ours)
    case.server.on("PATCH", ONE, 409, {"message": "the object has been modified"})
    await case.do(Apply(desired("one")))
    first, second = case.sent("PATCH")
    assert "uid" not in first.body["metadata"]
    assert second.body["metadata"]["uid"] == "ours"
    assert "resourceVersion" not in second.body["metadata"]


async def test_drift_is_what_others_did_since(case: Case) -> None:
    def drifted() -> list[str]:
        return [child.name for child in case.cache.children("ConfigMap", GROUP) if child.drifted]

    assert drifted() == [], "what a start finds is trusted"
    case.cache.wrote("ConfigMap", make_object("one", 200, "new", data={"a": "b"}))
    assert drifted() == [], "our own write is recognized"
    case.cache.wrote("ConfigMap", make_object("one", 201, "new", data={"a": "c"}))
    assert drifted() == []
    store = case.cache._stores["ConfigMap"]  # pyright: ignore[reportPrivateUsage]
    store.upsert(make_object("one", 202, "new", data={"a": "spoilt"}))
    assert drifted() == ["one"]
    case.cache.wrote("ConfigMap", make_object("one", 201, "new", data={"a": "c"}))
    assert drifted() == ["one"], "an answer that comes late does not hide a newer change"
    case.cache.trust_everything()
    assert drifted() == [], "who takes over trusts what the former leader wrote"


async def test_a_scale_goes_to_the_subresource_and_is_known_at_once(case: Case) -> None:
    body = {**make_object("d", 10, "d-1"), "kind": "Deployment", "spec": {"replicas": 1}}
    case.cache.wrote("Deployment", body)
    path = "/apis/apps/v1/namespaces/vision/deployments/d/scale"
    case.server.on("PATCH", path, 200, {"kind": "Scale", "metadata": {"name": "d"}})
    await case.do(Scale("d", 3))
    (asked,) = case.asked
    (seen,) = case.cache.children("Deployment", GROUP)
    assert isinstance(seen, ObservedDeployment)
    assert (asked.body, seen.desired, seen.settled) == ({"spec": {"replicas": 3}}, 3, False)


@pytest.mark.parametrize("status", [200, 404, 409])
async def test_a_deletion_names_the_uid_and_is_fine_if_it_came_too_late(case: Case, status: int) -> None:
    known = case.cache.find("ConfigMap", "vision", "known")
    assert known
    case.server.on("DELETE", "/api/v1/namespaces/vision/configmaps/known", status, {"message": "gone"})
    outcome = await case.do(Delete("ConfigMap", "known", known.uid))
    (asked,) = case.asked
    assert asked.body == {"propagationPolicy": "Background", "preconditions": {"uid": known.uid}}
    assert outcome.errors == ()
    assert case.cache.children("ConfigMap", GROUP) == ()


async def test_one_failure_keeps_no_other_action_from_being_tried(case: Case) -> None:
    names = [f"n{index}" for index in range(20)]
    for name in names:
        path = f"/api/v1/namespaces/vision/configmaps/{name}"
        case.server.on("PATCH", path, 201, make_object(name, 300, name))
    message = 'User "u" cannot patch resource "configmaps"'
    case.server.on("PATCH", "/api/v1/namespaces/vision/configmaps/n3", 403, {"message": message})
    case.server.on("PATCH", "/api/v1/namespaces/vision/configmaps/n4", 422, {"message": "is invalid"})
    case.server.on("PATCH", "/api/v1/namespaces/vision/configmaps/n5", 500, {"message": "etcd"})
    outcome = await case.do(*(Apply(desired(name)) for name in names))
    assert len(case.sent("PATCH")) == 20
    assert {type(error) for error in outcome.errors} == {Forbidden, Rejected, Unavailable}
    assert [(refusal.name, refusal.forbidden) for refusal in outcome.refused] == [("n3", True), ("n4", False)]


async def test_a_status_is_patched_with_the_version_it_was_observed_at(case: Case) -> None:
    models = Models(ignored)
    path = "/apis/modelwright.dev/v1alpha1/namespaces/vision/optimizedmodels/ranker/status"
    answer = {
        "metadata": {"name": "ranker", "namespace": "vision", "uid": "uid-1", "generation": 1, "resourceVersion": "9"},
        "spec": {"model": {"uri": "s3://models/ranker/7/"}},
        "status": {"url": "http://x"},
    }
    case.server.on("PATCH", path, 200, answer)
    client = case.applier.client
    assert not await patch_status(client, models, MODEL, MODEL.status_json)
    assert not await patch_status(client, models, MODEL, None)
    assert case.asked == []
    assert await patch_status(client, models, MODEL, {**MODEL.status_json, "url": "http://x"})
    (asked,) = case.asked
    assert asked.body == {"metadata": {"resourceVersion": "1"}, "status": {"url": "http://x"}}
    known = models.get(KEY)
    assert known
    assert known.resource_version == "9"
    case.server.on("PATCH", path, 409, {"message": "the object has been modified"})
    with pytest.raises(Conflict):
        await patch_status(client, models, MODEL, {"url": "http://y"})
