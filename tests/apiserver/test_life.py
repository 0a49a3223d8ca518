"""A model's whole life against a real API server, and what it costs in requests."""

import time
from collections import Counter
from typing import Any

import pytest

from e2e.scenarios.kube import GROUP, MODELS, Obj
from e2e.scenarios.operators import OperatorProcess
from e2e.scenarios.place import condition, is_ready, is_stalled
from tests.apiserver.kubelet import Kubelet
from tests.apiserver.world import Request, World

pytestmark = pytest.mark.apiserver

CHILDREN = ("configmaps", "deployments", "services", "jobs")
USER = "operator"


def children(world: World, namespace: str, model: str) -> dict[str, list[Obj]]:
    return {kind: world.kube.list(kind, namespace, f"{GROUP}/model={model}") for kind in CHILDREN}


def by_resource(requests: list[Request]) -> Counter[str]:
    return Counter(request.resource for request in requests)


def live(world: World, namespace: str, name: str, **spec: Any) -> Obj:
    world.apply(namespace, name, **spec)
    return world.wait(namespace, name, is_ready, "Ready")


def test_a_model_becomes_ready_changes_rests_and_goes(
    world: World, namespace: str, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    del operator
    first = live(world, namespace, "ranker", model={"uri": "s3://models/ranker/7/"})
    assert first["metadata"]["generation"] == 1, "the operator changed the spec"
    assert not first["metadata"].get("finalizers")
    assert not [key for key in first["metadata"].get("annotations", {}) if "kopf" in key]
    assert kubelet.jobs_made("ranker") == {"resolve": 1, "optimize": 1}
    uid = first["metadata"]["uid"]
    for kind, found in children(world, namespace, "ranker").items():
        assert found, kind
        for child in found:
            assert [owner["uid"] for owner in child["metadata"]["ownerReferences"]] == [uid], kind
            assert not [key for key in child["metadata"].get("annotations", {}) if "kopf" in key]
    old = first["status"]["stable"]["hash"]

    changed = live(world, namespace, "ranker", model={"uri": "s3://models/ranker/7/"}, serving={"maxBatchSize": 8})
    new = changed["status"]["stable"]["hash"]
    assert new != old
    assert kubelet.jobs_made("ranker")["optimize"] == 1, "another maxBatchSize is another revision, not another Job"

    def wanted() -> dict[str, int]:
        found = world.kube.list("deployments", namespace, f"{GROUP}/model=ranker")
        return {d["metadata"]["labels"][f"{GROUP}/revision"]: d["spec"]["replicas"] for d in found}

    world.wait(namespace, "ranker", lambda _: wanted() == {old: 0, new: 1}, "the old revision at 0")
    world.kube.patch(MODELS, "ranker", {"spec": {"suspend": True}}, namespace)
    world.wait(namespace, "ranker", lambda _: wanted() == {old: 0, new: 0}, "everything at 0")
    world.kube.patch(MODELS, "ranker", {"spec": {"suspend": False}}, namespace)
    world.wait(namespace, "ranker", is_ready, "Ready again")
    world.kube.run("scale", f"{MODELS}/ranker", "--replicas=2", f"--namespace={namespace}")
    world.wait(namespace, "ranker", lambda m: is_ready(m) and wanted()[new] == 2, "two replicas")
    world.kube.delete(MODELS, "ranker", namespace)
    world.kube.run("wait", "--for=delete", "deployments,services,configmaps,jobs", f"--selector={GROUP}/model=ranker",
                   f"--namespace={namespace}", "--timeout=60s")  # fmt: skip


@pytest.mark.usefixtures("kubelet", "operator")
def test_requests_of_a_life_are_as_few_as_designed(world: World, namespace: str) -> None:
    before = len(world.quiet_writes(USER))
    live(world, namespace, "frugal")
    made = world.quiet_writes(USER)[before:]
    count = by_resource(made)
    there = {kind: len(found) for kind, found in children(world, namespace, "frugal").items()}
    print(f"create: {sum(count.values())} writes {dict(count)}")
    for kind, number in there.items():
        assert count[kind] == number, f"{kind}: {number} exist, written {count[kind]} times"
    assert count["optimizedmodels/status"] <= 6, list(map(str, made))
    assert set(count) == {*(kind for kind, number in there.items() if number), "optimizedmodels/status"}

    before = len(world.quiet_writes(USER))
    # Not the clients' Service: that one is traffic, and status tells of it twice, when it is lost and when it is back.
    served = world.kube.get(MODELS, "frugal", namespace)["status"]["stable"]["hash"]
    world.kube.patch("service", f"frugal-r{served}", {"spec": {"selector": {"stolen": "yes"}}}, namespace)
    mended = world.quiet_writes(USER)[before:]
    print(f"update of one child: {list(map(str, mended))}")
    assert by_resource(mended)["services"] == 1
    assert len(mended) <= 2

    everything = len(world.requests(USER))
    before = len(world.quiet_writes(USER))
    world.kube.patch(MODELS, "frugal", {"metadata": {"annotations": {"team": "search"}}}, namespace)
    assert world.quiet_writes(USER)[before:] == []
    others = [r for r in world.requests(USER)[everything:] if not r.resource.startswith(("leases", "events"))]
    print(f"no-op: {list(map(str, others))}")
    assert others == []


def test_a_restart_writes_nothing(world: World, namespace: str, kubelet: Kubelet, operator: OperatorProcess) -> None:
    for name in ("one", "two", "three"):
        world.apply(namespace, name)
    for name in ("one", "two", "three"):
        world.wait(namespace, name, is_ready, "Ready")
    world.quiet_writes(USER)
    operator.stop()
    before = len(world.writes(USER))
    operator.start()
    wait_until_leading(world, namespace, before)
    after = world.quiet_writes(USER, still=8.0)[before:]
    print(f"restart: {len(after)} writes")
    assert after == []
    del kubelet


def wait_until_leading(world: World, namespace: str, before: int) -> None:
    """Until the operator that was just started holds its Lease; a first pass over everything follows at once."""
    del before
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lease = world.kube.find("lease", f"modelwright-{namespace}", namespace)
        if lease and lease["spec"].get("holderIdentity"):
            return
        time.sleep(0.2)
    raise AssertionError("nobody took the Lease")


BAD_MODELS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "unknown pool": ("bad-pool", {"serving": {"pool": "tpu"}}, "PoolNotFound", "spec.serving.pool"),
    "scheme": ("bad-scheme", {"model": {"uri": "http://x/m.onnx"}}, "UnsupportedScheme", "spec.model.uri"),
}


@pytest.mark.usefixtures("kubelet")
def test_what_only_the_operator_can_refuse_is_refused_with_field_and_remedy(
    world: World, namespace: str, operator: OperatorProcess
) -> None:
    for name, spec, _, _ in BAD_MODELS.values():
        world.apply(namespace, name, **spec)
    for case, (name, _, reason, field) in BAD_MODELS.items():
        found = world.wait(namespace, name, is_stalled, "Stalled")
        accepted = condition(found, "Accepted")
        assert (accepted["status"], accepted["reason"]) == ("False", reason), case
        assert field in accepted["message"], case
        assert condition(found, "Ready")["reason"] == reason, case
        events = [e for e in world.kube.list("events", namespace) if e["involvedObject"]["name"] == name]
        assert [e["reason"] for e in events if e["type"] == "Warning"] == [reason], case
    assert not world.kube.list("jobs", namespace)
    assert operator.starts == 1
