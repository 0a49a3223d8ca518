"""The spec of an `OptimizedModel`: what a model owner writes."""

from typing import Annotated, Literal

from pydantic import Field

from modelwright.api import fields
from modelwright.api.fields import ApiModel, Digest, Duration, Name, Quantity, Subdomain, field

URI_PATTERN = r"^(s3|gs|az|https?|oci|pvc|file)://[^\s@]+(@sha256:[a-f0-9]{64})?$"
Uri = Annotated[str, Field(pattern=URI_PATTERN, max_length=2048)]


class SecretRef(ApiModel):
    """A Secret of the model's own namespace, mounted by the kubelet and never read by the operator."""

    name: Subdomain = field("Name of the Secret, in the model's namespace.", example="s3-credentials")


Metric = Literal["accuracy", "auc", "ndcg@10", "mrr@10", "r2", "mse", "cosine", "agreement", "fidelity"]


class Storage(ApiModel):
    """How the source is reached."""

    secret_ref: SecretRef | None = field(
        "Secret with the credentials, under fixed key names (`AWS_ACCESS_KEY_ID`, `.dockerconfigjson`, …).",
        default=None,
        example={"name": "s3-credentials"},
    )


class Source(ApiModel):
    """Where the trained model is."""

    uri: Uri = field(
        "Where the model is: s3, gs, az, https, oci or pvc. A URI that ends in `/` names a folder.",
        example="s3://models/ranker/7/",
    )
    digest: Digest | None = field(
        "Digest the source must have. Set, nothing is resolved and anything else is refused.",
        default=None,
        fallback="resolved from the URI",
        example="sha256:" + "0123456789abcdef" * 4,
    )
    name: Name | None = field(
        "Name of the model in Triton, as clients call it.",
        default=None,
        fallback="the resource's name",
        example="ranker",
    )
    storage: Storage | None = field(
        "Credentials of the source.", default=None, example={"secretRef": {"name": "s3-credentials"}}
    )

    model_config = fields.rules(*fields.uri_rules("uri"))


class Calibration(ApiModel):
    """Inputs without labels, from which quantization learns its ranges."""

    uri: Uri = field("Parquet or npz file with one column an input.", example="s3://models/ranker/calibration.npz")
    digest: Digest | None = field(
        "Digest the file must have.",
        default=None,
        fallback="resolved from the URI",
        example="sha256:" + "0123456789abcdef" * 4,
    )
    max_samples: int = field("Rows used at most.", default=2048, unit="rows", example=2048, ge=16, le=100_000)
    seed: int = field("Seed of the choice of rows.", default=0, example=0, ge=0, le=2**31 - 1)

    model_config = fields.rules(*fields.uri_rules("uri"))


class Evaluation(ApiModel):
    """Held-back rows on which lost quality is measured."""

    uri: Uri = field(
        "Parquet or npz file: one column an input, `labels`, optional `groups` for ranking metrics.",
        example="s3://models/ranker/evaluation.npz",
    )
    digest: Digest | None = field(
        "Digest the file must have.",
        default=None,
        fallback="resolved from the URI",
        example="sha256:" + "0123456789abcdef" * 4,
    )
    metric: Metric | None = field(
        "Metric of the quality gate.",
        default=None,
        fallback="chosen by the data: accuracy, auc, ndcg@10 or r2 with labels, else cosine or fidelity to the source",
        example="ndcg@10",
    )

    model_config = fields.rules(*fields.uri_rules("uri"))


class QualityGate(ApiModel):
    """Bound on lost quality."""

    max_drop: Annotated[float, Field(ge=0, le=1)] = field(
        "Relative loss of the metric that is still accepted.", default=0.01, unit="ratio", example=0.01
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = field(
        "Confidence with which the bound must be proved.", default=0.95, unit="probability", example=0.95
    )


class PerformanceGate(ApiModel):
    """Bound on gained speed."""

    min_speedup: Annotated[float, Field(ge=1, le=1000)] | None = field(
        "Least gain over the source model, in CPU time per inference.",
        default=None,
        fallback="no gate",
        unit="ratio",
        example=1.5,
    )


class Gates(ApiModel):
    """Bounds an artifact must prove before it serves."""

    quality: QualityGate = field(
        "Bound on lost quality.", default=QualityGate(), example={"maxDrop": 0.01, "confidence": 0.95}
    )
    performance: PerformanceGate = field(
        "Bound on gained speed.", default=PerformanceGate(), example={"minSpeedup": 1.5}
    )


class Workload(ApiModel):
    """What the model will be asked."""

    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(min_length=1, max_length=8)] = (
        field("Batch sizes measured; the first is the one that counts.", default=(1, 8, 32), example=[1, 8, 32])
    )


