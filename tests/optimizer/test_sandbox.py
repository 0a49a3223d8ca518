"""A hostile model costs one recorded failure: time, memory and crashes stay in the child."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelwright.contract.base import Message
from modelwright.errors import InputError
from modelwright.optimizer import sandbox, tasks
from modelwright.optimizer.sandbox import Crash, Subprocess
from modelwright.optimizer.tasks import INSPECT, Inspection, InspectQuestion
from tests.optimizer import samples
from tests.optimizer.samples import floats, model_of

GIB = 1 << 30


def look(model: onnx.ModelProto, folder: Path, seconds: float = 60.0, memory: int = 3 * GIB) -> Inspection | Crash:
    source = samples.write(model, folder / "model.onnx")
    question = InspectQuestion(
        folder=str(folder), source=str(source), target=str(folder / "out" / "m.onnx"), max_opset=21, max_ir_version=10
    )
    return Subprocess(folder / "sandbox", memory).call(INSPECT, question, seconds)


def endless_loop() -> onnx.ModelProto:
    """A Loop of 2^62 turns: 200 bytes that never end."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["on_out"]), helper.make_node("Mul", ["v", "v"], ["v_out"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            floats("v", "n", 4),
        ],
        [helper.make_tensor_value_info("on_out", TensorProto.BOOL, []), floats("v_out", "n", 4)],
    )
    weights = {"turns": np.array(1 << 62, dtype=np.int64), "go": np.array(True)}
    node = helper.make_node("Loop", ["turns", "go", "x"], ["y"], body=body)
    return model_of([node], [floats("x", "n", 4)], [floats("y", "n", 4)], weights)


def huge_constant() -> onnx.ModelProto:
    """110 bytes that ask for 8 GiB."""
    value = numpy_helper.from_array(np.zeros(1, dtype=np.float32))
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"], value=value),
        helper.make_node("ReduceMax", ["big"], ["top"], keepdims=0),
        helper.make_node("Add", ["x", "top"], ["y"]),
    ]
    return model_of(nodes, [floats("x", "n", 4)], [floats("y", "n", 4)], {"shape": np.array([1 << 31], dtype=np.int64)})


def test_a_sound_model_is_inspected(tmp_path: Path) -> None:
    assert isinstance(look(samples.mlp(16, 1), tmp_path), Inspection)


def test_a_model_that_never_ends_is_a_timeout(tmp_path: Path) -> None:
    crash = look(endless_loop(), tmp_path, seconds=4.0)
    assert isinstance(crash, Crash)
    assert crash.error == "Timeout"


def test_a_model_that_wants_all_memory_is_out_of_memory(tmp_path: Path) -> None:
    crash = look(huge_constant(), tmp_path, memory=2 * GIB)
    assert isinstance(crash, Crash)
    assert crash.error == "OutOfMemory"


def test_a_refusal_crosses_the_border_as_itself(tmp_path: Path) -> None:
    model = model_of(
        [helper.make_node("Magic", ["x"], ["y"], domain="com.example")], [floats("x", 4)], [floats("y", 4)]
    )
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(InputError) as caught:
        look(model, tmp_path)
    assert caught.value.reason == "UnsupportedOperator"


def test_an_unexpected_error_names_its_class(tmp_path: Path) -> None:
    question = InspectQuestion(folder="", source=str(tmp_path / "absent"), target="", max_opset=1, max_ir_version=1)
    crash = Subprocess(tmp_path / "sandbox", 3 * GIB).call(INSPECT, question, 30.0)
    assert isinstance(crash, Crash)
    assert crash.error == "FileNotFoundError"


def test_a_child_has_nothing_of_the_job_s_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    seen: dict[str, dict[str, str]] = {}

    class Popen(sandbox.subprocess.Popen[bytes]):
        def __init__(self, *args: object, env: dict[str, str], **kwargs: object) -> None:
            seen["env"] = env
            super().__init__(*args, env=env, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(sandbox.subprocess, "Popen", Popen)
    look(samples.mlp(8, 1), tmp_path)
    assert "AWS_SECRET_ACCESS_KEY" not in seen["env"]


def test_scratch_folders_do_not_pile_up(tmp_path: Path) -> None:
    look(samples.mlp(8, 1), tmp_path)
    assert not list((tmp_path / "sandbox").iterdir())


@pytest.mark.parametrize("code", [-11, -6, 3])
def test_a_death_without_a_word_is_named_by_its_signal_or_code(code: int) -> None:
    crash = sandbox.read_reply(INSPECT, {}, code, "Segmentation fault")
    assert crash == Crash("inspect", f"Signal{-code}" if code < 0 else f"Exit{code}", "Segmentation fault")


def test_a_kill_from_outside_is_read_as_out_of_memory() -> None:
    crash = sandbox.read_reply(INSPECT, {}, -9, "")
    assert isinstance(crash, Crash)
    assert crash.error == "OutOfMemory"


def test_every_task_names_a_function_that_takes_its_question() -> None:
    import importlib  # noqa: PLC0415
    import typing  # noqa: PLC0415

    for task in tasks.BY_TARGET.values():
        module, _, name = task.target.partition(":")
        function = getattr(importlib.import_module(f"modelwright.optimizer.{module}"), name)
        hints = typing.get_type_hints(function)
        assert issubclass(task.question, Message)
        assert list(hints.values()) == [task.question, task.answer]


def test_answers_survive_the_way_through_json() -> None:
    crash = json.loads(json.dumps({"error": "ValueError", "detail": "bad_alloc"}))
    read = sandbox.read_reply(INSPECT, crash, 1, "")
    assert isinstance(read, Crash)
    assert read.error == "OutOfMemory"
    assert os.sep not in str(read)
