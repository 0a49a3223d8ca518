"""Brings a checked graph to the form that every later step expects.

Exporters leave shapes that surgery makes false, weights listed as inputs (which stops constant folding), and opsets
newer than the pool's runtime reads.
"""

from typing import Final

import onnx
from onnx import helper, version_converter

from modelwright.errors import InputError
from modelwright.optimizer import graph
from modelwright.optimizer.tasks import TensorInfo

ML_DOMAIN: Final = "ai.onnx.ml"


def strip(model: onnx.ModelProto) -> list[str]:
    """Drop stale shapes, training records and weights among the inputs; returns what was done."""
    notes: list[str] = []
    for inner in graph.graphs_in(model):
        del inner.value_info[:]
    wanted = graph.true_inputs(model.graph)
    if len(wanted) != len(model.graph.input):
        notes.append(f"{len(model.graph.input) - len(wanted)} weights were listed as inputs")
        kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in wanted]
        del model.graph.input[:]
        model.graph.input.extend(kept)
    if model.training_info:
        del model.training_info[:]
        notes.append("training information was dropped")
    return notes


def to_opset(model: onnx.ModelProto, newest: int) -> tuple[onnx.ModelProto, list[str]]:
    """A model whose opsets the pool's runtime reads.

    Args:
        model: Any opset.
        newest: Newest ``ai.onnx`` opset of the runtime; the newest ``ai.onnx.ml`` follows from ONNX's release table.

    Raises:
        InputError: UnsupportedModel if it cannot be converted down.
    """
    opset, newest_ml = graph.opset_of(model), _newest_ml(newest)
    if graph.opset_of(model, ML_DOMAIN) > newest_ml:
        raise _too_new(f"{ML_DOMAIN} opset {graph.opset_of(model, ML_DOMAIN)}", newest_ml)
    if opset <= newest:
        return model, []
    try:
        converted = version_converter.convert_version(model, newest)
    except Exception as error:
        # The converter raises whatever its C++ did; every kind means the same here.
        raise _too_new(f"opset {opset} ({' '.join(str(error).split())[:80]})", newest) from error
    return converted, [f"converted from opset {opset} to {newest}"]


def to_ir_version(model: onnx.ModelProto, newest: int) -> list[str]:
    """Lower the file format's version number; the features that need a newer one were checked or removed before."""
    if model.ir_version <= newest:
        return []
    note = f"IR version {model.ir_version} lowered to {newest}"
    model.ir_version = newest
    return [note]


def declare_outputs(model: onnx.ModelProto, described: tuple[TensorInfo, ...]) -> bool:
    """Write the axes that outputs really have into the graph, for Triton checks them; returns whether any differed."""
    changed = False
    for value, tensor in zip(model.graph.output, described, strict=True):
        declared = graph.dims_of(value)
        free = [isinstance(axis, str) for axis in tensor.dims]
        if declared is not None and [isinstance(axis, str) for axis in declared] == free:
            continue
        kind = value.type.tensor_type.elem_type
        dims = [axis if isinstance(axis, int) else None for axis in tensor.dims]
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, dims))
        changed = True
    return changed


def _newest_ml(opset: int) -> int:
    releases = [(row[2], row[3]) for row in helper.VERSION_TABLE]
    return max((ml for core, ml in releases if core <= opset), default=1)


def _too_new(found: str, newest: int) -> InputError:
    return InputError(
        "UnsupportedModel",
        f"The model uses {found}; the pool's Triton image runs up to {newest}.",
        f"Export with opset {newest} or older, or use a pool with a newer Triton image.",
    )
