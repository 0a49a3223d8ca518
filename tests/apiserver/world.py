"""An API server with real controllers, a played kubelet, and identities for operators."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.apiserver import LocalApiServer
from e2e.scenarios.kube import MODELS, ROOT, Kube, Obj
from e2e.scenarios.operators import OperatorProcess
from e2e.scenarios.place import model_object
from tests.builders import SOURCE, make_policy

WRITES = {"create", "update", "patch", "delete"}
NOT_COUNTED = {"leases", "events"}
IMAGES = ("registry.example/operator:1", "registry.example/optimizer:1")
LONG = 120.0
"""Seconds: a bound on hanging, far above what anything here takes."""


@dataclass(frozen=True)
class Request:
    """A request as the audit log has it."""

    user: str
    verb: str
    resource: str
    name: str
    code: int

    @property
    def writes(self) -> bool:
        return self.verb in WRITES and not self.resource.startswith(tuple(NOT_COUNTED))

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}/{self.name} {self.code}"


@dataclass
class World:
    """One API server and what stands around it."""

    server: LocalApiServer
    folder: Path
    kube: Kube
    read: int = 0
    _requests: list[Request] = field(default_factory=list[Request])

    def make_namespace(self, name: str) -> str:
        self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def make_user(self, name: str) -> Path:
        """A kubeconfig of a service account of its own, so that the audit log tells operators apart."""
        account: Obj = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        self.kube.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": name},
                "roleRef": role,
                "subjects": [account],
            },
        )
        token = self.kube.run("create", "token", name, "--namespace=default", "--duration=2h").strip()
        return self.write_kubeconfig(name, self.server.url, token)

    def write_kubeconfig(self, name: str, url: str, token: str = "") -> Path:
        """A kubeconfig for a URL; without a token it takes the one that `make_user` wrote under the same name."""
        path = self.folder / f"{name}.kubeconfig"
        config = yaml.safe_load(self.server.kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        if not token:
            token = yaml.safe_load(path.read_text())["users"][0]["user"]["token"]
        kept = {"server": url} if url.startswith("http:") else {**cluster, "server": url}
        config["clusters"][0]["cluster"] = kept
        config["users"][0]["user"] = {"token": token}
        target = path if url == self.server.url else path.with_suffix(".proxied")
        target.write_text(yaml.safe_dump(config))
        return target

    def operator(self, namespace: str, kubeconfig: Path, identity: str = "one", **extra: str) -> OperatorProcess:
        log = self.folder / f"operator-{namespace}-{identity}.log"
        return OperatorProcess(str(kubeconfig), (namespace,), IMAGES, log, namespace, identity, extra)

    def apply(self, namespace: str, name: str, **spec: Any) -> None:
        """The smallest useful model, its digest given unless `spec` says otherwise."""
        model = {"uri": "s3://models/ranker/7/", "digest": SOURCE}
        self.kube.apply(model_object(namespace, name, {"model": model, **spec}))

    def wait(self, namespace: str, name: str, condition: Callable[[Obj], bool], what: str) -> Obj:
        """Ask until the model is so."""
        end = time.monotonic() + LONG
        found: Obj | None = None
        while time.monotonic() < end:
            found = self.kube.find(MODELS, name, namespace)
            if found is not None and condition(found):
                return found
            time.sleep(0.2)
        conditions = (found or {}).get("status", {}).get("conditions")
        raise AssertionError(f"{name}: {what} not within {LONG:.0f} s: {json.dumps(conditions, indent=1)}")

    def requests(self, user: str) -> list[Request]:
        """All requests of a service account so far, oldest first."""
        return [request for request in self._log() if request.user.endswith(f":{user}")]

    def writes(self, user: str) -> list[Request]:
        return [request for request in self.requests(user) if request.writes]

    def quiet_writes(self, user: str, still: float = 3.0) -> list[Request]:
        """Writes so far, once there was no new one for a while."""
        before, since = self.writes(user), time.monotonic()
        while time.monotonic() - since < still:
            time.sleep(0.3)
            now = self.writes(user)
            if len(now) != len(before):
                before, since = now, time.monotonic()
        return before

    def _log(self) -> list[Request]:
        with self.server.audit_log.open() as log:
            log.seek(self.read)
            for line in log:
                if not line.endswith("\n"):
                    break  # still being written
                self.read += len(line.encode())
                self._requests += _parsed(json.loads(line))
        return self._requests


def _parsed(event: dict[str, Any]) -> Iterator[Request]:
    about = event.get("objectRef")
    if event["stage"] == "ResponseComplete" and about and event["verb"] != "watch":
        resource = "/".join(filter(None, (about.get("resource", ""), about.get("subresource", ""))))
        code = event.get("responseStatus", {}).get("code", 0)
        yield Request(event["user"]["username"], event["verb"], resource, about.get("name", ""), code)


def install(kube: Kube) -> None:
    """CRDs and a policy without a gateway: there is none here."""
    kube.run("apply", "--server-side", f"--filename={ROOT / 'crds'}")
    for crd in ("optimizedmodels", "servingpolicies"):
        kube.run("wait", "--for=condition=Established", f"crd/{crd}.modelwright.dev", "--timeout=60s")
    spec = make_policy(rollout={}).spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    policy = {"apiVersion": "modelwright.dev/v1alpha1", "kind": "ServingPolicy", "metadata": {"name": "default"}}
    kube.apply({**policy, "spec": spec})
