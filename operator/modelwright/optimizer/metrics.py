"""Quality of a model on rows, kept per unit so that a gate can resample it.

A *unit* is what is drawn independently: a row, or all rows of a group (a query) where there are groups. Each metric
turns outputs into a `Score`; scores of two models on the same rows are paired unit by unit.

Without labels the source model is the truth: ``cosine`` of each row's output with the source's, ``agreement`` of the
decision, ``fidelity`` (R² against the source's outputs) for single numbers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np

from modelwright.errors import InputError
from modelwright.optimizer.ranking import mean_reciprocal_rank, ndcg
from modelwright.optimizer.rows import Array

Kind = Literal["mean", "auc", "r2"]
NAMES: Final = ("accuracy", "auc", "ndcg@10", "mrr@10", "r2", "mse", "cosine", "agreement", "fidelity")
WITHOUT_LABELS: Final = frozenset({"cosine", "agreement", "fidelity"})
SMALLER_IS_BETTER: Final = frozenset({"mse"})
REACH: Final = {"accuracy": 1.0, "agreement": 1.0, "ndcg@10": 1.0, "mrr@10": 1.0, "cosine": 2.0}
"""Largest possible difference of one row between two models, where there is one."""


@dataclass(frozen=True)
class Score:
    """What a metric needs of each row.

    Attributes:
        kind: How rows become a value.
        first: ``mean``: the row's value. ``auc``: the row's score. ``r2``: the prediction.
        second: ``auc``: 1 for a positive row. ``r2``: the target. Unused by ``mean``.
        unit: Index of the row's unit, ``0..units-1``.
    """

    kind: Kind
    first: Array
    second: Array
    unit: Array
    units: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", int(self.unit.max()) + 1)

    def value(self, weights: Array | None = None) -> Array:
        """The metric, for each weighting of units.

        Args:
            weights: Shape ``(resamples, units)``; None counts every unit once.

        Returns:
            Shape ``(resamples,)``.
        """
        if weights is None:
            weights = np.ones((1, self.units))
        match self.kind:
            case "mean":
                counts = np.bincount(self.unit, minlength=self.units)
                return (weights @ self.totals()) / np.maximum(weights @ counts, 1e-12)
            case "auc":
                return _auc(self.first, self.second, weights[:, self.unit])
            case "r2":
                return self._r2(weights)

    def _r2(self, weights: Array) -> Array:
        """1 - SSE / SST, both from sums by unit."""
        target, error = self.second, (self.first - self.second) ** 2
        sums = [np.bincount(self.unit, x, self.units) for x in (error, target, target**2, np.ones_like(target))]
        sse, total, squares, count = (weights @ x for x in sums)
        sst = squares - total**2 / np.maximum(count, 1e-12)
        return 1.0 - sse / np.maximum(sst, 1e-12)

    def totals(self) -> Array:
        """Sum of the rows of each unit; meaningful for kind ``mean``."""
        return np.bincount(self.unit, self.first, self.units)

    def per_unit(self) -> Array:
        """Mean of the rows of each unit; meaningful for kind ``mean``."""
        return self.totals() / np.bincount(self.unit, minlength=self.units)

    def save(self, path: Path) -> None:
        """Write an npz."""
        np.savez(path, allow_pickle=False, kind=np.array(self.kind), a=self.first, b=self.second, unit=self.unit)

    @staticmethod
    def load(path: Path) -> "Score":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            kind: Kind = str(file["kind"])  # pyright: ignore[reportAssignmentType]
            return Score(kind, file["a"], file["b"], file["unit"])


@dataclass(frozen=True)
class Truth:
    """What a metric compares with.

    Attributes:
        labels: Of the rows, or None.
        groups: Of the rows, or None.
        source: Outputs of the source model on the rows.
        binary: Whether labels are 0 and 1 only.
    """

    labels: Array | None
    groups: Array | None
    source: dict[str, Array]
    binary: bool = False


def choose(name: str | None, truth: Truth) -> str:
    """The metric to use: the one asked for, or what labels and outputs suggest.

    Raises:
        InputError: InvalidData if the one asked for is unknown, or needs labels or groups that are not there.
    """
    if name is not None:
        _check_name(name, truth)
        return name
    if truth.labels is None:
        return "cosine" if _main(truth.source).shape[1] > 1 else "fidelity"
    if truth.groups is not None:
        return "ndcg@10"
    if truth.labels.ndim > 1 or truth.labels.dtype.kind == "f":
        return "auc" if truth.binary and truth.labels.ndim == 1 else "r2"
    if _decision(truth.source) is None and _main(truth.source).shape[1] == 1:
        return "auc" if truth.binary else "r2"
    return "accuracy"


def score(metric: str, outputs: dict[str, Array], truth: Truth) -> Score:
    """What `metric` needs of each row.

    Args:
        metric: One of `NAMES`.
        outputs: Of the model, rows first.
        truth: What to compare with.
    """
    rows = len(next(iter(outputs.values())))
    unit = truth.groups if truth.groups is not None else np.arange(rows)
    unit = np.unique(unit, return_inverse=True)[1].reshape(-1)
    match metric:
        case "auc":
            return Score("auc", _positive(outputs), _labels(truth).astype(np.float64), unit)
        case "ndcg@10" | "mrr@10":
            by_group = ndcg if metric == "ndcg@10" else mean_reciprocal_rank
            values = by_group(_positive(outputs), _labels(truth).astype(np.float64), unit, 10)
            return Score("mean", values, np.zeros(0), np.arange(len(values)))
        case "r2":
            return _regression(_main(outputs), _labels(truth).reshape(rows, -1), unit)
        case "fidelity":
            return _regression(_main(outputs), _main(truth.source), unit)
        case _:
            return Score("mean", _row_values(metric, outputs, truth), np.zeros(0), unit)


def _row_values(metric: str, outputs: dict[str, Array], truth: Truth) -> Array:
    match metric:
        case "accuracy":
            return (_decide(outputs, truth.source) == _decide_labels(truth, outputs)).astype(np.float64)
        case "agreement":
            return (_decide(outputs, truth.source) == _decide(truth.source, truth.source)).astype(np.float64)
        case "mse":
            return ((_main(outputs) - _labels(truth).reshape(len(_main(outputs)), -1)) ** 2).mean(axis=1)
        case "cosine":
            return cosines(_main(outputs), _main(truth.source))
        case _:
            raise InputError("InvalidData", f"Unknown metric {metric!r}.", f"One of: {', '.join(NAMES)}.")


def cosines(one: Array, other: Array) -> Array:
    """Cosine similarity row by row; two zero rows are alike."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    dots = np.einsum("ij,ij->i", one, other)
    both_zero = (np.abs(one).sum(axis=1) == 0) & (np.abs(other).sum(axis=1) == 0)
    return np.where(both_zero, 1.0, dots / np.maximum(norms, 1e-30))