class Budget(ApiModel):
    """How much search is allowed."""

    max_trials: int = field("Candidates tried at most.", default=40, example=40, ge=1, le=1000)
    max_duration: Duration = field(
        "Time after which the best so far is taken.", default="10m", unit="duration", example="10m"
    )


class Resources(ApiModel):
    """Requests and limits of a container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=8)] = field(
        "Reserved amounts by resource name.", default={}, example={"cpu": "500m", "memory": "512Mi"}
    )
    limits: Annotated[dict[str, Quantity], Field(max_length=8)] = field(
        "Upper bounds by resource name.", default={}, example={"memory": "1Gi"}
    )

    model_config = fields.rules(
        (
            (
                "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || "
                "quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)"
            ),
            "`requests` must be at most `limits`",
        ),
        *(
            (f"!has(self.{name}) || self.{name}.all(key, size(key) <= 253)", f"names in `{name}` must be short")
            for name in ("requests", "limits")
        ),
    )


class Job(ApiModel):
    """The optimize Job's pod."""

    resources: Resources | None = field(
        "Requests and limits of the Job's container.",
        default=None,
        fallback="the pool's",
        example={"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    )
    service_account_name: Subdomain | None = field(
        "Service account of the Job's pods (for workload identity); its token is never mounted.",
        default=None,
        fallback="the namespace's default",
        example="model-reader",
    )
    active_deadline_seconds: int = field(
        "Time after which the Job is ended.", default=3600, unit="seconds", example=3600, ge=10, le=604_800
    )


class Optimization(ApiModel):
    """What may be done to the model, and what must be proved."""

    mode: Literal["Auto", "Skip"] = field(
        "`Auto` optimizes; `Skip` packages the source model as it is, measured but unchanged.",
        default="Auto",
        example="Auto",
    )
    target: Literal["Latency", "Throughput", "Cost", "Memory"] = field(
        "What to minimize among candidates that pass the gates.", default="Latency", example="Latency"
    )
    pool: Name | None = field(
        "Pool on which the Job runs and for whose hardware it optimizes.",
        default=None,
        fallback="`spec.serving.pool`, else the policy's first pool",
        example="cpu",
    )
    techniques: Annotated[tuple[Name, ...], Field(max_length=32)] = field(
        "Techniques allowed, by name.",
        default=(),
        fallback="all that apply",
        example=["dynamic-int8", "graph-cleanup"],
    )
    calibration: Calibration | None = field(
        "Inputs without labels. Without calibration and evaluation data only lossless techniques run.",
        default=None,
        example={"uri": "s3://models/ranker/calibration.npz"},
    )
    evaluation: Evaluation | None = field(
        "Held-back rows for the quality gate.",
        default=None,
        example={"uri": "s3://models/ranker/evaluation.npz", "metric": "ndcg@10"},
    )
    gates: Gates = field("Bounds an artifact must prove.", default=Gates(), example={"quality": {"maxDrop": 0.005}})
    workload: Workload = field("What the model will be asked.", default=Workload(), example={"batchSizes": [1, 8, 32]})
    budget: Budget = field(
        "How much search is allowed.", default=Budget(), example={"maxTrials": 40, "maxDuration": "10m"}
    )
    on_failure: Literal["Fail", "ServeSource"] = field(
        "When a gate fails: `Fail` keeps what serves now; `ServeSource` serves the unoptimized model and says so.",
        default="Fail",
        example="Fail",
    )
    job: Job = field("The Job's pod.", default=Job(), example={"activeDeadlineSeconds": 3600})

    model_config = fields.rules(
        (
            # Both are always there, but for the moment in which the API server judges the default `{}` itself.
            (
                "!has(self.budget) || !has(self.job) || "
                "duration(self.budget.maxDuration).getSeconds() <= self.job.activeDeadlineSeconds"
            ),
            "`budget.maxDuration` must be at most `job.activeDeadlineSeconds`, or the best so far would be lost",
        ),
    )


class DynamicBatching(ApiModel):
    """Triton's dynamic batcher."""

    preferred_batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(max_length=8)] = field(
        "Batch sizes the batcher aims for.", default=(), fallback="Triton's choice", example=[8, 16]
    )
    max_queue_delay_microseconds: int = field(
        "Longest wait for more requests.", default=0, unit="microseconds", example=200, ge=0, le=10_000_000
    )


class InstanceGroup(ApiModel):
    """Copies of the model in one pod."""

    count: int = field("Model instances a pod.", default=1, example=1, ge=1, le=64)


class Serving(ApiModel):
    """How the artifact is served. Anything unset comes from the optimizer's measurement."""

    pool: Name | None = field(
        "Pool on which Triton runs.", default=None, fallback="the policy's first pool", example="cpu"
    )
    resources: Resources | None = field(
        "Requests and limits of the Triton container.",
        default=None,
        fallback="the pool's",
        example={"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
    )
    max_batch_size: int | None = field(
        "Largest batch Triton forms; 0 turns batching off.",
        default=None,
        fallback="measured by the optimizer",
        example=32,
        ge=0,
        le=65536,
    )
    dynamic_batching: DynamicBatching | None = field(
        "Triton's dynamic batcher.",
        default=None,
        fallback="measured by the optimizer",
        example={"maxQueueDelayMicroseconds": 200},
    )
    instance_group: InstanceGroup | None = field(
        "Copies of the model in one pod.",
        default=None,
        fallback="measured by the optimizer",
        example={"count": 1},
    )
    drain_seconds: int = field(
        "Longest request that is let finish when a pod stops.",
        default=30,
        unit="seconds",
        example=30,
        ge=1,
        le=3600,
    )

    model_config = fields.rules(
        (
            "!(has(self.maxBatchSize) && self.maxBatchSize == 0 && has(self.dynamicBatching))",
            "`dynamicBatching` must be unset when `maxBatchSize` is 0: Triton then forms no batches",
        ),
        (
            (
                "!has(self.maxBatchSize) || !has(self.dynamicBatching) || "
                "!has(self.dynamicBatching.preferredBatchSizes) || "
                "self.dynamicBatching.preferredBatchSizes.all(size, size <= self.maxBatchSize)"
            ),
            "`dynamicBatching.preferredBatchSizes` must be at most `maxBatchSize`",
        ),
    )


class ParentRef(ApiModel):
    """A Gateway."""

    name: Subdomain = field("Name of the Gateway.", example="modelwright")
    namespace: Name | None = field(
        "Namespace of the Gateway, which must allow routes from the model's namespace.",
        default=None,
        fallback="the model's namespace",
        example="modelwright-gateway",
    )
    section_name: Subdomain | None = field(
        "Listener of the Gateway.", default=None, fallback="every listener that matches", example="http"
    )


class Gateway(ApiModel):
    """Gateway API routes of the model."""

    parent_refs: Annotated[tuple[ParentRef, ...], Field(max_length=4)] = field(
        "Gateways that route to the model.",
        default=(),
        fallback="the policy's `rollout.defaults.gateway.parentRefs`",
        example=[{"name": "modelwright", "namespace": "modelwright-gateway"}],
    )
    hostnames: Annotated[tuple[Subdomain, ...], Field(max_length=8)] = field(
        "Host names for HTTP; gRPC gets each with `-grpc` behind its first label.",
        default=(),
        fallback="`{name}.{namespace}.{policy domain}`",
        example=["ranker.example.com"],
    )

    model_config = fields.rules(
        (
            "!has(self.hostnames) || self.hostnames.all(host, size(host.split('.')[0]) <= 58)",
            "the first label of `hostnames` must have at most 58 characters, for gRPC adds `-grpc` to it",
        ),
    )


class TrafficRouting(ApiModel):
    """How traffic reaches the model."""

    gateway: Gateway | None = field(
        "Gateway API routes.", default=None, fallback="the policy's gateway, if it names one", example={}
    )


class Rollout(ApiModel):
    """How a new revision takes over."""

    traffic_routing: TrafficRouting = field("How traffic reaches the model.", default=TrafficRouting(), example={})
    progress_deadline: Duration = field(
        "Time a new revision has to become ready before it is given up and scaled to 0.",
        default="10m",
        unit="duration",
        example="10m",
    )


class ModelSpec(ApiModel):
    """What a model owner asks for."""

    model: Source = field("The trained model.", example={"uri": "s3://models/ranker/7/"})
    optimization: Optimization = field(
        "What may be done to the model, and what must be proved.",
        default=Optimization(),
        example={"mode": "Auto"},
    )
    serving: Serving = field("How the artifact is served.", default=Serving(), example={"maxBatchSize": 32})
    rollout: Rollout = field("How a new revision takes over.", default=Rollout(), example={})
    replicas: int = field(
        "Pods of the stable revision; also written by `kubectl scale`.", default=1, example=2, ge=0, le=1000
    )
    suspend: bool = field("Stops Jobs and scales every revision to 0; nothing is deleted.", default=False, example=True)
    revision_history_limit: int = field(
        "Former revisions kept at 0 replicas for a fast return.", default=3, example=3, ge=0, le=20
    )
