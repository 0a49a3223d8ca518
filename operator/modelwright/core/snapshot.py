"""A Snapshot: everything one pass observed about one model, named by role. Frozen; decisions see nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelwright.api.conditions import Finding
from modelwright.api.model import ModelSpec
from modelwright.api.policy import PolicySpec
from modelwright.api.status import ModelStatus


@dataclass(frozen=True)
class ObservedModel:
    """The OptimizedModel as the API server has it. `spec` is None if it could not be read; then `invalid` says why."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    annotations: Mapping[str, str]
    spec: ModelSpec | None
    status: ModelStatus
    status_json: Mapping[str, Any]
    invalid: Finding | None = None


@dataclass(frozen=True)
class ObservedPolicy:
    """A ServingPolicy."""

    name: str
    spec: PolicySpec
    hash: str


@dataclass(frozen=True)
class ObservedChild:
    """An object with our labels.

    Attributes:
        kind: Its kind.
        name: Its name.
        uid: Its UID, the precondition of its deletion.
        owner_uid: UID of the OptimizedModel that controls it; empty if none does.
        applied_hash: Hash of what we last applied (`naming.ANNOTATION_APPLIED`).
        drifted: Whether it changed since we last applied it, other than by its own controller.
        labels: Its labels.
        annotations: Ours only.
    """

    kind: str
    name: str
    uid: str
    owner_uid: str
    applied_hash: str
    drifted: bool
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class ObservedContainer:
    """One container of a pod, of whichever kind.

    Attributes:
        name: Its name.
        init: Whether it is an init container.
        ready: Whether it is ready.
        restarts: How often it was restarted.
        waiting_reason: Kubelet's reason while waiting (``ImagePullBackOff``, ``CrashLoopBackOff``, …).
        waiting_message: Kubelet's message while waiting.
        exit_code: Exit code of the current, else the last, termination.
        exit_reason: Kubelet's reason of that termination (``OOMKilled``, ``Error``, ``Completed``).
        termination_message: What it left in its termination message.
    """

    name: str
    init: bool
    ready: bool
    restarts: int
    waiting_reason: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    exit_reason: str = ""
    termination_message: str = ""


@dataclass(frozen=True)
class ObservedPod:
    """A pod of a Job or of a revision."""

    name: str
    uid: str
    stage: str
    revision: str
    job: str
    phase: str
    ready: bool
    deleting: bool
    unschedulable: str
    containers: tuple[ObservedContainer, ...]
    created: str = ""


@dataclass(frozen=True)
class ObservedJob(ObservedChild):
    """A Job. `failed_reason` is the Job controller's (``DeadlineExceeded``, ``BackoffLimitExceeded``, …)."""

    active: int = 0
    succeeded: bool = False
    failed: bool = False
    failed_reason: str = ""
    failed_message: str = ""


@dataclass(frozen=True)
class ObservedDeployment(ObservedChild):
    """A revision's Deployment. `settled`: its controller saw the newest generation."""

    desired: int = 0
    replicas: int = 0
    ready: int = 0
    available: int = 0
    updated: int = 0
    settled: bool = False
    refused: str = ""
    created: str = ""


@dataclass(frozen=True)
class ObservedRoute(ObservedChild):
    """An HTTPRoute or GRPCRoute.

    `accepted` and `programmed_generation` come from the parents' conditions; `current` is its own generation.
    """

    accepted: bool = False
    current: bool = False
    message: str = ""


@dataclass(frozen=True)
class Images:
    """Images and installation facts that the operator was started with."""

    operator: str
    optimizer: str
    gateway_api: bool = True


@dataclass(frozen=True)
class ApplyError:
    """What the API server refused in the pass before this one.

    Attributes:
        kind: Kind of the object that was to be written.
        name: Its name.
        forbidden: Whether the operator lacks a right; otherwise the object itself was refused.
        message: The server's words.
        foreign: The name is taken by an object that is not this model's; it was left alone.
    """

    kind: str
    name: str
    forbidden: bool
    message: str
    foreign: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What one pass saw."""

    model: ObservedModel
    policies: tuple[ObservedPolicy, ...]
    jobs: tuple[ObservedJob, ...]
    deployments: tuple[ObservedDeployment, ...]
    routes: tuple[ObservedRoute, ...]
    others: tuple[ObservedChild, ...]
    pods: tuple[ObservedPod, ...]
    images: Images
    apply_errors: tuple[ApplyError, ...] = ()

    def owned(self) -> "Snapshot":
        """Only children of this very object: another of the same name, just deleted, may have left its own."""
        uid = self.model.uid
        return replace(
            self,
            jobs=tuple(child for child in self.jobs if child.owner_uid == uid),
            deployments=tuple(child for child in self.deployments if child.owner_uid == uid),
            routes=tuple(child for child in self.routes if child.owner_uid == uid),
            others=tuple(child for child in self.others if child.owner_uid == uid),
        )

    def child(self, kind: str, name: str) -> ObservedChild | None:
        """The child of that kind and name, if it exists."""
        groups = (self.jobs, self.deployments, self.routes, self.others)
        return next((c for group in groups for c in group if c.kind == kind and c.name == name), None)
