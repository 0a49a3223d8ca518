"""Tiny models, made on the spot: one that is well, and one for each way of being ill."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
WIDTH = 16
CLASSES = 4


def classifier(seed: int = 0, hidden: int = 32) -> onnx.ModelProto:
    """A perceptron with a free batch axis: x [n, 16] to probabilities [n, 4]."""
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.standard_normal((WIDTH, hidden)),
        "b1": rng.standard_normal(hidden),
        "w2": rng.standard_normal((hidden, CLASSES)) / hidden**0.5,
        "b2": rng.standard_normal(CLASSES),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=-1),
    ]
    return _model(nodes, ["n", WIDTH], ["n", CLASSES], weights)


def without_batch_axis() -> onnx.ModelProto:
    """Takes one vector and gives one number: there is no axis along which requests could be joined."""
    weights = {"w": np.random.default_rng(1).standard_normal((WIDTH,))}
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["p"]),
        helper.make_node("ReduceSum", ["p"], ["y"], keepdims=1),
    ]
    return _model(nodes, [WIDTH], [1], weights)


def answers_nan() -> onnx.ModelProto:
    """The logarithm of a negative number, whatever comes in."""
    weights = {"far": np.full((1,), 1e9)}
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Sub", ["a", "far"], ["s"]),
        helper.make_node("Log", ["s"], ["y"]),
    ]
    return _model(nodes, ["n", WIDTH], ["n", WIDTH], weights)


def unknown_operator() -> onnx.ModelProto:
    """An operator of a domain that only its author's library knows."""
    node = helper.make_node("Quux", ["x"], ["y"], domain="com.example")
    model = _model([node], ["n", WIDTH], ["n", WIDTH], {})
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def slow(turns: int = 200_000_000) -> onnx.ModelProto:
    """A loop that takes longer than any deadline of these tests, and little memory."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["on"]),
            helper.make_node("Sin", ["value"], ["next"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, ["n", WIDTH]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["n", WIDTH]),
        ],
    )
    node = helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)
    tensors = [
        numpy_helper.from_array(np.array(turns, dtype=np.int64), "turns"),
        numpy_helper.from_array(np.array(True), "yes"),  # noqa: FBT003 - the tensor's value
    ]
    return _model([node], ["n", WIDTH], ["n", WIDTH], {}, tensors)


def with_outliers() -> onnx.ModelProto:
    """A classifier large enough to gain by int8, whose every row of weights has one that dwarfs the others.

    Its answers are close calls: int8 moves each only a little, and turns many of them over.
    """
    model = classifier(7, hidden=2048)
    for name, change in {"w1": _dwarf, "w2": _soften, "b2": _soften}.items():
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    return model


def _dwarf(weights: Any) -> Any:
    weights[0] = 1e4
    return weights


def _soften(weights: Any) -> Any:
    return weights * np.float32(0.02)


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Write one file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def save_with_external_data(model: onnx.ModelProto, folder: Path, location: str, *, write: bool) -> Path:
    """Write a graph that says its weights lie in `location`; they do only if `write`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = b""
    for tensor in model.graph.initializer:
        raw = numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", len(data)), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        data += raw
    if write:
        (folder / location).write_bytes(data)
    return save(model, folder)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[Any],
    outputs: list[Any],
    weights: dict[str, Any],
    tensors: list[onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    made = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
        [*made, *(tensors or [])],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="tiny")


def run(model: onnx.ModelProto, rows: Any) -> Any:
    """What the model answers, here: the first output."""
    runtime: Any = importlib.import_module("onnxruntime")
    return runtime.InferenceSession(model.SerializeToString()).run(None, {"x": rows})[0]
