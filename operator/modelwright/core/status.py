"""Observed facts to status: the whole of it, every pass, from what the pass saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelwright import naming
from modelwright.api.status import FailureStatus, ModelStatus
from modelwright.core import conditions, events, readiness, times, traffic
from modelwright.core.line import Line
from modelwright.core.plan import Event
from modelwright.core.roles import Roles, deployment_of
from modelwright.core.snapshot import ObservedModel, Snapshot
from modelwright.core.trouble import Trouble


@dataclass(frozen=True)
class Report:
    """The new status, as a model and as JSON, and the events of its transitions."""

    status: ModelStatus
    json: Mapping[str, Any]
    events: tuple[Event, ...]


def compose(snapshot: Snapshot, before: ObservedModel, line: Line, now: datetime) -> Report:
    """The status that the pass reports.

    Args:
        snapshot: What was observed, with a person's action taken.
        before: The model as it was read.
        line: How far it came.
        now: The instant of the pass.
    """
    old = snapshot.model.status
    previous = conditions.previous_conditions(old)
    views = readiness.views(snapshot, line, previous)
    made = conditions.finished(views, previous, snapshot.model.generation, times.stamp(now))
    turn_roles = line.turn.roles
    status = old.model_copy(
        update={
            "observed_generation": snapshot.model.generation,
            "conditions": conditions.as_json(made),
            "resolved": line.resolved.status() if line.resolved else old.resolved,
            "source": line.source or old.source,
            "optimization": line.optimized or old.optimization,
            "stable": turn_roles.stable,
            "candidate": turn_roles.candidate,
            "history": turn_roles.history,
            "rejected": turn_roles.rejected,
            "traffic_since": _traffic_since(snapshot, line, now),
            "attempt": _attempt(line, old),
            "failure": _failure(snapshot, line, now),
            "url": _url(snapshot, line),
            **_scale(snapshot, turn_roles),
        }
    )
    told = (
        *events.of_transitions(made, conditions.previous_conditions(before.status)),
        *events.of_roles(before.status, status),
    )
    return Report(status, as_json(status), told)


def as_json(status: ModelStatus) -> dict[str, Any]:
    """Status as the API server keeps it, its defaults included: what differs from that would be written for ever."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _attempt(line: Line, old: ModelStatus) -> Any:
    """What to remember of failed attempts: the step at work speaks; while no step was walked, memory stands."""
    found = [step for step in (line.optimize_step, line.source_step) if step]
    return next((step.attempt for step in found if step.attempt), None) if found else old.attempt


def _scale(snapshot: Snapshot, roles: Roles) -> dict[str, Any]:
    """The scale subresource's view: the pods of the revision that has the traffic, else of the one to come."""
    shown = roles.stable or roles.candidate
    deployment = deployment_of(snapshot, shown.hash) if shown else None
    name = naming.label_value(snapshot.model.name)
    labels = f"{naming.LABEL_MODEL}={name},{naming.LABEL_REVISION}={shown.hash}" if shown else ""
    return {
        "replicas": deployment.replicas if deployment else 0,
        "ready_replicas": deployment.available if deployment else 0,
        "selector": labels,
    }


def _traffic_since(snapshot: Snapshot, line: Line, now: datetime) -> str:
    """Since when every client reaches stable; what is not looked at (a refused spec) stands."""
    old, stable = snapshot.model.status, line.turn.roles.stable
    if stable is None or old.stable is None or stable.hash != old.stable.hash:
        return ""
    if line.resolved is None:
        return old.traffic_since
    return "" if traffic.lag(snapshot, line.resolved) else old.traffic_since or times.stamp(now)


def _url(snapshot: Snapshot, line: Line) -> str | None:
    """Where clients reach the model: through its first host name, else inside the cluster."""
    if line.turn.roles.stable is None:
        return None
    if line.resolved is None:
        return snapshot.model.status.url
    if line.resolved.parent_refs:
        return f"http://{line.resolved.hostnames[0]}"
    return f"http://{snapshot.model.name}.{snapshot.model.namespace}.svc:{naming.PORT_HTTP}"


def _failure(snapshot: Snapshot, line: Line, now: datetime) -> FailureStatus | None:
    """The cause of the trouble; it stays while its condition stands, with the time at which it was first seen."""
    found = _stage_trouble(line)
    old = snapshot.model.status.failure
    if found is None:
        return old if old and _stands(line, snapshot) else None
    stage, trouble = found
    finding = trouble.finding
    same = old is not None and (old.stage, old.reason) == (stage, finding.reason)
    return FailureStatus(
        stage=stage,
        reason=finding.reason,
        message=finding.message,
        hint=finding.hint,
        pod=trouble.pod,
        container=trouble.container,
        exit_code=trouble.exit_code,
        log_tail=trouble.log_tail or (old.log_tail if same and old else ""),
        time=old.time if same and old else times.stamp(now),
    )


def _stage_trouble(line: Line) -> tuple[str, Trouble] | None:
    if line.source_step and line.source_step.trouble:
        return naming.STAGE_RESOLVE, line.source_step.trouble
    if line.optimize_step and line.optimize_step.trouble:
        return naming.STAGE_OPTIMIZE, line.optimize_step.trouble
    if line.turn.trouble:
        return naming.STAGE_SERVE, line.turn.trouble
    return None


def _stands(line: Line, snapshot: Snapshot) -> bool:
    """Whether a remembered failure is still what keeps the model from being ready."""
    waiting = any(step and step.state == "waiting" for step in (line.source_step, line.optimize_step))
    given_up = line.turn.roles.rejection(line.target) is not None
    return waiting or given_up or bool(line.refused and snapshot.model.status.failure)
