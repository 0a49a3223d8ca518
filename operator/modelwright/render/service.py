"""Services: one a revision, and one for clients in the cluster that always selects stable."""

from typing import Any

from modelwright import naming
from modelwright.render.meta import Body, metadata, selector
from modelwright.render.revision import Owner

PORTS: tuple[dict[str, Any], ...] = (
    {
        "name": "http",
        "port": naming.PORT_HTTP,
        "targetPort": "http",
        "protocol": "TCP",
        "appProtocol": "http",
    },
    # Without `h2c` a gateway speaks HTTP/1.1 to the pods, and every gRPC call fails.
    {
        "name": "grpc",
        "port": naming.PORT_GRPC,
        "targetPort": "grpc",
        "protocol": "TCP",
        "appProtocol": "kubernetes.io/h2c",
    },
)


def service_name(owner: Owner) -> str:
    """Name of the Service that clients use: the model's own."""
    return naming.label_value(owner.name)


def render_revision_service(owner: Owner, revision: str) -> Body:
    """The Service of one revision, a place for the routes to send a share to."""
    name = naming.revision_name(owner.name, revision)
    return _service(metadata(owner, name, revision=revision), selector(owner, revision))


def render_client_service(owner: Owner, stable: str) -> Body:
    """The Service for clients in the cluster. It selects stable only, whatever a rollout does."""
    return _service(metadata(owner, service_name(owner), revision=stable), selector(owner, stable))


def _service(meta: Body, selected: dict[str, str]) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"type": "ClusterIP", "selector": selected, "ports": [dict(port) for port in PORTS]},
    }
