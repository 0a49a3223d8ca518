"""Every object before a real API server, in a namespace that enforces Pod Security `restricted`."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, cast

import pytest
import yaml

from e2e.cluster import builds
from e2e.cluster.apiserver import LocalApiServer
from tests.render import samples

Body = dict[str, Any]

pytestmark = pytest.mark.apiserver

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {pod-security.kubernetes.io/enforce: restricted}}
"""
RUNTIME_CLASS = """
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: nvidia}
handler: nvidia
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalApiServer]:
    module = builds.module_directory("envoy-gateway", "sigs.k8s.io/gateway-api")
    with LocalApiServer() as server:
        server.kubectl("apply", "--filename=-", stdin=f"{NAMESPACE}---{RUNTIME_CLASS}")
        for kind in ("httproutes", "grpcroutes"):
            crd = module / f"config/crd/standard/gateway.networking.k8s.io_{kind}.yaml"
            server.kubectl("apply", "--server-side", f"--filename={crd}")
        server.kubectl("wait", "--for=condition=Established", "crd", "--all")
        yield server


def dry_run(server: LocalApiServer, body: Body) -> str:
    return server.kubectl(
        "apply",
        "--server-side",
        "--field-manager=modelwright",
        "--dry-run=server",
        "--validate=strict",
        "--output=yaml",
        "--filename=-",
        stdin=yaml.safe_dump(body),
    )


@pytest.mark.parametrize("name", sorted(samples.OBJECTS))
def test_the_api_server_takes_the_object_and_drops_nothing(server: LocalApiServer, name: str) -> None:
    body = samples.OBJECTS[name]()
    assert missing(body, yaml.safe_load(dry_run(server, body))) == []


@pytest.mark.parametrize("name", sorted(n for n in samples.OBJECTS if "job" in n or "deployment" in n))
def test_pods_of_the_object_are_admitted(server: LocalApiServer, name: str) -> None:
    template = samples.OBJECTS[name]()["spec"]["template"]
    metadata = {**template["metadata"], "name": "pod", "namespace": "team"}
    answer = dry_run(server, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    assert yaml.safe_load(answer)["kind"] == "Pod"


def missing(asked: Any, answered: Any, path: str = "") -> list[str]:
    """Paths of what was asked for and is not in the answer."""
    match asked, answered:
        case dict(), dict():
            wanted, found = cast("Body", asked), cast("Body", answered)
            pairs = [(value, found.get(key), f"{path}.{key}") for key, value in wanted.items()]
        case list(), list():
            pairs = [(a, b, f"{path}[]") for a, b in zip_longest(cast("list[Any]", asked), cast("list[Any]", answered))]
        case _:
            return [] if asked == answered else [path]
    return [lost for value, found, inner in pairs for lost in missing(value, found, inner)]
