"""The operator as a process of this machine, to be killed at will, and the one in the cluster, to be sent to sleep."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from e2e.scenarios.kube import Kube, Obj

IN_CLUSTER_SELECTOR = "app.kubernetes.io/component=operator,app.kubernetes.io/name=modelwright"


@dataclass
class OperatorProcess:
    """`python -m modelwright.runtime` for a few namespaces, with a Lease of its own.

    Attributes:
        kubeconfig: Whom it logs in as, and where.
        namespaces: What it serves.
        images: The operator's and the optimizer's, for the pods it makes.
        log: Where its output goes, all lives in one file.
        extra: More environment.
    """

    kubeconfig: str
    namespaces: tuple[str, ...]
    images: tuple[str, str]
    log: Path
    lease_namespace: str = "default"
    identity: str = "host"
    extra: Mapping[str, str] = field(default_factory=dict[str, str])
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0

    def start(self) -> Self:
        """Begin a life. The identity stays, so that a successor takes its Lease back at once."""
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelwright.runtime"], env=self._environment(), stdout=log, stderr=log
            )
        return self

    def kill(self) -> None:
        """SIGKILL: no farewell."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _environment(self) -> dict[str, str]:
        settings = {
            "NAMESPACES": ",".join(self.namespaces),
            "OPERATOR_IMAGE": self.images[0],
            "OPTIMIZER_IMAGE": self.images[1],
            "LEASE_NAME": f"modelwright-{self.namespaces[0]}",
            "LEASE_NAMESPACE": self.lease_namespace,
            "IDENTITY": self.identity,
            "METRICS_PORT": "0",
            "HEALTH_PORT": "0",
            "LOG_FORMAT": "text",
        }
        named = {f"MODELWRIGHT_{name}": value for name, value in {**settings, **self.extra}.items()}
        return {**os.environ, "KUBECONFIG": self.kubeconfig, "PYTHONUNBUFFERED": "1", **named}


@dataclass(frozen=True)
class InCluster:
    """The operator's Deployment."""

    name: str
    namespace: str
    replicas: int
    images: tuple[str, str]


def find_deployment(kube: Kube) -> InCluster | None:
    """The operator's Deployment, wherever it was installed."""
    found = kube.list("deployments", selector=IN_CLUSTER_SELECTOR, everywhere=True)
    return _described(found[0]) if found else None


def pods(kube: Kube, deployment: InCluster) -> list[Obj]:
    """The operator's pods."""
    return kube.list("pods", deployment.namespace, IN_CLUSTER_SELECTOR)


def restarts(kube: Kube, deployment: InCluster) -> dict[str, int]:
    """Restarts by UID of the operator's pods: equal before and after means that nothing happened to them."""
    found = pods(kube, deployment)
    return {pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"]["containerStatuses"]) for pod in found}


@contextmanager
def asleep(kube: Kube) -> Generator[InCluster]:
    """The operator in the cluster at 0 replicas, and back as it was afterwards."""
    found = find_deployment(kube)
    assert found, "the operator is not installed in this cluster: run `make demo`, or install the chart"
    scale = ("scale", f"deployment/{found.name}", f"--namespace={found.namespace}")
    kube.run(*scale, "--replicas=0")
    try:
        while pods(kube, found):
            time.sleep(0.5)
        yield found
    finally:
        kube.run(*scale, f"--replicas={max(found.replicas, 1)}")
        status = ("rollout", "status", f"deployment/{found.name}", f"--namespace={found.namespace}", "--timeout=180s")
        kube.run(*status, timeout=200)


def _described(deployment: Obj) -> InCluster:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    variables = {v["name"]: v.get("value", "") for c in containers for v in c.get("env", [])}
    images = (variables.get("MODELWRIGHT_OPERATOR_IMAGE", ""), variables.get("MODELWRIGHT_OPTIMIZER_IMAGE", ""))
    meta = deployment["metadata"]
    return InCluster(meta["name"], meta["namespace"], deployment["spec"].get("replicas", 1), images)
