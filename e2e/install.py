"""Installs the chart with Helm, as a user does, with the images that a registry holds under one tag.

`python -m e2e.install` for a shell; `Site` and `install` for the demo and the tests. Images are pinned by the digests
that the tag has right now: a tag that moved means new pods, and one that did not means none.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from e2e.scenarios.kube import ROOT, Kube

Values = Mapping[str, Any]

RELEASE: Final = "modelwright"
NAMESPACE: Final = "modelwright-system"
CHART: Final = ROOT / "charts" / "modelwright"
GATEWAY: Final = {"name": "modelwright", "namespace": "modelwright-gateway"}
DOMAIN: Final = "models.local"
BUSY: Final = "another operation"
PATIENCE_SECONDS: Final = 60.0
IMAGES: Final = ("operator", "optimizer", "triton-cpu")
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class InstallError(Exception):
    """The chart cannot be installed; the text says why and what to do."""


@dataclass(frozen=True)
class Site:
    """A cluster, and the registry that it pulls from.

    Attributes:
        registry: ``host[:port]``, under which nodes and this machine both reach it.
        insecure: Plain HTTP.
        tag: Of the images.
    """

    kube: Kube
    registry: str
    insecure: bool = True
    tag: str = "dev"

    def image(self, name: str) -> str:
        """Repository of one of our images."""
        return f"{self.registry}/modelwright/{name}"

    def digest(self, name: str) -> str:
        """Digest of one of our images.

        Raises:
            InstallError: The registry does not have it.
        """
        scheme = "http" if self.insecure else "https"
        url = f"{scheme}://{self.registry}/v2/modelwright/{name}/manifests/{self.tag}"
        try:
            request = urllib.request.Request(url, headers={"Accept": _MANIFESTS})  # noqa: S310 - http or https
            with _direct.open(request, timeout=30) as answer:
                return f"sha256:{hashlib.sha256(answer.read()).hexdigest()}"
        except (urllib.error.URLError, OSError) as error:
            raise InstallError(
                f"{self.image(name)}:{self.tag} cannot be read: {error}; {self._remedy(name)}"
            ) from error

    def _remedy(self, name: str) -> str:
        if name in IMAGES:
            return f"`make images REGISTRY={self.registry}` builds and pushes it"
        return f"build e2e/{name} as {self.image(name)}:{self.tag} and push it"


def values(site: Site) -> dict[str, Any]:
    """The chart's values: everything from the site's registry, CPU and GPU pools, routes through the gateway."""
    digests = {name: site.digest(name) for name in IMAGES}
    triton = f"{site.image('triton-cpu')}@{digests['triton-cpu']}"
    return {
        "dev": True,
        "imageRegistry": site.registry,
        "image": {"digest": digests["operator"]},
        "optimizer": {"image": {"digest": digests["optimizer"]}},
        "policy": {
            "domain": DOMAIN,
            "cpuPool": {"image": triton, "hardwareClass": "cpu"},
            "pools": [
                {
                    "name": "gpu",
                    "hardwareClass": "gpu",
                    "image": triton,
                    "nodeSelector": {"modelwright.dev/pool": "gpu"},
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                }
            ],
            "artifactStore": {"uri": f"oci://{site.registry}/modelwright", "insecure": site.insecure},
            "sources": {"insecureRegistries": [site.registry] if site.insecure else []},
            "gateway": {"parentRefs": [GATEWAY]},
        },
    }


def install(site: Site, overrides: Values | None = None, timeout: str = "3m") -> None:
    """Install or upgrade the chart and wait until the operator runs.

    Args:
        site: Where.
        overrides: Merged over `values`, deeply.
        timeout: Helm's.

    Raises:
        InstallError: An image is missing, or Helm failed; the text ends with what the pods say.
    """
    merged = merge(values(site), overrides or {})
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "values.json")
        file.write_text(json.dumps(merged))
        words = ["upgrade", "--install", RELEASE, str(CHART), "--create-namespace", "--values", str(file)]
        done = _helm(site.kube, [*words, "--wait", f"--timeout={timeout}"])
        if done.returncode and BUSY in done.stderr:
            _await_other_helm(site.kube)
            done = _helm(site.kube, [*words, "--wait", f"--timeout={timeout}"])
    if done.returncode:
        raise InstallError(f"helm: {(done.stderr or done.stdout).strip()}\n{_pods(site.kube)}")


def _await_other_helm(kube: Kube) -> None:
    """Wait for another Helm to finish; one that was killed never does, so its unfinished release is forgotten."""
    end = time.monotonic() + PATIENCE_SECONDS
    selector = f"owner=helm,name={RELEASE},status in (pending-install,pending-upgrade,pending-rollback)"
    while pending := kube.list("secrets", NAMESPACE, selector):
        if time.monotonic() > end:
            for release in pending:
                kube.delete("secret", release["metadata"]["name"], NAMESPACE)
            return
        time.sleep(2)


def merge(base: Values, over: Values) -> dict[str, Any]:
    """`base` with `over` laid upon it, mapping by mapping."""
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = merge(cast("Values", below), cast("Values", value)) if _both_mappings(below, value) else value
    return merged


def _both_mappings(one: object, other: object) -> bool:
    return isinstance(one, Mapping) and isinstance(other, Mapping)


def plain_http(registry: str) -> bool:
    """Whether a registry answers over HTTP without TLS."""
    try:
        _direct.open(f"http://{registry}/v2/", timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code != 400  # what a TLS port answers to plain HTTP
    except OSError:
        return False
    return True


def _helm(kube: Kube, words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    own = ROOT / "bin" / "helm"
    program = str(own) if own.exists() else shutil.which("helm")
    if program is None:
        raise InstallError("there is no helm: run `make cluster`, or put one on the PATH")
    place = [f"--namespace={NAMESPACE}"]
    place += [f"--kubeconfig={kube.kubeconfig}"] if kube.kubeconfig else []
    place += [f"--kube-context={kube.context}"] if kube.context else []
    return subprocess.run([program, *words, *place], capture_output=True, text=True, check=False)


def _pods(kube: Kube) -> str:
    """What the operator's pods say: with Helm's time-out alone nobody knows why."""
    found = subprocess.run(
        kube.command("get", "pods", f"--namespace={NAMESPACE}", "--output=wide"),
        capture_output=True,
        text=True,
        check=False,
    )
    logs = subprocess.run(
        kube.command("logs", f"deployment/{RELEASE}", f"--namespace={NAMESPACE}", "--tail=8"),
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{found.stdout}{logs.stdout}{logs.stderr}".strip()


def main() -> int:
    """Install as the environment says: KUBECONFIG, CONTEXT, REGISTRY and TAG."""
    parser = argparse.ArgumentParser(description="Install the chart into the cluster that KUBECONFIG or CONTEXT names.")
    parser.add_argument("--registry", default=os.environ.get("REGISTRY"), help="or $REGISTRY")
    parser.add_argument("--tag", default=os.environ.get("TAG", "dev"), help="or $TAG")
    asked = parser.parse_args()
    if not asked.registry:
        parser.error("name the registry that holds the images")
    site = Site(Kube.from_environment(), asked.registry, plain_http(asked.registry), asked.tag)
    try:
        install(site)
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
