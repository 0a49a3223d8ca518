"""From the API server's JSON to what decisions see: a few facts of each object, and nothing else of it is kept."""

from collections.abc import Callable, Mapping
from typing import Any

from modelwright import naming
from modelwright.core.snapshot import (
    ObservedChild,
    ObservedContainer,
    ObservedDeployment,
    ObservedJob,
    ObservedPod,
    ObservedRoute,
)

Body = Mapping[str, Any]
Observed = ObservedChild | ObservedPod
_CONTAINERS = (("initContainerStatuses", True), ("containerStatuses", False))
_JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
_OURS = f"{naming.GROUP}/"
_FALSE = ("False", "Unknown")


def project(kind: str, body: Body) -> Observed:
    """The facts of an object of that kind."""
    return _PROJECTIONS.get(kind, child)(kind, body)


def child(kind: str, body: Body) -> ObservedChild:
    """What all children have in common."""
    return ObservedChild(**_common(kind, body))


def job(kind: str, body: Body) -> ObservedJob:
    """A Job. Its controller sets `Complete` or `Failed` once all its pods have ended."""
    status = part(body, "status")
    failed = condition(status, "Failed")
    return ObservedJob(
        **_common(kind, body),
        active=status.get("active", 0),
        succeeded=bool(condition(status, "Complete")),
        failed=bool(failed),
        failed_reason=failed.get("reason", ""),
        failed_message=failed.get("message", ""),
    )


def deployment(kind: str, body: Body) -> ObservedDeployment:
    """A Deployment."""
    metadata: Body = body["metadata"]
    status = part(body, "status")
    return ObservedDeployment(
        **_common(kind, body),
        desired=part(body, "spec").get("replicas", 1),
        replicas=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        updated=status.get("updatedReplicas", 0),
        settled=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
        refused=condition(status, "ReplicaFailure").get("message", ""),
        created=metadata.get("creationTimestamp", ""),
    )


def route(kind: str, body: Body) -> ObservedRoute:
    """A route: accepted if some Gateway took it and knows all its backends."""
    generation = body["metadata"].get("generation", 0)
    parents = parts(part(body, "status"), "parents")
    verdicts = [_verdict(parent, generation) for parent in parents]
    taken = [current for accepted, current, _ in verdicts if accepted]
    return ObservedRoute(
        **_common(kind, body),
        accepted=bool(taken),
        current=any(taken),
        message=next((message for accepted, _, message in verdicts if not accepted and message), ""),
    )


def pod(kind: str, body: Body) -> ObservedPod:
    """A pod with its containers of every kind."""
    del kind
    metadata: Body = body["metadata"]
    labels = part(metadata, "labels")
    status = part(body, "status")
    scheduled = condition(status, "PodScheduled", _FALSE)
    return ObservedPod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        stage=labels.get(naming.LABEL_STAGE, ""),
        revision=labels.get(naming.LABEL_REVISION, ""),
        job=next((labels[label] for label in _JOB_LABELS if label in labels), ""),
        phase=status.get("phase", ""),
        ready=bool(condition(status, "Ready")),
        deleting="deletionTimestamp" in metadata,
        unschedulable=scheduled.get("message", "") or scheduled.get("reason", ""),
        containers=tuple(_container(entry, init=init) for field, init in _CONTAINERS for entry in parts(status, field)),
        created=metadata.get("creationTimestamp", ""),
    )


def part(body: Body, field: str) -> Body:
    """An object within an object; empty if it is absent or null."""
    return body.get(field) or {}


def parts(body: Body, field: str) -> list[Body]:
    """A list of objects within an object; empty if it is absent or null."""
    return body.get(field) or []


def condition(status: Body, kind: str, wanted: tuple[str, ...] = ("True",)) -> Body:
    """The condition of that type if its status is one of `wanted`, else nothing."""
    nothing: Body = {}
    found = (c for c in parts(status, "conditions") if c.get("type") == kind and c.get("status") in wanted)
    return next(found, nothing)


def _common(kind: str, body: Body) -> dict[str, Any]:
    metadata: Body = body["metadata"]
    annotations = part(metadata, "annotations")
    return {
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "owner_uid": _owner(metadata),
        "applied_hash": annotations.get(naming.ANNOTATION_APPLIED, ""),
        "drifted": False,
        "labels": dict(part(metadata, "labels")),
        "annotations": {k: v for k, v in annotations.items() if k.startswith(_OURS)},
    }


def _owner(metadata: Body) -> str:
    """UID of the OptimizedModel that controls an object."""
    ours = (r for r in parts(metadata, "ownerReferences") if r.get("controller") and r.get("kind") == naming.MODEL_KIND)
    return next((r["uid"] for r in ours if r.get("apiVersion", "").startswith(_OURS)), "")


def _verdict(parent: Body, generation: int) -> tuple[bool, bool, str]:
    """Whether one Gateway took the route, whether it judged its newest generation, and what it says if not."""
    accepted, resolved = condition(parent, "Accepted"), condition(parent, "ResolvedRefs")
    refusal = condition(parent, "Accepted", _FALSE) or condition(parent, "ResolvedRefs", _FALSE)
    seen = min((c.get("observedGeneration", generation) for c in (accepted, resolved)), default=0)
    return bool(accepted and resolved), seen >= generation, refusal.get("message", "")


def _container(entry: Body, *, init: bool) -> ObservedContainer:
    state = part(entry, "state")
    waiting = part(state, "waiting")
    ended = part(state, "terminated") or part(part(entry, "lastState"), "terminated")
    return ObservedContainer(
        name=entry["name"],
        init=init,
        ready=entry.get("ready", False),
        restarts=entry.get("restartCount", 0),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        exit_code=ended.get("exitCode"),
        exit_reason=ended.get("reason", ""),
        termination_message=ended.get("message", ""),
    )


_PROJECTIONS: dict[str, Callable[[str, Body], Observed]] = {
    "Job": job,
    "Deployment": deployment,
    "HTTPRoute": route,
    "GRPCRoute": route,
    "Pod": pod,
}
