"""A short try-out of every part of a running cluster, with figures; the namespace it uses is removed again."""

import json
import os
import statistics
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

from e2e.cluster import addons, controlplane, registry
from e2e.cluster.controlplane import kubectl
from e2e.cluster.paths import AUDIT_LOG, MANIFESTS
from e2e.cluster.processes import wait_until
from e2e.cluster.shell import ClusterError
from e2e.cluster.stages import Stages
from e2e.cluster.topology import CGROUP_ROOT, GPU_WORKER, NODES, REGISTRY

_NAMESPACE = "modelwright-verify"
_HOST = "echo.modelwright.test"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def verify(stages: Stages) -> int:
    """Run every check; each says what it measured or fails with the reason."""
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("nodes", _nodes),
        ("pods on each node", _pods),
        ("Service from the host", _service),
        ("GPU pod, DNS, registry from a pod", _gpu_pod),
        ("gateway", _gateway),
        ("metrics-server", _metrics),
        ("Prometheus", _prometheus),
        ("registry deletes", _deletion),
        ("Pod Security", _pod_security),
        ("audit log", _audit),
        ("memory", _memory),
    )
    failures = 0
    _remove()
    kubectl(
        "apply", "--filename=-", stdin=Template((MANIFESTS / "verify.yaml").read_text()).substitute(REGISTRY=REGISTRY)
    )
    try:
        for name, check in checks:
            try:
                stages.say(f"ok    {name}: {check()}")
            except (ClusterError, AssertionError, OSError) as error:
                failures += 1
                stages.say(f"FAIL  {name}: {error}")
    finally:
        _remove()
    stages.say("all parts work" if not failures else f"{failures} of {len(checks)} parts do not work")
    return 1 if failures else 0


def _remove() -> None:
    kubectl("delete", "namespace", _NAMESPACE, "--ignore-not-found", "--wait=true")


def _get(*words: str) -> Any:
    return json.loads(kubectl("get", *words, "--output=json"))


def _fetch(url: str, headers: dict[str, str] | None = None) -> tuple[str, dict[str, str]]:
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - addresses of our own cluster
    with _direct.open(request, timeout=5) as response:
        return response.read().decode(), dict(response.headers)


def _eventually(condition: Callable[[], bool], what: str, timeout: float = 60) -> float:
    began = time.monotonic()

    def tried() -> bool:
        try:
            return condition()
        except (ClusterError, urllib.error.URLError, OSError, ValueError):
            return False

    if not wait_until(tried, timeout, pause=0.2):
        raise AssertionError(f"{what}: not within {timeout:.0f} s")
    return time.monotonic() - began


def _nodes() -> str:
    found = {item["metadata"]["name"]: item for item in _get("nodes")["items"]}
    assert set(found) == {node.name for node in NODES}, f"there are {sorted(found)}"
    words: list[str] = []
    for name, item in found.items():
        allocatable, info = item["status"]["allocatable"], item["status"]["nodeInfo"]
        words.append(
            f"{name} {info['kubeletVersion']} cpu {allocatable['cpu']} gpu {allocatable.get('nvidia.com/gpu', 0)}"
        )
    gpus = found[GPU_WORKER.name]["status"]["allocatable"].get("nvidia.com/gpu")
    assert gpus == str(GPU_WORKER.gpus), f"{GPU_WORKER.name} shows {gpus} GPUs"
    return ", ".join(words)


def _pods() -> str:
    def all_ready() -> bool:
        status = _get("daemonset", "echo", f"--namespace={_NAMESPACE}")["status"]
        return status.get("numberReady") == len(NODES)

    return f"{len(NODES)} ready after {_eventually(all_ready, 'pods'):.1f} s"


def _service() -> str:
    address = _get("service", "echo", f"--namespace={_NAMESPACE}")["spec"]["clusterIP"]
    _eventually(lambda: bool(_fetch(f"http://{address}/")), "an answer")
    return _share(f"http://{address}/")


