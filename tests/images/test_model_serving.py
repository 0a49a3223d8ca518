"""Requests of one batch are one inference, and each keeps its own answer: on ONNX Runtime, with a stand-in for Triton.

The stand-in is what Triton's stub gives a Python backend; `test_running_images` asks a real Triton.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

BACKENDS = Path(__file__).resolve().parents[2] / "images" / "triton-cpu" / "backends"


class Tensor:
    def __init__(self, name: str, array: np.ndarray[Any, Any]) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray[Any, Any]:
        return self._array


class Response(SimpleNamespace):
    def __init__(self, output_tensors: list[Tensor], error: Exception | None = None) -> None:
        super().__init__(outputs={t.name(): t.as_numpy() for t in output_tensors}, error=error)


class TritonModelException(Exception):
    pass


def request(wanted: tuple[str, ...] = (), **arrays: np.ndarray[Any, Any]) -> Any:
    tensors = [Tensor(name, array) for name, array in arrays.items()]
    return SimpleNamespace(inputs=lambda: tensors, requested_output_names=lambda: wanted)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    stub: Any = ModuleType("triton_python_backend_utils")
    stub.Tensor, stub.InferenceResponse, stub.TritonError = Tensor, Response, ValueError
    stub.TritonModelException = TritonModelException
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", stub)
    for name, path in (("model_serving", "model_serving.py"), ("onnx_backend", "onnxruntime/model.py")):
        spec = importlib.util.spec_from_file_location(name, BACKENDS / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return sys.modules["onnx_backend"]


class Loaded:
    """A model of one graph, opened by the backend; it counts the inferences it runs."""

    def __init__(self, backend: ModuleType, folder: Path, graph: Any, config: dict[str, Any]) -> None:
        (folder / "1").mkdir()
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(made, folder / "1" / "model.onnx")  # pyright: ignore[reportUnknownMemberType]
        instance: Any = backend.TritonPythonModel()
        instance.initialize(
            {
                "model_config": json.dumps(config),
                "model_instance_kind": "CPU",
                "model_repository": str(folder),
                "model_version": "1",
            }
        )
        self.instance, self.runs = instance, 0
        inner = instance._session

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return inner.run(*arguments)

        instance._session = SimpleNamespace(run=run)

    def __call__(self, *requests: Any) -> list[Any]:
        return self.instance.execute(list(requests))


def tensors(**types: tuple[int, list[int | str | None]]) -> list[Any]:
    return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in types.items()]


@pytest.fixture
def pick(backend: ModuleType, tmp_path: Path) -> Loaded:
    """y = table[x], row by row, and z = the whole batch's sum: an index that is too large fails the inference."""
    table = onnx.numpy_helper.from_array(np.array([1.5, 2.5, 3.5], np.float32), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "x"], ["y"]), helper.make_node("ReduceSum", ["y"], ["z"], keepdims=0)],
        "pick",
        tensors(x=(TensorProto.INT64, ["N", 2])),
        tensors(y=(TensorProto.FLOAT, ["N", 2]), z=(TensorProto.FLOAT, [])),
        [table],
    )
    config = {"max_batch_size": 8, "input": [{"name": "x"}], "output": [{"name": "y"}]}
    return Loaded(backend, tmp_path, graph, config)


def rows(*values: list[int]) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def test_requests_of_one_batch_are_one_inference(pick: Loaded) -> None:
    one, two, three = pick(request(x=rows([0, 1])), request(x=rows([2, 2], [1, 0])), request(x=rows([1, 1])))
    assert pick.runs == 1
    assert one.outputs["y"].tolist() == [[1.5, 2.5]]
    assert two.outputs["y"].tolist() == [[3.5, 3.5], [2.5, 1.5]]
    assert three.outputs["y"].tolist() == [[2.5, 2.5]]


