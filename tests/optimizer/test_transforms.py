"""Each technique on a real model: what it changes, what it leaves, and when it says that it does not apply."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from modelwright.optimizer import graph, transforms
from modelwright.optimizer.intake.inspection import inspect
from modelwright.optimizer.rows import Rows
from modelwright.optimizer.tasks import (
    Inspection,
    InspectQuestion,
    Splits,
    Step,
    TransformQuestion,
    TransformReport,
)
from modelwright.optimizer.transforms.base import Context
from modelwright.optimizer.transforms.calibration import BINS, Statistics, observe
from tests.optimizer import samples
from tests.optimizer.samples import floats, model_of


class Workplace:
    """A model, its rows, and a place for what comes of them."""

    def __init__(self, model: onnx.ModelProto, folder: Path, rows: dict[str, samples.Array]) -> None:
        self.folder = folder
        self.source = folder / "source" / "model.onnx"
        raw = samples.write(model, folder / "raw.onnx")
        self.inspection: Inspection = inspect(
            InspectQuestion(
                folder=str(folder), source=str(raw), target=str(self.source), max_opset=21, max_ir_version=10
            )
        )
        self.rows = rows
        Rows(rows).save(folder / "calibration.npz")
        path = str(folder / "calibration.npz")
        self.splits = Splits(probe=path, calibration=path, select=path, confirm=path)

    def steps(self, technique: str) -> list[Step]:
        chosen = next(each for each in transforms.REGISTRY if each.name == technique)
        return list(chosen.propose(Context(self.inspection, self.splits)))

    def apply(self, step: Step) -> TransformReport:
        question = TransformQuestion(
            step=step,
            source=str(self.source),
            target=str(self.folder / "out"),
            inspection=self.inspection,
            splits=self.splits,
        )
        return transforms.transform(question)

    @property
    def result(self) -> onnx.ModelProto:
        return graph.load(self.folder / "out" / "model.onnx")

    def error(self) -> float:
        """Largest difference of the first output from the source's, in parts of its RMS."""
        wanted, got = (
            next(iter(samples.answers(model, self.rows).values())) for model in (graph.load(self.source), self.result)
        )
        return float(np.abs(wanted - got).max() / np.sqrt(np.mean(wanted**2)))


def normal(*shape: int) -> samples.Array:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


@pytest.fixture
def mlp(tmp_path: Path) -> Workplace:
    return Workplace(samples.mlp(64, 2), tmp_path, {"x": normal(200, 32)})


@pytest.fixture
def cnn(tmp_path: Path) -> Workplace:
    return Workplace(samples.cnn(8, 2), tmp_path, {"image": normal(64, 3, 16, 16)})


@pytest.fixture
def recommender(tmp_path: Path) -> Workplace:
    ids = np.random.default_rng(0).integers(0, 50, (100, 6)).astype(np.int64)
    return Workplace(samples.recommender(tables=6, rows=50), tmp_path, {"ids": ids})


class TestCleanUp:
    def test_dead_constants_are_folded_and_answers_stay(self, tmp_path: Path) -> None:
        model = samples.mlp(16, 1)
        model.graph.node.append(helper.make_node("Identity", ["y"], ["again"]))
        model.graph.output[0].name = "again"
        place = Workplace(model, tmp_path, {"x": normal(20, 32)})
        report = place.apply(place.steps("graph-cleanup")[0])
        assert report.nodes_changed
        assert "Identity" not in graph.count_operators(place.result)
        assert place.error() < 1e-5

    def test_nothing_to_do_is_reported_as_such(self, mlp: Workplace) -> None:
        assert mlp.apply(mlp.steps("graph-cleanup")[0]).nodes_changed == 0


