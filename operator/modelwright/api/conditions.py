"""Conditions and their reasons: part of the API, one reason per cause, each with its sentence."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

ConditionStatus = Literal["True", "False", "Unknown"]
MESSAGE_LIMIT = 1024


class ConditionType(StrEnum):
    """Condition types. `Reconciling` and `Stalled` are present only while True (kstatus)."""

    READY = "Ready"
    """This generation fully serves."""
    AVAILABLE = "Available"
    """Some revision answers now."""
    ACCEPTED = "Accepted"
    """The spec is valid and the policy allows it."""
    SOURCE_RESOLVED = "SourceResolved"
    """The URI was resolved to a digest."""
    OPTIMIZED = "Optimized"
    """An artifact exists and its gates passed."""
    DEPLOYED = "Deployed"
    """The newest revision's pods answered the golden inference."""
    RECONCILING = "Reconciling"
    """Work is in flight."""
    STALLED = "Stalled"
    """Nothing more happens without a person."""


class Reason(StrEnum):
    """Why a condition is as it is."""

    PENDING = "Pending"
    """Waiting for the controller."""
    # Accepted
    ACCEPTED = "Accepted"
    """The spec is valid and the policy allows it."""
    INVALID_SPEC = "InvalidSpec"
    """A field of the spec cannot work; the message names it."""
    POLICY_NOT_FOUND = "PolicyNotFound"
    """No ServingPolicy exists."""
    POOL_NOT_FOUND = "PoolNotFound"
    """The named pool is not in the policy."""
    NAME_CONFLICT = "NameConflict"
    """An object that is not ours has the name of a child."""
    # SourceResolved
    RESOLVING = "Resolving"
    """The resolve Job is running."""
    RESOLVED = "Resolved"
    """The source has a digest."""
    SOURCE_NOT_FOUND = "SourceNotFound"
    """Nothing is at the URI."""
    SOURCE_ACCESS_DENIED = "SourceAccessDenied"
    """The store refused the credentials."""
    SOURCE_UNREACHABLE = "SourceUnreachable"
    """The store did not answer."""
    SOURCE_DIGEST_MISMATCH = "SourceDigestMismatch"
    """The source is not what `digest` says."""
    SOURCE_TOO_LARGE = "SourceTooLarge"
    """The source exceeds the size limit."""
    UNSUPPORTED_SCHEME = "UnsupportedScheme"
    """The URI's scheme is not allowed."""
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason
    """The Secret, or a key in it, does not exist."""
    UNSAFE_PATH = "UnsafePath"
    """A path leaves its folder."""
    RESOLVE_FAILED = "ResolveFailed"
    """The resolve Job ended without an answer."""
    # Optimized
    OPTIMIZING = "Optimizing"
    """The optimize Job is running."""
    OPTIMIZED = "Optimized"
    """An optimized artifact passed its gates."""
    OPTIMIZED_LOSSLESS = "OptimizedLossless"
    """Without data, only techniques that change no answer were tried."""
    NO_IMPROVEMENT = "NoImprovement"
    """Nothing was measurably better; the source model is served."""
    SKIPPED = "Skipped"
    """Optimization is turned off; the source model is served."""
    SERVING_SOURCE = "ServingSource"
    """A gate failed; the source model is served, as `onFailure` asks."""
    UNSUPPORTED_MODEL = "UnsupportedModel"
    """The file is no model of a supported format."""
    INVALID_MODEL = "InvalidModel"
    """The model file is damaged or breaks the format's rules."""
    EXTERNAL_DATA_MISSING = "ExternalDataMissing"
    """A file with weights that the model names is absent."""
    UNSUPPORTED_OPERATOR = "UnsupportedOperator"
    """The model uses an operator that the engine does not know."""
    NO_BATCH_AXIS = "NoBatchAxis"
    """Batching was asked for, but the model has no batch axis."""
    NON_FINITE_OUTPUT = "NonFiniteOutput"
    """The source model itself answers NaN or infinity."""
    INVALID_DATA = "InvalidData"
    """Calibration or evaluation data does not fit the model."""
    QUALITY_GATE_FAILED = "QualityGateFailed"
    """The loss of quality is above the bound."""
    QUALITY_GATE_INCONCLUSIVE = "QualityGateInconclusive"
    """The rows do not suffice to prove the bound."""
    PERFORMANCE_GATE_FAILED = "PerformanceGateFailed"
    """The gain of speed is below the bound."""
    MEASUREMENT_UNRELIABLE = "MeasurementUnreliable"
    """The machine was too noisy to judge the bound on speed; it is tried again."""
    OPTIMIZER_OUT_OF_MEMORY = "OptimizerOutOfMemory"
    """The Job exceeded its memory limit."""
    JOB_DEADLINE_EXCEEDED = "JobDeadlineExceeded"
    """The Job exceeded `activeDeadlineSeconds`."""
    BUDGET_EXHAUSTED = "BudgetExhausted"
    """The budget ended before anything was measured."""
    STORE_UNAVAILABLE = "StoreUnavailable"
    """The artifact store did not answer."""
    OPTIMIZATION_FAILED = "OptimizationFailed"
    """The optimize Job ended without an answer."""
    # Pods of any stage
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """An image cannot be pulled."""
    UNSCHEDULABLE = "Unschedulable"
    """No node fits the pod."""
    POD_REFUSED = "PodRefused"
    """The API server refused a pod (quota, admission)."""
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    """A container cannot be created as it is configured."""
    # Deployed
    DEPLOYING = "Deploying"
    """The revision's pods are starting."""
    DEPLOYED = "Deployed"
    """The revision's pods answered the golden inference."""
    ARTIFACT_FETCH_FAILED = "ArtifactFetchFailed"
    """A pod could not fetch the artifact, or it is not what its digest says."""
    HARDWARE_MISMATCH = "HardwareMismatch"
    """The node lacks CPU features that the artifact was measured with."""
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    """Triton refused to load the model."""
    OUT_OF_MEMORY = "OutOfMemory"
    """Triton exceeded its memory limit."""
    GOLDEN_MISMATCH = "GoldenMismatch"
    """The loaded model answers other values than the Job measured."""
    CONTAINER_CRASHED = "ContainerCrashed"
    """A serving container keeps ending."""
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    """The revision was not ready in time."""
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    """No Gateway accepted the route."""
    # Ready, Available
    SERVING = "Serving"
    """The newest revision serves."""
    SUSPENDED = "Suspended"
    """`spec.suspend` is set."""
    SCALED_TO_ZERO = "ScaledToZero"
    """`spec.replicas` is 0."""
    NO_READY_REPLICAS = "NoReadyReplicas"
    """No pod of the stable revision is ready."""
    PERMISSION_DENIED = "PermissionDenied"
    """The operator lacks a right; the message names it."""
    OBJECT_REJECTED = "ObjectRejected"
    """The API server refused a child; the message says why."""


def reason_of(text: str, otherwise: Reason) -> Reason:
    """The reason that `text` names: what another release, or a Job, wrote may be a word that this one lacks."""
    try:
        return Reason(text)
    except ValueError:
        return otherwise


@dataclass(frozen=True)
class Condition:
    """One condition, in Kubernetes' shape."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""


@dataclass(frozen=True)
class Finding:
    """What one check found wrong.

    Attributes:
        reason: Why.
        message: Object, observed, limit.
        hint: The remedy.
        terminal: Whether only a person can change it.
    """

    reason: Reason
    message: str
    hint: str = ""
    terminal: bool = True

    @property
    def text(self) -> str:
        """Message and remedy, as a condition shows them."""
        return bounded(f"{self.message} {self.hint}".strip())


def bounded(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """`text`, cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def with_transition(new: Condition, old: Condition | None, now: str) -> Condition:
    """`new` with the time at which its status last flipped: `now` only if it flips now."""
    kept = old is not None and old.status == new.status and old.last_transition_time
    return replace(new, last_transition_time=old.last_transition_time if old and kept else now)
