"""One API server for the folder; a namespace, a kubelet and an operator for each test that asks."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e.cluster.apiserver import LocalApiServer, ensure_binaries
from e2e.scenarios.kube import Kube
from e2e.scenarios.operators import OperatorProcess
from tests.apiserver.kubelet import Kubelet
from tests.apiserver.world import World, install


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    folder = tmp_path_factory.mktemp("apiserver")
    with LocalApiServer(controllers=True) as server:
        kube = Kube(kubeconfig=str(server.kubeconfig), kubectl=str(ensure_binaries(["kubectl"])["kubectl"]))
        install(kube)
        yield World(server, folder, kube)


@pytest.fixture
def namespace(world: World, request: pytest.FixtureRequest) -> str:
    name = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")[:40].strip("-")
    return world.make_namespace(f"t-{name}")


@pytest.fixture
def kubelet(world: World, namespace: str) -> Iterator[Kubelet]:
    with Kubelet(world.kube, namespace) as played:
        yield played


@pytest.fixture(scope="session")
def user(world: World) -> Path:
    """Kubeconfig of the service account `operator`."""
    return world.make_user("operator")


@pytest.fixture
def operator(world: World, namespace: str, user: Path) -> Iterator[OperatorProcess]:
    """A running operator for the namespace."""
    with world.operator(namespace, user) as process:
        yield process
        assert process.alive(), process.tail()
