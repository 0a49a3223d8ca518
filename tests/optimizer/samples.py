"""Small real models and data, made on the spot."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: Mapping[str, Array] | None = None,
    opset: int = 17,
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model from its parts."""
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "sample", inputs, outputs, tensors)
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, version) for domain, version in (domains or {}).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def floats(name: str, *dims: int | str | None) -> onnx.ValueInfoProto:
    """A float tensor."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims))


def mlp(width: int = 256, depth: int = 3, features: int = 32, classes: int = 4, seed: int = 0) -> onnx.ModelProto:
    """A multi-layer perceptron with a free batch axis: logits."""
    random = np.random.default_rng(seed)
    sizes = [features, *[width] * depth, classes]
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}
    current = "x"
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        weights[f"w{layer}"] = (random.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)
        weights[f"b{layer}"] = (random.standard_normal(columns) * 0.1).astype(np.float32)
        last = layer == depth
        out = "y" if last else f"h{layer}"
        nodes.append(helper.make_node("Gemm", [current, f"w{layer}", f"b{layer}"], [out], name=f"gemm{layer}"))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"r{layer}"], name=f"relu{layer}"))
            current = f"r{layer}"
    return model_of(nodes, [floats("x", "batch", features)], [floats("y", "batch", classes)], weights)


def cnn(channels: int = 16, depth: int = 3, seed: int = 0) -> onnx.ModelProto:
    """A convolutional classifier of 3x16x16 images."""
    random = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}
    current, before = "image", 3
    for layer in range(depth):
        shape = (channels, before, 3, 3)
        weights[f"k{layer}"] = (random.standard_normal(shape) / np.sqrt(before * 9)).astype(np.float32)
        nodes.append(
            helper.make_node("Conv", [current, f"k{layer}"], [f"c{layer}"], name=f"conv{layer}", pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"a{layer}"], name=f"relu{layer}"))
        current, before = f"a{layer}", channels
    weights["w"] = (random.standard_normal((channels, 10)) / np.sqrt(channels)).astype(np.float32)
    nodes += [
        helper.make_node("GlobalAveragePool", [current], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "w"], ["scores"], name="head"),
    ]
    return model_of(nodes, [floats("image", "n", 3, 16, 16)], [floats("scores", "n", 10)], weights)


def recommender(tables: int = 8, rows: int = 500, dim: int = 16, width: int = 64, seed: int = 0) -> onnx.ModelProto:
    """Embedding look-ups of integer columns, then a small network: one score."""
    random = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    nodes: list[onnx.NodeProto] = []
    for table in range(tables):
        weights[f"column{table}"] = np.array(table, dtype=np.int64)
        weights[f"table{table}"] = random.standard_normal((rows + table, dim)).astype(np.float32)
        nodes.append(helper.make_node("Gather", ["ids", f"column{table}"], [f"id{table}"], axis=1))
        nodes.append(helper.make_node("Gather", [f"table{table}", f"id{table}"], [f"row{table}"], axis=0))
    weights["w0"] = (random.standard_normal((tables * dim, width)) / np.sqrt(tables * dim)).astype(np.float32)
    weights["w1"] = (random.standard_normal((width, 1)) / np.sqrt(width)).astype(np.float32)
    nodes += [
        helper.make_node("Concat", [f"row{table}" for table in range(tables)], ["joined"], axis=1),
        helper.make_node("MatMul", ["joined", "w0"], ["hidden"], name="first"),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "w1"], ["score"], name="second"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", tables])
    return model_of(nodes, [ids], [floats("score", "batch", 1)], weights)


def write(model: onnx.ModelProto, path: Path) -> Path:
    """Save a model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def answers(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime says."""
    import onnxruntime as ort  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    session: Any = ort.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feeds)), strict=True))


def labelled(model: onnx.ModelProto, count: int, seed: int = 1, noise: float = 0.0) -> dict[str, Array]:
    """Rows for a model with one input, labelled with its own decision, a share of the labels at random."""
    random = np.random.default_rng(seed)
    value = model.graph.input[0]
    shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim][1:]
    rows = random.standard_normal((count, *shape)).astype(np.float32)
    scores = next(iter(answers(model, {value.name: rows}).values()))
    labels = scores.argmax(axis=1)
    flipped = random.random(count) < noise
    labels[flipped] = random.integers(0, scores.shape[1], int(flipped.sum()))
    return {value.name: rows, "labels": labels.astype(np.int64)}
