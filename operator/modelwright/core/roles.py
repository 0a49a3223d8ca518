"""Which revision plays which role: the next roles, from the roles in status and what the pods show.

Roles in status are the operator's intent. Children follow them one pass later, so that whoever is killed in between
finds the intent again and never a Deployment that nobody remembers.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from modelwright import naming
from modelwright.api.conditions import Finding, Reason
from modelwright.api.fields import seconds
from modelwright.api.model import ModelSpec
from modelwright.api.status import ModelStatus, RejectedStatus, RevisionStatus
from modelwright.core import times, trouble
from modelwright.core.snapshot import ObservedDeployment, Snapshot
from modelwright.core.trouble import Trouble
from modelwright.render.revision import Revision

REMEMBERED_REJECTIONS = 10
UNASKED_SECONDS = 15.0


@dataclass(frozen=True)
class Roles:
    """Revisions by role; `history` is newest first."""

    stable: RevisionStatus | None = None
    candidate: RevisionStatus | None = None
    history: tuple[RevisionStatus, ...] = ()
    rejected: tuple[RejectedStatus, ...] = ()

    @classmethod
    def of(cls, status: ModelStatus) -> "Roles":
        """The roles as status has them."""
        return cls(status.stable, status.candidate, status.history, status.rejected)

    def hashes(self) -> frozenset[str]:
        """Hashes of all revisions whose objects are kept; of those given up, the last one's, to be looked at."""
        named = (self.stable, self.candidate, *self.history, *self.rejected[:1])
        return frozenset(revision.hash for revision in named if revision)

    def rejection(self, revision: str) -> RejectedStatus | None:
        """Why the revision was given up, if it was."""
        return next((rejected for rejected in self.rejected if rejected.hash == revision), None)


@dataclass(frozen=True)
class Turn:
    """The next roles, and what was found wrong with the revision that is to serve."""

    roles: Roles
    trouble: Trouble | None = None


def next_roles(snapshot: Snapshot, spec: ModelSpec, target: Revision | None, now: datetime) -> Turn:
    """The next roles. `target` is the revision that this generation asks for; None while it is not known."""
    roles = _trimmed(snapshot, Roles.of(snapshot.model.status), spec.revision_history_limit)
    if spec.suspend:
        return Turn(roles)
    if target is None:
        # A candidate of the spec before goes its way: had it been ready a moment earlier, it would serve by now.
        return _judged(snapshot, spec, roles, roles.candidate, now) if roles.candidate else Turn(roles)
    if roles.stable and roles.stable.hash == target.hash:
        at_rest = is_ready(deployment_of(snapshot, target.hash), spec.replicas)
        found = None if at_rest else serving_trouble(snapshot, target.hash)
        return Turn(replace(roles, stable=_told(roles.stable, target), candidate=None), found)
    if roles.rejection(target.hash):
        return Turn(replace(roles, candidate=None))
    if roles.candidate is None or roles.candidate.hash != target.hash:
        return Turn(_with_candidate(roles, target, now))
    return _judged(snapshot, spec, roles, roles.candidate, now)


def serving_trouble(snapshot: Snapshot, revision: str) -> Trouble | None:
    """What is wrong with the pods of a revision, or with making them."""
    pods = [pod for pod in snapshot.pods if pod.revision == revision and not pod.job]
    found = trouble.of_pods(pods)
    deployment = deployment_of(snapshot, revision)
    if found is None and deployment and deployment.refused:
        hint = "Check quotas and admission policies of the namespace."
        return Trouble(Finding(Reason.POD_REFUSED, deployment.refused, hint, terminal=False))
    return found


def deployment_of(snapshot: Snapshot, revision: str) -> ObservedDeployment | None:
    """The revision's Deployment."""
    return next((d for d in snapshot.deployments if d.labels.get(naming.LABEL_REVISION) == revision), None)


def is_ready(deployment: ObservedDeployment | None, replicas: int) -> bool:
    """Whether `replicas` pods answered the golden inference and nothing is being replaced."""
    if deployment is None or not deployment.settled or replicas < 1:
        return False
    return deployment.desired >= replicas and deployment.available >= replicas and deployment.updated >= replicas


