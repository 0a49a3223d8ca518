"""What a person asked for by annotation: done once per token, only for what it names, and echoed in status.

``modelwright.dev/action: retry@<revision or work>/<token>``. A token that is present when an object is first seen is
recorded and not done: a restore must not replay it.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from modelwright import naming
from modelwright.api.status import ActionStatus, AttemptStatus
from modelwright.core import times
from modelwright.core.snapshot import Snapshot

RETRY = "retry"


@dataclass(frozen=True)
class Request:
    """A parsed annotation."""

    verb: str
    subject: str


def taken(snapshot: Snapshot, now: datetime) -> Snapshot:
    """The snapshot as it is once the asked-for action was taken; itself if nothing new is asked."""
    token = snapshot.model.annotations.get(naming.ANNOTATION_ACTION, "")
    status = snapshot.model.status
    if not token or (status.last_action and status.last_action.token == token):
        return snapshot
    if status.observed_generation < 0:
        return _noted(snapshot, token, "Recorded, not done: it was there before the model was first seen", now)
    request = _parsed(token)
    if request is None or request.verb != RETRY:
        return _noted(snapshot, token, "Refused: write retry@<revision or work>/<token>", now)
    kept = tuple(rejected for rejected in status.rejected if rejected.hash != request.subject)
    if kept != status.rejected:
        return _noted(_with(snapshot, rejected=kept), token, "Done", now)
    if status.attempt and status.attempt.work.rpartition("-")[2] == request.subject:
        attempt: AttemptStatus = status.attempt.model_copy(update={"retry_at": times.stamp(now)})
        return _noted(_with(snapshot, attempt=attempt), token, "Done", now)
    named = [rejected.hash for rejected in status.rejected]
    named += [status.attempt.work.rpartition("-")[2]] if status.attempt else []
    known = f"; there is {', '.join(named)}" if named else ""
    return _noted(snapshot, token, f"Refused: nothing rejected or failed is named {request.subject}{known}", now)


def _parsed(token: str) -> Request | None:
    verb, at, rest = token.partition("@")
    subject, slash, nonce = rest.partition("/")
    return Request(verb, subject) if at and slash and subject and nonce else None


def _noted(snapshot: Snapshot, token: str, result: str, now: datetime) -> Snapshot:
    return _with(snapshot, last_action=ActionStatus(token=token, result=result, time=times.stamp(now)))


def _with(snapshot: Snapshot, **changes: object) -> Snapshot:
    status = snapshot.model.status.model_copy(update=changes)
    return replace(snapshot, model=replace(snapshot.model, status=status))