def _share(url: str, headers: dict[str, str] | None = None, requests: int = 60) -> str:
    """Ask many times; every node must answer, once kube-proxy has caught up (it writes once a second)."""
    seen: set[str] = set()
    _eventually(lambda: seen.add(_fetch(url, headers)[0]) or len(seen) == len(NODES), "answers from every node", 10)
    counts: Counter[str] = Counter()
    times: list[float] = []
    for _ in range(requests):
        began = time.monotonic()
        counts[_fetch(url, headers)[0]] += 1
        times.append((time.monotonic() - began) * 1000)
    assert set(counts) == {node.name for node in NODES}, f"answers came from {dict(counts)}"
    shares = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{shares} of {requests}, p50 {statistics.median(times):.1f} ms"


def _gpu_pod() -> str:
    def succeeded() -> bool:
        return _get("job", "gpu", f"--namespace={_NAMESPACE}")["status"].get("succeeded") == 1

    _eventually(succeeded, "the Job's success")
    report = kubectl("logs", "job/gpu", f"--namespace={_NAMESPACE}").strip()
    assert report.startswith(f"on {GPU_WORKER.name};"), report
    assert report.endswith("registry 200"), report
    assert all(node.name in report.partition("by name")[2] for node in NODES), report
    return report


def _gateway() -> str:
    url, headers = f"http://{addons.gateway_address()}/", {"Host": _HOST}
    took = _eventually(lambda: bool(_fetch(url, headers)), "an answer through the gateway")
    revision = {name.lower(): value for name, value in _fetch(url, headers)[1].items()}.get("modelwright-revision")
    assert revision == "verify", f"the route's filter set {revision!r}"
    return f"{_share(url, headers)}, programmed within {took:.1f} s"


def _metrics() -> str:
    items: list[Any] = []

    def served() -> bool:
        items[:] = json.loads(kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"))["items"]
        return len(items) == len(NODES)

    _eventually(served, "metrics of every node")
    return ", ".join(f"{item['metadata']['name']} cpu {item['usage']['cpu']}" for item in items)


def _prometheus() -> str:
    address = _get("service", "prometheus", "--namespace=modelwright-monitoring")["spec"]["clusterIP"]
    health: Counter[str] = Counter()

    def all_up() -> bool:
        health.clear()
        targets = json.loads(_fetch(f"http://{address}:9090/api/v1/targets?state=active")[0])["data"]["activeTargets"]
        health.update(f"{target['labels']['job']} {target['health']}" for target in targets)
        return {"envoy up", "pods up", "prometheus up"} == set(health)

    try:
        _eventually(all_up, "targets")
    except AssertionError as error:
        raise AssertionError(f"{error}; targets: {dict(health)}") from error
    return ", ".join(f"{count} {name}" for name, count in sorted(health.items()))


def _deletion() -> str:
    digest = registry.put_blob("verify/scratch", b"modelwright")
    assert registry.has_blob("verify/scratch", digest), "a pushed blob is not there"
    registry.delete_blob("verify/scratch", digest)
    assert not registry.has_blob("verify/scratch", digest), "a deleted blob is still there"
    return f"pushed and deleted {digest[:19]}"


def _pod_security() -> str:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged", "namespace": _NAMESPACE},
        "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]},
    }
    try:
        kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod))
        answer = "it was accepted"
    except ClusterError as refused:
        answer = refused.cause
    assert "violates PodSecurity" in answer, f"a privileged pod in a restricted namespace: {answer}"
    return "a privileged pod is refused"


def _audit() -> str:
    """Ask something as a member of the audited group: the log must tell."""
    user = f"verify-{os.getpid()}"
    with tempfile.NamedTemporaryFile(mode="w", prefix="modelwright-") as kubeconfig:
        kubeconfig.write(controlplane.user_kubeconfig(user, "modelwright.dev"))
        kubeconfig.flush()
        kubectl("get", "--raw", "/api", f"--kubeconfig={kubeconfig.name}")
    _eventually(lambda: user in AUDIT_LOG.read_text(), "a line in the audit log", timeout=5)
    return f"tells of {user}, in {AUDIT_LOG}"


def _memory() -> str:
    path = Path("/sys/fs/cgroup/memory", CGROUP_ROOT)
    statistics_of = dict(line.split() for line in (path / "memory.stat").read_text().splitlines())
    return f"{int(statistics_of['total_rss']) / 2**20:.0f} MiB resident in all pods and nodes"
