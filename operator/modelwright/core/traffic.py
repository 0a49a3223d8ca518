"""Where traffic goes: the client Service and the routes, and whether they lead to stable yet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelwright import naming
from modelwright.api.status import RevisionStatus
from modelwright.core.jobs import owner
from modelwright.core.plan import Apply
from modelwright.core.resolve import Resolved
from modelwright.core.snapshot import Snapshot
from modelwright.render.route import FULL_WEIGHT, Slot, render_grpc_route, render_http_route
from modelwright.render.service import render_client_service
from modelwright.render.stamp import hash_of, stamped


@dataclass(frozen=True)
class Lag:
    """Why traffic does not lead to stable yet. `refused`: nothing will change by waiting alone."""

    message: str
    refused: bool = False


def applies(snapshot: Snapshot, stable: RevisionStatus | None, resolved: Resolved | None) -> Iterable[Apply]:
    """The client Service and the routes, pointing at stable, as far as they do not yet."""
    if stable is None:
        return
    model = owner(snapshot.model)
    yield from changed(snapshot, render_client_service(model, stable.hash))
    if resolved is None or not resolved.parent_refs or not snapshot.images.gateway_api:
        return
    slots = (Slot(stable.hash, FULL_WEIGHT),)
    yield from changed(snapshot, render_http_route(model, resolved.parent_refs, resolved.hostnames, slots))
    yield from changed(snapshot, render_grpc_route(model, resolved.parent_refs, resolved.grpc_hostnames, slots))


def lag(snapshot: Snapshot, resolved: Resolved | None) -> Lag | None:
    """What is missing until every client reaches stable; None if nothing is."""
    # What a stranger changed is put right in this very pass; only what leads elsewhere is told.
    moved = (
        apply
        for apply in applies(snapshot, snapshot.model.status.stable, resolved)
        if _leads_elsewhere(snapshot, apply)
    )
    if any(True for _ in moved):
        return Lag("Service and routes are being moved")
    if resolved is None or not resolved.parent_refs:
        return None
    if not snapshot.images.gateway_api:
        return Lag("a gateway is asked for, but the cluster does not serve the Gateway API", refused=True)
    for route in snapshot.routes:
        if not route.current:
            return Lag(f"{route.kind} {route.name} waits for its Gateway")
        if not route.accepted:
            return Lag(f"{route.kind} {route.name}: {route.message or 'no Gateway accepted it'}", refused=True)
    return None


def _leads_elsewhere(snapshot: Snapshot, apply: Apply) -> bool:
    """Whether the child is missing, or was made for another revision."""
    metadata = apply.body["metadata"]
    observed = snapshot.child(apply.body["kind"], metadata["name"])
    wanted = metadata["labels"][naming.LABEL_REVISION]
    return observed is None or observed.labels.get(naming.LABEL_REVISION) != wanted


def changed(snapshot: Snapshot, body: Mapping[str, Any]) -> Iterable[Apply]:
    """An Apply if the child is missing, was rendered otherwise, or was changed by somebody."""
    observed = snapshot.child(body["kind"], body["metadata"]["name"])
    if observed is None or observed.drifted or observed.applied_hash != hash_of(body):
        yield Apply(stamped(body))
