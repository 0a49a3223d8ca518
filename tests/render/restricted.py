"""Pod Security `restricted`, read from its own page: what keeps a pod out, as sentences."""

from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]

VOLUME_KINDS = {"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
PROJECTED_KINDS = {"configMap", "downwardAPI"}


def violations(spec: Body) -> list[str]:
    """What is wrong with a pod's spec; also a token, which `restricted` would allow."""
    return [*_of_pod(spec), *(text for c in _containers(spec) for text in _of_container(c))]


def _containers(spec: Body) -> list[Body]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def _of_pod(spec: Body) -> Iterator[str]:
    security = spec.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or security.get("runAsUser") in (None, 0):
        yield "may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if security.get("sysctls"):
        yield "sets sysctls"
    if spec.get("automountServiceAccountToken") is not False:
        yield "mounts a token"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"sets {field}"
    yield from _of_volumes(spec.get("volumes", []))


def _of_volumes(volumes: list[Body]) -> Iterator[str]:
    for volume in volumes:
        (kind,) = set(volume) - {"name"}
        if kind not in VOLUME_KINDS:
            yield f"has a volume of kind {kind}"
        for source in volume.get("projected", {}).get("sources", []):
            if not set(source) <= PROJECTED_KINDS:
                yield f"projects {sorted(source)}"


def _of_container(container: Body) -> Iterator[str]:
    security = container.get("securityContext", {})
    name = container["name"]
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may escalate"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{name} keeps capabilities"
    if security.get("readOnlyRootFilesystem") is not True:
        yield f"{name} may write to its image"
    if security.get("privileged") or "runAsUser" in security or "procMount" in security:
        yield f"{name} overrides the pod"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{name} takes a port of the node"
