"""Writing an ONNX graph by hand, one node a line."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

OPSET = 17
IR_VERSION = 8
"""Old enough for every Triton image that is still around."""

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    """Collects nodes and weights. Every input and output has a free batch axis in front."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, Array] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, dims: Sequence[int]) -> str:
        """Declare an input; `dims` are the axes of one row."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, ["batch", *dims]))
        return name

    def output(self, name: str, source: str, kind: int, dims: Sequence[int]) -> None:
        """Declare an output, the value of `source` under its public name."""
        self._nodes.append(helper.make_node("Identity", [source], [name], name=f"{name}_out"))
        self._outputs.append(helper.make_tensor_value_info(name, kind, ["batch", *dims]))

    def weight(self, name: str, value: npt.ArrayLike) -> str:
        """Store a constant; the same name twice is the same constant."""
        self._weights[name] = np.array(value, order="C")
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def linear(self, source: str, name: str, weight: Array, bias: Array) -> str:
        """A dense layer as PyTorch exports it: Gemm with the weight as ``(out, in)``."""
        parts = self.weight(f"{name}.weight", weight), self.weight(f"{name}.bias", bias)
        return self.node("Gemm", source, *parts, transB=1)

    def build(self, notes: Mapping[str, str]) -> onnx.ModelProto:
        """The checked model, with `notes` as its metadata."""
        weights = [numpy_helper.from_array(value, name) for name, value in self._weights.items()]
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, weights)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="modelwright-demo",
        )
        helper.set_model_props(model, dict(notes))
        onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType]
        return model
