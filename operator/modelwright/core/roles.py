"""Which revision plays which role: the next roles, from the roles in status and what the pods show.

Roles in status are the operator's intent. Children follow them one pass later, so that whoever is killed in between
finds the intent again and never a Deployment that nobody remembers.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from modelwright import naming
from modelwright.api.conditions import ConditionType, Finding, Reason
from modelwright.api.fields import seconds
from modelwright.api.model import ModelSpec
from modelwright.api.status import ModelStatus, RevisionStatus
from modelwright.core import times, trouble
from modelwright.core.snapshot import ObservedDeployment, Snapshot
from modelwright.core.trouble import Trouble
from modelwright.render.revision import Revision


@dataclass(frozen=True)
class Roles:
    """Revisions by role; `history` is newest first."""

    stable: RevisionStatus | None = None
    candidate: RevisionStatus | None = None
    history: tuple[RevisionStatus, ...] = ()
    rejected: RevisionStatus | None = None

    @classmethod
    def of(cls, status: ModelStatus) -> "Roles":
        """The roles as status has them."""
        return cls(status.stable, status.candidate, status.history, status.rejected)

    def hashes(self) -> frozenset[str]:
        """Hashes of all revisions whose objects are kept."""
        named = (self.stable, self.candidate, self.rejected, *self.history)
        return frozenset(revision.hash for revision in named if revision)


@dataclass(frozen=True)
class Turn:
    """The next roles, and what was found wrong with the revision that is to serve."""

    roles: Roles
    trouble: Trouble | None = None


def next_roles(snapshot: Snapshot, spec: ModelSpec, target: Revision | None, now: datetime) -> Turn:
    """The next roles. `target` is the revision that this generation asks for; None while it is not known."""
    roles = Roles.of(snapshot.model.status)
    if spec.suspend:
        return Turn(roles)
    if target is None:
        # A candidate of the spec before goes its way: had it been ready a moment earlier, it would serve by now.
        return _judged(snapshot, spec, roles, roles.candidate, now) if roles.candidate else Turn(roles)
    if roles.stable and roles.stable.hash == target.hash:
        stable = _told(roles.stable, target)
        return Turn(replace(roles, stable=stable, candidate=None), serving_trouble(snapshot, target.hash))
    if roles.rejected and roles.rejected.hash == target.hash:
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


def deadline(spec: ModelSpec, candidate: RevisionStatus) -> datetime | None:
    """When a candidate that is not ready is given up."""
    return times.after(candidate.since, seconds(spec.rollout.progress_deadline))


def _was_at_rest(status: ModelStatus) -> bool:
    """Whether the last pass saw the model suspended."""
    return any(c.type == ConditionType.READY and c.reason == Reason.SUSPENDED for c in status.conditions)


def _judged(snapshot: Snapshot, spec: ModelSpec, roles: Roles, candidate: RevisionStatus, now: datetime) -> Turn:
    """The candidate takes over, is given up, or goes on starting."""
    if _was_at_rest(snapshot.model.status):
        # Time at rest does not count against the candidate's deadline.
        rested = candidate.model_copy(update={"since": times.stamp(now)})
        return Turn(replace(roles, candidate=rested))
    if is_ready(deployment_of(snapshot, candidate.hash), spec.replicas):
        return Turn(_promoted(roles, candidate, spec.revision_history_limit, now))
    found = serving_trouble(snapshot, candidate.hash)
    if found and found.finding.terminal:
        return Turn(_given_up(roles, candidate, now), found)
    end = deadline(spec, candidate)
    if spec.replicas and end and now >= end:
        return Turn(_given_up(roles, candidate, now), found or _late(spec, candidate))
    return Turn(roles, found)


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


def _promoted(roles: Roles, candidate: RevisionStatus, limit: int, now: datetime) -> Roles:
    stamp = times.stamp(now)
    former = roles.stable.model_copy(update={"since": stamp, "template": {}}) if roles.stable else None
    history = ((former,) if former else ()) + roles.history
    stable = candidate.model_copy(update={"since": stamp})
    return replace(roles, stable=stable, candidate=None, history=history[:limit], rejected=None)


def _given_up(roles: Roles, candidate: RevisionStatus, now: datetime) -> Roles:
    rejected = candidate.model_copy(update={"since": times.stamp(now), "template": {}})
    return replace(roles, candidate=None, rejected=rejected)


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
