"""A real API server with our CRDs and controllers, and a namespace of its own for each test."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from e2e.cluster.apiserver import LocalApiServer
from tests.runtime.live import Live, Replicas, policy_body, replicas

CRDS = Path(__file__).parents[2] / "crds"
_numbers = count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[LocalApiServer]:
    with LocalApiServer(controllers=True) as server:
        server.kubectl("apply", "--server-side", "--field-manager=test", f"--filename={CRDS}")
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield server


@pytest.fixture
def live(server: LocalApiServer) -> Iterator[Live]:
    namespace = f"test-{next(_numbers)}"
    server.kubectl("create", "namespace", namespace)
    live = Live(server, namespace)
    live.apply(policy_body())
    yield live
    server.kubectl("delete", "om", "--all", f"--namespace={namespace}")


@pytest.fixture
def operator(live: Live, tmp_path: Path) -> Iterator[Replicas]:
    """Replicas that serve the test's namespace only."""
    with replicas(live.server, tmp_path, live.namespace) as started:
        yield started
