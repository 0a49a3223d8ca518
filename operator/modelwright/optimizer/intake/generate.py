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

USUAL_AXES: Final = (DEFAULT_AXIS, 32, 64, 224)
"""Sizes that are tried where neither data nor the graph tell one."""

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
_CONTRACTS: Final = frozenset({"Gemm", "MatMul"})
_LINEAR: Final = frozenset({"LinearClassifier", "LinearRegressor"})
_TREES: Final = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})
_BY_COLUMN: Final = frozenset({"Scaler"})


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


def sizes_to_try(
    model: onnx.ModelProto, inputs: tuple[TensorInfo, ...], columns: dict[str, tuple[int, ...]]
) -> list[dict[str, int]]:
    """Sizes of dynamic axes, the likeliest first: the data's, those that weights contract with, the usual ones.

    Args:
        model: The graph.
        inputs: With the batch axis in front.
        columns: Shape of one row of each column of the user's data.
    """
    told: dict[str, int] = {}
    contracted = _contracted(model)
    for tensor in inputs:
        free = [axis for axis in tensor.dims[1:] if isinstance(axis, str)]
        row = columns.get(tensor.name, ())
        if len(row) == len(tensor.dims) - 1:
            told |= {axis: size for axis, size in zip(tensor.dims[1:], row, strict=True) if isinstance(axis, str)}
        elif free and free[-1] == tensor.dims[-1] and tensor.name in contracted:
            told.setdefault(free[-1], contracted[tensor.name])
    names = {axis for tensor in inputs for axis in tensor.dims[1:] if isinstance(axis, str)}
    usual = [told | dict.fromkeys(names - set(told), size) for size in USUAL_AXES]
    return usual if names - set(told) else [told]


def _contracted(model: onnx.ModelProto) -> dict[str, int]:
    """Graph inputs whose last axis meets weights, with the size these want."""
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found: dict[str, int] = {}
    for node in model.graph.node:
        name = node.input[0] if node.input else ""
        if node.op_type in _CONTRACTS and len(node.input) > 1 and len(weights.get(node.input[1], ())) == 2:
            axis = 1 if graph.attribute(node, "transB", 0) else 0
            found[name] = weights[node.input[1]][axis]
        elif node.op_type in _LINEAR:
            found[name] = _linear_width(node)
        elif node.op_type in _TREES:
            # The trees name the columns they read; a column beyond the last of them may follow unread.
            ids = next((each.ints for each in node.attribute if each.name == "nodes_featureids"), ())
            found[name] = max(ids, default=0) + 1
        elif node.op_type in _BY_COLUMN:
            sizes = [len(each.floats) for each in node.attribute if each.name in {"offset", "scale"}]
            found[name] = max(sizes, default=0)
    inputs = {value.name for value in graph.true_inputs(model.graph)}
    producers = {name: node for node in model.graph.node for name in node.output}
    traced = {_origin(name, producers): size for name, size in found.items() if size > 0}
    return {name: size for name, size in traced.items() if name in inputs}


def _origin(name: str, producers: dict[str, onnx.NodeProto]) -> str:
    """The tensor that this one is a cast of."""
    while name in producers and producers[name].op_type in {"Cast", "Identity"}:
        name = producers[name].input[0]
    return name


def _linear_width(node: onnx.NodeProto) -> int:
    lists = {each.name: each for each in node.attribute}
    coefficients = len(lists["coefficients"].floats) if "coefficients" in lists else 0
    targets = len(lists["intercepts"].floats) if "intercepts" in lists else 1
    return coefficients // max(1, targets)


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
