"""From running nodes to a cluster: kubeadm makes the control plane, and lets the other node join."""

import json
import shutil
from pathlib import Path
from string import Template

from e2e.cluster import node as nodes
from e2e.cluster.builds import ETCD_VERSION, KUBERNETES_VERSION, binary
from e2e.cluster.paths import AUDIT_LOG, KUBECONFIG, LOGS, MANIFESTS
from e2e.cluster.processes import wait_until
from e2e.cluster.shell import ClusterError, run, succeeds
from e2e.cluster.topology import (
    API_PORT,
    CONTROL_PLANE,
    DNS_ADDRESS,
    GPU_WORKER,
    NODES,
    POD_NETWORK,
    REGISTRY,
    SERVICE_NETWORK,
    Node,
)

# kubeadm asks for 650m of CPU in all, a third of the machine; what is idle needs no reservation.
_CPU_REQUESTS = {"etcd": "50m", "kube-apiserver": "100m", "kube-controller-manager": "30m", "kube-scheduler": "20m"}


def initialize() -> None:
    """Make the control plane on the first node and hand out the administrator's kubeconfig."""
    node = CONTROL_PLANE
    kubernetes = node.disk / "etc/kubernetes"
    shutil.copy(MANIFESTS / "audit-policy.yaml", kubernetes)
    AUDIT_LOG.parent.mkdir(parents=True, exist_ok=True)
    config = _render(
        node,
        "kubeadm-init.yaml",
        ETCD_VERSION=ETCD_VERSION,
        KUBERNETES_VERSION=KUBERNETES_VERSION,
        SERVICE_NETWORK=SERVICE_NETWORK,
        AUDIT_LOG=str(AUDIT_LOG),
        AUDIT_DIRECTORY=str(AUDIT_LOG.parent),
        DNS=DNS_ADDRESS,
        POD_NETWORK=POD_NETWORK,
    )
    # CoreDNS is ours (one replica, no way to the outside), see addons.py.
    _kubeadm(node, "init", config, without="preflight,addon/coredns")
    _hand_out(kubernetes / "admin.conf")


def join(node: Node) -> None:
    """Let another node join, with a fresh token.

    It reads the cluster's address and CA from a file. Looked up by token, they would not be found at once:
    a controller signs them for each new token, and kubeadm looks every five seconds.
    """
    create: list[str | Path] = [binary("kubeadm"), "token", "create", "--kubeconfig", KUBECONFIG]
    token = run(nodes.inside(CONTROL_PLANE, create)).strip()
    discovery = node.directory / "cluster-info.conf"
    query = ("get", "configmap", "cluster-info", "--namespace=kube-public", "--output=jsonpath={.data.kubeconfig}")
    discovery.write_text(kubectl(*query))
    key, value, effect = parse_taint(node.taint or "")
    config = _render(
        node,
        "kubeadm-join.yaml",
        DISCOVERY=str(discovery),
        TOKEN=token,
        TAINT_KEY=key,
        TAINT_VALUE=value,
        TAINT_EFFECT=effect,
    )
    _kubeadm(node, "join", config, without="preflight")


def await_nodes() -> None:
    """Wait until every node is Ready, and give the GPU node its pretended devices."""
    if not wait_until(lambda: all(ready_nodes().get(node.name) for node in NODES), timeout=90, pause=0.3):
        late = [node.name for node in NODES if not ready_nodes().get(node.name)]
        raise ClusterError(f"{', '.join(late)} not Ready after 90 s", log=LOGS / f"{late[0]}-kubelet.log")
    pretend_gpus(GPU_WORKER)


def pretend_gpus(node: Node) -> None:
    """Put GPUs into the node's status: an extended resource that the kubelet keeps until it starts anew."""
    count = {"nvidia.com/gpu": str(node.gpus)}
    patch = json.dumps({"status": {"capacity": count, "allocatable": count}})
    kubectl("patch", "node", node.name, "--subresource=status", "--type=merge", "--patch", patch)


def ready_nodes() -> dict[str, bool]:
    """Which nodes there are, and whether each is Ready; empty while the API does not answer."""
    try:
        listed = json.loads(kubectl("get", "nodes", "--output=json", "--request-timeout=5s"))
    except ClusterError:
        return {}
    return {
        item["metadata"]["name"]: any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in item["status"].get("conditions", [])
        )
        for item in listed["items"]
    }


def user_kubeconfig(name: str, group: str) -> str:
    """A kubeconfig for another user, signed by the cluster's own authority."""
    config = CONTROL_PLANE.directory / "kubeadm-init.yaml"
    command: list[str | Path] = [binary("kubeadm"), "kubeconfig", "user", "--config", config]
    return run(nodes.inside(CONTROL_PLANE, [*command, "--client-name", name, "--org", group]))


def kubectl(*words: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
    """Run kubectl as the cluster's administrator."""
    return run([binary("kubectl"), "--kubeconfig", KUBECONFIG, *words], stdin=stdin, timeout=timeout)


def api_ready() -> bool:
    """Whether the API answers and calls itself ready."""
    command: list[str | Path] = [binary("kubectl"), "--kubeconfig", KUBECONFIG, "get", "--raw", "/readyz"]
    return KUBECONFIG.exists() and succeeds([*command, "--request-timeout=3s"])


def parse_taint(taint: str) -> tuple[str, str, str]:
    """Split key=value:effect."""
    key, _, rest = taint.partition("=")
    value, _, effect = rest.partition(":")
    return key, value, effect


def _kubeadm(node: Node, verb: str, config: Path, without: str) -> None:
    """Run kubeadm in a node. Its preflight looks for an init system and for the node's name in DNS, in vain."""
    command: list[str | Path] = [binary("kubeadm"), verb, "--config", config, "--skip-phases", without]
    try:
        output = run(nodes.inside(node, command), timeout=300)
    except ClusterError as error:
        error.log = LOGS / f"{node.name}-kubelet.log"
        raise
    (LOGS / f"{node.name}-kubeadm-{verb}.log").write_text(output)


def _render(node: Node, manifest: str, **values: str) -> Path:
    """Fill in a kubeadm configuration for a node, with the patches it refers to."""
    patches = node.directory / "patches"
    patches.mkdir(parents=True, exist_ok=True)
    # Each kubelet keeps its pods under a cgroup of its own: two nodes share one kernel.
    kubelet = {"cgroupRoot": f"/{node.cgroup}", "address": node.address}
    (patches / "kubeletconfiguration+merge.json").write_text(json.dumps(kubelet))
    for name, cpu in _CPU_REQUESTS.items():
        containers = [{"name": name, "resources": {"requests": {"cpu": cpu}}}]
        (patches / f"{name}+strategic.json").write_text(json.dumps({"spec": {"containers": containers}}))
    common = {
        "NODE": node.name,
        "ADDRESS": node.address,
        "POOL": node.pool,
        "PATCHES": str(patches),
        "API_PORT": str(API_PORT),
        "REGISTRY": REGISTRY,
    }
    target = node.directory / manifest
    target.write_text(Template((MANIFESTS / manifest).read_text()).substitute(common | values))
    target.chmod(0o600)
    return target


def _hand_out(admin: Path) -> None:
    """Copy the administrator's kubeconfig to where everybody expects it, readable by the owner only."""
    draft = KUBECONFIG.with_suffix(".tmp")
    draft.touch(mode=0o600)
    draft.write_text(admin.read_text())
    draft.replace(KUBECONFIG)
