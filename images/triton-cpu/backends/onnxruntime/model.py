"""Triton's backend `onnxruntime`, in Python: the same configuration as the C++ one, on ONNX Runtime's own wheel."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime
from model_serving import Model

# As the C++ backend reads `optimization { graph { level } }`; left out, it is 0.
GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the model."""
        self._model = Model(args, json.loads(args["model_config"]), "model.onnx")
        self._session = onnxruntime.InferenceSession(
            self._model.path, _options(self._model), providers=["CPUExecutionProvider"]
        )
        self._model.check_names(
            [tensor.name for tensor in self._session.get_inputs()],
            [tensor.name for tensor in self._session.get_outputs()],
        )

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests."""
        return self._model.answer(requests, lambda feeds, names: self._session.run(names, feeds))


def _options(model: Model) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = int(model.parameters.get("intra_op_thread_count", "0"))
    options.inter_op_num_threads = int(model.parameters.get("inter_op_thread_count", "0"))
    graph = model.config.get("optimization", {}).get("graph", {})
    options.graph_optimization_level = GRAPH_LEVELS[int(graph.get("level", 0))]
    return options
