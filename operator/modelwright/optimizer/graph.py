"""Small helpers on ONNX graphs that several tasks share."""

import collections
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto

SINGLE_FILE_LIMIT: Final = 1_800_000_000
"""Bytes above which weights are written beside the graph: a protobuf ends at 2 GiB."""

TRITON_TYPES: Final = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "STRING",
}
"""Element types that Triton, NumPy and ONNX Runtime all know."""


def triton_type(element: int) -> str:
    """Triton's word for an element type that `TRITON_TYPES` has."""
    return next(name for number, name in TRITON_TYPES.items() if number == element)


def untyped(module: str) -> Any:
    """A module that ships no types, imported only when it is used."""
    return importlib.import_module(module)


def load(path: str | Path) -> onnx.ModelProto:
    """A model this program wrote, weights included."""
    return onnx.load_model(str(path))  # pyright: ignore[reportUnknownMemberType] - PathLike without its type


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write one file, or graph and ``<name>.data`` if one would be too large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = model.ByteSize() >= SINGLE_FILE_LIMIT
    onnx.save_model(  # pyright: ignore[reportUnknownMemberType] - PathLike without its type
        model, str(path), save_as_external_data=beside, location=f"{path.name}.data" if beside else None
    )


def files_of(model: Path) -> list[Path]:
    """The files of a model this program wrote, the graph first."""
    data = model.with_name(f"{model.name}.data")
    return [model, data] if data.exists() else [model]


def size_of(model: Path) -> int:
    """Bytes on disk."""
    return sum(file.stat().st_size for file in files_of(model))


def true_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs a caller gives: old IR versions list weights among them too."""
    weights = {tensor.name for tensor in graph.initializer} | {
        tensor.values.name for tensor in graph.sparse_initializer
    }
    return [value for value in graph.input if value.name not in weights]


def dims_of(value: onnx.ValueInfoProto) -> list[int | str] | None:
    """Axes of a tensor: sizes and names (``""`` for a nameless dynamic one); None if the rank is unknown."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in tensor.shape.dim]


def graphs_in(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph and every subgraph below it (branches and loop bodies), and of functions."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield graph
        pending += [inner for node in graph.node for inner in subgraphs(node)]
    for function in model.functions:
        pending = [inner for node in function.node for inner in subgraphs(node)]
        while pending:
            graph = pending.pop()
            yield graph
            pending += [inner for node in graph.node for inner in subgraphs(node)]


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Graphs among a node's attributes."""
    found: list[onnx.GraphProto] = []
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            found.append(attribute.g)
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            found.extend(attribute.graphs)
    return found


def count_operators(model: onnx.ModelProto) -> dict[str, int]:
    """Nodes by type, subgraphs included, most frequent first; a foreign domain is written in front."""
    counts: collections.Counter[str] = collections.Counter()
    for graph in graphs_in(model):
        counts.update(
            node.op_type if node.domain in {"", "ai.onnx"} else f"{node.domain}:{node.op_type}" for node in graph.node
        )
    return dict(counts.most_common())


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Value of a node's attribute."""
    for candidate in node.attribute:
        if candidate.name == name:
            return onnx.helper.get_attribute_value(candidate)
    return default


def opset_of(model: onnx.ModelProto, domain: str = "") -> int:
    """Opset version the model imports for a domain; 0 if it does not import it."""
    names = {"", "ai.onnx"} if domain == "" else {domain}
    return next((entry.version for entry in model.opset_import if entry.domain in names), 0)


def node_changes(before: onnx.ModelProto, after: onnx.ModelProto) -> int:
    """Nodes that are in one graph and not in the other, by name, type and wiring; the larger of both counts."""

    def shape(node: onnx.NodeProto) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        return (node.op_type, tuple(node.input), tuple(node.output))

    old = collections.Counter(shape(node) for node in before.graph.node)
    new = collections.Counter(shape(node) for node in after.graph.node)
    return max((old - new).total(), (new - old).total())
