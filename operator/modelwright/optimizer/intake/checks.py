"""What a graph must not have, each check with its remedy. Pure: a parsed model in, an `InputError` or nothing out."""

from typing import Final

import onnx

from modelwright.errors import InputError
from modelwright.optimizer import graph

STANDARD: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
CONTRIB: Final = "com.microsoft"
"""Runs on every ONNX Runtime of the same age; whether the pool's image has an operator shows when the model loads."""

MAX_NODES: Final = 200_000
MAX_TENSORS: Final = 1_000
MAX_DEPTH: Final = 8
MAX_AXIS: Final = 1 << 31
ZIPMAP_REMEDY: Final = "Convert with skl2onnx.to_onnx(model, X[:1], options={'zipmap': False}) to get plain tensors."


def check(model: onnx.ModelProto) -> None:
    """Every check that needs no run.

    Raises:
        InputError: InvalidModel, UnsupportedModel or UnsupportedOperator.
    """
    check_size(model)
    check_operators(model)
    check_interface(model)


def check_size(model: onnx.ModelProto) -> None:
    """Bound nodes and the nesting of branches and loops."""
    nodes = sum(len(inner.node) for inner in graph.graphs_in(model))
    if nodes == 0 and not model.graph.output:
        raise InputError("InvalidModel", "The graph is empty.", "Export the model again.")
    if nodes > MAX_NODES:
        raise InputError("UnsupportedModel", f"The graph has {nodes} nodes; the limit is {MAX_NODES}.", "")
    if _depth(model.graph) > MAX_DEPTH:
        raise InputError("UnsupportedModel", f"Branches and loops are nested more than {MAX_DEPTH} deep.", "")


def check_operators(model: onnx.ModelProto) -> None:
    """Refuse operators that need a library of the user's, and types the declared opset does not have."""
    own = {(function.domain, function.name) for function in model.functions}
    for inner in graph.graphs_in(model):
        for node in inner.node:
            if (node.domain, node.op_type) not in own:
                _check_operator(model, node)


def check_interface(model: onnx.ModelProto) -> None:
    """Inputs and outputs must be tensors of known type and rank, with names a config file can hold."""
    inputs = graph.true_inputs(model.graph)
    if not inputs:
        raise InputError("InvalidModel", "The graph has no inputs.", "Export the model with its inputs as arguments.")
    if not model.graph.output:
        raise InputError("InvalidModel", "The graph has no outputs.", "Export the model again.")
    for values, what in ((inputs, "Input"), (list(model.graph.output), "Output")):
        if len(values) > MAX_TENSORS:
            raise InputError("UnsupportedModel", f"{len(values)} {what.lower()}s; the limit is {MAX_TENSORS}.", "")
        names = [value.name for value in values]
        if len(set(names)) != len(names):
            raise InputError("InvalidModel", f"Two {what.lower()}s share one name.", "Give each its own name.")
        for value in values:
            _check_value(value, what)


def _depth(of: onnx.GraphProto, seen: int = 0) -> int:
    if seen > MAX_DEPTH:
        return seen
    inner = [_depth(below, seen + 1) for node in of.node for below in graph.subgraphs(node)]
    return max(inner, default=seen)


def _check_operator(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    shown = f"{node.domain or 'ai.onnx'}:{node.op_type}"
    if node.domain == CONTRIB:
        return
    if node.domain not in STANDARD:
        raise InputError(
            "UnsupportedOperator",
            f"Custom operator {shown} at node {node.name or '(nameless)'}.",
            "Export with standard ONNX operators: custom ones need a native library, which is never loaded.",
        )
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = graph.opset_of(model, domain)
    if version == 0:
        raise InputError("InvalidModel", f"{shown} is used, but its opset is not imported.", "Export the model again.")
    try:
        schema = onnx.defs.get_schema(node.op_type, version, domain)
    except onnx.defs.SchemaError:
        raise InputError(
            "UnsupportedOperator",
            f"No operator {shown} in opset {version}.",
            "Export with a released opset, with a released version of the exporter.",
        ) from None
    if schema.deprecated:
        raise InputError("UnsupportedOperator", f"{shown} is gone since opset {version}.", "Export the model again.")


def _check_value(value: onnx.ValueInfoProto, what: str) -> None:
    shown = f"{what} {value.name[:40]!r}"
    if not value.name or not value.name.isprintable() or '"' in value.name or "\\" in value.name:
        raise InputError("InvalidModel", f"{shown} has a name that cannot be written.", "Rename it at export.")
    kind = value.type.WhichOneof("value")
    if kind in {"sequence_type", "map_type"}:
        raise InputError("UnsupportedModel", f"{shown} is a {kind.removesuffix('_type')}, not a tensor.", ZIPMAP_REMEDY)
    if kind != "tensor_type":
        raise InputError("UnsupportedModel", f"{shown} is not a tensor.", "Export with tensor inputs and outputs only.")
    if value.type.tensor_type.elem_type not in graph.TRITON_TYPES:
        name = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        raise InputError("UnsupportedModel", f"{shown} has element type {name}.", "Cast it to a common type at export.")
    dims = graph.dims_of(value)
    if dims is None and what == "Input":
        raise InputError("InvalidModel", f"{shown} has no shape.", "Export with shapes; a dynamic axis gets a name.")
    for axis in dims or []:
        if isinstance(axis, int) and not 0 < axis < MAX_AXIS:
            raise InputError("InvalidModel", f"{shown} has an axis of size {axis}.", "Export with a positive size.")
