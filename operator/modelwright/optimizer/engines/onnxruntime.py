"""ONNX Runtime on the CPU, with the settings that Triton's backend can express."""

from pathlib import Path
from typing import Any

import numpy.typing as npt

from modelwright.optimizer.graph import untyped
from modelwright.optimizer.tasks import GraphLevel


class OnnxRuntimeSession:
    """One `InferenceSession`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names: list[str] = [output.name for output in session.get_outputs()]

    def run(self, feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """See `Session.run`."""
        return dict(zip(self._names, self._session.run(None, feeds), strict=True))


class OnnxRuntime:
    """The engine of Triton's ``onnxruntime`` backend."""

    name = "onnxruntime"

    def load(self, model: Path, graph_level: GraphLevel = "all", threads: int = 1) -> OnnxRuntimeSession:
        """See `Engine.load`. Threads never spin: a spinning thread is charged to whoever is measured next."""
        ort = untyped("onnxruntime")
        levels = {
            "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
            "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
            "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
        }
        options = ort.SessionOptions()
        options.graph_optimization_level = levels[graph_level]
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        return OnnxRuntimeSession(session)
