"""A toy cluster that carries out Plans, so that decisions can be stepped to a fixed point without a real one.

It knows only what decisions depend on: Jobs end with scripted words, Deployments become ready or do not, routes are
accepted. What the real API server does is proved elsewhere, on a real one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from modelwright import naming
from modelwright.api.status import ModelStatus
from modelwright.core.decide import decide
from modelwright.core.plan import Action, Apply, Delete, Event, Plan, Scale
from modelwright.core.snapshot import (
    ApplyError,
    ObservedChild,
    ObservedContainer,
    ObservedDeployment,
    ObservedJob,
    ObservedPod,
    ObservedPolicy,
    ObservedRoute,
    Snapshot,
)
from tests.builders import ModelBuilder, make_policy, make_snapshot, optimize_answer, resolve_answer

START = datetime(2026, 1, 1, tzinfo=UTC)
Words = Callable[[str], tuple[int, str]]


def all_well(job: str) -> tuple[int, str]:
    """Every Job succeeds."""
    return 0, resolve_answer() if f"-{naming.STAGE_RESOLVE}-" in job else optimize_answer()


@dataclass
class ToyCluster:
    """The state of the toy cluster; `model` is what the user applied last, with the status written so far."""

    model: ModelBuilder
    policies: tuple[ObservedPolicy, ...] = field(default_factory=lambda: (make_policy(),))
    words: Words = all_well
    pod_trouble: ObservedContainer | None = None
    now: datetime = START
    children: dict[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])
    pods: list[ObservedPod] = field(default_factory=list[ObservedPod])
    story: list[str] = field(default_factory=list[str])
    events: list[Event] = field(default_factory=list[Event])
    writes: int = 0
    created: list[str] = field(default_factory=list[str])
    uid: int = 0
    refused: tuple[ApplyError, ...] = ()
    refuses: frozenset[str] = frozenset()
    gateway_api: bool = True
    leads: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def snapshot(self) -> Snapshot:
        """What a pass would observe now."""
        kinds = {"jobs": ObservedJob, "deployments": ObservedDeployment, "routes": ObservedRoute}
        groups: dict[str, Any] = {
            name: tuple(c for c in self.children.values() if isinstance(c, kind)) for name, kind in kinds.items()
        }
        groups["others"] = tuple(c for c in self.children.values() if type(c) is ObservedChild)
        made = make_snapshot(self.model, policies=self.policies, pods=tuple(self.pods), **groups)
        return replace(made, images=replace(made.images, gateway_api=self.gateway_api), apply_errors=self.refused)

    def step(self) -> Plan:
        """One pass, carried out; then the world moves a little."""
        plan = decide(self.snapshot(), self.now)
        self.carry_out(plan)
        self.move()
        self.now += timedelta(seconds=1)
        return plan

    def settle(self, limit: int = 60) -> "ToyCluster":
        """Passes until nothing is left to do."""
        for _ in range(limit):
            before = (self.model, dict(self.children), list(self.pods))
            plan = self.step()
            if plan.actions or (self.model, self.children, self.pods) != before:
                continue
            if plan.requeue_after is None:
                return self
            self.now += timedelta(seconds=plan.requeue_after)
        raise AssertionError(f"no fixed point after {limit} passes: {self.story[-5:]}")

    def carry_out(self, plan: Plan) -> None:
        """What `cluster.apply` and `cluster.status` do."""
        if not plan.intent:
            refused = [a for a in plan.actions if isinstance(a, Apply) and a.body["kind"] in self.refuses]
            self.refused = tuple(
                ApplyError(a.body["kind"], a.body["metadata"]["name"], forbidden=True, message="no") for a in refused
            )
            for action in plan.actions:
                if action not in refused:
                    self.act(action)
        if plan.status is not None and plan.status != self.model.observed().status_json:
            self.write_status(plan, plan.status)
        self.events += plan.events

    def write_status(self, plan: Plan, status: Mapping[str, Any]) -> None:
        """One patch of the status."""
        del plan
        self.writes += 1
        self.model = self.model.with_status(ModelStatus.model_validate(status))
        reason = self.reason("Ready")
        if not self.story or self.story[-1] != reason:
            self.story.append(reason)

    def act(self, action: Action) -> None:
        """One request to the API server."""
        self.writes += 1
        match action:
            case Apply(body=body):
                self.apply(dict(body))
            case Scale(name=name, replicas=replicas):
                deployment = self.children["Deployment", name]
                at_rest = self.model.spec.suspend or self.model.spec.replicas == 0
                assert replicas or at_rest or not self.is_led_to(deployment), f"{name} to 0 while traffic leads to it"
                self.children["Deployment", name] = replace(deployment, desired=replicas, settled=False)
            case Delete(kind=kind, name=name):
                gone = self.children.get((kind, name))
                if isinstance(gone, ObservedDeployment) and gone.desired:
                    assert not self.is_led_to(gone), f"{name} deleted while traffic leads to it"
                self.lose(kind, name)

    def is_led_to(self, deployment: ObservedDeployment) -> bool:
        """Whether the client Service or a route sends requests to the revision."""
        return deployment.labels[naming.LABEL_REVISION] in self.leads.values()

    def lose(self, kind: str, name: str) -> None:
        """A child goes, and its pods with it."""
        gone = self.children.pop((kind, name), None)
        self.leads.pop((kind, name), None)
        revision = gone.labels.get(naming.LABEL_REVISION) if gone and kind == "Deployment" else None
        self.pods = [pod for pod in self.pods if pod.job != name and (not revision or pod.revision != revision)]

    def apply(self, body: dict[str, Any]) -> None:
        """Server-side apply."""
        kind, meta = body["kind"], body["metadata"]
        key = (kind, meta["name"])
        known = self.children.get(key)
        if known is None:
            self.uid += 1
            self.created.append(f"{kind}/{meta['name']}")
        common: dict[str, Any] = {
            "kind": kind,
            "name": meta["name"],
            "uid": known.uid if known else f"child-{self.uid}",
            "owner_uid": meta["ownerReferences"][0]["uid"],
            "applied_hash": meta["annotations"][naming.ANNOTATION_APPLIED],
            "drifted": False,
            "labels": meta["labels"],
            "annotations": meta["annotations"],
        }
        types = {"Job": ObservedJob, "Deployment": ObservedDeployment}
        routes = {"HTTPRoute": ObservedRoute, "GRPCRoute": ObservedRoute}
        made: Any = (types | routes).get(kind, ObservedChild)(**common)
        if kind == "Deployment":
            made = replace(made, desired=known.desired if known else 1)
        self.children[key] = made
        if "Route" in kind:
            self.leads[key] = body["spec"]["rules"][0]["backendRefs"][0]["name"].rpartition("-r")[2]
        elif kind == "Service" and meta["name"] == self.model.name:
            self.leads[key] = body["spec"]["selector"][naming.LABEL_REVISION]

    def move(self) -> None:
        """Jobs end, pods start, routes are accepted."""
        for key, child in list(self.children.items()):
            match child:
                case ObservedJob(succeeded=False, failed=False):
                    self.end(key, child)
                case ObservedDeployment():
                    self.children[key] = self.started(child)
                case ObservedRoute(accepted=False):
                    self.children[key] = replace(child, accepted=True, current=True)
                case _:
                    pass

    def end(self, key: tuple[str, str], job: ObservedJob) -> None:
        """The Job's pod says its last words."""
        code, text = self.words(job.name)
        ended = replace(job, succeeded=code == 0, failed=code != 0)
        self.children[key] = ended
        container = ObservedContainer("work", False, False, 0, exit_code=code, termination_message=text)
        stage = job.labels[naming.LABEL_STAGE]
        self.pods.append(ObservedPod(f"{job.name}-x", "u", stage, "", job.name, "", False, False, "", (container,)))

    def started(self, deployment: ObservedDeployment) -> ObservedDeployment:
        """Pods of a revision become ready, unless something is wrong with them."""
        revision = deployment.labels[naming.LABEL_REVISION]
        self.pods = [pod for pod in self.pods if pod.revision != revision]
        troubled = self.pod_trouble is not None and not deployment.available
        ready = 0 if troubled else deployment.desired
        if self.pod_trouble and troubled and deployment.desired:
            name = f"{deployment.name}-x"
            broken = (self.pod_trouble,)
            self.pods.append(ObservedPod(name, "u", naming.STAGE_SERVE, revision, "", "", False, False, "", broken))
        n = deployment.desired
        return replace(deployment, replicas=n, updated=n, ready=ready, available=ready, settled=True)

    def reason(self, kind: str) -> str:
        """Reason of a condition in status."""
        return next((c.reason for c in self.model.status.conditions if c.type == kind), "")

    def true(self, kind: str) -> bool:
        """Whether a condition holds."""
        return any(c.type == kind and c.status == "True" for c in self.model.status.conditions)

    def replicas(self) -> dict[str, int]:
        """Desired replicas by revision."""
        found = [c for c in self.children.values() if isinstance(c, ObservedDeployment)]
        return {c.labels[naming.LABEL_REVISION]: c.desired for c in found}