def _check_name(name: str, truth: Truth) -> None:
    if name not in NAMES:
        raise InputError("InvalidData", f"Unknown metric {name!r}.", f"One of: {', '.join(NAMES)}.")
    if truth.labels is None and name not in WITHOUT_LABELS:
        raise InputError(
            "InvalidData", f"Metric {name} needs a column 'labels'.", f"Add it, or use {', '.join(WITHOUT_LABELS)}."
        )
    if truth.groups is None and name in {"ndcg@10", "mrr@10"}:
        raise InputError("InvalidData", f"Metric {name} needs a column 'groups'.", "Add one: the query of each row.")


def _main(outputs: dict[str, Array]) -> Array:
    """The output that carries scores: the first of floats, flattened to ``(rows, values)``."""
    floats = [values for values in outputs.values() if values.dtype.kind == "f"]
    chosen = floats[0] if floats else next(iter(outputs.values()))
    return chosen.reshape(len(chosen), -1).astype(np.float64)


def _decision(outputs: dict[str, Array]) -> Array | None:
    """An output of labels (whole numbers or text, one a row), as classifiers of scikit-learn have."""
    for values in outputs.values():
        if values.dtype.kind in "iuUO" and values.size == len(values):
            return values.reshape(-1).astype(np.str_) if values.dtype.kind in "UO" else values.reshape(-1)
    return None


def _decide(outputs: dict[str, Array], source: dict[str, Array]) -> Array:
    """The class of each row. One number is cut at 0.5 if the source gives probabilities, at 0 if it gives logits."""
    named = _decision(outputs)
    if named is not None:
        return named
    scores, usual = _main(outputs), _main(source)
    if scores.shape[1] > 1:
        return np.argmax(scores, axis=1)
    is_probability = usual.min() >= 0 and usual.max() <= 1
    return (scores[:, 0] > (0.5 if is_probability else 0.0)).astype(np.int64)


def _decide_labels(truth: Truth, outputs: dict[str, Array]) -> Array:
    labels, named = _labels(truth), _decision(outputs)
    if named is not None and named.dtype.kind == "U":
        return labels.astype(np.str_)
    return labels


def _positive(outputs: dict[str, Array]) -> Array:
    """Score of the positive class."""
    scores = _main(outputs)
    return scores[:, 1] if scores.shape[1] == 2 else scores[:, 0]


def _labels(truth: Truth) -> Array:
    assert truth.labels is not None
    return truth.labels


def _regression(predicted: Array, target: Array, unit: Array) -> Score:
    width = min(predicted.shape[1], target.shape[1])
    flat = predicted[:, :width].reshape(-1), target[:, :width].astype(np.float64).reshape(-1)
    return Score("r2", flat[0], flat[1], np.repeat(unit, width))


def _auc(scores: Array, positive: Array, weights: Array) -> Array:
    """Weighted area under the ROC curve, ties counted half.

    Args:
        scores: Shape ``(rows,)``.
        positive: 1 or 0, shape ``(rows,)``.
        weights: Shape ``(resamples, rows)``.
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) > 0, True))
    w_pos = np.cumsum(weights[:, order] * positive[order], axis=1)[:, ends]
    w_neg = np.cumsum(weights[:, order] * (1.0 - positive[order]), axis=1)[:, ends]
    pos, neg = np.diff(w_pos, axis=1, prepend=0.0), np.diff(w_neg, axis=1, prepend=0.0)
    wins = (pos * (w_neg - neg + 0.5 * neg)).sum(axis=1)
    pairs = w_pos[:, -1] * w_neg[:, -1]
    return np.where(pairs > 0, wins / np.maximum(pairs, 1e-12), 0.5)