def test_a_bad_request_fails_nobody_else(pick: Loaded) -> None:
    good, bad, other = pick(request(x=rows([0, 1])), request(x=rows([0, 99])), request(x=rows([2, 2])))
    assert "99" in str(bad.error)
    assert (good.error, other.error) == (None, None)
    assert good.outputs["y"].tolist() == [[1.5, 2.5]]
    assert other.outputs["y"].tolist() == [[3.5, 3.5]]


def test_shapes_that_do_not_fit_are_run_apart(backend: ModuleType, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0, noop_with_empty_axes=0)],
        "sum",
        tensors(x=(TensorProto.FLOAT, ["N", "M"])),
        tensors(y=(TensorProto.FLOAT, [])),
    )
    config = {"max_batch_size": 8, "input": [{"name": "x"}], "output": [{"name": "y"}]}
    model = Loaded(backend, tmp_path, graph, config)
    ones = [request(x=np.ones((1, width), np.float32)) for width in (2, 3, 2)]
    assert [float(answer.outputs["y"]) for answer in model(*ones)] == [2.0, 3.0, 2.0]


def test_only_the_outputs_that_were_asked_for_are_given(backend: ModuleType, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["b"])],
        "two",
        tensors(x=(TensorProto.FLOAT, ["N"])),
        tensors(a=(TensorProto.FLOAT, ["N"]), b=(TensorProto.FLOAT, ["N"])),
    )
    config = {"max_batch_size": 8, "input": [{"name": "x"}], "output": [{"name": "a"}, {"name": "b"}]}
    model = Loaded(backend, tmp_path, graph, config)
    x = np.array([-1.0], np.float32)
    both, only = model(request(x=x), request(("b",), x=x))
    assert sorted(both.outputs) == ["a", "b"]
    assert {name: array.tolist() for name, array in only.outputs.items()} == {"b": [1.0]}


def test_strings_go_in_and_come_out_as_bytes(backend: ModuleType, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["s"], ["t"])],
        "text",
        tensors(s=(TensorProto.STRING, ["N", 2])),
        tensors(t=(TensorProto.STRING, ["N", 2])),
    )
    model = Loaded(backend, tmp_path, graph, {"max_batch_size": 2, "input": [{"name": "s"}], "output": [{"name": "t"}]})
    texts = np.array([["grün".encode(), b""]], np.object_)
    (good,) = model(request(s=texts))
    assert good.outputs["t"].tolist() == [["grün".encode(), b""]]
    good, bad = model(request(s=texts), request(s=np.array([[b"\xff", b""]], np.object_)))
    assert good.error is None
    assert "UnicodeDecodeError" in str(bad.error)


def test_a_tensor_without_axes_gets_the_one_that_the_configuration_gives_it(
    backend: ModuleType, tmp_path: Path
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Squeeze", ["x", "axis"], ["y"])],
        "scalar",
        tensors(x=(TensorProto.FLOAT, ["N", 1])),
        tensors(y=(TensorProto.FLOAT, ["N"])),
        [onnx.numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    output: dict[str, Any] = {"name": "y", "dims": ["1"], "reshape": {"shape": []}}
    model = Loaded(backend, tmp_path, graph, {"max_batch_size": 4, "input": [{"name": "x"}], "output": [output]})
    answers = model(request(x=np.array([[1.0]], np.float32)), request(x=np.array([[2.0], [3.0]], np.float32)))
    assert [answer.outputs["y"].tolist() for answer in answers] == [[[1.0]], [[2.0], [3.0]]]


def test_a_name_that_the_file_does_not_have_is_refused_when_it_loads(backend: ModuleType, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "names",
        tensors(x=(TensorProto.FLOAT, ["N"])),
        tensors(y=(TensorProto.FLOAT, ["N"])),
    )
    with pytest.raises(TritonModelException, match="has no output z; it has y"):
        Loaded(backend, tmp_path, graph, {"input": [{"name": "x"}], "output": [{"name": "z"}]})
