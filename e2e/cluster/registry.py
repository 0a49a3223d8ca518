"""The one registry that all nodes pull from; it holds artifacts as well. Its content lives in the cache."""

import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message

from e2e.cluster import processes
from e2e.cluster.paths import CACHE, LOGS, STATE
from e2e.cluster.shell import ClusterError
from e2e.cluster.topology import REGISTRY

_NAME = "registry"
_CONFIG = f"""\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {CACHE}/registry}}
  delete: {{enabled: true}}
http: {{addr: "{REGISTRY}"}}
"""
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def up() -> None:
    """Start the registry unless it runs; the bridge must be there for its address."""
    if answers() and processes.alive(_NAME):
        return
    processes.stop(_NAME)
    (CACHE / "registry").mkdir(parents=True, exist_ok=True)
    config = STATE / "registry.yaml"
    config.write_text(_CONFIG)
    processes.remember(_NAME, processes.spawn(_NAME, ["/usr/bin/docker-registry", "serve", config]))
    if not processes.wait_until(lambda: answers() and processes.alive(_NAME) is not None, timeout=15):
        raise ClusterError(f"the registry does not answer at {REGISTRY}", log=LOGS / f"{_NAME}.log")


def down() -> None:
    """Stop the registry; its content stays."""
    processes.stop(_NAME)


def answers() -> bool:
    """Whether a registry answers at the address."""
    return _get("/v2/", "application/json") is not None


def labels(repository: str, tag: str) -> dict[str, str] | None:
    """The labels of an image, read from its configuration; None if the registry does not have it."""
    manifest = _get(f"/v2/{repository}/manifests/{tag}", _MANIFESTS)
    if manifest is None:
        return None
    digest = json.loads(manifest)["config"]["digest"]
    config = _get(f"/v2/{repository}/blobs/{digest}", "application/octet-stream")
    return None if config is None else json.loads(config).get("config", {}).get("Labels") or {}


def put_blob(repository: str, content: bytes) -> str:
    """Upload a blob in one request and return its digest."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    opened = _request("POST", f"/v2/{repository}/blobs/uploads/")
    location = urllib.parse.urlsplit(opened["Location"])
    query = f"{location.query}&digest={digest}".lstrip("&")
    _request("PUT", f"{location.path}?{query}", content)
    return digest


def has_blob(repository: str, digest: str) -> bool:
    """Whether the registry has a blob."""
    return _get(f"/v2/{repository}/blobs/{digest}", "application/octet-stream") is not None


def delete_blob(repository: str, digest: str) -> None:
    """Delete a blob."""
    _request("DELETE", f"/v2/{repository}/blobs/{digest}")


# The registry is on our own bridge: a proxy that the environment names must not get in between.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _get(path: str, accept: str) -> bytes | None:
    request = urllib.request.Request(f"http://{REGISTRY}{path}", headers={"Accept": accept})
    try:
        with _direct.open(request, timeout=5) as response:
            return response.read()
    except (urllib.error.URLError, OSError):
        return None


def _request(method: str, path: str, body: bytes = b"") -> Message:
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"http://{REGISTRY}{path}", body, headers, method=method)
    with _direct.open(request, timeout=5) as response:
        return response.headers
