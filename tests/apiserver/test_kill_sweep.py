"""The operator killed at a chosen write, before or after the server got it: the next one brings the line to its end."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.scenarios.kube import GROUP
from e2e.scenarios.operators import OperatorProcess
from e2e.scenarios.place import is_ready
from tests.apiserver.kubelet import Kubelet
from tests.apiserver.proxy import Moment, Proxy
from tests.apiserver.world import World

pytestmark = pytest.mark.apiserver

SEED = 20240611
MOMENTS: tuple[Moment, Moment] = ("before", "after")
SLICE = 4
"""Kills in a normal run: about a tenth of the sweep."""
Points = list[tuple[int, Moment]]


@pytest.fixture
def proxied(world: World, namespace: str, user: Path) -> Iterator[tuple[Proxy, OperatorProcess]]:
    """An operator that reaches the API server only through the proxy."""
    del user
    with Proxy(world.server.url) as proxy:
        kubeconfig = world.write_kubeconfig("operator", proxy.url)
        with world.operator(namespace, kubeconfig) as process:
            yield proxy, process


def live(world: World, namespace: str, name: str, proxied: tuple[Proxy, OperatorProcess]) -> None:
    """A first revision and an update, with a new operator whenever there is none."""
    _, process = proxied

    def ready(model: dict[str, object]) -> bool:
        if not process.alive():
            process.start()
        return is_ready(model)

    world.apply(namespace, name)
    world.wait(namespace, name, ready, "Ready")
    world.apply(namespace, name, serving={"maxBatchSize": 8})
    world.wait(namespace, name, ready, "Ready after the update")


def check(world: World, namespace: str, name: str, kubelet: Kubelet) -> None:
    """One Job per work, no child too many, none of them twice."""
    assert kubelet.jobs_made(name) == {"optimize": 1}
    model = world.kube.get("om", name, namespace)
    revisions = {model["status"]["stable"]["hash"], *(r["hash"] for r in model["status"]["history"])}
    assert len(revisions) == 2
    for kind, extra in (("deployments", 0), ("configmaps", 0), ("services", 1)):
        found = world.kube.list(kind, namespace, f"{GROUP}/model={name}")
        seen = {child["metadata"]["labels"].get(f"{GROUP}/revision", "") for child in found} - {""}
        assert seen == revisions, kind
        assert len(found) == len(revisions) + extra, kind
        assert all(c["metadata"]["ownerReferences"][0]["uid"] == model["metadata"]["uid"] for c in found)


def sweep(
    world: World,
    namespace: str,
    kubelet: Kubelet,
    proxied: tuple[Proxy, OperatorProcess],
    choose: Callable[[int], Points],
) -> None:
    """Live once undisturbed, then once for each point that `choose` picks of so many writes."""
    proxy, process = proxied
    proxy.disarm()
    live(world, namespace, "reference", proxied)
    reference = list(proxy.writes)
    print(f"an undisturbed life: {len(reference)} writes")
    check(world, namespace, "reference", kubelet)
    for point, moment in choose(len(reference)):
        name = f"k{point}-{moment}"
        proxy.arm(point, moment, process.kill)
        starts = process.starts
        live(world, namespace, name, proxied)
        struck = process.starts > starts or not process.alive()
        where = proxy.writes[point] if point < len(proxy.writes) else "never came"
        print(f"  killed {moment} write {point} ({where}): {'came back' if struck else 'ended before'}")
        proxy.disarm()
        if not process.alive():
            process.start()
        check(world, namespace, name, kubelet)
        world.kube.delete("om", name, namespace, wait=False)


def test_an_operator_killed_at_a_few_writes_loses_nothing(
    world: World, namespace: str, kubelet: Kubelet, proxied: tuple[Proxy, OperatorProcess]
) -> None:
    rng = random.Random(SEED)

    def few(writes: int) -> Points:
        return [(at, rng.choice(MOMENTS)) for at in rng.sample(range(writes), SLICE)]

    sweep(world, namespace, kubelet, proxied, few)


@pytest.mark.soak
def test_an_operator_killed_at_every_write_loses_nothing(
    world: World, namespace: str, kubelet: Kubelet, proxied: tuple[Proxy, OperatorProcess]
) -> None:
    def every(writes: int) -> Points:
        return [(at, moment) for at in range(writes) for moment in MOMENTS]

    sweep(world, namespace, kubelet, proxied, every)
