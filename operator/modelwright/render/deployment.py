"""The Deployment of a revision: an init container that lays the artifact down, and Triton.

There is no `replicas` in it, ever: replicas are written through the scale subresource, and a field that only
we own would go back to 1 if we dropped it later.
"""

import math

from modelwright import naming
from modelwright.contract import paths
from modelwright.contract.artifact import Recommendation
from modelwright.contract.request import FetchRequest
from modelwright.render import pod, server, triton
from modelwright.render.configmap import CONFIG_KEY
from modelwright.render.meta import Body, labels, metadata, selector
from modelwright.render.revision import Owner, Revision

FETCH_MODULE = "modelwright.agent.fetch"
FETCH_REQUESTS = {"cpu": "50m", "memory": "64Mi"}
FETCH_LIMITS = {"memory": "512Mi"}

SERVE_REQUESTS = {"cpu": "200m"}
SMALLEST_REQUEST_MIB = 256
SMALLEST_LIMIT_MIB = 1024

PRESTOP_SECONDS = 5
"""Time for gateways and kube-proxies to forget the pod before Triton stops: without it requests were lost."""
GRACE_MARGIN_SECONDS = 15
"""Triton unloads its models after the drain; SIGKILL in the middle of that loses answers."""

SMALLEST_DEADLINE_SECONDS = 600

REPOSITORY_SIZE = "20Gi"
PROBE_SIZE = "64Mi"
SHARED_MEMORY_SIZE = "512Mi"
TEMPORARY_SIZE = "1Gi"


def render_deployment(owner: Owner, revision: Revision, *, operator_image: str) -> Body:
    """The Deployment of `revision`; its pod template depends on nothing else."""
    digests = {naming.ANNOTATION_ARTIFACT: revision.artifact, naming.ANNOTATION_SOURCE: revision.source}
    stamped = {**digests, naming.ANNOTATION_MODEL: revision.model_name}
    name = naming.revision_name(owner.name, revision.hash)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(owner, name, revision=revision.hash, annotations=stamped),
        "spec": {
            "selector": {"matchLabels": selector(owner, revision.hash)},
            # A failing pod is judged by its own cause long before this; here speaks the Deployment itself.
            "progressDeadlineSeconds": _progress_deadline(revision.recommendation),
            "revisionHistoryLimit": 0,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": labels(owner, naming.STAGE_SERVE, revision.hash),
                    "annotations": _pod_annotations(revision),
                },
                "spec": _pod_spec(owner, revision, operator_image),
            },
        },
    }


def _pod_annotations(revision: Revision) -> dict[str, str]:
    request = FetchRequest(model=revision.model_name, digest=revision.artifact, store=revision.store)
    return {
        naming.ANNOTATION_REQUEST: request.to_json(),
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(naming.PORT_METRICS),
        "prometheus.io/path": "/metrics",
    }


def _pod_spec(owner: Owner, revision: Revision, operator_image: str) -> Body:
    repository, repository_mount = pod.scratch("models", paths.REPOSITORY_DIR, REPOSITORY_SIZE)
    probe, probe_mount = pod.scratch("probe", paths.PROBE_DIR, PROBE_SIZE)
    shared, shared_mount = pod.scratch("shared-memory", "/dev/shm", SHARED_MEMORY_SIZE, memory=True)  # noqa: S108 - bounded
    temporary, temporary_mount = pod.temporary(TEMPORARY_SIZE)
    volumes = [_request_volume(owner, revision), repository, probe, shared, temporary]
    fetch_mounts = [pod.request_mount(), repository_mount, probe_mount, temporary_mount]
    if revision.store_secret:
        volume, mount = pod.secret("store-secret", revision.store_secret.name, paths.STORE_SECRET_DIR)
        volumes.append(volume)
        fetch_mounts.append(mount)
    read_only = [{**mount, "readOnly": True} for mount in (repository_mount, probe_mount)]
    return {
        **pod.security(),
        **pod.placement(revision.pool),
        "terminationGracePeriodSeconds": PRESTOP_SECONDS + revision.serving.drain_seconds + GRACE_MARGIN_SECONDS,
        "topologySpreadConstraints": _spread(owner, revision.hash),
        "initContainers": [_fetch(operator_image, fetch_mounts)],
        "containers": [_triton(revision, [*read_only, shared_mount, temporary_mount])],
        "volumes": volumes,
    }


def _request_volume(owner: Owner, revision: Revision) -> Body:
    """Request and `config.pbtxt` in one volume: a mount cannot be nested in a read-only one."""
    folder = paths.REQUEST_FILE.rpartition("/")[0]
    config: Body = {
        "name": naming.revision_name(owner.name, revision.hash),
        "items": [{"key": CONFIG_KEY, "path": f"{paths.CONFIG_DIR.removeprefix(f'{folder}/')}/{CONFIG_KEY}"}],
    }
    sources = [{"downwardAPI": {"items": [pod.request_item()]}}, {"configMap": config}]
    return {"name": pod.REQUEST_VOLUME, "projected": {"sources": sources}}


def _fetch(image: str, mounts: list[Body]) -> Body:
    container = pod.container("fetch", image, ["python3", "-m", FETCH_MODULE])
    container["env"] = pod.environment()
    container["resources"] = pod.resources((), FETCH_REQUESTS, FETCH_LIMITS)
    container["volumeMounts"] = mounts
    return container


def _triton(revision: Revision, mounts: list[Body]) -> Body:
    container = pod.container("triton", revision.pool.image, server.command(revision.serving.drain_seconds))
    container["env"] = [
        server.admin_environment(),
        *pod.environment(revision.recommendation.intra_op_threads),
    ]
    container["ports"] = server.ports()
    container["resources"] = _resources(revision)
    container["volumeMounts"] = mounts
    container["lifecycle"] = {"preStop": {"sleep": {"seconds": PRESTOP_SECONDS}}}
    container.update(server.probes(revision.model_name, revision.recommendation.load_seconds))
    return container


def _resources(revision: Revision) -> Body:
    """The model's, else the pool's, else defaults that grow with the measured memory of the loaded model."""
    copies = triton.instance_count(revision.recommendation, revision.serving)
    loaded = math.ceil(revision.recommendation.memory_bytes / 2**20) * copies
    request = max(SMALLEST_REQUEST_MIB, SMALLEST_REQUEST_MIB // 2 + loaded)
    limit = max(SMALLEST_LIMIT_MIB, SMALLEST_LIMIT_MIB // 2 + 2 * loaded)
    chosen = (revision.serving.resources, revision.pool.resources)
    return pod.resources(chosen, {**SERVE_REQUESTS, "memory": _quantity(request)}, {"memory": _quantity(limit)})


def _quantity(mebibytes: int) -> str:
    """Mebibytes as the API server writes them back, so that what is asked for equals what is stored."""
    return f"{mebibytes}Mi" if mebibytes % 1024 else f"{mebibytes // 1024}Gi"


def _progress_deadline(recommendation: Recommendation) -> int:
    """Longer than the start-up probe's patience, with as much again to pull images and fetch the artifact."""
    return max(SMALLEST_DEADLINE_SECONDS, 2 * server.startup_seconds(recommendation.load_seconds))


def _spread(owner: Owner, revision: str) -> list[Body]:
    """Pods apart by zone, then by node, where there is a choice."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(owner, revision)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
