"""The techniques. Each module holds one `Transform`; the registry below is the order in which they are tried."""

import time
from pathlib import Path

from modelwright.optimizer.tasks import TransformQuestion, TransformReport
from modelwright.optimizer.transforms.base import Context, Transform
from modelwright.optimizer.transforms.cleanup import CleanUp
from modelwright.optimizer.transforms.dynamic_int8 import DynamicInt8
from modelwright.optimizer.transforms.gather_fusion import GatherFusion
from modelwright.optimizer.transforms.static_int8 import StaticInt8

__all__ = ["GRAPH_LEVEL", "REGISTRY", "Context", "Transform", "names", "transform"]

REGISTRY: tuple[Transform, ...] = (CleanUp(), GatherFusion(), DynamicInt8(), StaticInt8())

GRAPH_LEVEL = "graph-level"
"""ONNX Runtime's optimization level is a technique too, but of the session: it has no graph to change."""


def names() -> tuple[str, ...]:
    """Every technique a user may name."""
    return (GRAPH_LEVEL, *(transform.name for transform in REGISTRY))


def transform(question: TransformQuestion) -> TransformReport:
    """Apply one step; the sandbox's task."""
    chosen = next(transform for transform in REGISTRY if transform.name == question.step.technique)
    context = Context(question.inspection, question.splits, question.seed)
    target = Path(question.target) / "model.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    report = chosen.apply(question.step, Path(question.source), target, context)
    return report.model_copy(update={"seconds": time.perf_counter() - started})
