"""The one way in which tests make models, policies and snapshots: `make_model().with_replicas(2).spec`."""

from dataclasses import dataclass, field, replace
from typing import Any

from modelwright.api.model import ModelSpec
from modelwright.api.policy import PolicySpec
from modelwright.api.status import ModelStatus
from modelwright.contract import digest
from modelwright.contract.artifact import Recommendation, Signature, Tensor
from modelwright.contract.result import Figures, OptimizeResult, Quality, ResolveResult, Summary
from modelwright.core.snapshot import Images, ObservedModel, ObservedPolicy, Snapshot

SOURCE = digest.of_bytes(b"source")
ARTIFACT = digest.of_bytes(b"artifact")
IMAGES = Images(operator="registry.example/operator:1", optimizer="registry.example/optimizer:1")

RECOMMENDATION = Recommendation(
    backend="onnxruntime",
    files=("model.onnx",),
    signature=Signature(
        inputs=(Tensor(name="x", data_type="FP32", dims=(4,)),),
        outputs=(Tensor(name="y", data_type="FP32", dims=(2,)),),
    ),
    batching=True,
    max_batch_size=32,
)


@dataclass(frozen=True)
class ModelBuilder:
    """An OptimizedModel in the making; every method returns a new builder."""

    name: str = "ranker"
    generation: int = 1
    spec_json: dict[str, Any] = field(default_factory=lambda: {"model": {"uri": "s3://models/ranker/7/"}})
    annotations: dict[str, str] = field(default_factory=dict[str, str])
    status: ModelStatus = field(default_factory=ModelStatus)

    def named(self, name: str) -> "ModelBuilder":
        return replace(self, name=name)

    def with_spec(self, **parts: Any) -> "ModelBuilder":
        return replace(self, spec_json={**self.spec_json, **parts}, generation=self.generation + 1)

    def with_digest(self, value: str = SOURCE) -> "ModelBuilder":
        return self.with_spec(model={**self.spec_json["model"], "digest": value})

    def with_replicas(self, count: int) -> "ModelBuilder":
        return self.with_spec(replicas=count)

    def with_action(self, action: str) -> "ModelBuilder":
        return replace(self, annotations={"modelwright.dev/action": action})

    def with_status(self, status: ModelStatus) -> "ModelBuilder":
        return replace(self, status=status)

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec.model_validate(self.spec_json)

    def observed(self) -> ObservedModel:
        return ObservedModel(
            namespace="vision",
            name=self.name,
            uid="uid-1",
            generation=self.generation,
            resource_version="1",
            deleting=False,
            annotations=self.annotations,
            spec=self.spec,
            status=self.status,
            status_json=self.status.model_dump(mode="json", by_alias=True, exclude_none=True),
        )


def make_model() -> ModelBuilder:
    """The smallest useful model."""
    return ModelBuilder()


def make_policy(**parts: Any) -> ObservedPolicy:
    """A policy with the pools `cpu` and `gpu`, a gateway and a store."""
    body: dict[str, Any] = {
        "pools": [
            {"name": "cpu", "hardwareClass": "cpu", "image": "triton:1"},
            {"name": "gpu", "hardwareClass": "gpu", "image": "triton:1", "nodeSelector": {"pool": "gpu"}},
        ],
        "optimization": {"artifactStore": {"uri": "oci://registry.example/modelwright"}},
        "rollout": {"defaults": {"gateway": {"parentRefs": [{"name": "modelwright", "namespace": "gateways"}]}}},
    } | parts
    spec = PolicySpec.model_validate(body)
    return ObservedPolicy("default", spec, digest.of_json(body))


def make_snapshot(model: ModelBuilder, **parts: Any) -> Snapshot:
    """A snapshot of a model that has no children yet."""
    empty: dict[str, Any] = {"jobs": (), "deployments": (), "routes": (), "others": (), "pods": ()}
    policies = parts.pop("policies", (make_policy(),))
    return Snapshot(model=model.observed(), policies=policies, images=IMAGES, **(empty | parts))


def resolve_answer(**parts: Any) -> str:
    """Last words of a resolve Job."""
    found: dict[str, Any] = {"source": SOURCE} | parts
    return ResolveResult(**found).to_json()


def optimize_answer(artifact: str = ARTIFACT, **parts: Any) -> str:
    """Last words of an optimize Job that found something."""
    before = Figures(latency_p50_us=800, latency_p99_us=1200, cpu_us=790, size_bytes=1000)
    after = Figures(latency_p50_us=300, latency_p99_us=500, cpu_us=290, size_bytes=300)
    summary = Summary(
        winner="static-int8",
        techniques=("static-int8",),
        speedup=2.7,
        speedup_low=2.6,
        speedup_high=2.8,
        aa_ratio=1.0,
        reliable=True,
        before=before,
        after=after,
        quality=Quality(
            metric="accuracy",
            baseline=0.99,
            optimized=0.989,
            change=-0.001,
            lower=-0.004,
            upper=0.002,
            rows=2000,
            verdict="Pass",
        ),
    )
    found: dict[str, Any] = {
        "digest": artifact,
        "outcome": "Optimized",
        "recommendation": RECOMMENDATION,
        "summary": summary,
    }
    return OptimizeResult(**(found | parts)).to_json()
