"""Up and down: the order in which the parts come and go."""

import fcntl
import shutil
from collections.abc import Generator
from contextlib import contextmanager

from e2e.cluster import addons, cgroups, controlplane, debian, images, network, node, registry
from e2e.cluster.builds import PROGRAMS, ensure_binaries
from e2e.cluster.paths import CHECKOUT, KUBECONFIG, LOCK, STATE
from e2e.cluster.stages import Stages
from e2e.cluster.topology import CGROUP_ROOT, CONTROL_PLANE, GPU_WORKER, NODES, REGISTRY, node_named

_LINKED = ("kubectl", "helm", "promtool")


@contextmanager
def one_at_a_time(stages: Stages) -> Generator[None]:
    """Keep two commands from changing the cluster at once; the second one says that it waits."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stages.say("another command is at work on the cluster; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(stages: Stages) -> None:
    """Bring the cluster up, from whatever state the machine is in."""
    with one_at_a_time(stages):
        if is_healthy():
            _link_programs()
            controlplane.pretend_gpus(GPU_WORKER)
            stages.say(f"already up; kubeconfig {KUBECONFIG}")
            return
        _prepare(stages)
        _restart_lost_workers(stages)
        if not _nodes_work():
            # What a crash or a reboot left is not repaired but replaced: nobody can tell what is half done in it.
            with stages.stage("removing what a former cluster left"):
                _erase_nodes()
            _start(stages)
        with stages.stage("add-ons"):
            addons.install(stages.detail)
            addons.await_ready(stages.detail)
        stages.say(f"up: kubeconfig {KUBECONFIG}, registry {REGISTRY}, gateway http://{addons.gateway_address()}")


def down(stages: Stages) -> None:
    """Remove everything outside the cache."""
    with one_at_a_time(stages):
        with stages.stage("stopping nodes"):
            _erase_nodes()
        with stages.stage("registry, network"):
            images.release()
            registry.down()
            network.down()
            cgroups.remove(CGROUP_ROOT)
        node.remove_mount_points()
        for name in _LINKED:
            link = CHECKOUT / "bin" / name
            if link.is_symlink():
                link.unlink()
        shutil.rmtree(STATE, ignore_errors=True)
        LOCK.unlink(missing_ok=True)


def stop_node(name: str, stages: Stages) -> None:
    """Take a node's power away, as a scenario of node loss; its disk stays."""
    with one_at_a_time(stages), stages.stage(f"stopping {name}"):
        node.kill(node_named(name))


def start_node(name: str, stages: Stages) -> None:
    """Give a stopped node its power back: it boots from its disk, as after a reboot."""
    with one_at_a_time(stages), stages.stage(f"starting {name}"):
        if node.holder_of(node_named(name)) is None:
            node.boot(node_named(name))
        controlplane.await_nodes()


def _restart_lost_workers(stages: Stages) -> None:
    """Boot workers that a scenario stopped, rather than replace a cluster whose control plane works."""
    lost = [one for one in NODES if node.holder_of(one) is None]
    if lost and CONTROL_PLANE not in lost and controlplane.api_ready():
        with stages.stage(f"starting {', '.join(one.name for one in lost)}"):
            for one in lost:
                node.boot(one)
            controlplane.await_nodes()


def prepare_registry(stages: Stages) -> None:
    """Have a registry to push to, whether or not the cluster is up."""
    if not registry.answers():
        with one_at_a_time(stages):
            debian.ensure_packages(stages.detail)
            _network_and_registry()


def is_healthy() -> bool:
    """Whether everything works, so that there is nothing to do."""
    return registry.answers() and _nodes_work() and addons.all_ready()


def _nodes_work() -> bool:
    return (
        all(node.holder_of(one) for one in NODES)
        and controlplane.api_ready()
        and all(controlplane.ready_nodes().get(one.name) for one in NODES)
    )


def _prepare(stages: Stages) -> None:
    """Have everything that outlives a cluster: packages, programs, images."""
    with stages.stage("Debian packages"):
        debian.ensure_packages(stages.detail)
    with stages.stage("programs"):
        ensure_binaries(PROGRAMS, stages.detail)
        _link_programs()
    with stages.stage("network, registry"):
        _network_and_registry()
    with stages.stage("images"):
        images.ensure_system_images(stages.detail)


def _network_and_registry() -> None:
    STATE.mkdir(parents=True, exist_ok=True)
    cgroups.make(CGROUP_ROOT)
    network.up()
    registry.up()


def _start(stages: Stages) -> None:
    with stages.stage(f"{CONTROL_PLANE.name}: control plane"):
        node.boot(CONTROL_PLANE)
        controlplane.initialize()
    with stages.stage(f"{GPU_WORKER.name}: {GPU_WORKER.pool} pool"):
        node.boot(GPU_WORKER)
        controlplane.join(GPU_WORKER)
    with stages.stage("nodes ready"):
        controlplane.await_nodes()


def _erase_nodes() -> None:
    KUBECONFIG.unlink(missing_ok=True)
    for one in reversed(NODES):
        node.erase(one)
    network.forget_services()


def _link_programs() -> None:
    """Put kubectl and its like where `PATH=$PWD/bin:$PATH` finds them."""
    directory = CHECKOUT / "bin"
    directory.mkdir(exist_ok=True)
    for name, program in ensure_binaries(_LINKED).items():
        link = directory / name
        if not link.is_symlink() or link.readlink() != program:
            link.unlink(missing_ok=True)
            link.symlink_to(program)
