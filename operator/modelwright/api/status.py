"""The status of both kinds: what the operator reports, and all it needs to go on after a restart."""

from typing import Any, Literal

from modelwright.api.fields import ApiModel, field


class StatusCondition(ApiModel):
    """One condition."""

    type: str = field("Name of the condition.", example="Ready")
    status: Literal["True", "False", "Unknown"] = field("Whether it holds.", example="True")
    reason: str = field("One word for why.", example="Serving")
    message: str = field("What was observed, and what to do.", default="", example="2 of 2 pods serve")
    observed_generation: int = field("Generation that this judges.", default=0, example=3)
    last_transition_time: str = field(
        "When `status` last changed.", default="1970-01-01T00:00:00Z", example="2026-01-01T00:00:00Z"
    )


class SourceStatus(ApiModel):
    """What the source resolved to."""

    uri: str = field("URI that was resolved.", example="s3://models/ranker/7/")
    digest: str = field("Digest of the source.", example="sha256:…")
    calibration: str | None = field("Digest of the calibration data.", default=None, example="sha256:…")
    evaluation: str | None = field("Digest of the evaluation data.", default=None, example="sha256:…")
    inputs_hash: str = field("Hash of the URIs that were resolved.", default="", example="5f2c…")


class FiguresStatus(ApiModel):
    """Cost of one inference."""

    latency_p50: float = field("Median latency.", unit="microseconds", example=812.0)
    latency_p99: float = field("99th percentile of latency.", unit="microseconds", example=1204.0)
    cpu: float = field("CPU time per request.", unit="microseconds", example=790.0)
    size_bytes: int = field("Size of the weights.", unit="bytes", example=7_500_000)


class QualityStatus(ApiModel):
    """Outcome of the quality gate."""

    metric: str = field("Metric.", example="ndcg@10")
    baseline: float = field("Value of the source model.", example=0.7783)
    optimized: float = field("Value of the artifact on the same rows.", example=0.7782)
    change: float = field("Relative change; negative is a loss.", unit="ratio", example=-0.0001)
    lower: float = field("Lower confidence bound of the change.", unit="ratio", example=-0.0012)
    rows: int = field("Rows it was proved on.", example=4096)
    verdict: str = field("What the gate said.", example="Pass")


class OptimizationStatus(ApiModel):
    """The artifact of this generation."""

    key: str = field("Identity of the work.", example="5f2c…")
    inputs_hash: str = field(
        "Hash of all that the key covers but the optimizer's version, which is pinned.",
        default="",
        example="5f2c…",
    )
    artifact: str = field("Digest of the artifact.", example="sha256:…")
    outcome: str = field("What the Job found.", example="Optimized")
    winner: str = field("Candidate that won.", default="", example="static-int8")
    techniques: tuple[str, ...] = field("Techniques in it.", default=(), example=["graph-cleanup", "static-int8"])
    speedup: float = field("CPU time of the source model divided by the artifact's.", unit="ratio", example=2.4)
    speedup_range: str = field("Quartiles of the speed-up over rounds.", default="", example="2.31-2.48")
    reliable: bool = field("Whether the baseline measured equal to itself.", default=True, example=True)
    candidates: int = field("Candidates tried.", default=0, example=12)
    seconds: float = field("Time the search took.", default=0.0, unit="seconds", example=74.2)
    before: FiguresStatus | None = field("The source model.", default=None, example={})
    after: FiguresStatus | None = field("The artifact.", default=None, example={})
    quality: QualityStatus | None = field("Outcome of the quality gate.", default=None, example={})
    recommendation: dict[str, Any] = field("How to serve it, as measured.", default={}, example={})


class RevisionStatus(ApiModel):
    """A revision that exists as a Deployment."""

    hash: str = field("Hash of the artifact and the serving template.", example="1a2b3c4d")
    artifact: str = field("Digest of its artifact.", example="sha256:…")
    source: str = field("Digest of its source.", default="", example="sha256:…")
    since: str = field("When it got its role.", default="", example="2026-01-01T00:00:00Z")
    template: dict[str, Any] = field(
        "What its objects are rendered from; only of revisions that serve or are to serve.",
        default={},
        example={},
    )


class RejectedStatus(ApiModel):
    """A revision that was given up. It is not started again until a `retry` names it."""

    hash: str = field("Hash of the revision.", example="1a2b3c4d")
    artifact: str = field("Digest of its artifact.", default="", example="sha256:…")
    reason: str = field("One word for why.", example="ModelLoadFailed")
    message: str = field("What was observed, and what to do.", default="", example="Triton refused the model: …")
    since: str = field("When it was given up.", default="", example="2026-01-01T00:00:00Z")


