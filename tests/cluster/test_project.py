"""What decisions see of an object, from the JSON that a real API server sends."""

from typing import Any

import pytest

from modelwright import naming
from modelwright.cluster.project import project
from modelwright.core.snapshot import ObservedDeployment, ObservedJob, ObservedPod, ObservedRoute

OWNER = {
    "apiVersion": naming.API_VERSION,
    "kind": naming.MODEL_KIND,
    "name": "ranker",
    "uid": "m-1",
    "controller": True,
}


def body(status: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    metadata = {
        "name": "x",
        "namespace": "vision",
        "uid": "u-1",
        "generation": 3,
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {naming.LABEL_MODEL: "ranker", naming.LABEL_STAGE: "serve", naming.LABEL_REVISION: "1a2b"},
        "annotations": {naming.ANNOTATION_APPLIED: "h", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "ownerReferences": [OWNER],
        **parts.pop("metadata", {}),
    }
    return {"metadata": metadata, "status": status or {}, **parts}


def conditions(**statuses: str) -> list[dict[str, Any]]:
    return [{"type": kind, "status": status, "reason": "R", "message": "M"} for kind, status in statuses.items()]


def test_a_child_shows_its_owner_its_hash_and_our_annotations_only() -> None:
    child: Any = project("Service", body())
    assert (child.owner_uid, child.applied_hash, child.uid) == ("m-1", "h", "u-1")
    assert child.annotations == {naming.ANNOTATION_APPLIED: "h"}


@pytest.mark.parametrize(
    "reference",
    [
        {**OWNER, "controller": False},
        {**OWNER, "kind": "Deployment"},
        {**OWNER, "apiVersion": "example.com/v1"},
    ],
)
def test_other_owners_do_not_count(reference: dict[str, Any]) -> None:
    child: Any = project("Service", body(metadata={"ownerReferences": [reference]}))
    assert child.owner_uid == ""


def test_a_job() -> None:
    running = project("Job", body({"active": 1}))
    assert isinstance(running, ObservedJob)
    assert (running.active, running.succeeded, running.failed) == (1, False, False)
    done = project("Job", body({"conditions": conditions(SuccessCriteriaMet="True", Complete="True")}))
    assert isinstance(done, ObservedJob)
    assert (done.succeeded, done.failed) == (True, False)
    failed = project("Job", body({"conditions": conditions(FailureTarget="True", Failed="True")}))
    assert isinstance(failed, ObservedJob)
    assert (failed.failed, failed.failed_reason, failed.failed_message) == (True, "R", "M")
    ending = project("Job", body({"conditions": conditions(FailureTarget="True")}))
    assert isinstance(ending, ObservedJob)
    assert not ending.failed


def test_a_deployment() -> None:
    status = {"observedGeneration": 3, "replicas": 2, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 2}
    seen = project("Deployment", body(status, spec={"replicas": 2}))
    assert isinstance(seen, ObservedDeployment)
    assert (seen.desired, seen.replicas, seen.ready, seen.available, seen.updated) == (2, 2, 1, 1, 2)
    assert seen.settled
    assert seen.refused == ""
    stale = project("Deployment", body({"observedGeneration": 2}, spec={}))
    assert isinstance(stale, ObservedDeployment)
    assert (stale.settled, stale.desired) == (False, 1)
    refused = project("Deployment", body({"conditions": conditions(ReplicaFailure="True")}))
    assert isinstance(refused, ObservedDeployment)
    assert refused.refused == "M"


def parent(generation: int, **statuses: str) -> dict[str, Any]:
    return {"conditions": [{**c, "observedGeneration": generation} for c in conditions(**statuses)]}


@pytest.mark.parametrize(
    ("parents", "accepted", "current", "message"),
    [
        ([], False, False, ""),
        ([parent(3, Accepted="True", ResolvedRefs="True")], True, True, ""),
        ([parent(2, Accepted="True", ResolvedRefs="True")], True, False, ""),
        ([parent(3, Accepted="True", ResolvedRefs="False")], False, False, "M"),
        ([parent(3, Accepted="False", ResolvedRefs="True")], False, False, "M"),
        ([parent(3, Accepted="False"), parent(3, Accepted="True", ResolvedRefs="True")], True, True, "M"),
    ],
)
def test_a_route(parents: list[Any], accepted: bool, current: bool, message: str) -> None:
    route = project("HTTPRoute", body({"parents": parents}))
    assert isinstance(route, ObservedRoute)
    assert (route.accepted, route.current, route.message) == (accepted, current, message)


def test_a_pod_with_containers_of_every_kind() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "last words"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    status = {
        "phase": "Running",
        "conditions": conditions(Ready="False", PodScheduled="True"),
        "initContainerStatuses": [{"name": "fetch", "ready": True, "state": {"terminated": {"exitCode": 0}}}],
        "containerStatuses": [{"name": "triton", "restartCount": 4, "state": waiting, "lastState": ended}],
    }
    pod = project("Pod", body(status))
    assert isinstance(pod, ObservedPod)
    fetch, triton = pod.containers
    assert (pod.stage, pod.revision, pod.job, pod.phase, pod.ready) == ("serve", "1a2b", "", "Running", False)
    assert (fetch.init, fetch.ready, fetch.exit_code) == (True, True, 0)
    assert (triton.init, triton.restarts, triton.waiting_reason) == (False, 4, "CrashLoopBackOff")
    assert (triton.exit_code, triton.exit_reason, triton.termination_message) == (137, "OOMKilled", "last words")


def test_a_pod_of_a_job_that_fits_no_node() -> None:
    labels = {"batch.kubernetes.io/job-name": "ranker-resolve", "job-name": "ranker-resolve"}
    gone = {"labels": labels, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    pod = project("Pod", body({"conditions": conditions(PodScheduled="False")}, metadata=gone))
    assert isinstance(pod, ObservedPod)
    assert (pod.job, pod.unschedulable, pod.deleting) == ("ranker-resolve", "M", True)


@pytest.mark.parametrize("kind", ["Job", "Deployment", "HTTPRoute", "Pod", "Service", "ConfigMap"])
@pytest.mark.parametrize("nothing", [None, {}])
def test_an_object_that_its_controller_has_not_seen_yet(kind: str, nothing: Any) -> None:
    bare = {"metadata": {"name": "x"}, "spec": nothing, "status": nothing}
    assert project(kind, bare).name == "x"
