"""Jobs: one resolves URIs to digests, one optimizes. Made once and never changed."""

import re
from dataclasses import dataclass

from modelwright import naming
from modelwright.api.conditions import Reason
from modelwright.api.fields import SUBDOMAIN_PATTERN
from modelwright.api.model import Job
from modelwright.api.policy import Pool, SecretRef
from modelwright.contract import paths
from modelwright.contract.base import Message
from modelwright.contract.request import OptimizeRequest, ResolveRequest
from modelwright.errors import InputError
from modelwright.render import pod
from modelwright.render.meta import Body, labels, metadata
from modelwright.render.revision import Owner

RESOLVE_MODULE = "modelwright.agent.resolve"
OPTIMIZE_MODULE = "modelwright.optimizer"
RESOLVE_DEADLINE_SECONDS = 300
KEPT_SECONDS = 3600
"""How long a finished Job stays. Its result is in status long before."""

RESOLVE_REQUESTS = {"cpu": "50m", "memory": "64Mi"}
RESOLVE_LIMITS = {"memory": "512Mi"}
OPTIMIZE_REQUESTS = {"cpu": "500m", "memory": "512Mi"}
OPTIMIZE_LIMITS = {"memory": "2Gi"}

# A source may have 20 GiB (`contract.request.Fetching`); an optimizer holds it beside its candidates.
RESOLVE_SCRATCH = "20Gi"
OPTIMIZE_SCRATCH = "64Gi"
TEMPORARY_SIZE = "4Gi"

NEVER_MOVE = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}
"""A measurement that is moved in the middle is lost."""


@dataclass(frozen=True)
class _Work:
    """What tells one kind of Job from the other."""

    stage: str
    module: str
    image: str
    request: Message
    uris: tuple[str, ...]
    secrets: tuple[tuple[str, SecretRef | None, str], ...]
    scratch: str
    resources: Body
    deadline: int
    placement: Body


def render_resolve_job(
    owner: Owner,
    name: str,
    request: ResolveRequest,
    *,
    image: str,
    secret: SecretRef | None = None,
    service_account: str | None = None,
) -> Body:
    """The Job that turns the URIs of `request` into digests."""
    work = _Work(
        stage=naming.STAGE_RESOLVE,
        module=RESOLVE_MODULE,
        image=image,
        request=request,
        uris=_uris(request),
        secrets=(("secret", secret, paths.SECRET_DIR),),
        scratch=RESOLVE_SCRATCH,
        resources=pod.resources((), RESOLVE_REQUESTS, RESOLVE_LIMITS),
        deadline=RESOLVE_DEADLINE_SECONDS,
        placement=_account(service_account),
    )
    return _job(owner, name, work)


def render_optimize_job(  # noqa: PLR0913 - each from another part of the spec or the policy
    owner: Owner,
    name: str,
    request: OptimizeRequest,
    *,
    image: str,
    pool: Pool,
    job: Job,
    secret: SecretRef | None = None,
    store_secret: SecretRef | None = None,
) -> Body:
    """The Job that turns the source of `request` into an artifact, on the hardware of `pool`."""
    work = _Work(
        stage=naming.STAGE_OPTIMIZE,
        module=OPTIMIZE_MODULE,
        image=image,
        request=request,
        uris=_uris(request),
        secrets=(
            ("secret", secret, paths.SECRET_DIR),
            ("store-secret", store_secret, paths.STORE_SECRET_DIR),
        ),
        scratch=OPTIMIZE_SCRATCH,
        resources=pod.resources((job.resources, pool.resources), OPTIMIZE_REQUESTS, OPTIMIZE_LIMITS),
        deadline=job.active_deadline_seconds,
        placement=_account(job.service_account_name) | pod.placement(pool),
    )
    return _job(owner, name, work)


def _job(owner: Owner, name: str, work: _Work) -> Body:
    """A Job of one pod that is never retried here: whether to try again is decided from its answer."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, name, stage=work.stage),
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": work.deadline,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            # A drained node is nobody's failure; the pod starts anew once the old one is gone.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {
                "metadata": {
                    "labels": labels(owner, work.stage),
                    "annotations": {naming.ANNOTATION_REQUEST: work.request.to_json(), **NEVER_MOVE},
                },
                "spec": _pod_spec(work),
            },
        },
    }


def _pod_spec(work: _Work) -> Body:
    mounted = [
        pod.scratch("work", paths.WORK_DIR, work.scratch),
        pod.temporary(TEMPORARY_SIZE),
        *(pod.secret(name, ref.name, path) for name, ref, path in work.secrets if ref),
        *_claims(work.uris),
    ]
    request: Body = {"name": pod.REQUEST_VOLUME, "downwardAPI": {"items": [pod.request_item()]}}
    container = pod.container(work.stage, work.image, ["python3", "-m", work.module])
    container["env"] = pod.environment()
    container["resources"] = work.resources
    container["volumeMounts"] = [pod.request_mount(), *(mount for _, mount in mounted)]
    return {
        **pod.security(),
        **work.placement,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [request, *(volume for volume, _ in mounted)],
    }


def _account(service_account: str | None) -> Body:
    return {"serviceAccountName": service_account} if service_account else {}


def _uris(request: ResolveRequest | OptimizeRequest) -> tuple[str, ...]:
    if isinstance(request, ResolveRequest):
        locations = (request.source, request.calibration, request.evaluation)
    else:
        data = (request.calibration, request.evaluation)
        locations = (request.source, *(d.location for d in data if d))
    return tuple(location.uri for location in locations if location)


def _claims(uris: tuple[str, ...]) -> list[tuple[Body, Body]]:
    """A read-only volume and its mount for each claim that a ``pvc://claim/path`` names.

    Read-only on the volume too, not only on the mount: else the kubelet gives all its files to our group.
    """
    claims = sorted({uri.removeprefix("pvc://").partition("/")[0] for uri in uris if uri.startswith("pvc://")})
    for claim in claims:
        if not re.fullmatch(SUBDOMAIN_PATTERN, claim) or ".." in claim:
            raise InputError(
                Reason.INVALID_SPEC,
                f"`pvc://{claim}` names no PersistentVolumeClaim.",
                "Use pvc://claim/path.",
            )
    return [
        (
            {"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}},
            {"name": f"claim-{index}", "mountPath": f"{paths.PVC_DIR}/{claim}", "readOnly": True},
        )
        for index, claim in enumerate(claims)
    ]
