"""The host's side of the network: one bridge for nodes and registry, routes to pods, and no way out for them."""

import json
import subprocess
from pathlib import Path

from e2e.cluster.paths import STATE
from e2e.cluster.shell import ClusterError, run, succeeds
from e2e.cluster.topology import (
    BRIDGE,
    GPU_WORKER,
    HOST_ADDRESS,
    NODE_NETWORK,
    NODES,
    POD_NETWORK,
    SERVICE_NETWORK,
    Node,
)

_TABLE = "modelwright-cluster"
_CHAINS = "KUBE-"
"""Every chain of kube-proxy begins with it, and every rule that leads to one names it."""
_TABLES = ("nat", "filter", "mangle")
_SAVED_SYSCTLS = STATE / "sysctls.json"

# What the cluster changes on the host. The last ones are set by the kubelet by itself; they are saved to be restored.
_WANTED_SYSCTLS = {"net.ipv4.ip_forward": "1"}
_TOUCHED_SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.route_localnet",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)

# A model under test is hostile: what runs in the cluster reaches the cluster and nothing else.
_RULES = f"""
table inet {_TABLE}
delete table inet {_TABLE}
table inet {_TABLE} {{
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ip daddr {{ {NODE_NETWORK}, {POD_NETWORK}, {SERVICE_NETWORK} }} accept
    ip saddr {{ {NODE_NETWORK}, {POD_NETWORK} }} reject
  }}
}}
"""


def up() -> None:
    """Make bridge, routes and rules; what is there already stays."""
    _save_sysctls()
    for name, value in _WANTED_SYSCTLS.items():
        _sysctl_path(name).write_text(value)
    if not _exists(BRIDGE):
        _refuse_foreign_network()
        _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "replace", f"{HOST_ADDRESS}/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    # Service addresses are rewritten before they leave; the route only picks our own source address,
    # also on a machine without a default route.
    _ip("route", "replace", SERVICE_NETWORK, "dev", BRIDGE, "src", HOST_ADDRESS)
    # Pods that are gone must not be looked for on the outer network.
    _ip("route", "replace", "unreachable", POD_NETWORK)
    _ip("route", "replace", GPU_WORKER.pod_network, "via", GPU_WORKER.address, "dev", BRIDGE)
    run(["nft", "-f", "-"], stdin=_RULES)


def connect(node: Node, holder: int) -> None:
    """Give a node with a network of its own a cable to the bridge."""
    outer, inner = f"mw-{node.name}", "eth0"
    if _exists(outer):
        _ip("link", "delete", outer)
    _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", str(holder))
    _ip("link", "set", outer, "master", BRIDGE, "up")
    inside = ["nsenter", "--target", str(holder), "--net", "ip"]
    for command in (
        ["link", "set", "lo", "up"],
        ["link", "set", inner, "up"],
        ["address", "add", f"{node.address}/24", "dev", inner],
        ["route", "add", "default", "via", HOST_ADDRESS],
    ):
        run([*inside, *command])
    run(["nsenter", "--target", str(holder), "--net", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])


def down() -> None:
    """Take away every interface, route and rule that is ours, and put the sysctls back."""
    for name in (*(f"mw-{node.name}" for node in NODES), BRIDGE):
        if _exists(name):
            _ip("link", "delete", name)
    if succeeds(["ip", "route", "show", "exact", POD_NETWORK]):
        succeeds(["ip", "route", "delete", "unreachable", POD_NETWORK])
    forget_services()
    if Path("/usr/sbin/nft").exists():
        succeeds(["nft", "delete", "table", "inet", _TABLE])
    _restore_sysctls()


def forget_services() -> None:
    """Drop what kube-proxy wrote on the host: a new cluster must not inherit the addresses of the last one."""
    for program in ("iptables", "ip6tables"):
        if Path("/usr/sbin", program).exists():
            _forget_chains(program)
    if Path("/usr/sbin/conntrack").exists():
        for network in (SERVICE_NETWORK, POD_NETWORK):
            succeeds(["conntrack", "--delete", "--orig-dst", network])


def _forget_chains(program: str) -> None:
    """Write the rules back without kube-proxy's chains, and drop the tables that then hold nothing."""
    saved = run([f"{program}-save"])
    if _CHAINS not in saved:
        return
    others = "".join(f"{line}\n" for line in saved.splitlines() if _CHAINS not in line)
    subprocess.run([f"{program}-restore"], input=others, text=True, check=True, capture_output=True)
    family = "ip" if program == "iptables" else "ip6"
    for table in _TABLES:
        if "\n-A " not in run([f"{program}-save", "-t", table]):
            succeeds(["nft", "delete", "table", family, table])


def _ip(*words: str) -> None:
    run(["ip", *words])


def _exists(interface: str) -> bool:
    return Path("/sys/class/net", interface).exists()


def _refuse_foreign_network() -> None:
    for network in (NODE_NETWORK, POD_NETWORK, SERVICE_NETWORK):
        routes = run(["ip", "route", "show", "root", network]).splitlines()
        # The pods' own route of last resort may be left from a cluster that crashed.
        if taken := [route for route in routes if not route.startswith("unreachable")]:
            raise ClusterError(
                f"{network} is in use on this machine already: {taken[0].strip()}",
                "free that network, or change the addresses in e2e/cluster/topology.py",
            )


def _sysctl_path(name: str) -> Path:
    return Path("/proc/sys", name.replace(".", "/"))


def _save_sysctls() -> None:
    """Remember the values from before the cluster; those of a cluster that crashed are already ours."""
    if _SAVED_SYSCTLS.exists():
        return
    present = [name for name in _TOUCHED_SYSCTLS if _sysctl_path(name).exists()]
    draft = _SAVED_SYSCTLS.with_suffix(".tmp")
    draft.write_text(json.dumps({name: _sysctl_path(name).read_text().strip() for name in present}))
    draft.replace(_SAVED_SYSCTLS)


def _restore_sysctls() -> None:
    if not _SAVED_SYSCTLS.exists():
        return
    for name, value in json.loads(_SAVED_SYSCTLS.read_text()).items():
        path = _sysctl_path(name)
        if path.exists() and path.read_text().strip() != value:
            path.write_text(value)
    _SAVED_SYSCTLS.unlink()
