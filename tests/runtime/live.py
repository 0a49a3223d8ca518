"""The operator as a process of its own against a real API server, and the hands that play the kubelet."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.apiserver import LocalApiServer
from tests.builders import make_model, make_policy, optimize_answer, resolve_answer

WRITES = frozenset({"create", "update", "patch", "delete"})
PATIENCE = 60.0


def eventually(holds: Callable[[], Any], what: str = "") -> Any:
    """Wait for something true and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < deadline, f"never happened: {what or holds}"
        time.sleep(0.05)
    return found


@dataclass
class Live:
    """One namespace of an API server, seen through kubectl."""

    server: LocalApiServer
    namespace: str

    def apply(self, *bodies: dict[str, Any]) -> None:
        self.server.kubectl("apply", "--server-side", "--field-manager=person", "-f-", stdin=yaml.safe_dump_all(bodies))

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self.server.kubectl("--namespace", self.namespace, *words, stdin=stdin)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found = self.kubectl("get", kind, name, "--ignore-not-found", "--output=json")
        return json.loads(found) if found else {}

    def all(self, kind: str) -> list[dict[str, Any]]:
        return json.loads(self.kubectl("get", kind, "--output=json"))["items"]

    def reason(self, name: str, condition: str = "Ready") -> str:
        """The reason of a model's condition."""
        conditions = self.get("om", name).get("status", {}).get("conditions", [])
        return next((c["reason"] for c in conditions if c["type"] == condition), "")

    def finish_job(self, stage: str, message: str, code: int = 0) -> None:
        """Be the kubelet: end the one pod of the stage's Job with these last words."""
        pod = eventually(lambda: self._pods(f"modelwright.dev/stage={stage}"), f"a pod of {stage}")[0]
        ended = {"terminated": {"exitCode": code, "message": message, "reason": "Completed" if code == 0 else "Error"}}
        container = pod["spec"]["containers"][0]
        self._patch_pod(
            pod,
            phase="Succeeded" if code == 0 else "Failed",
            containerStatuses=[_container(container, state=ended, ready=False)],
        )

    def start_pods(self, revision: str) -> None:
        """Be the kubelet: let all pods of a revision answer."""
        for pod in eventually(lambda: self._pods(f"modelwright.dev/revision={revision}"), f"pods of {revision}"):
            running = {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}}
            self._patch_pod(
                pod,
                phase="Running",
                conditions=[{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}],
                containerStatuses=[_container(c, state=running, ready=True) for c in pod["spec"]["containers"]],
            )

    def _pods(self, selector: str) -> list[dict[str, Any]]:
        return json.loads(self.kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]

    def _patch_pod(self, pod: dict[str, Any], **status: Any) -> None:
        name, patch = pod["metadata"]["name"], json.dumps({"status": status})
        self.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", f"--patch={patch}")

    def serve(self, name: str) -> str:
        """Take a new model all the way to serving; returns its revision."""
        self.finish_job("resolve", resolve_answer())
        self.finish_job("optimize", optimize_answer())
        revision = eventually(lambda: self.get("om", name)["status"].get("candidate"), "a candidate")["hash"]
        self.start_pods(revision)
        eventually(lambda: self.reason(name) == "Serving", "Serving")
        return revision


def _container(container: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0, **parts}


def model_body(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    body = make_model().named(name).with_spec(**spec).spec_json
    return {
        "apiVersion": "modelwright.dev/v1alpha1",
        "kind": "OptimizedModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": body,
    }


def policy_body(**parts: Any) -> dict[str, Any]:
    spec = make_policy(rollout={}, **parts).spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "apiVersion": "modelwright.dev/v1alpha1",
        "kind": "ServingPolicy",
        "metadata": {"name": "default"},
        "spec": spec,
    }


@dataclass
class OperatorProcess:
    """One replica."""

    process: subprocess.Popen[bytes]
    health_port: int
    metrics_port: int
    log: Path
    identity: str

    def ready(self) -> bool:
        return self.probe("readyz") == 200

    def probe(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/{path}", timeout=5) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metric(self, name: str) -> float:
        """Sum of the series of that name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    def rss(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def idle(self) -> bool:
        """Whether two looks in a row find no pass in between."""
        before = self.metric("modelwright_reconcile_total")
        time.sleep(0.3)
        return self.metric("modelwright_reconcile_total") == before and self.metric("modelwright_queue_depth") == 0

    def errors(self) -> list[str]:
        """What it complained of."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line["message"] for line in lines if line["level"] in ("ERROR", "CRITICAL")]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)


@dataclass
class Replicas:
    """Starts replicas and sees to their end."""

    server: LocalApiServer
    folder: Path
    namespaces: tuple[str, ...] = ()
    started: list[OperatorProcess] = field(default_factory=list[OperatorProcess])

    def start(self, **variables: str) -> OperatorProcess:
        health, metrics = free_port(), free_port()
        identity = f"replica-{len(self.started)}"
        log = self.folder / f"{identity}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(self.server.kubeconfig),
            "MODELWRIGHT_NAMESPACES": ",".join(self.namespaces),
            "MODELWRIGHT_OPERATOR_IMAGE": "registry.example/operator:1",
            "MODELWRIGHT_OPTIMIZER_IMAGE": "registry.example/optimizer:1",
            "MODELWRIGHT_LEASE_NAMESPACE": self.namespaces[0] if self.namespaces else "default",
            "MODELWRIGHT_IDENTITY": identity,
            "MODELWRIGHT_HEALTH_PORT": str(health),
            "MODELWRIGHT_METRICS_PORT": str(metrics),
            **variables,
        }
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "modelwright.runtime"], env=environment, stdout=sink, stderr=sink
            )
        replica = OperatorProcess(process, health, metrics, log, identity)
        self.started.append(replica)
        return replica

    def start_ready(self, **variables: str) -> OperatorProcess:
        replica = self.start(**variables)
        eventually(replica.ready, "ready")
        return replica

    def end(self) -> None:
        for replica in self.started:
            if replica.process.poll() is None:
                replica.process.kill()
                replica.process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


@dataclass(frozen=True)
class Request:
    """A request of the operator's own client, from the audit log."""

    verb: str
    resource: str
    code: int


class Audit:
    """Reads what was asked since the last look."""

    def __init__(self, server: LocalApiServer) -> None:
        self._path = server.audit_log
        self._at = self._path.stat().st_size

    def requests(self) -> list[Request]:
        """Requests of the operator, without Leases and Events, and without watches."""
        with self._path.open() as log:
            log.seek(self._at)
            lines = log.read().splitlines()
            self._at = log.tell()
        return list(self._of_the_operator(json.loads(line) for line in lines))

    def writes(self) -> Counter[str]:
        """Writes by verb and resource."""
        return Counter(f"{r.verb} {r.resource}" for r in self.requests() if r.verb in WRITES)

    def _of_the_operator(self, entries: Iterator[dict[str, Any]]) -> Iterator[Request]:
        for entry in entries:
            reference = entry.get("objectRef", {})
            ours = entry.get("userAgent", "").startswith(("modelwright/", "kopf"))
            if not ours or entry["stage"] != "ResponseComplete" or entry["verb"] == "watch":
                continue
            if reference.get("resource") in ("leases", "events"):
                continue
            parts = (reference.get("resource", ""), reference.get("subresource", ""))
            yield Request(entry["verb"], "/".join(filter(None, parts)), entry["responseStatus"]["code"])


@contextmanager
def replicas(server: LocalApiServer, folder: Path, *namespaces: str) -> Generator[Replicas]:
    started = Replicas(server, folder, namespaces)
    try:
        yield started
    finally:
        started.end()
