"""Runs the load generator as a Job of the cluster, and reads its account back.

The closing line comes back as the container's termination message: it is in the API, whatever became of the logs.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from e2e.scenarios.kube import Kube, KubectlError, Obj

RESULT: Final = "/dev/termination-log"
LABEL: Final = "modelwright.dev/load"
START_SECONDS: Final = 180.0
_PAYLOAD: Final = "payload.json"


class LoadError(Exception):
    """There is no account; the text says why."""


@dataclass(frozen=True)
class Load:
    """What to send, and from where.

    Attributes:
        image: Of the load generator.
        address: ``host:port`` of the gateway, as pods reach it.
        host: Host name of the model.
        payload: A KServe v2 request, or one with its expected outputs; see `e2e.load.load`.
        rate: Requests a second.
        seconds: Longest time; `Running.stop` ends it earlier.
    """

    name: str
    namespace: str
    image: str
    protocol: str
    address: str
    host: str
    model: str
    payload: Mapping[str, Any]
    rate: float = 20.0
    seconds: float = 60.0
    timeout: float = 10.0

    def objects(self) -> list[Obj]:
        """A ConfigMap with the payload, and the Job."""
        metadata = {"name": self.name, "namespace": self.namespace, "labels": {LABEL: self.name}}
        payload = {_PAYLOAD: json.dumps(self.payload)}
        pod: Obj = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [self._container()],
            "volumes": [{"name": "payload", "configMap": {"name": self.name}}],
        }
        job: Obj = {
            "backoffLimit": 0,  # a second run would send everything twice
            "activeDeadlineSeconds": int(self.seconds + self.timeout + START_SECONDS),
            "ttlSecondsAfterFinished": 3600,
            "template": {"metadata": {"labels": {LABEL: self.name}}, "spec": pod},
        }
        return [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": payload},
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job},
        ]

    def _container(self) -> Obj:
        words = {
            "protocol": self.protocol,
            "address": self.address,
            "host": self.host,
            "model": self.model,
            "payload": f"/payload/{_PAYLOAD}",
            "rate": f"{self.rate:g}",
            "seconds": f"{self.seconds:g}",
            "timeout": f"{self.timeout:g}",
            "result": RESULT,
        }
        return {
            "name": "load",
            "image": self.image,
            "args": [f"--{name}={value}" for name, value in words.items()],
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": "payload", "mountPath": "/payload", "readOnly": True}],
        }


@dataclass(frozen=True)
class Running:
    """A Job that sends."""

    kube: Kube
    load: Load

    def wait_started(self) -> None:
        """Wait until requests are on their way.

        Raises:
            LoadError: The pod does not start.
        """
        end = time.monotonic() + START_SECONDS
        while True:
            pod = self._pod()
            phase = pod.get("status", {}).get("phase", "no pod yet")
            if phase in {"Running", "Succeeded"}:
                return
            if phase == "Failed" or time.monotonic() > end:
                raise LoadError(f"load {self.load.name} does not run: {_why(pod)}")
            time.sleep(0.3)

    def stop(self) -> None:
        """End the schedule; what is in flight is still waited for."""
        name = self._pod().get("metadata", {}).get("name", "")
        try:
            words = ("exec", name, f"--namespace={self.load.namespace}", "--", "sh", "-c", "kill -TERM 1")
            self.kube.run(*words)
        except KubectlError:
            if self._pod().get("status", {}).get("phase") == "Running":
                raise

    def result(self) -> dict[str, Any]:
        """Wait for the end; the account of `e2e.load.load`.

        Raises:
            LoadError: There is none.
        """
        end = time.monotonic() + self.load.seconds + self.load.timeout + START_SECONDS
        while time.monotonic() < end:
            pod = self._pod()
            if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
                message = _ended(pod).get("message", "")
                if message.startswith("{"):
                    return json.loads(message)
                raise LoadError(f"load {self.load.name} ended without an account: {_why(pod)}")
            time.sleep(0.5)
        raise LoadError(f"load {self.load.name} does not end: {_why(self._pod())}")

    def remove(self) -> None:
        """Remove the Job and its payload."""
        for kind in ("job", "configmap"):
            self.kube.delete(kind, self.load.name, self.load.namespace, wait=False)

    def _pod(self) -> Obj:
        found = self.kube.list("pods", self.load.namespace, f"{LABEL}={self.load.name}")
        return found[0] if found else {}


def start(kube: Kube, load: Load) -> Running:
    """Begin to send; a former run of the same name is removed."""
    kube.delete("job", load.name, load.namespace)
    kube.apply(*load.objects())
    return Running(kube, load)


def lost(result: Mapping[str, Any]) -> int:
    """Requests that did not get the right answer, or could not be sent when they were due."""
    return int(result["planned"]) - int(result["ok"])


def _ended(pod: Obj) -> Obj:
    for container in pod.get("status", {}).get("containerStatuses", []):
        return container.get("state", {}).get("terminated") or {}
    return {}


def _why(pod: Obj) -> str:
    """The first word of trouble in a pod's status."""
    status = pod.get("status", {})
    ended = _ended(pod)
    if ended:
        return f"exit {ended.get('exitCode')}, {ended.get('reason')}: {ended.get('message', '')[:300]}"
    for container in status.get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason')}: {waiting.get('message', '')[:300]}"
    refused = [c for c in status.get("conditions", []) if c.get("status") == "False" and c.get("message")]
    return refused[0]["message"] if refused else status.get("phase", "there is no pod")
