"""From roles to children: what to apply, scale and delete so that the cluster follows the roles in status."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from modelwright import naming
from modelwright.api.model import ModelSpec
from modelwright.api.status import RevisionStatus
from modelwright.core import times, traffic
from modelwright.core.jobs import owner
from modelwright.core.plan import Action, Apply, Delete, Scale
from modelwright.core.resolve import Resolved
from modelwright.core.roles import Roles, deployment_of
from modelwright.core.snapshot import ObservedChild, Snapshot
from modelwright.render.configmap import render_configmap
from modelwright.render.deployment import render_deployment
from modelwright.render.revision import Revision
from modelwright.render.service import render_revision_service
from modelwright.render.stamp import stamped

HANDOVER_SECONDS = 10.0
"""Former revisions keep their pods this long after traffic leads to stable: proxies learn of it a moment later."""

LOOK_AGAIN_SECONDS = 15.0
"""A Gateway that does not follow is watched; this is for the event that was lost."""


@dataclass(frozen=True)
class Children:
    """What to do, and when to look again for the sake of what is not due yet."""

    actions: tuple[Action, ...]
    requeue_after: float | None = None


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
        *traffic.applies(snapshot, roles.stable, resolved),
    ]
    scales, wait = _scales(snapshot, spec, roles, now)
    deletes = [*_unwanted_jobs(snapshot, set(jobs)), *_unwanted_revisions(snapshot, roles)]
    if resolved and not resolved.parent_refs:
        deletes += [Delete(route.kind, route.name, route.uid) for route in snapshot.routes]
    return Children((*applies, *scales, *deletes), wait)


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
    yield from traffic.changed(snapshot, render_revision_service(model, revision.hash))


def _scales(snapshot: Snapshot, spec: ModelSpec, roles: Roles, now: datetime) -> tuple[list[Scale], float | None]:
    """Replicas by role: stable and candidate as the spec says, all others 0 once nobody is sent to them."""
    wanted = {rejected.hash: 0 for rejected in roles.rejected}
    wait = None if spec.suspend else _handover(snapshot, roles, now)
    if wait is None:
        wanted |= {former.hash: 0 for former in roles.history}
    wanted |= {r.hash: 0 if spec.suspend else spec.replicas for r in (roles.stable, roles.candidate) if r}
    scales: list[Scale] = []
    for revision, replicas in wanted.items():
        deployment = deployment_of(snapshot, revision)
        if deployment and deployment.desired != replicas:
            scales.append(Scale(deployment.name, replicas))
    return scales, wait


def _handover(snapshot: Snapshot, roles: Roles, now: datetime) -> float | None:
    """Seconds for which former revisions must keep their pods; None if they need not."""
    found = (deployment_of(snapshot, former.hash) for former in roles.history)
    if not any(deployment and deployment.desired for deployment in found):
        return None
    moved = times.after(snapshot.model.status.traffic_since, HANDOVER_SECONDS)
    if moved is None:
        return LOOK_AGAIN_SECONDS
    return times.seconds_until(moved, now) or None


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
