"""The whole line, for real: from `kubectl apply` to right answers, an update under load, and nothing left behind."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from e2e.load.pod import Load, lost, start
from e2e.scenarios import tiny, traffic
from e2e.scenarios.conftest import Figures
from e2e.scenarios.kube import GROUP, MODELS, Kube, Obj
from e2e.scenarios.place import Place, is_ready
from e2e.scenarios.policies import installed
from e2e.scenarios.pushing import Pushed, Registry

pytestmark = pytest.mark.cluster

CHILDREN = ("deployments", "services", "configmaps", "jobs", "httproutes", "grpcroutes")
TOLERANCE = 1e-4
REQUESTS = 2000
RATE = 30.0
LONGEST_LOAD = 300.0
SETTLING_SECONDS = 5.0


@dataclass(frozen=True)
class Trained:
    """A model with its source and what it answers."""

    graph: onnx.ModelProto
    source: Pushed
    rows: traffic.Floats
    folder: Path

    def retold(self, registry: Registry) -> Pushed:
        """The same weights under another digest: a new source that gives the same answers."""
        again = onnx.ModelProto.FromString(self.graph.SerializeToString())
        again.doc_string = "trained again"
        return registry.push("line-retold", [tiny.save(again, self.folder / "retold")])

    @property
    def expected(self) -> traffic.Floats:
        """What the source model itself answers, here."""
        return np.asarray(tiny.run(self.graph, self.rows), dtype=np.float32)


@pytest.fixture(scope="module")
def trained(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Trained]:
    """Classifiers by seed, each in the registry."""
    folder = tmp_path_factory.mktemp("line")

    def make(seed: int) -> Trained:
        graph = tiny.classifier(seed)
        path = tiny.save(graph, folder / str(seed))
        rows = np.random.default_rng(seed).standard_normal((3, tiny.WIDTH)).astype(np.float32)
        return Trained(graph, registry.push(f"line-{seed}", [path]), rows, folder / str(seed))

    return make


@pytest.fixture(scope="module")
def address(kube: Kube) -> str:
    """Where the gateway listens."""
    return traffic.gateway_address(kube)


def spec(source: Pushed, **more: Any) -> Obj:
    """A model without data: only lossless techniques run, and few trials."""
    quick = {"budget": {"maxTrials": 2, "maxDuration": "60s"}, "workload": {"batchSizes": [1]}}
    return {"model": {"uri": source.uri}, "optimization": quick, **more}


def answers(place: Place, address: str, name: str, model: Trained) -> str:
    """Ask over HTTP and gRPC until both answer rightly; the revision that did."""
    host = f"{name}.{place.namespace}.{installed(place.kube)['spec']['domain']}"
    answer = traffic.patiently(lambda: traffic.over_http(address, host, name, model.rows))
    np.testing.assert_allclose(answer.values, model.expected, atol=TOLERANCE)
    host = host.replace(name, f"{name}-grpc", 1)
    again = traffic.patiently(lambda: traffic.over_grpc(address, host, name, model.rows))
    np.testing.assert_allclose(again.values, model.expected, atol=TOLERANCE)
    return answer.revision


def test_a_model_goes_from_its_source_to_right_answers(
    place: Place, kube: Kube, address: str, trained: Callable[[int], Trained], figures: Figures
) -> None:
    """Apply, a story of transitions, Ready, and predictions equal to the source model's, over HTTP and gRPC."""
    model = trained(1)
    wanted = spec(model.source)
    place.apply("first", wanted)
    found = place.wait_ready("first")
    for line in place.story("first"):
        figures.add("the line", *line.split(maxsplit=3)[:3])
    within = f"--namespace={place.namespace}"
    kube.run("wait", "--for=condition=Ready", f"{MODELS}/first", within, "--timeout=30s")
    told = [line.split(": ", 1)[1].split()[0].partition("/")[2] for line in place.story("first")]
    assert [reason for reason in told if reason in {"Resolving", "Optimizing", "Deploying", "Serving"}] == [
        "Resolving", "Optimizing", "Deploying", "Serving",
    ]  # fmt: skip
    assert found["status"]["source"]["digest"] == model.source.digest
    revision = answers(place, address, "first", model)
    assert revision == f"r{found['status']['stable']['hash']}"
    assert found["status"]["url"].startswith("http://first.")
    assert found["metadata"]["generation"] == 1, "somebody wrote to the spec"


def test_every_child_is_owned_and_the_model_is_left_as_it_was_written(place: Place, kube: Kube) -> None:
    """Garbage collection will find every child; no finalizer, no annotation of ours, no field of the spec."""
    model = place.model("first")
    assert not model["metadata"].get("finalizers")
    ours = [key for key in model["metadata"].get("annotations", {}) if "last-applied" not in key]
    assert ours == []
    managers = {m["manager"]: m for m in model["metadata"]["managedFields"] if m.get("subresource") != "status"}
    assert not [name for name in managers if "modelwright" in name], "the operator owns fields of spec or metadata"
    for kind in CHILDREN:
        found = place.children("first", kind)
        assert found, f"there is no child among {kind}"
        for child in found:
            owners = child["metadata"]["ownerReferences"]
            assert [owner["uid"] for owner in owners] == [model["metadata"]["uid"]], kind
            assert not [key for key in child["metadata"].get("annotations", {}) if "kopf" in key]
    config = place.children("first", "configmaps")[0]["data"]["config.pbtxt"]
    assert 'name: "first"' in config
    assert 'backend: "' in config
    assert 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 16 ] } ]' in config
    kube.run("get", "om", "first", f"--namespace={place.namespace}", "--output=wide")


