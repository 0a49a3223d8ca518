"""Conditions of one pass: what holds, and of what does not, the first thing that is missing."""

from collections.abc import Mapping

from modelwright.api.conditions import Condition, ConditionType, Finding, Reason, reason_of
from modelwright.core import traffic
from modelwright.core.conditions import View, of_finding, of_step
from modelwright.core.line import Line
from modelwright.core.roles import deployment_of, is_ready
from modelwright.core.snapshot import ApplyError, Snapshot

Views = dict[ConditionType, View]
ORDER = (
    ConditionType.ACCEPTED,
    ConditionType.SOURCE_RESOLVED,
    ConditionType.OPTIMIZED,
    ConditionType.DEPLOYED,
)
"""What Ready asks for, in this order."""


def views(snapshot: Snapshot, line: Line, previous: Mapping[ConditionType, Condition]) -> list[View]:
    """Every condition that the pass can judge; conditions of steps not reached keep what they said."""
    made: Views = {ConditionType.ACCEPTED: _accepted(snapshot, line)}
    for kind, step in (
        (ConditionType.SOURCE_RESOLVED, line.source_step),
        (ConditionType.OPTIMIZED, line.optimize_step),
    ):
        if step:
            made[kind] = of_step(kind, step, previous.get(kind))
    if line.unservable:
        made[ConditionType.DEPLOYED] = of_finding(ConditionType.DEPLOYED, line.unservable)
    elif line.spec and line.target:
        made[ConditionType.DEPLOYED] = _deployed(snapshot, line)
    for kind in ORDER:
        if kind not in made:
            made[kind] = _not_reached(kind, line, previous)
    made[ConditionType.READY] = _ready(line, made)
    made[ConditionType.AVAILABLE] = _available(snapshot, line)
    return [*made.values(), *_progress(made[ConditionType.READY], made)]


def _accepted(snapshot: Snapshot, line: Line) -> View:
    if line.refused:
        return of_finding(ConditionType.ACCEPTED, line.refused)
    refused = next(iter(snapshot.apply_errors), None)
    if refused:
        return of_finding(ConditionType.ACCEPTED, _refusal(refused))
    policy = line.resolved.policy.name if line.resolved else ""
    return View(ConditionType.ACCEPTED, "True", Reason.ACCEPTED, f"allowed by ServingPolicy {policy}")


def _refusal(refused: ApplyError) -> Finding:
    """What the API server would not do, and who can change it."""
    where = f"{refused.kind} {refused.name}"
    if refused.foreign:
        hint = "Delete or rename that object, or create the model under another name."
        return Finding(Reason.NAME_CONFLICT, f"{where} exists and is not this model's.", hint, terminal=False)
    if refused.forbidden:
        hint = "Grant the right; the chart's roles list all that are needed."
        return Finding(Reason.PERMISSION_DENIED, f"{where}: {refused.message}", hint, terminal=False)
    return Finding(Reason.OBJECT_REJECTED, f"{where}: {refused.message}", terminal=False)


def _deployed(snapshot: Snapshot, line: Line) -> View:
    """Whether the revision asked for has the traffic and answers."""
    kind, roles = ConditionType.DEPLOYED, line.turn.roles
    found = line.turn.trouble
    if found:
        return of_finding(kind, found.finding)
    rejected = roles.rejection(line.target)
    if rejected:
        reason = reason_of(rejected.reason, Reason.PROGRESS_DEADLINE_EXCEEDED)
        return View(kind, "False", reason, rejected.message, terminal=True)
    replicas = line.spec.replicas if line.spec else 0
    if replicas == 0:
        return View(kind, "False", Reason.SCALED_TO_ZERO, "spec.replicas is 0", terminal=False)
    deployment = deployment_of(snapshot, line.target)
    ready = deployment.available if deployment else 0
    text = f"{ready} of {replicas} pods of revision {line.target} answer"
    stable = snapshot.model.status.stable
    if stable is None or stable.hash != line.target or not is_ready(deployment, replicas):
        return View(kind, "Unknown", Reason.DEPLOYING, text)
    lag = traffic.lag(snapshot, line.resolved)
    if lag:
        reason = Reason.ROUTE_NOT_ACCEPTED if lag.refused else Reason.DEPLOYING
        return View(kind, "False" if lag.refused else "Unknown", reason, lag.message)
    return View(kind, "True", Reason.DEPLOYED, text)


def _not_reached(kind: ConditionType, line: Line, previous: Mapping[ConditionType, Condition]) -> View:
    """A step that this pass did not come to: what was said of it stands if the way is blocked before it."""
    before = previous.get(kind)
    if before and (line.refused or (line.spec and line.spec.suspend)):
        return View(kind, before.status, before.reason, before.message)
    return View(kind, "Unknown", Reason.PENDING, "")


def _ready(line: Line, made: Views) -> View:
    """Ready is the first thing that is missing."""
    kind = ConditionType.READY
    if line.refused is None and line.spec and line.spec.suspend:
        return View(kind, "False", Reason.SUSPENDED, "spec.suspend is set; every revision is at 0 replicas")
    for part in ORDER:
        view = made[part]
        if view.status != "True" and view.reason != Reason.SERVING_SOURCE:
            return View(kind, "False", view.reason, view.message, view.terminal)
    return View(kind, "True", Reason.SERVING, made[ConditionType.DEPLOYED].message)


def _available(snapshot: Snapshot, line: Line) -> View:
    """Whether any revision answers now, whatever became of the newest."""
    kind, stable = ConditionType.AVAILABLE, snapshot.model.status.stable
    deployment = deployment_of(snapshot, stable.hash) if stable else None
    if stable and deployment and deployment.available:
        text = f"{deployment.available} of {deployment.desired} pods of revision {stable.hash} answer"
        return View(kind, "True", Reason.SERVING, text)
    if line.spec and line.spec.suspend:
        return View(kind, "False", Reason.SUSPENDED, "spec.suspend is set")
    if stable and line.spec and line.spec.replicas == 0:
        return View(kind, "False", Reason.SCALED_TO_ZERO, "spec.replicas is 0")
    if stable:
        return View(kind, "False", Reason.NO_READY_REPLICAS, f"no pod of revision {stable.hash} is ready")
    return View(kind, "False", Reason.PENDING, "no revision serves yet")


def _progress(ready: View, made: Views) -> list[View]:
    """kstatus: exactly one of Reconciling and Stalled while not ready; neither when there is nothing left to do."""
    if ready.status == "True" or ready.reason in {Reason.SUSPENDED, Reason.SCALED_TO_ZERO}:
        return []
    blocked = ready.terminal or any(made[kind].terminal for kind in ORDER)
    kind = ConditionType.STALLED if blocked else ConditionType.RECONCILING
    return [View(kind, "True", ready.reason, ready.message)]
