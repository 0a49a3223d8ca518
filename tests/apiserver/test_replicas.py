"""Two replicas of the operator: one writes, and the other takes over when it dies."""

import pytest

from e2e.scenarios.place import is_ready
from tests.apiserver.kubelet import Kubelet
from tests.apiserver.world import World

pytestmark = pytest.mark.apiserver


def test_of_two_replicas_one_writes_and_the_other_takes_over(world: World, namespace: str, kubelet: Kubelet) -> None:
    del kubelet
    configs = {name: world.make_user(name) for name in ("replica-a", "replica-b")}
    operators = {name: world.operator(namespace, path, name) for name, path in configs.items()}
    with operators["replica-a"] as a, operators["replica-b"] as b:
        world.apply(namespace, "first")
        world.wait(namespace, "first", is_ready, "Ready")
        lease = world.kube.get("lease", f"modelwright-{namespace}", namespace)
        leader = lease["spec"]["holderIdentity"]
        other = next(name for name in operators if name != leader)
        assert world.writes(leader)
        assert world.writes(other) == []

        written = len(world.quiet_writes(leader))
        (a if leader == "replica-a" else b).kill()
        world.apply(namespace, "second")
        world.wait(namespace, "second", is_ready, "Ready")
        assert len(world.writes(leader)) == written
        assert world.writes(other)
        lease = world.kube.get("lease", f"modelwright-{namespace}", namespace)
        assert lease["spec"]["holderIdentity"] == other
