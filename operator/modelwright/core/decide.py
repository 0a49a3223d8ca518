"""One pass: from a Snapshot to a Plan. Reads like a table of contents; each concern is a module beside it."""

from collections.abc import Iterable
from datetime import datetime

from modelwright.api.conditions import Finding, Reason
from modelwright.core import actions, children, recovery, roles, steps, times
from modelwright.core.checks import accepted
from modelwright.core.line import Line
from modelwright.core.plan import Action, Apply, Plan
from modelwright.core.resolve import chosen_policy, resolved
from modelwright.core.roles import Roles, Turn
from modelwright.core.snapshot import Snapshot
from modelwright.core.status import compose
from modelwright.core.steps import Step
from modelwright.core.target import target_revision, unservable
from modelwright.errors import InputError


def decide(snapshot: Snapshot, now: datetime) -> Plan:
    """What this pass shall do about the model.

    A change of roles raises risk: it is written to status first, alone, and the children follow in the next pass,
    which reads it back. Everything else is applied at once and reported.
    """
    if snapshot.model.deleting:
        return Plan()
    before = snapshot.model
    snapshot = actions.taken(recovery.recovered(snapshot.owned()), now)
    line = _walk_or_refuse(snapshot, now)
    report = compose(snapshot, before, line, now)
    if Roles.of(report.status) != Roles.of(before.status):
        return Plan(status=report.json, intent=True, events=report.events, requeue_after=0.0)
    followed = _follow(snapshot, line, now)
    wait = _soonest(followed.requeue_after, *_deadlines(snapshot, line, now))
    return Plan(report.json, actions=followed.actions, events=report.events, requeue_after=wait)


def _walk_or_refuse(snapshot: Snapshot, now: datetime) -> Line:
    """The model's way; what cannot even be rendered is a spec that is not accepted."""
    try:
        return _walk(snapshot, now)
    except InputError as error:
        refused = Finding(Reason(error.reason), error.message, error.hint)
        return Line(Turn(Roles.of(snapshot.model.status)), refused=refused, spec=snapshot.model.spec)


def _walk(snapshot: Snapshot, now: datetime) -> Line:
    """The model's way from spec to revision, as far as it comes."""
    as_it_was = Turn(Roles.of(snapshot.model.status))
    refused = accepted(snapshot)
    spec, policy = snapshot.model.spec, chosen_policy(snapshot.policies)
    found = resolved(snapshot.model, spec, policy) if spec and policy else None
    if refused or spec is None or found is None or spec.suspend:
        return Line(as_it_was, refused=refused, spec=spec, resolved=found)
    source_step, source = steps.resolve_source(snapshot, spec, found, now)
    if source is None:
        turn = roles.next_roles(snapshot, spec, None, now)
        return Line(turn, spec=spec, resolved=found, source_step=source_step)
    optimize_step, optimized = steps.optimize(snapshot, spec, found, source, now)
    refusal = unservable(spec, optimized) if optimized else None
    target = None if refusal else target_revision(spec, found, source, optimized)
    return Line(
        turn=roles.next_roles(snapshot, spec, target, now),
        spec=spec,
        resolved=found,
        source_step=source_step,
        source=source,
        optimize_step=optimize_step,
        optimized=optimized,
        unservable=refusal,
        target=target.hash if target else "",
    )


def _follow(snapshot: Snapshot, line: Line, now: datetime) -> children.Children:
    """Children of the roles as they stand in status, and the Job that is due."""
    if line.spec is None:
        return children.Children(())
    todo = _steps(line)
    jobs = [name for step in todo for name in step.current]
    if line.refused:
        # Work of a spec that is not accepted is neither started nor thrown away.
        jobs = [job.name for job in snapshot.jobs]
    followed = children.follow(snapshot, line.spec, line.resolved, jobs, now)
    starts: tuple[Action, ...] = tuple(Apply(step.job) for step in todo if step.job)
    return children.Children((*starts, *followed.actions), followed.requeue_after)


def _deadlines(snapshot: Snapshot, line: Line, now: datetime) -> Iterable[float | None]:
    """When time alone changes something: a retry is due, or a candidate is late."""
    for step in _steps(line):
        if step.retry_at:
            yield times.seconds_until(step.retry_at, now)
        elif step.attempt and step.attempt.retry_at and step.state == "failed":
            yield times.seconds_until(times.parsed(step.attempt.retry_at), now)
    candidate = snapshot.model.status.candidate
    if candidate and line.spec and not line.spec.suspend:
        yield times.seconds_until(roles.deadline(snapshot, line.spec, candidate), now) or None


def _steps(line: Line) -> list[Step]:
    return [step for step in (line.source_step, line.optimize_step) if step]


def _soonest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)
