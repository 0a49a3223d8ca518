"""What the operator may do, as data: the chart's roles and the reference page are made from it.

No wildcard, no Secret, no logs, no exec, and nothing that grants rights. Every verb is one that is used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from modelwright import naming
from modelwright.cluster import kinds
from modelwright.cluster.kinds import Kind

Scope = Literal["models", "cluster", "own"]
"""Where a right holds: in the namespaces of models, in the whole cluster, in the operator's own namespace."""

READ = ("get", "list", "watch")
WRITE = ("create", "patch", "delete")


@dataclass(frozen=True)
class Permission:
    """One right.

    Attributes:
        scope: Where it holds.
        group: API group; empty for the core.
        resources: Plural names, with a subresource behind a slash.
        verbs: What may be done.
        purpose: What for, as a sentence.
        names: Names it is restricted to; empty for all.
    """

    scope: Scope
    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    purpose: str
    names: tuple[str, ...] = ()

    def rule(self) -> dict[str, Any]:
        """The right as a rule of a Role."""
        rule: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }
        return {**rule, "resourceNames": list(self.names)} if self.names else rule


def _children(purpose: str, *of: Kind) -> Permission:
    (group,) = {kind.group for kind in of}
    return Permission("models", group, tuple(kind.plural for kind in of), (*READ, *WRITE), purpose)


PERMISSIONS = (
    Permission("models", naming.GROUP, (kinds.MODEL.plural,), READ, "See what is asked for."),
    Permission(
        "models", naming.GROUP, (f"{kinds.MODEL.plural}/status",), ("patch",), "Report. The spec is never written."
    ),
    Permission("cluster", naming.GROUP, (kinds.POLICY.plural,), READ, "See what the platform team decides."),
    _children("Resolve and optimize.", kinds.JOB),
    _children("Serve a revision.", kinds.DEPLOYMENT),
    Permission("models", kinds.DEPLOYMENT.group, ("deployments/scale",), ("patch",), "Set replicas."),
    _children("Give revisions an address and a configuration.", kinds.SERVICE, kinds.CONFIG_MAP),
    _children("Route traffic to revisions.", *kinds.ROUTES),
    Permission("models", "", (kinds.POD.plural,), READ, "Find the cause of a failure."),
    Permission("models", kinds.EVENT.group, (kinds.EVENT.plural,), ("create",), "Tell of transitions."),
    # A name cannot restrict a creation: the object that is asked about has none yet.
    Permission("own", kinds.LEASE.group, (kinds.LEASE.plural,), ("create",), "Take the Lease of the one that works."),
    Permission(
        "own", kinds.LEASE.group, (kinds.LEASE.plural,), ("get", "update"), "Keep the Lease.", (naming.COMPONENT,)
    ),
)


def rules(scope: Scope, permissions: Iterable[Permission] = PERMISSIONS) -> list[dict[str, Any]]:
    """The rules of the Role for `scope`."""
    return [permission.rule() for permission in permissions if permission.scope == scope]
