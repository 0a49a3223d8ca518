"""Each way in which a graph can be unusable, with its reason; and what intake learns of one that is usable."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelwright.errors import InputError
from modelwright.optimizer import graph
from modelwright.optimizer.intake.inspection import inspect
from modelwright.optimizer.tasks import Inspection, InspectQuestion, Table
from tests.optimizer import samples
from tests.optimizer.samples import floats, model_of


def look(
    model: onnx.ModelProto | bytes,
    folder: Path,
    opset: int = 21,
    ir_version: int = 10,
    tables: tuple[Table, ...] = (),
) -> Inspection:
    source = folder / "model.onnx"
    source.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return inspect(
        InspectQuestion(
            folder=str(folder),
            source=str(source),
            target=str(folder / "out" / "model.onnx"),
            max_opset=opset,
            max_ir_version=ir_version,
            tables=tables,
        )
    )


def refusal(model: onnx.ModelProto | bytes, folder: Path, opset: int = 21, ir_version: int = 10) -> InputError:
    with pytest.raises(InputError) as caught:
        look(model, folder, opset, ir_version)
    assert len(caught.value.message) < 250
    assert len(caught.value.hint) < 250
    return caught.value


def one_node(node: onnx.NodeProto, **changes: Any) -> onnx.ModelProto:
    return model_of([node], [floats("x", "n", 4)], [floats("y", "n", 4)], **changes)


class TestDamaged:
    def test_truncated(self, tmp_path: Path) -> None:
        data = samples.mlp(16, 1).SerializeToString()
        assert refusal(data[: len(data) // 2], tmp_path).reason == "InvalidModel"

    def test_no_graph(self, tmp_path: Path) -> None:
        empty = onnx.ModelProto(ir_version=9)
        assert refusal(empty, tmp_path).reason == "InvalidModel"

    def test_flipped_bits_never_crash(self, tmp_path: Path) -> None:
        data = bytearray(samples.mlp(8, 1).SerializeToString())
        random = np.random.default_rng(0)
        for _ in range(30):
            damaged = bytearray(data)
            damaged[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
            try:
                look(bytes(damaged), tmp_path)
            except InputError as error:
                assert error.reason in {  # noqa: PT017 - many outcomes are right; a crash is not
                    "InvalidModel", "UnsupportedModel", "UnsupportedOperator", "NonFiniteOutput", "ExternalDataMissing",
                    "UnsafePath",
                }  # fmt: skip

    def test_a_wire_that_comes_from_nowhere(self, tmp_path: Path) -> None:
        model = one_node(helper.make_node("Add", ["x", "nowhere"], ["y"]))
        assert refusal(model, tmp_path).reason == "InvalidModel"


class TestOperators:
    def test_a_custom_domain_is_refused_by_name(self, tmp_path: Path) -> None:
        model = one_node(helper.make_node("Magic", ["x"], ["y"], domain="com.example"), domains={"com.example": 1})
        error = refusal(model, tmp_path)
        assert error.reason == "UnsupportedOperator"
        assert "com.example:Magic" in error.message

    def test_a_custom_operator_inside_a_branch_is_found(self, tmp_path: Path) -> None:
        def branch(op: str, domain: str) -> onnx.GraphProto:
            node = helper.make_node(op, ["x"], ["inner"], domain=domain)
            return helper.make_graph([node], "branch", [], [floats("inner", "n", 4)])

        chosen = helper.make_node(
            "If", ["flag"], ["y"], then_branch=branch("Identity", ""), else_branch=branch("Magic", "com.example")
        )
        flag = numpy_helper.from_array(np.array(True), "flag")
        model = one_node(chosen, domains={"com.example": 1})
        model.graph.initializer.append(flag)
        assert refusal(model, tmp_path).reason == "UnsupportedOperator"

    def test_an_operator_that_does_not_exist(self, tmp_path: Path) -> None:
        assert refusal(one_node(helper.make_node("Frobnicate", ["x"], ["y"])), tmp_path).reason == "UnsupportedOperator"

    def test_a_contrib_operator_that_the_runtime_lacks(self, tmp_path: Path) -> None:
        node = helper.make_node("NoSuchContrib", ["x"], ["y"], domain="com.microsoft")
        error = refusal(one_node(node, domains={"com.microsoft": 1}), tmp_path)
        assert error.reason in {"UnsupportedOperator", "InvalidModel"}

    def test_a_contrib_operator_that_it_has_is_fine(self, tmp_path: Path) -> None:
        node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
        assert look(one_node(node, domains={"com.microsoft": 1}), tmp_path).operators == {"com.microsoft:Gelu": 1}

    def test_deep_nesting_is_refused(self, tmp_path: Path) -> None:
        inner = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "g", [], [floats("z", "n", 4)])
        for _ in range(12):
            node = helper.make_node("If", ["flag"], ["z"], then_branch=inner, else_branch=inner)
            inner = helper.make_graph([node], "g", [], [floats("z", "n", 4)])
        model = one_node(helper.make_node("Identity", ["x"], ["y"]))
        model.graph.node.insert(0, helper.make_node("If", ["flag"], ["w"], then_branch=inner, else_branch=inner))
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
        assert "nested" in refusal(model, tmp_path).message


class TestInterface:
    def test_no_inputs(self, tmp_path: Path) -> None:
        constant = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.ones(3, np.float32)))
        assert "no inputs" in refusal(model_of([constant], [], [floats("y", 3)]), tmp_path).message

    def test_a_classifier_with_zipmap_gets_the_way_to_export_it(self, tmp_path: Path) -> None:
        x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
        fitted: Any = graph.untyped("sklearn.linear_model").LogisticRegression()
        fitted.fit(x, (x[:, 0] > 0).astype(int))
        error = refusal(graph.untyped("skl2onnx").to_onnx(fitted, x[:1]), tmp_path)
        assert error.reason == "UnsupportedModel"
        assert "'zipmap': False" in error.hint

    @pytest.mark.parametrize("size", [0, -3])
    def test_an_axis_without_a_size(self, size: int, tmp_path: Path) -> None:
        node = helper.make_node("Identity", ["x"], ["y"])
        assert (
            refusal(model_of([node], [floats("x", "n", size)], [floats("y", "n", size)]), tmp_path).reason
            == "InvalidModel"
        )

    def test_an_input_of_unknown_rank(self, tmp_path: Path) -> None:
        shapeless = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
        model = model_of([helper.make_node("Identity", ["x"], ["y"])], [shapeless], [floats("y", "n")])
        assert "no shape" in refusal(model, tmp_path).message

    def test_a_name_that_no_config_can_hold(self, tmp_path: Path) -> None:
        node = helper.make_node("Identity", ['x"} evil {'], ["y"])
        model = model_of([node], [floats('x"} evil {', "n", 4)], [floats("y", "n", 4)])
        assert refusal(model, tmp_path).reason == "InvalidModel"

    def test_an_element_type_that_triton_lacks(self, tmp_path: Path) -> None:
        kind = TensorProto.COMPLEX64
        values = [helper.make_tensor_value_info(name, kind, ["n", 4]) for name in ("x", "y")]
        model = model_of([helper.make_node("Identity", ["x"], ["y"])], values[:1], values[1:])
        assert "COMPLEX64" in refusal(model, tmp_path).message

    def test_a_source_that_answers_nan_whatever_it_is_given(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("Sub", ["x", "x"], ["zero"]), helper.make_node("Div", ["zero", "zero"], ["y"])]
        model = model_of(nodes, [floats("x", "n", 4)], [floats("y", "n", 4)])
        assert refusal(model, tmp_path).reason == "NonFiniteOutput"


class TestVersions:
    def test_a_newer_opset_is_converted_down(self, tmp_path: Path) -> None:
        found = look(one_node(helper.make_node("Relu", ["x"], ["y"]), opset=22), tmp_path, opset=21)
        assert found.opset == 21
        assert "converted from opset 22 to 21" in found.notes

    def test_what_cannot_be_converted_is_refused_with_both_numbers(self, tmp_path: Path) -> None:
        model = one_node(helper.make_node("Gelu", ["x"], ["y"]), opset=20)
        error = refusal(model, tmp_path, opset=17)
        assert error.reason in {"UnsupportedModel", "InvalidModel"}
        assert "17" in error.message + error.hint

    def test_a_newer_ir_version_is_lowered(self, tmp_path: Path) -> None:
        model = one_node(helper.make_node("Relu", ["x"], ["y"]))
        model.ir_version = 11
        assert look(model, tmp_path).ir_version == 10

    def test_stale_shapes_are_stripped(self, tmp_path: Path) -> None:
        model = samples.mlp(16, 1)
        model.graph.value_info.append(floats("h0", 7, 7))
        look(model, tmp_path)
        assert not graph.load(tmp_path / "out" / "model.onnx").graph.value_info

    def test_weights_among_the_inputs_are_no_inputs(self, tmp_path: Path) -> None:
        model = samples.mlp(16, 1)
        model.graph.input.append(floats("w0", 32, 16))
        assert [tensor.name for tensor in look(model, tmp_path).inputs] == ["x"]


class TestBatch:
    def test_a_free_first_axis_is_a_batch(self, tmp_path: Path) -> None:
        assert look(samples.mlp(16, 1), tmp_path).batch.kind == "dynamic"

    def test_a_nameless_first_axis_is_too(self, tmp_path: Path) -> None:
        node = helper.make_node("Relu", ["x"], ["y"])
        model = model_of([node], [floats("x", None, 4)], [floats("y", None, 4)])
        assert look(model, tmp_path).batch.kind == "dynamic"

    def test_a_fixed_first_axis_is_a_batch_of_that_size(self, tmp_path: Path) -> None:
        node = helper.make_node("Relu", ["x"], ["y"])
        batch = look(model_of([node], [floats("x", 4, 8)], [floats("y", 4, 8)]), tmp_path).batch
        assert (batch.kind, batch.size) == ("fixed", 4)

    def test_an_output_that_mixes_rows_is_no_batch(self, tmp_path: Path) -> None:
        node = helper.make_node("Softmax", ["x"], ["y"], axis=0)
        model = model_of([node], [floats("x", "n", 4)], [floats("y", "n", 4)])
        assert look(model, tmp_path).batch.kind == "none"

    def test_a_reduced_output_is_no_batch(self, tmp_path: Path) -> None:
        node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=0)
        model = model_of([node], [floats("x", "n", 4)], [floats("y", 4)])
        assert look(model, tmp_path).batch.kind == "none"

    def test_an_output_declared_fixed_by_mistake_is_declared_free(self, tmp_path: Path) -> None:
        node = helper.make_node("Relu", ["x"], ["y"])
        found = look(model_of([node], [floats("x", "n", 4)], [floats("y", 1, 4)]), tmp_path)
        assert found.batch.kind == "dynamic"
        written = graph.load(tmp_path / "out" / "model.onnx").graph.output[0]
        assert not isinstance((graph.dims_of(written) or [1])[0], int)

    def test_a_matrix_with_as_many_rows_as_its_answer_is_no_batch(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[0]), helper.make_node("Sub", ["x", "m"], ["y"])]
        found = look(model_of(nodes, [floats("x", 4, 3)], [floats("y", 4, 3)]), tmp_path)
        assert found.batch.kind == "none"

    def test_a_free_axis_has_the_size_that_weights_contract_with(self, tmp_path: Path) -> None:
        model = model_of(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            [floats("x", None, None)],
            [floats("y", None, 2)],
            {"w": np.ones((7, 2), np.float32)},
        )
        found = look(model, tmp_path)
        assert (found.batch.kind, found.generator.sizes) == ("dynamic", {"x:1": 7})

    def test_or_the_one_that_the_data_have(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("Reshape", ["x", "s"], ["r"]),
            helper.make_node("ReduceSum", ["r", "a"], ["y"], keepdims=0),
        ]
        weights = {"s": np.array([0, 5, 1]), "a": np.array([2])}
        model = model_of(nodes, [floats("x", None, None)], [floats("y", None, 5)], weights)
        np.savez(tmp_path / "table.npz", x=np.zeros((20, 5), np.float32))
        table = Table(path=str(tmp_path / "table.npz"), shown="evaluation", max_samples=20, seed=0)
        found = look(model, tmp_path, tables=(table,))
        assert (found.batch.kind, found.generator.sizes) == ("dynamic", {"x:1": 5})

    def test_indices_stay_inside_their_table(self, tmp_path: Path) -> None:
        assert look(samples.recommender(tables=4, rows=50), tmp_path).generator.index_bounds == {"ids": 50}


class TestExternalData:
    def model(self, location: str, **entries: str) -> onnx.ModelProto:
        model = samples.mlp(16, 1, features=8, classes=2)
        weight = model.graph.initializer[0]
        self.bytes = weight.raw_data
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            weight.external_data.add(key=key, value=value)
        return model

    def test_weights_beside_the_graph_are_read(self, tmp_path: Path) -> None:
        model = self.model("weights.data")
        (tmp_path / "weights.data").write_bytes(self.bytes)
        assert look(model, tmp_path).parameters == 8 * 16 + 16 + 16 * 2 + 2

    def test_missing_weights_are_named(self, tmp_path: Path) -> None:
        error = refusal(self.model("weights.data"), tmp_path)
        assert error.reason == "ExternalDataMissing"
        assert "weights.data" in error.message

    @pytest.mark.parametrize(
        "location", ["../secret", "a/../../secret", "/etc/passwd", "/proc/self/environ", "..\\secret", ""]
    )
    def test_no_path_leaves_the_folder(self, location: str, tmp_path: Path) -> None:
        assert refusal(self.model(location), tmp_path).reason == "UnsafePath"

    def test_no_link_is_followed(self, tmp_path: Path) -> None:
        model = self.model("weights.data")
        (tmp_path / "real").write_bytes(self.bytes)
        (tmp_path / "weights.data").symlink_to(tmp_path / "real")
        assert refusal(model, tmp_path).reason == "UnsafePath"

    def test_no_hard_link_is_followed(self, tmp_path: Path) -> None:
        model = self.model("weights.data")
        (tmp_path / "real").write_bytes(self.bytes)
        (tmp_path / "weights.data").hardlink_to(tmp_path / "real")
        assert refusal(model, tmp_path).reason == "UnsafePath"

    def test_no_linked_folder_is_followed(self, tmp_path: Path) -> None:
        model = self.model("inner/weights.data")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "weights.data").write_bytes(self.bytes)
        (tmp_path / "inner").symlink_to(tmp_path / "elsewhere")
        assert refusal(model, tmp_path).reason == "UnsafePath"

    @pytest.mark.parametrize(
        "entries", [{"offset": "9999999"}, {"length": "9999999"}, {"offset": "-1"}, {"length": "1e3"}, {"length": "4"}]
    )
    def test_no_byte_beyond_the_file_is_read(self, entries: dict[str, str], tmp_path: Path) -> None:
        model = self.model("weights.data", **entries)
        (tmp_path / "weights.data").write_bytes(self.bytes)
        assert refusal(model, tmp_path).reason == "InvalidModel"
