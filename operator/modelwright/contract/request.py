"""What the operator asks of a Job: one JSON document, mounted at `paths.REQUEST_FILE`."""

from typing import Literal

from pydantic import Field

from modelwright.contract.base import Message


class Location(Message):
    """Something to fetch.

    Attributes:
        uri: As the user wrote it (s3, gs, az, https, http, oci, pvc; ``file`` in the CLI only).
        digest: Required digest, or None if any will do.
    """

    uri: str
    digest: str | None = None


class Store(Message):
    """Where artifacts live.

    Attributes:
        uri: ``oci://host[:port]/prefix`` or, in the CLI, ``file:///folder``.
        namespace: Tenant: results are shared within it only.
        insecure: Plain HTTP instead of TLS.
    """

    uri: str
    namespace: str
    insecure: bool = False


class Fetching(Message):
    """Rules for opening a user's URI.

    Attributes:
        schemes: Allowed URI schemes.
        insecure_registries: ``host:port`` of registries that are spoken to in plain HTTP.
        timeout_seconds: Bound on connecting and on each read.
        max_bytes: Largest accepted download.
    """

    schemes: tuple[str, ...] = ("https", "s3", "gs", "az", "oci", "pvc")
    insecure_registries: tuple[str, ...] = ()
    timeout_seconds: float = 30.0
    max_bytes: int = 20 * 1024**3


class ResolveRequest(Message):
    """Turn URIs into digests. Result: `result.ResolveResult`."""

    source: Location
    calibration: Location | None = None
    evaluation: Location | None = None
    fetching: Fetching = Fetching()


class QualityGate(Message):
    """Bound on lost quality: relative drop, proved at `confidence` on rows nobody tuned on."""

    max_drop: float = 0.01
    confidence: float = 0.95


class PerformanceGate(Message):
    """Bound on gained speed: the winner must be at least this many times faster than the source model."""

    min_speedup: float | None = None


class Data(Message):
    """A table of inputs: Parquet or npz, one column an input, optional ``labels`` and ``groups``.

    `max_samples` bounds time and memory only: fewer rows prove less, and a group of rows counts as one.
    """

    location: Location
    max_samples: int = 20_000
    seed: int = 0
    metric: str | None = None


class OptimizeRequest(Message):
    """Turn a source into an artifact. Result: `result.OptimizeResult`.

    Attributes:
        model: Triton's name of the model.
        key: Identity of the work; a store that has it already answers at once.
        mode: ``Skip`` packages the source as it is; it is still loaded, measured and given a golden pair.
        target: What to minimize.
        techniques: Names allowed; empty means all that apply.
        batch_sizes: Batch sizes measured; the first decides the target ``Latency``.
        hardware_class: The pool's, part of the key and the report.
        price_per_hour: Of one replica on the pool, for cost.
        max_opset: Newest ONNX opset the pool's Triton image runs.
        max_ir_version: Newest ONNX IR version it reads.
        backends: Triton backends of the pool's image.
    """

    model: str
    key: str
    source: Location
    calibration: Data | None = None
    evaluation: Data | None = None
    mode: Literal["Auto", "Skip"] = "Auto"
    target: Literal["Latency", "Throughput", "Cost", "Memory"] = "Latency"
    techniques: tuple[str, ...] = ()
    quality: QualityGate = QualityGate()
    performance: PerformanceGate = PerformanceGate()
    on_failure: Literal["Fail", "ServeSource"] = "Fail"
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    max_trials: int = Field(default=40, ge=1)
    max_seconds: float = Field(default=600.0, gt=0)
    hardware_class: str = "cpu"
    price_per_hour: float | None = None
    max_opset: int = 21
    max_ir_version: int = 10
    backends: tuple[str, ...] = ("onnxruntime",)
    store: Store
    fetching: Fetching = Fetching()


class FetchRequest(Message):
    """Lay an artifact down as a Triton model repository. Used by the init container of a serving pod."""

    model: str
    digest: str
    store: Store
    timeout_seconds: float = 60.0
