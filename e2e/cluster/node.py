"""A node without a machine: namespaces with a disk of their own, a containerd and a kubelet inside.

Everything in a node descends from one process, the first of its own pid namespace. When that one ends, the kernel
ends all the others and takes their mounts away, so a node never leaves half of itself behind, however it died.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from string import Template

from e2e.cluster import cgroups, network, processes
from e2e.cluster.builds import binary
from e2e.cluster.images import PAUSE
from e2e.cluster.paths import HERE, LOGS, MANIFESTS, STATE
from e2e.cluster.shell import ClusterError, run, succeeds
from e2e.cluster.topology import DNS_ADDRESS, REGISTRY, Node

# The paths where Kubernetes programs expect their data; each node sees its own.
OWN_PATHS = (
    "/etc/cni",
    "/etc/containerd",
    "/etc/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
_MADE_PATHS = STATE / "made-paths.json"


def boot(node: Node) -> None:
    """Start the node's namespaces, its network, its containerd, and a kubelet that waits for kubeadm."""
    _make_mount_points()
    cgroups.make(node.cgroup)
    _write_configuration(node)
    holder = _start_holder(node)
    if not node.shares_host_network:
        network.connect(node, holder)
    spawn_inside(node, "containerd", ["/usr/bin/containerd"])
    _await_containerd(node)
    spawn_inside(node, "kubelet", ["/bin/sh", HERE / "node-kubelet.sh", binary("kubelet")])


def holder_of(node: Node) -> int | None:
    """The pid of the node's first process, while the node lives."""
    return processes.alive(node.name)


def inside(node: Node, command: list[str | Path]) -> list[str]:
    """Turn a command into one that runs in the node."""
    holder = holder_of(node)
    if holder is None:
        raise ClusterError(f"{node.name} is not running", "run `python3 -m e2e.cluster up`")
    # Not `ip netns exec`: that mounts /sys anew, and the kubelet then finds no cgroups.
    enter = ["nsenter", "--target", str(holder), "--mount", "--uts", "--pid", "--net", "--"]
    return [*enter, *(str(word) for word in command)]


def spawn_inside(node: Node, name: str, command: list[str | Path]) -> None:
    """Start a service in the node. Nobody needs to remember it: it ends with the node."""
    processes.spawn(f"{node.name}-{name}", cgroups.within(node.cgroup, inside(node, command)))


def kill(node: Node) -> None:
    """Take the node's power away: its first process dies, and everything in it with that."""
    processes.stop(node.name, grace=1)
    if not processes.wait_until(lambda: cgroups.is_empty(node.cgroup), timeout=10):
        cgroups.kill_all(node.cgroup)


def erase(node: Node) -> None:
    """Kill the node and remove its disk and its cgroups."""
    kill(node)
    cgroups.remove(node.cgroup)
    shutil.rmtree(node.directory, ignore_errors=True)


def _start_holder(node: Node) -> int:
    own_network = [] if node.shares_host_network else ["--net"]
    unshare = ["unshare", "--mount", "--uts", "--pid", *own_network, "--fork", "--kill-child", "--mount-proc"]
    boot_script: list[str | Path] = ["/bin/sh", HERE / "node-boot.sh", node.name, node.disk, binary("pause")]
    parent = processes.spawn(node.name, cgroups.within(node.cgroup, [*unshare, *boot_script, *OWN_PATHS]))
    # unshare waits; its child is process 1 of the node.
    children = Path(f"/proc/{parent}/task/{parent}/children")
    booted = _until_pid(lambda: children.read_text().split())
    if booted is None or not processes.wait_until(Path(f"/proc/{booted}/root/run/booted").exists, timeout=10):
        raise ClusterError(f"{node.name} did not start", log=LOGS / f"{node.name}.log")
    processes.remember(node.name, booted)
    return booted


def _until_pid(read: Callable[[], list[str]]) -> int | None:
    found: list[str] = []

    def look() -> bool:
        try:
            found[:] = read()
        except OSError:
            return False
        return bool(found)

    return int(found[0]) if processes.wait_until(look, timeout=10) else None


def _make_mount_points() -> None:
    """Make the host directories that nodes mount over, and note which were not there before."""
    made: list[str] = json.loads(_MADE_PATHS.read_text()) if _MADE_PATHS.exists() else []
    for path in map(Path, OWN_PATHS):
        if not path.exists():
            made.append(str(path))
            _MADE_PATHS.write_text(json.dumps(made))
            path.mkdir(parents=True)


def remove_mount_points() -> None:
    """Remove the host directories that we made, if nobody has put anything there."""
    if _MADE_PATHS.exists():
        for path in map(Path, json.loads(_MADE_PATHS.read_text())):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _write_configuration(node: Node) -> None:
    values = {"PAUSE": PAUSE, "REGISTRY": REGISTRY, "POD_NETWORK": node.pod_network, "DNS": DNS_ADDRESS}
    for source, target in (
        ("containerd.toml", "etc/containerd/config.toml"),
        ("registry-hosts.toml", f"etc/containerd/certs.d/{REGISTRY}/hosts.toml"),
        ("cni.conflist", "etc/cni/net.d/10-modelwright.conflist"),
        ("resolv.conf", "etc/kubernetes/resolv.conf"),
    ):
        path = node.disk / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template((MANIFESTS / source).read_text()).substitute(values))


def _await_containerd(node: Node) -> None:
    answers = inside(node, ["ctr", "version"])
    if not processes.wait_until(lambda: succeeds(answers, timeout=5), timeout=30):
        raise ClusterError(f"containerd of {node.name} does not answer", log=LOGS / f"{node.name}-containerd.log")


def pull(node: Node, image: str) -> None:
    """Fetch an image into the node as the kubelet would see it."""
    hosts = "/etc/containerd/certs.d"
    run(inside(node, ["ctr", "--namespace", "k8s.io", "image", "pull", "--hosts-dir", hosts, image]))