class AttemptStatus(ApiModel):
    """Retries of a Job that failed for a passing reason."""

    work: str = field("Stage and key of the work that failed.", example="resolve-5f2c1a2b")
    terms: str = field(
        "Hash of how the Job was run (resources, placement, Secret): another one is worth another attempt.",
        default="",
        example="5f2c…",
    )
    count: int = field("Attempts that failed.", example=2)
    retry_at: str = field(
        "When the next attempt starts; empty if another one is pointless.",
        default="",
        example="2026-01-01T00:00:00Z",
    )


class FailureStatus(ApiModel):
    """The cause of the trouble, found in any pod or Job."""

    stage: str = field("Where it happened.", example="optimize")
    reason: str = field("One word for why.", example="OptimizerOutOfMemory")
    message: str = field("What was observed.", example="container optimize exceeded its memory limit")
    hint: str = field("What to do.", default="", example="raise spec.optimization.job.resources")
    pod: str = field("Pod.", default="", example="ranker-optimize-5f2c1a2b-x7k2p")
    container: str = field("Container.", default="", example="optimize")
    exit_code: int | None = field("Exit code.", default=None, example=137)
    log_tail: str = field("Last of its log, at most 1 KiB.", default="", example="…")
    time: str = field("When it was seen first.", default="", example="2026-01-01T00:00:00Z")


class ResolvedStatus(ApiModel):
    """What the spec resolved to, with the policy that decided."""

    policy: str = field("ServingPolicy that picked pools and defaults.", example="default")
    policy_hash: str = field("Hash of that policy's spec.", example="5f2c…")
    pool: str = field("Pool on which Triton runs.", example="cpu")
    optimization_pool: str = field("Pool on which the Job runs.", example="cpu")
    model_name: str = field("Name of the model in Triton.", example="ranker")
    hostnames: tuple[str, ...] = field("Host names for HTTP.", default=(), example=["ranker.default.models.local"])
    grpc_hostnames: tuple[str, ...] = field(
        "Host names for gRPC.", default=(), example=["ranker-grpc.default.models.local"]
    )


class ActionStatus(ApiModel):
    """The last action a person asked for by annotation."""

    token: str = field("The annotation's value.", example="retry@5f2c1a2b/1")
    result: str = field("What became of it.", example="Done")
    time: str = field("When.", default="", example="2026-01-01T00:00:00Z")


class ModelStatus(ApiModel):
    """What the operator observed."""

    observed_generation: int = field("Generation that this reports on.", default=-1, example=3)
    conditions: tuple[StatusCondition, ...] = field("What holds.", default=(), example=[])
    url: str | None = field(
        "Where clients reach the model: its first host name, else the Service inside the cluster.",
        default=None,
        example="http://ranker.ns",
    )
    replicas: int = field("Pods of the revision that has the traffic, else of the one to come.", default=0, example=2)
    ready_replicas: int = field("Pods that answer.", default=0, example=2)
    selector: str = field("Label selector of the stable revision's pods.", default="", example="modelwright.dev/…")
    resolved: ResolvedStatus | None = field("What the spec resolved to.", default=None, example={})
    source: SourceStatus | None = field("What the source resolved to.", default=None, example={})
    optimization: OptimizationStatus | None = field("The artifact of this generation.", default=None, example={})
    stable: RevisionStatus | None = field("The revision that gets the traffic.", default=None, example={})
    candidate: RevisionStatus | None = field("The revision that is to take over.", default=None, example={})
    history: tuple[RevisionStatus, ...] = field("Former revisions, newest first.", default=(), example=[])
    rejected: tuple[RejectedStatus, ...] = field("Revisions that were given up, newest first.", default=(), example=[])
    traffic_since: str = field(
        "Since when Service and routes lead to the stable revision; empty while they do not.",
        default="",
        example="2026-01-01T00:00:00Z",
    )
    attempt: AttemptStatus | None = field("Retries of the Job at work.", default=None, example={})
    failure: FailureStatus | None = field("The cause of the trouble.", default=None, example={})
    last_action: ActionStatus | None = field("The last action asked for.", default=None, example={})


class PolicyStatus(ApiModel):
    """Status of a ServingPolicy."""

    observed_generation: int = field("Generation that this reports on.", default=-1, example=1)
