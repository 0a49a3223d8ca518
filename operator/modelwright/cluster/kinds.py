"""The kinds we read and write, and where the API server keeps them."""

from dataclasses import dataclass
from typing import NamedTuple

from modelwright import naming


class Key(NamedTuple):
    """An OptimizedModel by name: what the queue holds and a pass is about."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Kind:
    """A kind and its place in the API."""

    name: str
    group: str
    version: str
    plural: str

    def collection(self, namespace: str | None = None) -> str:
        """Path of all objects of the kind, in one namespace or everywhere."""
        where = f"/namespaces/{namespace}" if namespace else ""
        return f"{self.root}{where}/{self.plural}"

    def path(self, namespace: str | None, name: str, subresource: str = "") -> str:
        """Path of one object, or of a part of it."""
        return f"{self.collection(namespace)}/{name}" + (f"/{subresource}" if subresource else "")

    @property
    def root(self) -> str:
        """Path of the group and version, which answers discovery."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


GATEWAY_GROUP = "gateway.networking.k8s.io"

MODEL = Kind(naming.MODEL_KIND, naming.GROUP, naming.VERSION, naming.MODEL_PLURAL)
POLICY = Kind(naming.POLICY_KIND, naming.GROUP, naming.VERSION, naming.POLICY_PLURAL)
JOB = Kind("Job", "batch", "v1", "jobs")
DEPLOYMENT = Kind("Deployment", "apps", "v1", "deployments")
SERVICE = Kind("Service", "", "v1", "services")
CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
POD = Kind("Pod", "", "v1", "pods")
HTTP_ROUTE = Kind("HTTPRoute", GATEWAY_GROUP, "v1", "httproutes")
GRPC_ROUTE = Kind("GRPCRoute", GATEWAY_GROUP, "v1", "grpcroutes")
LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")
EVENT = Kind("Event", "events.k8s.io", "v1", "events")

ALWAYS = (JOB, DEPLOYMENT, SERVICE, CONFIG_MAP, POD)
ROUTES = (HTTP_ROUTE, GRPC_ROUTE)
BY_NAME = {kind.name: kind for kind in (*ALWAYS, *ROUTES)}
