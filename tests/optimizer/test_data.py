"""Tables become rows that fit the model, or an error that names the column; proof rows never tune anything."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelwright.errors import InputError
from modelwright.optimizer import data
from modelwright.optimizer.graph import untyped
from modelwright.optimizer.rows import Array, Rows
from modelwright.optimizer.tasks import Batch, Generator, Inspection, PrepareQuestion, Splits, Table, TensorInfo

X = TensorInfo(name="x", data_type="FP32", dims=("n", 2, 3))
IDS = TensorInfo(name="ids", data_type="INT32", dims=("n",))


def inspection(*inputs: TensorInfo) -> Inspection:
    return Inspection(
        inputs=inputs,
        outputs=(TensorInfo(name="y", data_type="FP32", dims=("n", 2)),),
        batch=Batch(kind="dynamic"),
        generator=Generator(),
        opset=17,
        ir_version=9,
        operators={},
        parameters=0,
        size_bytes=0,
    )


def npz(folder: Path, **columns: Any) -> Table:
    path = folder / "table.npz"
    np.savez(path, **columns)
    return Table(path=str(path), shown="evaluation", max_samples=100_000, seed=0)


def parquet(folder: Path, **columns: Any) -> Table:
    path = folder / "table.parquet"
    untyped("pyarrow.parquet").write_table(untyped("pyarrow").table(columns), str(path))
    return Table(path=str(path), shown="evaluation", max_samples=100_000, seed=0)


def prepare(folder: Path, table: Table, *inputs: TensorInfo) -> Splits:
    return data.prepare(PrepareQuestion(inspection=inspection(*inputs), folder=str(folder / "rows"), evaluation=table))


def rows_of(count: int = 400) -> Array:
    return np.random.default_rng(0).standard_normal((count, 2, 3)).astype(np.float32)


class TestReading:
    def test_npz_and_parquet_give_the_same_rows(self, tmp_path: Path) -> None:
        x = rows_of()
        one = prepare(tmp_path / "1", npz(_made(tmp_path / "1"), x=x, labels=np.arange(400) % 2), X)
        two = prepare(tmp_path / "2", parquet(_made(tmp_path / "2"), x=x.tolist(), labels=np.arange(400) % 2), X)
        assert one.rows == two.rows
        assert one.confirm and two.confirm
        assert np.array_equal(Rows.load(one.confirm).inputs["x"], Rows.load(two.confirm).inputs["x"])

    def test_flattened_rows_take_the_model_s_shape(self, tmp_path: Path) -> None:
        splits = prepare(tmp_path, npz(tmp_path, x=rows_of().reshape(400, 6), labels=np.zeros(400)), X)
        assert splits.select
        assert Rows.load(splits.select).inputs["x"].shape[1:] == (2, 3)

    def test_fixed_size_lists_are_read(self, tmp_path: Path) -> None:
        pa = untyped("pyarrow")
        column = pa.FixedSizeListArray.from_arrays(pa.array(rows_of().reshape(-1)), 6)
        assert prepare(tmp_path, parquet(tmp_path, x=column), X).labels == "none"

    def test_text_inputs_and_labels_are_kept_as_text(self, tmp_path: Path) -> None:
        words = TensorInfo(name="word", data_type="STRING", dims=("n",))
        table = npz(tmp_path, word=np.array([f"w{i}" for i in range(300)]), labels=np.array(["a", "b"] * 150))
        splits = prepare(tmp_path, table, words)
        assert splits.labels == "text"
        assert splits.select
        assert Rows.load(splits.select).inputs["word"].dtype == np.object_

    def test_without_tables_rows_are_generated_and_only_a_probe_exists(self, tmp_path: Path) -> None:
        splits = data.prepare(PrepareQuestion(inspection=inspection(X, IDS), folder=str(tmp_path)))
        assert splits.select is None
        assert splits.confirm is None
        assert set(Rows.load(splits.probe).inputs["ids"].tolist()) <= {0, 1}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a missing column": ({"z": rows_of()}, "'x'"),
    "a wrong shape": ({"x": np.zeros((400, 5), np.float32)}, "shape"),
    "NaN": ({"x": np.full((400, 2, 3), np.nan, np.float32)}, "NaN"),
    "text for numbers": ({"x": np.full((400, 2, 3), "a")}, "FP32"),
    "unequal lengths": ({"x": rows_of(), "labels": np.zeros(3)}, "'labels'"),
    "NaN labels": ({"x": rows_of(), "labels": np.full(400, np.nan)}, "labels"),
    "no rows": ({"x": np.zeros((0, 2, 3), np.float32)}, "no rows"),
    "too few distinct rows": ({"x": np.zeros((400, 2, 3), np.float32)}, "distinct"),
}


class TestBadTables:
    @pytest.mark.parametrize("name", BAD)
    def test_the_message_says_what_is_wrong(self, name: str, tmp_path: Path) -> None:
        columns, word = BAD[name]
        with pytest.raises(InputError) as caught:
            prepare(tmp_path, npz(tmp_path, **columns), X)
        assert caught.value.reason == "InvalidData"
        assert word in caught.value.message

    def test_integers_must_fit_the_model_s_type(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="INT32"):
            prepare(tmp_path, npz(tmp_path, ids=np.arange(400) + (1 << 40)), IDS)

    def test_fractions_are_no_integers(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="INT32"):
            prepare(tmp_path, npz(tmp_path, ids=np.arange(400) + 0.5), IDS)

    def test_ragged_lists(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="different lengths"):
            prepare(tmp_path, parquet(tmp_path, x=[[1.0] * 6] * 399 + [[1.0] * 12]), X)

    def test_nulls(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nulls"):
            prepare(tmp_path, parquet(tmp_path, ids=[1] * 399 + [None]), IDS)

    def test_a_pickle_in_an_npz_is_never_opened(self, tmp_path: Path) -> None:
        bomb = np.array([{"not": "an array"}] * 400, dtype=object)
        with pytest.raises(InputError) as caught:
            prepare(tmp_path, npz(tmp_path, x=bomb), X)
        assert caught.value.reason == "InvalidData"

    @pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"PK\x03\x04broken", b"PAR1broken", b""])
    def test_other_formats_and_damaged_files(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "table.npz"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            prepare(tmp_path, Table(path=str(path), shown="evaluation", max_samples=10, seed=0), X)
        assert caught.value.reason == "InvalidData"


class TestSplitting:
    def test_select_and_confirm_share_no_row_even_if_rows_repeat(self, tmp_path: Path) -> None:
        x = np.concatenate([rows_of(200)] * 2)
        splits = prepare(tmp_path, npz(tmp_path, x=x), X)
        assert splits.select and splits.confirm
        select, confirm = (Rows.load(path).inputs["x"] for path in (splits.select, splits.confirm))
        assert not {row.tobytes() for row in select} & {row.tobytes() for row in confirm}
        assert len(select) + len(confirm) == 400

    def test_a_group_stays_on_one_side(self, tmp_path: Path) -> None:
        groups = np.repeat(np.arange(50), 8)
        splits = prepare(tmp_path, npz(tmp_path, x=rows_of(), labels=np.zeros(400), groups=groups), X)
        assert splits.select and splits.confirm
        sides = [set(np.asarray(Rows.load(path).groups).tolist()) for path in (splits.select, splits.confirm)]
        assert not sides[0] & sides[1]

    def test_calibration_never_sees_a_confirm_row(self, tmp_path: Path) -> None:
        table = npz(tmp_path, x=rows_of(), labels=np.zeros(400))
        question = PrepareQuestion(
            inspection=inspection(X), folder=str(tmp_path / "rows"), calibration=table, evaluation=table
        )
        splits = data.prepare(question)
        assert splits.calibration and splits.confirm
        calibration, confirm = (Rows.load(path).inputs["x"] for path in (splits.calibration, splits.confirm))
        assert not {row.tobytes() for row in calibration} & {row.tobytes() for row in confirm}

    def test_the_same_seed_gives_the_same_sample_and_another_seed_another(self) -> None:
        rows = Rows({"x": rows_of()})
        table = Table(path="", shown="", max_samples=50, seed=1)
        one, again = data.sample(rows, table), data.sample(rows, table)
        other = data.sample(rows, table.model_copy(update={"seed": 2}))
        assert one.count == 50
        assert np.array_equal(one.inputs["x"], again.inputs["x"])
        assert not np.array_equal(one.inputs["x"], other.inputs["x"])

    def test_the_order_of_the_table_does_not_matter(self) -> None:
        x, labels = rows_of(400), np.repeat([0, 1], 200)
        table = Table(path="", shown="", max_samples=400, seed=1)
        forward = data.sample(Rows({"x": x}, labels), table)
        backward = data.sample(Rows({"x": x[::-1]}, labels[::-1]), table)
        assert np.array_equal(forward.inputs["x"], backward.inputs["x"])
        assert forward.labels is not None
        assert set(forward.labels[:20].tolist()) == {0, 1}

    def test_a_sample_is_not_cut_to_one_side_by_the_split(self) -> None:
        rows = data.sample(Rows({"x": rows_of(4000)}), Table(path="", shown="", max_samples=300, seed=0))
        select, confirm = data.split(rows, 0, "evaluation")
        assert 60 < select.count < 150
        assert confirm.count == 300 - select.count


class TestFeeding:
    def test_a_fixed_batch_is_padded_and_the_padding_does_not_count(self) -> None:
        rows = Rows({"x": np.arange(10.0)})
        batches = list(rows.batches(99, Batch(kind="fixed", size=4)))
        assert [len(feeds["x"]) for feeds, _ in batches] == [4, 4, 4]
        assert [kept for _, kept in batches] == [4, 4, 2]

    def test_a_row_of_a_model_without_a_batch_axis_is_one_call(self) -> None:
        rows = Rows({"x": np.arange(6.0).reshape(2, 3)})
        assert [feeds["x"].shape for feeds, _ in rows.batches(8, Batch(kind="none"))] == [(3,), (3,)]

    def test_rows_survive_the_disk(self, tmp_path: Path) -> None:
        rows = Rows({"a/b:0": np.arange(3.0), "s": np.array(["x", "yy", ""], dtype=object)}, np.arange(3), np.arange(3))
        rows.save(tmp_path / "rows.npz")
        back = Rows.load(tmp_path / "rows.npz")
        assert back.inputs["s"].tolist() == ["x", "yy", ""]
        assert back.inputs["a/b:0"].tolist() == [0.0, 1.0, 2.0]
        assert back.labels is not None


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
