"""Gateway API routes: an HTTPRoute and a GRPCRoute with the same backends in the same order.

Gateways count per backend position, so the backends keep the order of `slots`.
"""

from typing import Any, NamedTuple

from modelwright import naming
from modelwright.api.model import ParentRef
from modelwright.render.meta import Body, metadata
from modelwright.render.revision import Owner
from modelwright.render.service import service_name

GATEWAY_GROUP = "gateway.networking.k8s.io"
FULL_WEIGHT = 1000
GRPC_SERVICES = ("inference.GRPCInferenceService", "grpc.health.v1.Health")


class Slot(NamedTuple):
    """A backend of a route: the revision that has it, and its share of `FULL_WEIGHT`."""

    revision: str
    weight: int


def render_http_route(
    owner: Owner, parent_refs: tuple[ParentRef, ...], hostnames: tuple[str, ...], slots: tuple[Slot, ...]
) -> Body:
    """The HTTPRoute: KServe's v2 protocol, split over the slots."""
    matches: list[Body] = [{"path": {"type": "PathPrefix", "value": "/v2"}}]
    rule: Body = {"matches": matches, "backendRefs": _backends(owner, slots, naming.PORT_HTTP)}
    return _route(owner, "HTTPRoute", parent_refs, hostnames, rule, slots)


def render_grpc_route(
    owner: Owner, parent_refs: tuple[ParentRef, ...], hostnames: tuple[str, ...], slots: tuple[Slot, ...]
) -> Body:
    """The GRPCRoute: the same protocol over gRPC, and the standard health check."""
    matches: list[Body] = [{"method": {"type": "Exact", "service": service}} for service in GRPC_SERVICES]
    rule: Body = {"matches": matches, "backendRefs": _backends(owner, slots, naming.PORT_GRPC)}
    return _route(owner, "GRPCRoute", parent_refs, hostnames, rule, slots)


def _route(
    owner: Owner,
    kind: str,
    parent_refs: tuple[ParentRef, ...],
    hostnames: tuple[str, ...],
    rule: Body,
    slots: tuple[Slot, ...],
) -> Body:
    """A route; its revision label says where most of its traffic goes, as the client Service's does."""
    leading = max(slots, key=lambda slot: slot.weight).revision
    return {
        "apiVersion": f"{GATEWAY_GROUP}/v1",
        "kind": kind,
        "metadata": metadata(owner, service_name(owner), revision=leading),
        "spec": {
            "parentRefs": [_parent(ref) for ref in parent_refs],
            "hostnames": list(hostnames),
            "rules": [rule],
        },
    }


def _parent(ref: ParentRef) -> dict[str, Any]:
    named = ref.model_dump(by_alias=True, exclude_none=True)
    return {"group": GATEWAY_GROUP, "kind": "Gateway", **named}


def _backends(owner: Owner, slots: tuple[Slot, ...], port: int) -> list[Body]:
    return [_backend(owner, slot, port) for slot in slots]


def _backend(owner: Owner, slot: Slot, port: int) -> Body:
    """A backend with a filter of its own: clients see who answered, and Envoy keeps a cluster per backend."""
    header = {"name": naming.REVISION_HEADER, "value": f"r{slot.revision}"}
    return {
        "group": "",
        "kind": "Service",
        "name": naming.revision_name(owner.name, slot.revision),
        "port": port,
        "weight": slot.weight,
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [header]}}],
    }
