"""Triton's backend `openvino`, in Python: the same configuration as the C++ one, on OpenVINO's own wheel."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import openvino
from model_serving import Model

# Parameters of config.pbtxt that are OpenVINO's own properties.
PROPERTIES = ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT", "INFERENCE_PRECISION_HINT")
# Left alone, OpenVINO computes in half precision wherever the CPU can: faster, but other values on another node.
DEFAULTS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}


class TritonPythonModel:
    """One instance of one model."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open and compile the model."""
        self._model = Model(args, json.loads(args["model_config"]), "model.xml")
        wanted = {key: value for key, value in self._model.parameters.items() if key in PROPERTIES}
        compiled = openvino.Core().compile_model(self._model.path, "CPU", {**DEFAULTS, **wanted})
        self._inputs = _ports(compiled.inputs)
        self._outputs = _ports(compiled.outputs)
        self._model.check_names(self._inputs, self._outputs)
        self._request = compiled.create_infer_request()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests."""
        return self._model.answer(requests, self._run)

    def _run(self, feeds: Mapping[str, np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        results = self._request.infer({self._inputs[name]: array for name, array in feeds.items()})
        return [results[self._outputs[name]] for name in names]


def _ports(ports: Iterable[Any]) -> dict[str, Any]:
    """Every name of every port: a tensor of an ONNX graph may have more than one."""
    return {name: port for port in ports for name in port.names}
