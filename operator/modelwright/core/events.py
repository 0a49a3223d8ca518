"""Events from transitions: one per cause, with the message of the condition that changed."""

from collections.abc import Iterable

from modelwright.api.conditions import Condition, ConditionType, Reason
from modelwright.api.status import ModelStatus
from modelwright.core.plan import Event

TOLD = (
    ConditionType.ACCEPTED,
    ConditionType.SOURCE_RESOLVED,
    ConditionType.OPTIMIZED,
    ConditionType.DEPLOYED,
    ConditionType.READY,
)
"""Conditions whose transitions are told, in the order in which a cause shows in them."""

QUIET = {Reason.PENDING, Reason.ACCEPTED}
AT_REST = {Reason.SUSPENDED, Reason.SCALED_TO_ZERO}
"""Asked for, so nothing to warn of."""


def of_transitions(new: Iterable[Condition], old: dict[ConditionType, Condition]) -> tuple[Event, ...]:
    """One Event for each reason that is new in a condition; a cause that shows in several is told once."""
    by_type = {condition.type: condition for condition in new}
    told: dict[Reason, Event] = {}
    known = {condition.reason for condition in old.values()}
    for kind in TOLD:
        condition = by_type.get(kind)
        if condition is None or condition.reason in QUIET or condition.reason in told:
            continue
        before = old.get(kind)
        moved = before is None or (before.status, before.reason) != (condition.status, condition.reason)
        elsewhere = kind == ConditionType.READY and condition.reason in known and condition.status == "False"
        if moved and not elsewhere:
            warning = condition.status == "False" and condition.reason not in AT_REST
            told[condition.reason] = Event("Warning" if warning else "Normal", condition.reason, condition.message)
    return tuple(told.values())


def of_roles(old: ModelStatus, new: ModelStatus) -> tuple[Event, ...]:
    """Events of revisions that got or lost a role."""
    events: list[Event] = []
    if new.candidate and (old.candidate is None or old.candidate.hash != new.candidate.hash):
        text = f"revision {new.candidate.hash} with artifact {new.candidate.artifact} is being started"
        events.append(Event("Normal", "RevisionCreated", text))
    if new.stable and (old.stable is None or old.stable.hash != new.stable.hash):
        former = f"; revision {old.stable.hash} is kept at 0 replicas" if old.stable else ""
        events.append(Event("Normal", "Promoted", f"revision {new.stable.hash} takes the traffic{former}"))
    return tuple(events)
