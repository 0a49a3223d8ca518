"""Everything that can be wrong with what a user gives, each with the reason that has to be told."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from e2e.scenarios import tiny
from e2e.scenarios.kube import Obj
from e2e.scenarios.pushing import Pushed, Registry

NO_SUCH_IMAGE_POOL = "e2e-no-such-image"
VANISHING_POOL = "e2e-vanishing"
NO_BACKEND_POOL = "e2e-no-backend"
SMALL = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
ZEROS = f"sha256:{'0' * 64}"


@dataclass
class Ward:
    """Where illnesses are made: files, a registry, and a store that fails on demand."""

    folder: Path
    registry: Registry
    store: str = ""

    def push(self, name: str, *files: Path) -> Pushed:
        """Push files as the source of the case `name`."""
        return self.registry.push(f"ill-{name}", list(files))

    def push_model(self, name: str, model: onnx.ModelProto) -> Pushed:
        """Push one graph."""
        return self.push(name, tiny.save(model, self.folder / name))

    def push_bytes(self, name: str, data: bytes) -> Pushed:
        """Push what calls itself a model."""
        folder = self.folder / name
        folder.mkdir()
        path = folder / "model.onnx"
        path.write_bytes(data)
        return self.push(name, path)


@dataclass(frozen=True)
class Illness:
    """One case.

    Attributes:
        name: Of the model.
        reason: That Ready has to show.
        names: What the message has to name: a field or a file.
        spec: Makes the spec.
        retried: Whether time may heal it, so that the model does not stall.
        remedy: What the message has to advise; empty for what `status.failure.hint` says.
    """

    name: str
    reason: str
    names: str
    spec: Callable[[Ward], Obj]
    retried: bool = False
    remedy: str = ""


def pinned(source: Pushed, **more: Any) -> Obj:
    """A model whose digest is given, so that no resolve Job is in the way of the case."""
    return {"model": {"uri": source.uri, "digest": source.digest}, "optimization": quick(), **more}


def quick(**more: Any) -> Obj:
    """As little search as there can be."""
    base: Obj = {
        "budget": {"maxTrials": 2, "maxDuration": "60s"},
        "workload": {"batchSizes": [1]},
        # Small, so that a handful fits onto a small node side by side: else Unschedulable is told as well, rightly.
        "job": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "2Gi"}}},
    }
    return {**copy.deepcopy(base), **more}


def sourced(uri: str) -> Obj:
    """A model by its URI alone."""
    return {"model": {"uri": uri}, "optimization": quick()}


def _external(name: str, location: str, *, write: bool = False) -> Callable[[Ward], Obj]:
    def make(ward: Ward) -> Obj:
        path = tiny.save_with_external_data(tiny.classifier(), ward.folder / name, location, write=write)
        return pinned(ward.push(name, path))

    return make


def _graph(name: str, model: Callable[[], onnx.ModelProto], **more: Any) -> Callable[[Ward], Obj]:
    return lambda ward: pinned(ward.push_model(name, model()), **more)


def _bytes(name: str, data: Callable[[], bytes]) -> Callable[[Ward], Obj]:
    return lambda ward: pinned(ward.push_bytes(name, data()))


def _truncated() -> bytes:
    whole = tiny.classifier().SerializeToString()
    return whole[: len(whole) // 2]


def _quality(ward: Ward) -> Obj:
    """Int8 for weights of which one is a thousand times the others: those become 0, and nothing is right any more."""
    graph = tiny.with_outliers()
    rows = np.random.default_rng(7).standard_normal((1500, tiny.WIDTH)).astype(np.float32)
    rows[:, 0] = 0
    labels = tiny.run(graph, rows).argmax(axis=1)
    data = ward.folder / "quality.npz"
    np.savez(data, x=rows, labels=labels)
    table = ward.push("quality-data", data)
    asked = quick(
        techniques=["dynamic-int8"],
        evaluation={"uri": table.uri, "digest": table.digest, "metric": "accuracy"},
        gates={"quality": {"maxDrop": 0.01, "confidence": 0.95}},
    )
    return pinned(ward.push_model("quality", graph), optimization=asked)


ILLNESSES: tuple[Illness, ...] = (
    Illness(
        "store-silent", "SourceUnreachable", "/hang/", lambda w: sourced(f"{w.store}/hang/model.onnx"), retried=True
    ),
    Illness(
        "file-missing",
        "SourceNotFound",
        "ill-nothing",
        lambda w: sourced(f"oci://{w.registry.address}/e2e/sources:ill-nothing"),
        retried=True,
    ),
    Illness(
        "store-404", "SourceNotFound", "/404/model.onnx", lambda w: sourced(f"{w.store}/404/model.onnx"), retried=True
    ),
    Illness(
        "store-403",
        "SourceAccessDenied",
        "/403/model.onnx",
        lambda w: sourced(f"{w.store}/403/model.onnx"),
        retried=True,
    ),
    Illness(
        "wrong-digest",
        "SourceDigestMismatch",
        "digest",
        lambda w: pinned(Pushed(w.push_model("wrong-digest", tiny.classifier()).uri, ZEROS)),
    ),
    Illness("not-onnx", "UnsupportedModel", "model.onnx", _bytes("not-onnx", lambda: b"PK\x03\x04 not a model")),
    Illness("truncated", "InvalidModel", "model.onnx", _bytes("truncated", _truncated)),
    Illness("no-weights", "ExternalDataMissing", "weights.bin", _external("no-weights", "weights.bin")),
    Illness("traversal", "UnsafePath", "../../etc/passwd", _external("traversal", "../../etc/passwd")),
    Illness("operator", "UnsupportedOperator", "com.example:Quux", _graph("operator", tiny.unknown_operator)),
    Illness(
        "no-batch-axis",
        "NoBatchAxis",
        "spec.serving.maxBatchSize",
        _graph("no-batch-axis", tiny.without_batch_axis, serving={"maxBatchSize": 8}),
        remedy="Leave maxBatchSize unset",
    ),
    Illness("nan", "NonFiniteOutput", "NaN", _graph("nan", tiny.answers_nan)),
    Illness(
        "memory",
        "OptimizerOutOfMemory",
        "spec.optimization.job.resources",
        _graph(
            "memory",
            tiny.classifier,
            optimization=quick(job={"resources": {"requests": {"memory": "32Mi"}, "limits": {"memory": "32Mi"}}}),
        ),
    ),
    Illness(
        "deadline",
        "JobDeadlineExceeded",
        "spec.optimization.job.activeDeadlineSeconds",
        _graph(
            "deadline",
            tiny.slow,
            optimization=quick(
                budget={"maxDuration": "10s"},
                job={"activeDeadlineSeconds": 10, "resources": {"requests": {"cpu": "50m"}}},
            ),
        ),
    ),
    Illness(
        "speed-gate",
        "PerformanceGateFailed",
        "minSpeedup",
        _graph("speed-gate", tiny.classifier, optimization=quick(gates={"performance": {"minSpeedup": 1000}})),
    ),
    Illness("quality-gate", "QualityGateFailed", "maxDrop", _quality),
    Illness(
        "no-image",
        "ImagePullFailed",
        "e2e-no-such-image",
        _graph(
            "no-image",
            lambda: tiny.classifier(1),
            serving={"pool": NO_SUCH_IMAGE_POOL, "resources": SMALL},
            rollout={"progressDeadline": "40s"},  # the kubelet tells of a failed pull only after 10 to 20 s
        ),
    ),
    Illness(
        "triton-refuses",
        "ModelLoadFailed",
        "onnxruntime",
        _graph("triton-refuses", lambda: tiny.classifier(2), serving={"pool": NO_BACKEND_POOL, "resources": SMALL}),
    ),
)
