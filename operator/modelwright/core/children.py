"""From roles to children: what to apply, scale and delete so that the cluster follows the roles in status."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelwright import naming
from modelwright.api.model import ModelSpec
from modelwright.api.status import RevisionStatus
from modelwright.core import times
from modelwright.core.jobs import owner
from modelwright.core.plan import Action, Apply, Delete, Scale
from modelwright.core.resolve import Resolved
from modelwright.core.roles import Roles, deployment_of
from modelwright.core.snapshot import ObservedChild, Snapshot
from modelwright.render.configmap import render_configmap
from modelwright.render.deployment import render_deployment
from modelwright.render.revision import Revision
from modelwright.render.route import FULL_WEIGHT, Slot, render_grpc_route, render_http_route
from modelwright.render.service import render_client_service, render_revision_service
from modelwright.render.stamp import hash_of, stamped

Body = Mapping[str, Any]
HANDOVER_SECONDS = 10.0
"""A former stable revision keeps its pods this long after the routes follow: proxies learn of it a moment later."""


@dataclass(frozen=True)
class Children:
    """What to do, and when to look again for the sake of what is not due yet."""

    actions: tuple[Action, ...]
    requeue_after: float | None = None


@dataclass(frozen=True)
class RouteLag:
    """Why the routes do not lead to stable yet. `refused`: a Gateway looked at one and did not take it."""

    message: str
    refused: bool = False


def follow(
    snapshot: Snapshot, spec: ModelSpec, resolved: Resolved | None, jobs: Iterable[str], now: datetime
) -> Children:
    """Actions that make children follow the roles in status.

    Args:
        snapshot: What was observed.
        spec: The model's spec.
        resolved: What it resolved to; None (no policy, no pool) leaves routes as they are.
        jobs: Names of Jobs that belong to the work as it stands.
        now: The instant of the pass.
    """
    roles = Roles.of(snapshot.model.status)
    applies = [
        *_revision_applies(snapshot, roles.stable),
        *_revision_applies(snapshot, roles.candidate),
        *_traffic_applies(snapshot, roles.stable, resolved),
    ]
    scales, wait = _scales(snapshot, spec, roles, now)
    deletes = [*_unwanted_jobs(snapshot, set(jobs)), *_unwanted_revisions(snapshot, roles)]
    if resolved and not resolved.parent_refs:
        deletes += [Delete(route.kind, route.name, route.uid) for route in snapshot.routes]
    return Children((*applies, *scales, *deletes), wait)


def routes_lag(snapshot: Snapshot, resolved: Resolved | None) -> RouteLag | None:
    """What the routes still miss on their way to stable; None if its Gateways took every one of them."""
    if resolved is None or not resolved.parent_refs or not snapshot.images.gateway_api:
        return None
    if any(True for _ in _traffic_applies(snapshot, snapshot.model.status.stable, resolved)):
        return RouteLag("the routes are being moved")
    for route in snapshot.routes:
        if not route.current:
            return RouteLag(f"{route.kind} {route.name} waits for its Gateway")
        if not route.accepted:
            return RouteLag(f"{route.kind} {route.name}: {route.message or 'no Gateway accepted it'}", refused=True)
    return None


def _revision_applies(snapshot: Snapshot, revision: RevisionStatus | None) -> Iterable[Apply]:
    """Objects of a revision. Its pods are rendered once: a new operator's template must not restart them."""
    if revision is None or not revision.template:
        return
    model, rendered = owner(snapshot.model), Revision.from_template(revision.template)
    name = naming.revision_name(snapshot.model.name, revision.hash)
    if snapshot.child("ConfigMap", name) is None:
        yield Apply(stamped(render_configmap(model, rendered)))
    deployment = snapshot.child("Deployment", name)
    if deployment is None or deployment.drifted:
        body = render_deployment(model, rendered, operator_image=snapshot.images.operator)
        yield Apply(stamped(body))
    yield from _changed(snapshot, render_revision_service(model, revision.hash))


def _traffic_applies(snapshot: Snapshot, stable: RevisionStatus | None, resolved: Resolved | None) -> Iterable[Apply]:
    """The client Service and the routes, pointing at stable."""
    if stable is None:
        return
    model = owner(snapshot.model)
    yield from _changed(snapshot, render_client_service(model, stable.hash))
    if resolved is None or not resolved.parent_refs or not snapshot.images.gateway_api:
        return
    slots = (Slot(stable.hash, FULL_WEIGHT),)
    yield from _changed(snapshot, render_http_route(model, resolved.parent_refs, resolved.hostnames, slots))
    yield from _changed(snapshot, render_grpc_route(model, resolved.parent_refs, resolved.grpc_hostnames, slots))


def _changed(snapshot: Snapshot, body: Body) -> Iterable[Apply]:
    """An Apply if the child is missing, was rendered otherwise, or was changed by somebody."""
    observed = snapshot.child(body["kind"], body["metadata"]["name"])
    if observed is None or observed.drifted or observed.applied_hash != hash_of(body):
        yield Apply(stamped(body))


def _scales(snapshot: Snapshot, spec: ModelSpec, roles: Roles, now: datetime) -> tuple[list[Scale], float | None]:
    """Replicas by role: stable and candidate as the spec says, all others 0 once nobody is sent to them."""
    wanted: dict[str, int] = {}
    wait: float | None = None
    for revision in (roles.stable, roles.candidate):
        if revision:
            wanted[revision.hash] = 0 if spec.suspend else spec.replicas
    for revision in (*roles.history, *([roles.rejected] if roles.rejected else [])):
        wanted.setdefault(revision.hash, 0)
    if roles.history and not spec.suspend:
        wait = _handover(snapshot, roles.history[0], now)
        if wait is not None:
            wanted.pop(roles.history[0].hash, None)
    scales: list[Scale] = []
    for revision, replicas in wanted.items():
        deployment = deployment_of(snapshot, revision)
        if deployment and deployment.desired != replicas:
            scales.append(Scale(deployment.name, replicas))
    return scales, wait


def _handover(snapshot: Snapshot, former: RevisionStatus, now: datetime) -> float | None:
    """Seconds for which the former stable revision must keep its pods; None if it need not."""
    deployment = deployment_of(snapshot, former.hash)
    if deployment is None or deployment.desired == 0:
        return None
    due = times.seconds_until(times.after(former.since, HANDOVER_SECONDS), now)
    followed = all(route.current and route.accepted for route in snapshot.routes)
    if due == 0 and followed:
        return None
    return max(due, 1.0)


def _unwanted_jobs(snapshot: Snapshot, wanted: set[str]) -> Iterable[Delete]:
    return (Delete("Job", job.name, job.uid) for job in snapshot.jobs if job.name not in wanted)


def _unwanted_revisions(snapshot: Snapshot, roles: Roles) -> Iterable[Delete]:
    """Objects of revisions that have no role any more."""
    kept = roles.hashes()
    named: tuple[ObservedChild, ...] = (*snapshot.deployments, *snapshot.others)
    for child in named:
        revision = child.labels.get(naming.LABEL_REVISION)
        if revision and revision not in kept and child.name == naming.revision_name(snapshot.model.name, revision):
            yield Delete(child.kind, child.name, child.uid)