def deadline(snapshot: Snapshot, spec: ModelSpec, candidate: RevisionStatus) -> datetime | None:
    """When a candidate that is not ready is given up; None while nothing was asked of it."""
    deployment = deployment_of(snapshot, candidate.hash)
    if spec.replicas == 0 or deployment is None or snapshot.apply_errors:
        return None
    return times.after(max(candidate.since, deployment.created), seconds(spec.rollout.progress_deadline))


def _judged(snapshot: Snapshot, spec: ModelSpec, roles: Roles, candidate: RevisionStatus, now: datetime) -> Turn:
    """The candidate takes over, is given up, or goes on starting."""
    deployment = deployment_of(snapshot, candidate.hash)
    if spec.replicas and _clock_not_started(deployment, candidate, now):
        restamped = candidate.model_copy(update={"since": times.stamp(now)})
        return Turn(replace(roles, candidate=restamped))
    if is_ready(deployment, spec.replicas):
        return Turn(_promoted(roles, candidate, now) if _has_service(snapshot, candidate) else roles)
    found = serving_trouble(snapshot, candidate.hash)
    end = deadline(snapshot, spec, candidate)
    late = end is not None and now >= end
    if late or (found and found.finding.terminal):
        cause = found or _late(spec, candidate)
        return Turn(_given_up(roles, candidate, cause.finding, now), cause)
    return Turn(roles, found)


def _clock_not_started(deployment: ObservedDeployment | None, candidate: RevisionStatus, now: datetime) -> bool:
    """Whether no pod was asked for since the candidate got its role, long ago: an outage, a suspension, 0 replicas.

    Its deadline counts from when pods are asked for.
    """
    if deployment and deployment.desired:
        return False
    patience = times.after(candidate.since, UNASKED_SECONDS)
    return patience is not None and now > patience


def _has_service(snapshot: Snapshot, candidate: RevisionStatus) -> bool:
    return snapshot.child("Service", naming.revision_name(snapshot.model.name, candidate.hash)) is not None


def _trimmed(snapshot: Snapshot, roles: Roles, limit: int) -> Roles:
    """History within its limit; a former revision that still has pods may still get requests, so it stays."""
    kept = (
        revision
        for index, revision in enumerate(roles.history)
        if index < limit or ((found := deployment_of(snapshot, revision.hash)) and found.desired)
    )
    return replace(roles, history=tuple(kept))


def _with_candidate(roles: Roles, target: Revision, now: datetime) -> Roles:
    history = tuple(revision for revision in roles.history if revision.hash != target.hash)
    candidate = RevisionStatus(
        hash=target.hash,
        artifact=target.artifact,
        source=target.source,
        since=times.stamp(now),
        template=target.template(),
    )
    return replace(roles, candidate=candidate, history=history)


def _promoted(roles: Roles, candidate: RevisionStatus, now: datetime) -> Roles:
    stamp = times.stamp(now)
    former = roles.stable.model_copy(update={"since": stamp, "template": {}}) if roles.stable else None
    history = ((former,) if former else ()) + roles.history
    return replace(roles, stable=candidate.model_copy(update={"since": stamp}), candidate=None, history=history)


def _given_up(roles: Roles, candidate: RevisionStatus, cause: Finding, now: datetime) -> Roles:
    rejected = RejectedStatus(
        hash=candidate.hash,
        artifact=candidate.artifact,
        reason=cause.reason,
        message=cause.text,
        since=times.stamp(now),
    )
    others = (former for former in roles.rejected if former.hash != candidate.hash)
    return replace(roles, candidate=None, rejected=(rejected, *others)[:REMEMBERED_REJECTIONS])


def _told(stable: RevisionStatus, target: Revision) -> RevisionStatus:
    """A stable revision rebuilt from its children gets its template back."""
    return stable if stable.template else stable.model_copy(update={"template": target.template()})


def _late(spec: ModelSpec, candidate: RevisionStatus) -> Trouble:
    return Trouble(
        Finding(
            Reason.PROGRESS_DEADLINE_EXCEEDED,
            f"revision {candidate.hash} was not ready within {spec.rollout.progress_deadline}.",
            "See the pods of that revision, or raise spec.rollout.progressDeadline.",
        )
    )
