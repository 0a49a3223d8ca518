"""What every pod of ours has in common: Pod Security `restricted`, the request, bounded scratch space."""

from modelwright import naming
from modelwright.api.model import Resources
from modelwright.api.policy import Pool
from modelwright.contract import paths
from modelwright.render.meta import Body

USER = 65532
REQUEST_VOLUME = "request"
TEMPORARY_VOLUME = "tmp"

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Set wherever numpy runs: left alone it starts a thread per core of the node, whatever share the pod has."""


def security() -> Body:
    """Fields of a pod's spec that Pod Security `restricted` asks for, and no token."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def container(name: str, image: str, command: list[str]) -> Body:
    """A container that can write only where a volume is, and whose last log lines reach its status."""
    return {
        "name": name,
        "image": image,
        "command": command,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The operator has no right to read logs.
        "terminationMessagePath": paths.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def environment(threads: int = 1) -> list[Body]:
    """Environment of a container that computes."""
    home = {"name": "HOME", "value": "/tmp"}  # noqa: S108 - an emptyDir of the pod's own
    return [home, *({"name": name, "value": str(threads)} for name in THREAD_VARIABLES)]


def placement(pool: Pool) -> Body:
    """Fields of a pod's spec that put it on the pool's hardware."""
    body: Body = {}
    if pool.node_selector:
        body["nodeSelector"] = dict(pool.node_selector)
    if pool.tolerations:
        body["tolerations"] = [t.model_dump(by_alias=True, exclude_none=True) for t in pool.tolerations]
    if pool.runtime_class_name:
        body["runtimeClassName"] = pool.runtime_class_name
    return body


def resources(chosen: tuple[Resources | None, ...], requests: dict[str, str], limits: dict[str, str]) -> Body:
    """Requests and limits: the first that says anything, completed by defaults for what it does not mention.

    An extended resource (``nvidia.com/gpu``) must be requested exactly as it is limited, so naming it once is
    enough. Memory always has a limit, for what runs here is a model that somebody else made.

    Args:
        chosen: The model's, then the pool's.
        requests: Defaults.
        limits: Defaults.
    """
    picked = next((r for r in chosen if r is not None and (r.requests or r.limits)), Resources())
    asked, bound = dict(picked.requests), dict(picked.limits)
    for name in sorted({*asked, *bound}):
        if "/" in name:
            asked[name] = bound[name] = bound.get(name, asked.get(name, "0"))
    if "memory" in asked:
        bound.setdefault("memory", asked["memory"])
    mentioned = {*asked, *bound}
    asked.update({name: value for name, value in requests.items() if name not in mentioned})
    bound.update({name: value for name, value in limits.items() if name not in mentioned})
    return {"requests": asked, "limits": bound}


def request_item() -> Body:
    """The request, out of the pod's own annotation: no ConfigMap to make, and gone with the pod."""
    reference = f"metadata.annotations['{naming.ANNOTATION_REQUEST}']"
    return {"path": paths.REQUEST_FILE.rpartition("/")[2], "fieldRef": {"fieldPath": reference}}


def request_mount() -> Body:
    """Where the volume with the request goes."""
    return {"name": REQUEST_VOLUME, "mountPath": paths.REQUEST_FILE.rpartition("/")[0], "readOnly": True}


def temporary(size: str) -> tuple[Body, Body]:
    """`/tmp`, as a volume and its mount."""
    return scratch(TEMPORARY_VOLUME, "/tmp", size)  # noqa: S108 - an emptyDir of the pod's own


def scratch(name: str, path: str, size: str, *, memory: bool = False) -> tuple[Body, Body]:
    """An empty folder of bounded size, as a volume and its mount."""
    empty: Body = {"sizeLimit": size}
    if memory:
        empty["medium"] = "Memory"
    return {"name": name, "emptyDir": empty}, {"name": name, "mountPath": path}


def secret(name: str, secret_name: str, path: str) -> tuple[Body, Body]:
    """A Secret, as a volume and its mount.

    Optional, so that the program itself reports which key is missing instead of a pod that never starts.
    """
    volume: Body = {"secretName": secret_name, "optional": True, "defaultMode": 0o444}
    return {"name": name, "secret": volume}, {"name": name, "mountPath": path, "readOnly": True}
