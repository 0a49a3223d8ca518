"""Ranges of activations, in bounded memory.

Two passes over the calibration rows: the first finds the smallest and largest value of each tensor, the second fills a
histogram of fixed size between them. ONNX Runtime's own histogram calibrators keep every intermediate tensor of every
row (5 GB for a small transformer); this one keeps one batch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from modelwright.optimizer import graph
from modelwright.optimizer.rows import Array, Rows
from modelwright.optimizer.tasks import Batch

BINS: Final = 2048
BATCH_ROWS: Final = 8
MAX_ROWS: Final = 512
MASK_VALUE: Final = -1e4
"""A tensor that reaches below this is an additive mask: as a range it would leave real values no resolution."""

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Statistics:
    """Of one tensor."""

    low: float
    high: float
    counts: Array

    def clipped(self, percentile: float) -> tuple[float, float]:
        """The range that holds `percentile` percent of the values, an equal share cut at both ends."""
        cut = (1.0 - percentile / 100.0) / 2.0
        shares = np.cumsum(self.counts) / max(1, int(self.counts.sum()))
        edges = np.linspace(self.low, self.high, BINS + 1)
        first = int(np.searchsorted(shares, cut, side="right"))
        last = int(np.searchsorted(shares, 1.0 - cut, side="left"))
        return float(edges[min(first, BINS - 1)]), float(edges[min(last, BINS - 1) + 1])


def observe(
    model: onnx.ModelProto, operators: tuple[str, ...], rows: Rows, batch: Batch, folder: Path
) -> dict[str, Statistics]:
    """Statistics of every float activation at the border of the given operators.

    Args:
        model: Float model.
        operators: Types whose inputs and outputs count.
        rows: Calibration rows; at most `MAX_ROWS` are read.
        batch: How rows become inputs.
        folder: Scratch space for the model with its activations as outputs.
    """
    names = activations(model, operators)
    session = _expose(model, names, folder)
    rows = rows.take(np.arange(min(MAX_ROWS, rows.count)))
    ends: dict[str, tuple[float, float]] = {}
    for values in _values(session, names, rows, batch):
        for name, array in values.items():
            low, high = ends.get(name, (np.inf, -np.inf))
            ends[name] = (min(low, float(array.min())), max(high, float(array.max())))
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in ends}
    for values in _values(session, names, rows, batch):
        for name, array in values.items():
            counts[name] += np.histogram(array, BINS, range=_widened(ends[name]))[0]
    return {name: Statistics(*_widened(ends[name]), counts[name]) for name in ends}


def activations(model: onnx.ModelProto, operators: tuple[str, ...]) -> list[str]:
    """Float tensors that are no weights and that enter or leave a node of the given types."""
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {value.name: value.type.tensor_type.elem_type for value in _value_infos(inferred.graph)}
    weights = {tensor.name for tensor in model.graph.initializer}
    touched = {
        name
        for node in model.graph.node
        if node.op_type in operators
        for name in (*node.input, *node.output)
        if name and name not in weights
    }
    return sorted(name for name in touched if known.get(name) == TensorProto.FLOAT)


def is_mask(statistics: Statistics) -> bool:
    """Whether a tensor looks like an additive mask."""
    return statistics.low <= MASK_VALUE


def _value_infos(of: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    return [*of.value_info, *of.input, *of.output]


def _widened(ends: tuple[float, float]) -> tuple[float, float]:
    """Zero must be in the range, for padding and ReLU; a constant tensor needs a width."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    return (low, high) if high > low else (low, low + 1e-6)


def _expose(model: onnx.ModelProto, names: list[str], folder: Path) -> Any:
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    there = {value.name for value in exposed.graph.output}
    exposed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in there and name not in {value.name for value in exposed.graph.input}
    )
    path = folder / "exposed.onnx"
    graph.save(exposed, path)
    ort = graph.untyped("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _values(session: Any, names: list[str], rows: Rows, batch: Batch) -> Iterator[Mapping[str, Array]]:
    wanted = [output.name for output in session.get_outputs() if output.name in names]
    for feeds, _ in rows.batches(BATCH_ROWS, batch):
        values = dict(zip(wanted, session.run(wanted, feeds), strict=True)) if wanted else {}
        values |= {name: array for name, array in feeds.items() if name in names}
        yield {name: array for name, array in values.items() if array.size}
