"""The golden pair is a request that Triton accepts, and an answer that is the model's own."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelwright.contract.artifact import Golden
from modelwright.errors import InputError
from modelwright.optimizer.golden import make_golden
from modelwright.optimizer.intake.inspection import inspect
from modelwright.optimizer.tasks import Contender, GoldenQuestion, Inspection, InspectQuestion
from tests.optimizer import samples
from tests.optimizer.samples import floats, model_of


def golden(model: onnx.ModelProto, folder: Path, *, lossy: bool = False) -> tuple[Golden, Inspection]:
    source, target = samples.write(model, folder / "raw.onnx"), folder / "model.onnx"
    found = inspect(
        InspectQuestion(folder=str(folder), source=str(source), target=str(target), max_opset=21, max_ir_version=10)
    )
    contender = Contender(id="source", model=str(target))
    return make_golden(GoldenQuestion(inspection=found, model=contender, lossy=lossy)).golden, found


def test_one_row_with_its_batch_axis(tmp_path: Path) -> None:
    made, _ = golden(samples.mlp(16, 1), tmp_path)
    (sent,) = made.request["inputs"]
    assert (sent["name"], sent["datatype"], sent["shape"]) == ("x", "FP32", [1, 32])
    assert len(sent["data"]) == 32
    assert len(made.outputs["y"]) == 4


def test_a_tensor_with_no_axis_but_the_batch_is_sent_with_one(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Exp", ["x"], ["y"])], [floats("x", "n")], [floats("y", "n")])
    made, _ = golden(model, tmp_path)
    assert made.request["inputs"][0]["shape"] == [1, 1]


def test_text_is_sent_as_bytes(tmp_path: Path) -> None:
    words = [helper.make_tensor_value_info(name, TensorProto.STRING, ["n", 2]) for name in ("x", "y")]
    made, _ = golden(model_of([helper.make_node("Identity", ["x"], ["y"])], words[:1], words[1:]), tmp_path)
    (sent,) = made.request["inputs"]
    assert (sent["datatype"], sent["data"]) == ("BYTES", ["a", "a"])
    assert made.outputs["y"] == ["a", "a"]


def test_the_tolerance_is_in_the_scale_of_the_answer_and_wider_for_int8(tmp_path: Path) -> None:
    scaled = model_of(
        [helper.make_node("Mul", ["x", "k"], ["y"])],
        [floats("x", "n", 64)],
        [floats("y", "n", 64)],
        {"k": np.array(1000.0, np.float32)},
    )
    strict, _ = golden(scaled, tmp_path)
    loose, _ = golden(scaled, tmp_path, lossy=True)
    assert 0.3 < strict.atol < 3.0
    assert loose.atol > 10 * strict.atol


def test_each_output_has_a_tolerance_of_its_own(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["large"]),
        helper.make_node("Identity", ["x"], ["small"]),
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
    ]
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["n"])
    outputs = [floats("large", "n", 64), floats("small", "n", 64), label]
    made, _ = golden(model_of(nodes, [floats("x", "n", 64)], outputs, {"k": np.array(1e4, np.float32)}), tmp_path)
    assert made.tolerances["large"] == pytest.approx(1e4 * made.tolerances["small"], rel=1e-3)
    assert made.tolerances["label"] == 0.0


def test_an_answer_that_is_not_finite_is_no_golden_pair(tmp_path: Path) -> None:
    _, found = golden(samples.mlp(16, 1), tmp_path)
    broken = model_of([helper.make_node("Log", ["x"], ["y"])], [floats("x", "n", 32)], [floats("y", "n", 32)])
    samples.write(broken, tmp_path / "model.onnx")
    contender = Contender(id="source", model=str(tmp_path / "model.onnx"))
    with pytest.raises(InputError) as caught:
        make_golden(GoldenQuestion(inspection=found, model=contender, lossy=False))
    assert caught.value.reason == "NonFiniteOutput"
