"""The cluster on paper: its nodes, their addresses, and the networks that hold them together."""

from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.paths import STATE

BRIDGE = "modelwright0"
HOST_ADDRESS = "172.30.0.1"
NODE_NETWORK = "172.30.0.0/24"
POD_NETWORK = "10.130.0.0/16"
SERVICE_NETWORK = "10.131.0.0/16"
DNS_ADDRESS = "10.131.0.10"
API_PORT = 6443
REGISTRY = f"{HOST_ADDRESS}:5000"
CGROUP_ROOT = "modelwright"


@dataclass(frozen=True)
class Node:
    """One node: a process tree with its own disk and, unless it is the first, its own network."""

    name: str
    address: str
    pod_network: str
    pool: str
    taint: str | None = None
    gpus: int = 0

    @property
    def shares_host_network(self) -> bool:
        """The first node keeps the host's network, so that host processes reach pods and Services."""
        return self.address == HOST_ADDRESS

    @property
    def directory(self) -> Path:
        """Where the node's data and configuration are on the host."""
        return STATE / self.name

    @property
    def disk(self) -> Path:
        """What the node sees under its own paths, such as /var/lib/kubelet."""
        return self.directory / "disk"

    @property
    def cgroup(self) -> str:
        """The cgroup of everything in the node, the same path in every hierarchy."""
        return f"{CGROUP_ROOT}/{self.name}"


CONTROL_PLANE = Node("node-1", HOST_ADDRESS, "10.130.0.0/24", pool="cpu")
GPU_WORKER = Node(
    "node-2",
    "172.30.0.2",
    "10.130.1.0/24",
    pool="gpu",
    taint="nvidia.com/gpu=present:NoSchedule",
    gpus=2,
)
NODES = (CONTROL_PLANE, GPU_WORKER)


def node_named(name: str) -> Node:
    """Find a node by its name; the names are few enough to list in the error."""
    for node in NODES:
        if node.name == name:
            return node
    raise ValueError(f"no node is called {name!r}; there are {', '.join(node.name for node in NODES)}")
