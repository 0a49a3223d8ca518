"""The demo's models: valid ONNX, the quality they claim, the same files every time."""

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
import pytest

from e2e.demo.models import digits, encoder, recommender, trained
from e2e.demo.models.learning import Array, sigmoid, softmax
from e2e.demo.models.trained import GROUPS, LABELS, Trained
from e2e.demo.models.wordpiece import WordPiece

_runtime: Any = onnxruntime
_threads: Any = importlib.import_module("threadpoolctl")


@pytest.fixture(scope="module")
def clicks() -> Trained:
    return recommender.train(recommender.SMALL)


@pytest.fixture(scope="module")
def scans() -> Trained:
    with _threads.threadpool_limits(1):  # as `training` does: with matrices this small, threads wait for each other
        return digits.train(digits.SMALL)


def answers(model: onnx.ModelProto, rows: dict[str, Array]) -> Array:
    session = _runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, rows)[0]


def inputs(found: Trained, rows: int = 64) -> dict[str, Array]:
    return {name: values[:rows] for name, values in found.evaluation.items() if name not in {LABELS, GROUPS}}


class TestRecommender:
    def test_ranks_better_than_chance_as_stated(self, clicks: Trained) -> None:
        scores = answers(clicks.model, inputs(clicks, 10_000))[:, 0]
        positive, negative = scores[clicks.evaluation[LABELS] == 1], scores[clicks.evaluation[LABELS] == 0]
        auc = (positive[:, None] > negative[None, :]).mean()
        assert auc > 0.62
        assert auc == pytest.approx(clicks.facts["auc"], abs=1e-3)

    def test_pages_are_groups_of_one_user_at_one_moment(self, clicks: Trained) -> None:
        page = slice(0, recommender.PAGE)
        assert len(set(clicks.evaluation[GROUPS][page])) == 1
        assert all(len(set(clicks.evaluation[name][page, 0])) == 1 for name in ("user", "hour", "device"))
        assert len(set(clicks.evaluation["item"][page, 0])) > 1

    def test_calibration_has_every_input_and_no_label(self, clicks: Trained) -> None:
        assert set(clicks.calibration) == {value.name for value in clicks.model.graph.input}
        assert all(len(values) <= 2048 for values in clicks.calibration.values())

    def test_the_same_seed_gives_the_same_model(self, clicks: Trained) -> None:
        again = recommender.train(recommender.SMALL)
        assert again.model.SerializeToString() == clicks.model.SerializeToString()
        assert all(np.array_equal(again.evaluation[name], values) for name, values in clicks.evaluation.items())

    def test_tables_are_looked_up_and_layers_are_dense(self, clicks: Trained) -> None:
        operators = [node.op_type for node in clicks.model.graph.node]
        assert operators.count("Gather") == len(recommender.TABLES)
        assert operators.count("Gemm") == len(recommender.SMALL.hidden) + 1


class TestDigits:
    def test_reads_digits_it_never_saw(self, scans: Trained) -> None:
        found = answers(scans.model, inputs(scans, 600)).argmax(axis=1)
        accuracy = (found == scans.evaluation[LABELS][:600]).mean()
        assert accuracy > 0.85
        assert accuracy == pytest.approx(scans.facts["accuracy"], abs=0.01)

    def test_is_a_convolutional_net_with_probabilities(self, scans: Trained) -> None:
        assert [node.op_type for node in scans.model.graph.node].count("Conv") == 5
        assert np.allclose(answers(scans.model, inputs(scans)).sum(axis=1), 1.0, atol=1e-5)

    def test_gradients_are_those_of_the_loss(self) -> None:
        random = np.random.default_rng(0)
        weights = {
            name: values.astype(np.float64) + 0.05 * random.standard_normal(values.shape)
            for name, values in digits.initial(digits.Scale((3, 4, 5)), random).items()
        }
        images, labels = random.random((3, digits.SIDE, digits.SIDE, 1)), np.array([1, 2, 3])

        def loss() -> float:
            return -np.log(softmax(digits.forward(images, weights)[-1])[np.arange(3), labels]).mean()

        found = digits.gradients(digits.forward(images, weights), labels, weights)
        for name, values in weights.items():
            place: tuple[int, ...] = tuple(int(size * random.random()) for size in np.shape(values))
            values[place] += 1e-5
            above = loss()
            values[place] -= 2e-5
            below = loss()
            values[place] += 1e-5
            assert (above - below) / 2e-5 == pytest.approx(found[name][place], abs=1e-6), name


WIDTH, WORDS, LENGTH = 8, 20, 6


