"""A Plan: what a pass shall do. Data only; `decide` makes it, `cluster.apply` carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Apply:
    """Server-side apply of a whole child, stamped with its hash."""

    body: Mapping[str, Any]


@dataclass(frozen=True)
class Scale:
    """Set the replicas of a Deployment through its scale subresource."""

    name: str
    replicas: int


@dataclass(frozen=True)
class Delete:
    """Delete a child, if it is still the same object."""

    kind: str
    name: str
    uid: str


Action = Apply | Scale | Delete


@dataclass(frozen=True)
class Event:
    """One Kubernetes Event: a transition, with numbers and the next step."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What a pass shall do.

    Attributes:
        status: The whole status as it shall be, in JSON; None leaves it alone.
        intent: The status raises risk: write it first, with a resourceVersion precondition, and nothing else.
        actions: Independent of each other; carried out in parallel.
        events: Emitted once the status is written.
        requeue_after: Seconds until this model is looked at again; None waits for an event.
    """

    status: Mapping[str, Any] | None = None
    intent: bool = False
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
