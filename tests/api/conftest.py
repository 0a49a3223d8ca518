"""A real API server with our CRDs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.apiserver import LocalApiServer

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="package")
def server() -> Iterator[LocalApiServer]:
    with LocalApiServer() as server:
        server.kubectl("apply", "--server-side", "--field-manager=test", f"--filename={CRDS}")
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield server