def test_three_models_share_one_gateway(place: Place, address: str, trained: Callable[[int], Trained]) -> None:
    """Each has host names of its own, for HTTP and for gRPC."""
    models = {"second": trained(2), "third": trained(3)}
    for name, model in models.items():
        place.apply(name, spec(model.source))
    for name in models:
        place.wait_ready(name)
    revisions = {answers(place, address, name, model) for name, model in {"first": trained(1), **models}.items()}
    assert len(revisions) == 3


def test_an_update_under_load_loses_no_request(
    place: Place, kube: Kube, registry: Registry, address: str, trained: Callable[[int], Trained], figures: Figures
) -> None:
    """A new source makes a new revision, which takes the traffic when it is Ready; the old one rests at 0."""
    model = trained(1)
    old = place.model("first")["status"]["stable"]["hash"]
    clients = [start(kube, load) for load in loads(place, registry, address, model)]
    try:
        for client in clients:
            client.wait_started()
        began = time.monotonic()
        place.apply("first", spec(model.retold(registry)))
        place.wait("first", lambda m: m["status"]["observedGeneration"] == 2, "the change seen")
        new = place.wait_ready("first")["status"]["stable"]["hash"]
        took = time.monotonic() - began
        assert new != old
        place.wait("first", lambda _: place.replicas("first") == {old: 0, new: 1}, "the old revision at 0")
        time.sleep(max(SETTLING_SECONDS, began + REQUESTS / (RATE * len(clients)) - time.monotonic()))
        for client in clients:
            client.stop()
        accounts = [client.result() for client in clients]
    finally:
        for client in clients:
            client.remove()
    for account in accounts:
        figures.add("update under load", account["protocol"], f"{account['planned']} requests", f"{lost(account)} lost",
                    f"p99 {account['latencyMs']['p99']} ms", f"{took:.1f} s to the new revision")  # fmt: skip
        assert lost(account) == 0, account["examples"]
        assert set(account["revisions"]) == {f"r{old}", f"r{new}"}
    assert sum(account["planned"] for account in accounts) >= REQUESTS
    assert answers(place, address, "first", model) == f"r{new}"


def loads(place: Place, registry: Registry, address: str, model: Trained) -> list[Load]:
    """Clients in pods, over HTTP and gRPC, that compare every answer."""
    tensor = {"name": "x", "shape": list(model.rows.shape), "datatype": "FP32", "data": model.rows.flatten().tolist()}
    payload = {"request": {"inputs": [tensor]}, "outputs": {"y": model.expected.flatten().tolist()}}
    resolved = place.model("first")["status"]["resolved"]
    hosts = {"http": resolved["hostnames"][0], "grpc": resolved["grpcHostnames"][0]}
    image = f"{registry.address}/modelwright/load:{os.environ.get('TAG', 'dev')}"
    return [
        Load(f"load-{protocol}", place.namespace, image, protocol, address, host, "first", payload, RATE, LONGEST_LOAD)
        for protocol, host in hosts.items()
    ]


def test_replicas_follow_kubectl_scale_and_suspend(place: Place, kube: Kube) -> None:
    """`kubectl scale` is heard; `suspend` stops everything and takes it up again."""
    revision = place.model("second")["status"]["stable"]["hash"]
    within = f"--namespace={place.namespace}"
    kube.run("scale", f"{MODELS}/second", "--replicas=2", within)
    place.wait("second", lambda m: is_ready(m) and m["status"]["readyReplicas"] == 2, "two replicas")
    assert place.replicas("second") == {revision: 2}
    kube.run("scale", f"{MODELS}/second", "--replicas=1", within)
    kube.patch(MODELS, "second", {"spec": {"suspend": True}}, place.namespace)
    place.wait("second", lambda m: m["status"].get("replicas") == 0, "suspended")
    assert place.replicas("second") == {revision: 0}
    kube.patch(MODELS, "second", {"spec": {"suspend": False}}, place.namespace)
    place.wait_ready("second")


def test_a_gpu_pool_means_the_second_node_for_job_and_triton(
    place: Place, kube: Kube, trained: Callable[[int], Trained]
) -> None:
    """Pool, label and taint are real: both the Job's pod and Triton's ran on the pool's node."""
    pools = {pool["name"]: pool for pool in installed(kube)["spec"]["pools"]}
    assert "gpu" in pools, f"the installed policy has no pool gpu, only {', '.join(pools)}"
    place.apply("elsewhere", spec(trained(4).source, serving={"pool": "gpu"}))
    place.wait_ready("elsewhere")
    wanted = pools["gpu"]["nodeSelector"]
    stages: set[str] = set()
    for pod in place.children("elsewhere", "pods"):
        stage = pod["metadata"]["labels"][f"{GROUP}/stage"]
        if stage != "resolve":
            labels = kube.get("node", pod["spec"]["nodeName"])["metadata"]["labels"]
            assert wanted.items() <= labels.items(), f"{stage} ran on {pod['spec']['nodeName']}"
            stages.add(stage)
    assert stages == {"optimize", "serve"}


def test_deleting_a_model_leaves_nothing(place: Place, kube: Kube) -> None:
    """The garbage collector removes all children, without finalizers and without the operator."""
    kube.delete(MODELS, "third", place.namespace)
    kinds = ",".join((*CHILDREN, "pods"))
    selector = f"--selector={GROUP}/model=third"
    within = f"--namespace={place.namespace}"
    kube.run("wait", "--for=delete", kinds, selector, within, "--timeout=120s", timeout=130)
    assert place.models.latest("third") is None