class TestGatherFusion:
    def test_many_look_ups_become_one(self, recommender: Workplace) -> None:
        report = recommender.apply(recommender.steps("gather-fusion")[0])
        assert report.nodes_changed
        assert graph.count_operators(recommender.result)["Gather"] == 2
        assert recommender.error() == 0.0

    def test_an_index_that_counts_from_the_end_means_what_it_meant(self, recommender: Workplace) -> None:
        recommender.rows = {"ids": -1 - recommender.rows["ids"]}
        recommender.apply(recommender.steps("gather-fusion")[0])
        assert recommender.error() == 0.0

    @pytest.mark.parametrize("column", [0, 2, 5])
    def test_an_index_beyond_its_own_table_stays_an_error(self, column: int, recommender: Workplace) -> None:
        recommender.apply(recommender.steps("gather-fusion")[0])
        source, size = graph.load(recommender.source), 50 + column
        for index in (-size, size - 1, -size - 1, size):
            ids = np.zeros((1, 6), dtype=np.int64)
            ids[0, column] = index
            if -size <= index < size:
                wanted, found = (
                    samples.answers(model, {"ids": ids})["score"] for model in (source, recommender.result)
                )
                assert np.array_equal(wanted, found)
                continue
            for model in (source, recommender.result):
                with pytest.raises(Exception, match="out of"):
                    samples.answers(model, {"ids": ids})

    def test_the_tables_are_stored_once(self, recommender: Workplace) -> None:
        recommender.apply(recommender.steps("gather-fusion")[0])
        assert graph.size_of(recommender.folder / "out" / "model.onnx") < 1.02 * graph.size_of(recommender.source)

    def test_tables_of_two_widths_are_fused_apart(self, tmp_path: Path) -> None:
        nodes: list[onnx.NodeProto] = []
        weights: dict[str, samples.Array] = {}
        for table, dim in enumerate((4, 4, 8, 8)):
            weights |= {f"c{table}": np.array(table, np.int64), f"t{table}": normal(10, dim)}
            nodes.append(helper.make_node("Gather", ["ids", f"c{table}"], [f"i{table}"], axis=1))
            nodes.append(helper.make_node("Gather", [f"t{table}", f"i{table}"], [f"r{table}"]))
        nodes.append(helper.make_node("Concat", [f"r{table}" for table in range(4)], ["y"], axis=1))
        ids = helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["n", 4])
        model = model_of(nodes, [ids], [floats("y", "n", 24)], weights)
        place = Workplace(model, tmp_path, {"ids": np.random.default_rng(0).integers(0, 10, (30, 4))})
        assert place.apply(place.steps("gather-fusion")[0]).nodes_changed
        assert graph.count_operators(place.result)["Gather"] == 4
        assert place.error() == 0.0

    def test_a_model_without_tables_is_not_proposed(self, mlp: Workplace) -> None:
        assert mlp.steps("gather-fusion") == []

    def test_look_ups_that_do_not_meet_are_left_alone(self, tmp_path: Path) -> None:
        model = samples.recommender(tables=4, rows=20)
        for node in model.graph.node:
            if node.op_type == "Concat":
                node.op_type = "Sum"
                del node.attribute[:]
        model.graph.initializer[-2].CopyFrom(onnx.numpy_helper.from_array(normal(16, 64), "w0"))
        place = Workplace(model, tmp_path, {"ids": np.zeros((4, 4), np.int64)})
        report = place.apply(place.steps("gather-fusion")[0])
        assert report.nodes_changed == 0
        assert report.skipped_because


class TestDynamicInt8:
    def test_weights_become_signed_bytes_and_answers_stay_close(self, mlp: Workplace) -> None:
        for step in mlp.steps("dynamic-int8"):
            report = mlp.apply(step)
            assert report.nodes_changed
            assert 0 < max(report.per_layer_error.values()) < 0.03
            kinds = {tensor.data_type for tensor in mlp.result.graph.initializer if tensor.name.endswith("_quantized")}
            assert kinds == {onnx.TensorProto.INT8}
            assert mlp.error() < 0.2

    def test_convolutions_are_never_touched(self, cnn: Workplace) -> None:
        cnn.apply(cnn.steps("dynamic-int8")[0])
        operators = graph.count_operators(cnn.result)
        assert operators["Conv"] == 2
        assert "ConvInteger" not in operators

    def test_tables_are_quantized_only_where_there_are_some(self, mlp: Workplace, tmp_path: Path) -> None:
        labels = [step.label for step in mlp.steps("dynamic-int8")]
        assert labels == ["dynamic-int8(tensor)", "dynamic-int8(channel)"]
        ids = np.zeros((8, 4), np.int64)
        place = Workplace(samples.recommender(tables=4, rows=20), tmp_path / "other", {"ids": ids})
        step = place.steps("dynamic-int8")[-1]
        assert step.label == "dynamic-int8(tensor+tables)"
        assert any("table" in name for name in place.apply(step).per_layer_error)

    def test_products_of_two_activations_are_reported_as_nothing_to_do(self, tmp_path: Path) -> None:
        model = model_of(
            [helper.make_node("MatMul", ["a", "b"], ["y"])],
            [floats("a", "n", 2, 3), floats("b", "n", 3, 2)],
            [floats("y", "n", 2, 2)],
        )
        place = Workplace(model, tmp_path, {"a": normal(8, 2, 3), "b": normal(8, 3, 2)})
        assert place.apply(place.steps("dynamic-int8")[0]).skipped_because


