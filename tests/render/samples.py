"""The objects that these tests look at, by name."""

from collections.abc import Callable
from typing import Any

from modelwright.api.model import Job, ModelSpec, ParentRef
from modelwright.api.policy import Pool, SecretRef
from modelwright.contract.artifact import Recommendation, Signature, Tensor
from modelwright.contract.request import Data, Location, OptimizeRequest, ResolveRequest, Store
from modelwright.render import configmap, deployment, job, route, service
from modelwright.render.revision import Owner, Revision

Body = dict[str, Any]

OWNER = Owner(namespace="team", name="ranker", uid="8a4f1f9e-0f0e-4c9e-8f5c-2f6a6e1d2c3b")
STORE = Store(uri="oci://registry.example.com/modelwright", namespace="team")
ARTIFACT = "sha256:" + "a1" * 32
SOURCE = "sha256:" + "b2" * 32
CPU = {"name": "cpu", "hardwareClass": "cpu-avx512", "image": "triton.example.com/triton:1"}
GPU = {
    "name": "gpu",
    "hardwareClass": "l4",
    "image": "triton.example.com/triton:1",
    "nodeSelector": {"modelwright.dev/pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "resources": {"limits": {"nvidia.com/gpu": 1}},
    "runtimeClassName": "nvidia",
}


def recommendation(**changes: Any) -> Recommendation:
    """A recommendation for a model with a batch axis, with `changes`."""
    signature = Signature(
        inputs=(
            Tensor(name="features", data_type="FP32", dims=(64,)),
            Tensor(name="ids", data_type="INT64", dims=(-1,)),
        ),
        outputs=(Tensor(name="score", data_type="FP32", dims=(1,)),),
    )
    fields: Body = {
        "backend": "onnxruntime",
        "files": ("model.onnx",),
        "signature": signature,
        "batching": True,
        "max_batch_size": 32,
        "preferred_batch_sizes": (8, 32),
        "max_queue_delay_microseconds": 100,
        "load_seconds": 0.4,
        "memory_bytes": 90 * 2**20,
    }
    return Recommendation(**(fields | changes))


def revision(pool: Body = CPU, serving: Body | None = None, **changes: Any) -> Revision:
    """A revision on `pool`, served as `serving` says."""
    spec = ModelSpec.model_validate({"model": {"uri": "s3://models/ranker/"}, "serving": serving or {}})
    fields: Body = {
        "model_name": "ranker",
        "artifact": ARTIFACT,
        "source": SOURCE,
        "recommendation": recommendation(),
        "serving": spec.serving,
        "pool": Pool.model_validate(pool),
        "store": STORE,
    }
    return Revision(**(fields | changes))


def resolve_job() -> Body:
    """A Job that resolves a source on a claim, with credentials."""
    request = ResolveRequest(
        source=Location(uri="pvc://models/ranker/7/"), evaluation=Location(uri="s3://models/evaluation.npz")
    )
    return job.render_resolve_job(
        OWNER,
        "ranker-resolve-1a2b3c4d",
        request,
        image="modelwright.example.com/operator:1",
        secret=SecretRef(name="s3-credentials"),
        service_account="model-reader",
    )


def optimize_job(pool: Body = CPU, settings: Body | None = None) -> Body:
    """A Job that optimizes on `pool`."""
    request = OptimizeRequest(
        model="ranker",
        key="5f2c" * 16,
        source=Location(uri="s3://models/ranker/7/", digest=SOURCE),
        evaluation=Data(location=Location(uri="pvc://models/evaluation.npz"), metric="ndcg@10"),
        store=STORE,
    )
    return job.render_optimize_job(
        OWNER,
        "ranker-optimize-5f2c5f2c",
        request,
        image="modelwright.example.com/optimizer:1",
        pool=Pool.model_validate(pool),
        job=Job.model_validate(settings or {}),
        secret=SecretRef(name="s3-credentials"),
        store_secret=SecretRef(name="store-login"),
    )


def deployment_of(what: Revision) -> Body:
    """The Deployment of a revision."""
    return deployment.render_deployment(OWNER, what, operator_image="modelwright.example.com/operator:1")


def routes() -> tuple[Body, Body]:
    """Both routes, with a stable revision and a candidate."""
    parents = (ParentRef(name="modelwright", namespace="modelwright-gateway", section_name="http"),)
    slots = (route.Slot("1a2b3c4d", 900), route.Slot("5e6f7a8b", 100))
    http = route.render_http_route(OWNER, parents, ("ranker.team.models.local",), slots)
    grpc = route.render_grpc_route(OWNER, parents, ("ranker-grpc.team.models.local",), slots)
    return http, grpc


OBJECTS: dict[str, Callable[[], Body]] = {
    "resolve-job": resolve_job,
    "optimize-job": optimize_job,
    "optimize-job-gpu": lambda: optimize_job(GPU, {"activeDeadlineSeconds": 600}),
    "deployment": lambda: deployment_of(revision()),
    "deployment-gpu": lambda: deployment_of(revision(GPU, {"drainSeconds": 120})),
    "deployment-store-secret": lambda: deployment_of(revision(store_secret=SecretRef(name="store-login"))),
    "configmap": lambda: configmap.render_configmap(OWNER, revision()),
    "revision-service": lambda: service.render_revision_service(OWNER, revision().hash),
    "client-service": lambda: service.render_client_service(OWNER, revision().hash),
    "httproute": lambda: routes()[0],
    "grpcroute": lambda: routes()[1],
}
