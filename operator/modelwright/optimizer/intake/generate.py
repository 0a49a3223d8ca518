"""Inputs made up by type and shape, for models that come without data.

Integers that index a table stay inside it (the bound is read from the graph); other integers are 0 or 1, which every
mask, flag and small vocabulary accepts.
"""

from typing import Final

import numpy as np
import onnx

from modelwright.optimizer import graph
from modelwright.optimizer.rows import NUMPY_TYPES, Array, Rows
from modelwright.optimizer.tasks import Batch, Generator, TensorInfo

DEFAULT_AXIS: Final = 16
"""Size of a dynamic axis that is not the batch (a sequence, say)."""

_PASSES_THROUGH: Final = frozenset(
    {
        "Cast",
        "Identity",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Split",
        "Transpose",
        "Flatten",
        "Gather",
    }
)


def make_rows(inputs: tuple[TensorInfo, ...], batch: Batch, generator: Generator, count: int, seed: int) -> Rows:
    """`count` seeded rows.

    Args:
        inputs: Of the model, batch axis included.
        batch: Whether the first axis is the batch.
        generator: Distribution, sizes of dynamic axes and bounds of indices.
        count: Number of rows.
        seed: Of the generator.
    """
    random = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for tensor in inputs:
        dims = tensor.dims if batch.kind == "none" else tensor.dims[1:]
        shape = (
            count,
            *(generator.sizes.get(axis, DEFAULT_AXIS) if isinstance(axis, str) else axis for axis in dims),
        )
        made[tensor.name] = _fill(random, tensor, shape, generator)
    return Rows(made)


def index_bounds(model: onnx.ModelProto) -> dict[str, int]:
    """Graph inputs that reach the indices of a Gather, with the rows of the smallest table they index."""
    sizes = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    inputs = {value.name for value in graph.true_inputs(model.graph)}
    producers = {name: node for node in model.graph.node for name in node.output}
    bounds: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type != "Gather" or node.input[0] not in sizes or graph.attribute(node, "axis", 0) != 0:
            continue
        source = _trace(node.input[1], producers, inputs)
        if source is not None:
            bounds[source] = min(bounds.get(source, sizes[node.input[0]]), sizes[node.input[0]])
    return bounds


def _trace(name: str, producers: dict[str, onnx.NodeProto], inputs: set[str]) -> str | None:
    """The graph input that a tensor is a plain rearrangement of, if there is one."""
    for _ in range(len(producers) + 1):
        if name in inputs:
            return name
        node = producers.get(name)
        if node is None or node.op_type not in _PASSES_THROUGH:
            return None
        name = node.input[0]
    return None


def _fill(random: np.random.Generator, tensor: TensorInfo, shape: tuple[int, ...], generator: Generator) -> Array:
    kind = NUMPY_TYPES[tensor.data_type]
    if tensor.data_type == "STRING":
        return np.full(shape, "a", dtype=np.object_)
    if tensor.data_type.startswith("FP"):
        match generator.style:
            case "normal":
                values = random.standard_normal(shape)
            case "unit":
                values = random.random(shape)
            case "ones":
                values = np.ones(shape)
        return values.astype(kind)
    if "mask" in tensor.name.lower():
        return np.ones(shape, dtype=kind)
    bound = generator.index_bounds.get(tensor.name, 2)
    if tensor.data_type == "UINT8" and tensor.name not in generator.index_bounds:
        bound = 256
    return random.integers(0, max(1, min(bound, _largest(kind) + 1)), size=shape).astype(kind)


def _largest(kind: type) -> int:
    return 1 if kind is np.bool_ else int(np.iinfo(kind).max) - 1