class TestStaticInt8:
    @pytest.mark.parametrize("fixture", ["mlp", "cnn"])
    def test_ranges_come_from_rows_and_answers_stay_close(self, fixture: str, request: pytest.FixtureRequest) -> None:
        place: Workplace = request.getfixturevalue(fixture)
        steps = place.steps("static-int8")
        assert [step.params["ranges"] for step in steps] == ["minmax", "percentile"]
        for step in steps:
            assert place.apply(step).nodes_changed
            assert "QuantizeLinear" in graph.count_operators(place.result)
            assert place.error() < 0.3

    def test_activations_are_unsigned(self, cnn: Workplace) -> None:
        cnn.apply(cnn.steps("static-int8")[0])
        zero_points = {tensor.name: tensor.data_type for tensor in cnn.result.graph.initializer}
        activations = [zero_points[node.input[2]] for node in cnn.result.graph.node if node.op_type == "QuantizeLinear"]
        assert set(activations) == {onnx.TensorProto.UINT8}

    def test_without_rows_it_is_not_proposed(self, mlp: Workplace) -> None:
        mlp.splits = Splits(probe=mlp.splits.probe)
        assert mlp.steps("static-int8") == []

    def test_an_additive_mask_is_kept_out(self, tmp_path: Path) -> None:
        weights = {"w": normal(8, 8), "v": normal(8, 8)}
        nodes = [
            helper.make_node("Add", ["x", "mask"], ["masked"]),
            helper.make_node("MatMul", ["masked", "w"], ["m"], name="after_mask"),
            helper.make_node("MatMul", ["x", "v"], ["p"], name="plain"),
            helper.make_node("Add", ["m", "p"], ["y"]),
        ]
        model = model_of(nodes, [floats("x", "n", 8), floats("mask", "n", 8)], [floats("y", "n", 8)], weights)
        mask = np.where(np.random.default_rng(0).random((50, 8)) < 0.5, 0.0, -1e4).astype(np.float32)
        place = Workplace(model, tmp_path, {"x": normal(50, 8), "mask": mask})
        report = place.apply(place.steps("static-int8")[0])
        assert set(report.per_layer_error) == {"v"}

    def test_an_old_opset_is_raised_so_that_channels_have_scales(self, tmp_path: Path) -> None:
        model = samples.mlp(16, 1)
        model.opset_import[0].version = 11
        place = Workplace(model, tmp_path, {"x": normal(40, 32)})
        assert place.apply(place.steps("static-int8")[0]).nodes_changed
        assert graph.opset_of(place.result) >= 13

    def test_no_scratch_file_stays(self, mlp: Workplace) -> None:
        mlp.apply(mlp.steps("static-int8")[0])
        assert [file.name for file in (mlp.folder / "out").iterdir()] == ["model.onnx"]


class TestCalibration:
    def test_statistics_are_those_of_the_rows(self, mlp: Workplace) -> None:
        seen = observe(graph.load(mlp.source), ("Gemm",), Rows(mlp.rows), mlp.inspection.batch, mlp.folder)
        assert set(seen) == {"x", "h0", "r0", "h1", "r1", "y"}
        assert seen["x"].low == pytest.approx(float(mlp.rows["x"].min()))
        assert seen["r0"].low == 0.0
        assert int(seen["x"].counts.sum()) == mlp.rows["x"].size

    def test_a_percentile_cuts_both_tails_alike(self) -> None:
        counts = np.ones(BINS, dtype=np.int64)
        low, high = Statistics(-1.0, 1.0, counts).clipped(98.0)
        assert (low, high) == pytest.approx((-0.98, 0.98), abs=0.003)

    def test_a_tensor_of_few_values_keeps_its_range(self) -> None:
        counts = np.zeros(BINS, dtype=np.int64)
        counts[0] = counts[-1] = 10
        assert Statistics(0.0, 4.0, counts).clipped(99.99) == pytest.approx((0.0, 4.0))


@pytest.mark.parametrize("technique", ["dynamic-int8", "static-int8"])
def test_a_model_made_twice_is_the_same_to_the_byte(technique: str, mlp: Workplace) -> None:
    """A resumed run makes its winner again, and what was proved must be what is packaged."""
    step = mlp.steps(technique)[0]
    mlp.apply(step)
    first = mlp.result.SerializeToString(deterministic=True)
    mlp.apply(step)
    assert mlp.result.SerializeToString(deterministic=True) == first