def tiny_weights(random: np.random.Generator, layers: int) -> dict[str, Array]:
    def some(*shape: int) -> Array:
        return random.standard_normal(shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": some(WORDS, WIDTH),
        "embeddings.position_embeddings.weight": some(10, WIDTH),
        "embeddings.token_type_embeddings.weight": some(2, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for number in range(layers):
        layer = f"encoder.layer.{number}"
        dense = {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (16, WIDTH),
            "output.dense": (WIDTH, 16),
        }
        for name, shape in dense.items():
            weights[f"{layer}.{name}.weight"], weights[f"{layer}.{name}.bias"] = some(*shape), some(shape[0])
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name in norms:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = some(WIDTH), some(WIDTH)
    return weights


class Plain:
    """BERT in NumPy, one text at a time and without padding: what the graph must agree with."""

    def __init__(self, weights: dict[str, Array], shape: encoder.Shape) -> None:
        self.w, self.shape = weights, shape

    def dense(self, name: str, x: Array) -> Array:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, name: str, x: Array) -> Array:
        centered = x - x.mean(axis=-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + self.shape.epsilon)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def layer(self, name: str, x: Array) -> Array:
        parts = [self.dense(f"{name}.attention.self.{part}", x) for part in ("query", "key", "value")]
        heads = [np.split(part, self.shape.heads, axis=1) for part in parts]
        mixed = [
            softmax(query @ key.T / np.sqrt(query.shape[1])) @ value for query, key, value in zip(*heads, strict=True)
        ]
        attended = self.dense(f"{name}.attention.output.dense", np.concatenate(mixed, axis=1))
        x = self.norm(f"{name}.attention.output.LayerNorm", attended + x)
        inner = self.dense(f"{name}.intermediate.dense", x)
        erf = np.vectorize(math.erf)
        return self.norm(
            f"{name}.output.LayerNorm",
            self.dense(f"{name}.output.dense", inner * (1 + erf(inner / np.sqrt(2))) / 2) + x,
        )

    def embed(self, ids: Array) -> Array:
        places = self.w["embeddings.position_embeddings.weight"][: len(ids)]
        x = (
            self.w["embeddings.word_embeddings.weight"][ids]
            + places
            + self.w["embeddings.token_type_embeddings.weight"][0]
        )
        x = self.norm("embeddings.LayerNorm", x)
        for number in range(self.shape.layers):
            x = self.layer(f"encoder.layer.{number}", x)
        mean = x.mean(axis=0)
        return mean / np.linalg.norm(mean)


class TestEncoder:
    def test_the_graph_computes_bert_and_padding_changes_nothing(self) -> None:
        random = np.random.default_rng(0)
        shape = encoder.Shape(2, 2, 1e-12)
        weights = tiny_weights(random, 2)
        model = encoder.build(weights, shape, LENGTH)
        for length in (3, LENGTH):
            ids = np.zeros((1, LENGTH), dtype=np.int64)
            ids[0, :length] = random.integers(1, WORDS, length)
            mask = (np.arange(LENGTH) < length).astype(np.int64)[None]
            found = answers(model, {"input_ids": ids, "attention_mask": mask})[0]
            assert np.allclose(found, Plain(weights, shape).embed(ids[0, :length]), atol=1e-5)

    def test_texts_are_first_sentences_each_once_and_in_the_same_order_again(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            text = '"""Reads and writes\n   things of some kind.\n\nMore."""\ndef f():\n    """Short."""\n'
            (tmp_path / f"{name}.py").write_text(text + f'class C:\n    """What only the module {name} has."""\n')
        texts = encoder.sentences(3, tmp_path)
        assert sorted(texts) == [
            "Reads and writes things of some kind.",
            "What only the module a has.",
            "What only the module b has.",
        ]
        assert encoder.sentences(3, tmp_path) == texts
        with pytest.raises(ValueError, match="3 documented sentences, 4 are needed"):
            encoder.sentences(4, tmp_path)

    def test_reads_safetensors(self, tmp_path: Path) -> None:
        values = np.arange(6, dtype="<f4").reshape(2, 3)
        head = b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
        file = tmp_path / "some.safetensors"
        file.write_bytes(len(head).to_bytes(8, "little") + head + values.tobytes())
        assert np.array_equal(encoder.read_safetensors(file)["a"], values)


class TestWordPiece:
    VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "re", "##turn", "##s", "a", "cafe", ",", "##re")

    @pytest.mark.parametrize(
        ("text", "pieces"),
        [
            ("returns a", ["re", "##turn", "##s", "a"]),
            ("Café,  A", ["cafe", ",", "a"]),
            ("rex a", ["[UNK]", "a"]),
            ("", []),
            ("re\u0000turn", ["re", "##turn"]),
            ("x" * 200, ["[UNK]"]),
        ],
    )
    def test_takes_the_longest_piece_from_the_left(self, text: str, pieces: list[str]) -> None:
        wanted = ["[CLS]", *pieces, "[SEP]"]
        assert WordPiece(self.VOCABULARY).encode(text) == [self.VOCABULARY.index(piece) for piece in wanted]

    def test_cuts_and_pads_to_one_length(self) -> None:
        ids, mask = WordPiece(self.VOCABULARY).batch(["a", "a a a a a a"], 5)
        assert ids.tolist() == [[2, 7, 3, 0, 0], [2, 7, 7, 7, 3]]
        assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


class TestFiles:
    def test_saves_what_a_job_reads(self, clicks: Trained, tmp_path: Path) -> None:
        clicks.save(tmp_path)
        assert [path.name for path in trained.model_files(tmp_path)] == ["model.onnx"]
        assert set(trained.feeds(tmp_path, 4)) == {*recommender.TABLES, "dense"}
        with np.load(tmp_path / trained.EVALUATION, allow_pickle=False) as file:
            assert {LABELS, GROUPS} < set(file.files)

    def test_large_weights_lie_beside_the_graph(
        self, clicks: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trained, "INLINE_LIMIT", 1000)
        rows = inputs(clicks)
        wanted = answers(clicks.model, rows)
        clicks.save(tmp_path)
        assert [path.name for path in trained.model_files(tmp_path)] == ["model.onnx", "model.onnx.data"]
        session = _runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
        assert np.array_equal(session.run(None, rows)[0], wanted)


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
