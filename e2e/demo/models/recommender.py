"""A recommender: embedding tables and dense features into a wide MLP that says how likely a click is.

The traffic is synthetic but shaped like the real thing: users and items follow Zipf's law, tastes cluster, categories
have their hours, price meets a budget, and a click is drawn, not decided. Evaluation rows come as pages of candidates
shown to one user, so that ranking is judged page by page (ndcg@10).
"""

import importlib
import itertools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx

from e2e.demo.models.graph import FLOAT, INT64, Graph
from e2e.demo.models.learning import Adam, Array, Weights, he, sigmoid
from e2e.demo.models.trained import GROUPS, LABELS, Trained

_metrics: Any = importlib.import_module("sklearn.metrics")  # it ships no types

TABLES: Final = ("user", "item", "category", "hour", "device")
DENSE: Final = 8
PAGE: Final = 16


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        sizes: Rows of each table, in the order of `TABLES`.
        width: Columns of each table.
        hidden: Widths of the MLP.
        impressions: Training rows.
        epochs: Passes over them.
        pages: Evaluation pages of `PAGE` candidates.
    """

    sizes: tuple[int, ...] = (20_000, 8_000, 64, 24, 6)
    width: int = 32
    hidden: tuple[int, ...] = (1024, 1024, 512)
    impressions: int = 160_000
    epochs: int = 2
    pages: int = 400
    batch: int = 1024


SMALL: Final = Scale((400, 200, 16, 24, 6), 8, (32, 16), 12_000, 4, 40, 256)
"""For tests: learns the same world in a second."""


def train(scale: Scale = Scale(), seed: int = 7) -> Trained:
    """Make the world, learn it, export it."""
    random = np.random.default_rng(seed)
    world = World(scale, random)
    rows = world.impressions(scale.impressions)
    weights = _learn(rows, scale, random)
    held_back = world.pages(scale.pages)
    labels = held_back[LABELS]
    scores = sigmoid(_forward(held_back, weights, scale)[-1])[:, 0]
    facts = {"auc": float(_metrics.roc_auc_score(labels, scores)), "click_rate": float(labels.mean())}
    calibration = {name: values[:2048] for name, values in rows.items() if name != LABELS}
    return Trained(_export(weights, scale), calibration, held_back, facts)


class World:
    """The truth behind the clicks."""

    def __init__(self, scale: Scale, random: np.random.Generator) -> None:
        users, items, categories, hours, _ = scale.sizes
        self._scale, self._random = scale, random
        tastes = random.standard_normal((categories, 8))
        self.category = random.integers(0, categories, items)
        favourite = random.integers(0, categories, users)
        self._taste = tastes[favourite] + 0.6 * random.standard_normal((users, 8))
        self._theme = tastes[self.category] + 0.6 * random.standard_normal((items, 8))
        self._appeal = 0.5 * random.standard_normal(items)
        self._price = random.gamma(2.0, 0.5, items)
        self._budget = random.gamma(3.0, 0.5, users)
        self._activity = random.beta(2, 5, users)
        self._rhythm = 0.5 * random.standard_normal((hours, categories))

    def impressions(self, count: int) -> dict[str, Array]:
        """Rows of single impressions, with clicks as labels."""
        users, items = self._zipf(self._scale.sizes[0], count), self._zipf(self._scale.sizes[1], count)
        return self._rows(users, items, self._moments(count))

    def pages(self, count: int) -> dict[str, Array]:
        """Pages of `PAGE` candidates for one user at one moment, numbered in ``groups``."""
        users = np.repeat(self._zipf(self._scale.sizes[0], count), PAGE)
        items = self._zipf(self._scale.sizes[1], count * PAGE)
        hour, device = (np.repeat(values, PAGE) for values in self._moments(count))
        rows = self._rows(users, items, (hour, device))
        return {**rows, GROUPS: np.repeat(np.arange(count, dtype=np.int64), PAGE)}

    def _zipf(self, size: int, count: int) -> Array:
        odds = 1.0 / np.arange(1, size + 1) ** 1.05
        return self._random.choice(size, count, p=odds / odds.sum())

    def _moments(self, count: int) -> tuple[Array, Array]:
        return self._random.integers(0, self._scale.sizes[3], count), self._random.integers(
            0, self._scale.sizes[4], count
        )

    def _rows(self, users: Array, items: Array, moment: tuple[Array, Array]) -> dict[str, Array]:
        hour, device = moment
        count, category = len(users), self.category[items]
        freshness = self._random.exponential(1.0, count)
        match = (self._taste[users] * self._theme[items]).sum(axis=1) / 2.5
        strain = np.maximum(0.0, self._price[items] - self._budget[users])
        truth = match + self._appeal[items] + self._rhythm[hour, category] - 1.2 * strain - 0.4 * freshness - 0.6
        clicks = self._random.random(count) < sigmoid(truth)
        noise = self._random.standard_normal((count, 3))
        dense = np.column_stack(
            [
                self._price[items],
                self._budget[users],
                freshness,
                self._activity[users],
                np.log1p(items),
                noise,
            ]
        )
        identifiers = (users, items, category, hour, device)
        columns = {name: ids.reshape(-1, 1).astype(np.int64) for name, ids in zip(TABLES, identifiers, strict=True)}
        return {**columns, "dense": dense.astype(np.float32), LABELS: clicks.astype(np.int64)}


def _learn(rows: dict[str, Array], scale: Scale, random: np.random.Generator) -> Weights:
    weights = _initial(scale, random)
    adam, squares = Adam(1e-3), {name: np.full(len(weights[name]), 0.1, dtype=np.float32) for name in TABLES}
    count = len(rows[LABELS])
    for _ in range(scale.epochs):
        order = random.permutation(count)
        for start in range(0, count - scale.batch + 1, scale.batch):
            batch = {name: values[order[start : start + scale.batch]] for name, values in rows.items()}
            _step(batch, weights, scale, adam, squares)
    return weights


def _initial(scale: Scale, random: np.random.Generator) -> Weights:
    weights: Weights = {
        name: (0.05 * random.standard_normal((size, scale.width))).astype(np.float32)
        for name, size in zip(TABLES, scale.sizes, strict=True)
    }
    widths = (len(TABLES) * scale.width + DENSE, *scale.hidden, 1)
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        weights[f"mlp.{layer}.weight"] = he(random, outputs, inputs)
        weights[f"mlp.{layer}.bias"] = np.zeros(outputs, dtype=np.float32)
    return weights


def _forward(rows: dict[str, Array], weights: Weights, scale: Scale) -> list[Array]:
    """Inputs of every layer, and last the logit."""
    embedded = [weights[name][rows[name][:, 0]] for name in TABLES]
    values = [np.concatenate([*embedded, rows["dense"]], axis=1)]
    for layer in range(len(scale.hidden)):
        product = values[-1] @ weights[f"mlp.{layer}.weight"].T + weights[f"mlp.{layer}.bias"]
        values.append(np.maximum(product, 0.0))
    last = len(scale.hidden)
    return [*values, values[-1] @ weights[f"mlp.{last}.weight"].T + weights[f"mlp.{last}.bias"]]


def _step(batch: dict[str, Array], weights: Weights, scale: Scale, adam: Adam, squares: Weights) -> None:
    """One step: Adam for the MLP, row-wise Adagrad for the tables, of which a batch touches few rows."""
    values = _forward(batch, weights, scale)
    error = ((sigmoid(values[-1]) - batch[LABELS][:, None]) / len(values[-1])).astype(np.float32)
    gradients: Weights = {}
    for layer in range(len(scale.hidden), -1, -1):
        gradients[f"mlp.{layer}.weight"] = error.T @ values[layer]
        gradients[f"mlp.{layer}.bias"] = error.sum(axis=0)
        error = error @ weights[f"mlp.{layer}.weight"]
        if layer:
            error *= values[layer] > 0
    adam.update(weights, gradients)
    for position, name in enumerate(TABLES):
        touched, inverse = np.unique(batch[name][:, 0], return_inverse=True)
        gradient = np.zeros((len(touched), scale.width), dtype=np.float32)
        np.add.at(gradient, inverse, error[:, position * scale.width : (position + 1) * scale.width])
        gradient *= len(inverse)  # a table's row sees only its own few examples, not the batch's mean
        squares[name][touched] += (gradient**2).mean(axis=1)
        weights[name][touched] -= 0.2 * gradient / np.sqrt(squares[name][touched])[:, None]


def _export(weights: Weights, scale: Scale) -> onnx.ModelProto:
    graph = Graph("recommender")
    looked_up = [
        graph.node("Gather", graph.weight(f"{name}.table", weights[name]), graph.input(name, INT64, [1]))
        for name in TABLES
    ]
    embedded = graph.node("Flatten", graph.node("Concat", *looked_up, axis=2), axis=1)
    value = graph.node("Concat", embedded, graph.input("dense", FLOAT, [DENSE]), axis=1)
    for layer in range(len(scale.hidden) + 1):
        name = f"mlp.{layer}"
        value = graph.linear(value, name, weights[f"{name}.weight"], weights[f"{name}.bias"])
        value = graph.node("Relu" if layer < len(scale.hidden) else "Sigmoid", value)
    graph.output("score", value, FLOAT, [1])
    return graph.build({"task": "click probability of a candidate item"})
