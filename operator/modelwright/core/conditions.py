"""From what was found to conditions: one function per condition, and Ready as the first thing that is missing."""

from collections.abc import Iterable
from dataclasses import dataclass

from modelwright.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Finding,
    Reason,
    bounded,
    reason_of,
    with_transition,
)
from modelwright.api.status import ModelStatus, StatusCondition
from modelwright.core.steps import Step

KINDS = frozenset(ConditionType)


@dataclass(frozen=True)
class View:
    """A condition before it gets its times. `terminal`: only a person can change it."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str = ""
    terminal: bool = False


def of_finding(kind: ConditionType, finding: Finding) -> View:
    """A condition that is False for a reason found."""
    return View(kind, "False", finding.reason, finding.text, finding.terminal)


def of_step(kind: ConditionType, step: Step, previous: Condition | None) -> View:
    """The condition of a step; a remembered failure stands as it was."""
    if step.state == "done":
        served_anyway = step.reason == Reason.SERVING_SOURCE
        return View(kind, "False" if served_anyway else "True", step.reason, step.message)
    terminal = bool(step.attempt) and not (step.attempt.retry_at if step.attempt else "")
    if step.state == "waiting" and previous and previous.status == "False":
        return View(kind, "False", previous.reason, previous.message, terminal)
    in_the_way = step.trouble is not None
    status: ConditionStatus = "False" if step.state == "failed" or in_the_way else "Unknown"
    return View(kind, status, step.reason, step.message, terminal)


def previous_conditions(status: ModelStatus) -> dict[ConditionType, Condition]:
    """The conditions as status has them."""
    return {ConditionType(c.type): _parsed(c) for c in status.conditions if c.type in KINDS}


def finished(
    views: Iterable[View], previous: dict[ConditionType, Condition], generation: int, now: str
) -> tuple[Condition, ...]:
    """The views with generation and transition times, in the order of `ConditionType`."""
    by_type = {view.type: view for view in views}
    made = (
        Condition(
            kind,
            by_type[kind].status,
            by_type[kind].reason,
            bounded(by_type[kind].message),
            generation,
        )
        for kind in ConditionType
        if kind in by_type
    )
    return tuple(with_transition(condition, previous.get(condition.type), now) for condition in made)


def as_json(conditions: Iterable[Condition]) -> tuple[StatusCondition, ...]:
    """Conditions as status writes them."""
    return tuple(
        StatusCondition(
            type=c.type,
            status=c.status,
            reason=c.reason,
            message=c.message,
            observed_generation=c.observed_generation,
            last_transition_time=c.last_transition_time,
        )
        for c in conditions
    )


def _parsed(condition: StatusCondition) -> Condition:
    reason = reason_of(condition.reason, Reason.PENDING)
    return Condition(
        ConditionType(condition.type),
        condition.status,
        reason,
        condition.message,
        condition.observed_generation,
        condition.last_transition_time,
    )
