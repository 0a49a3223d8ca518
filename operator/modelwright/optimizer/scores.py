"""A metric's rows, kept per unit so that a gate can resample them.

A *unit* is what is drawn independently: a row, or all rows of a group (a query) where there are groups.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np

from modelwright.optimizer.rows import Array

Kind = Literal["mean", "auc", "r2"]
CELLS: Final = 2_000_000
"""Weights of rows held at once."""


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
                return self._auc(weights)
            case "r2":
                return self._r2(weights)

    def _auc(self, weights: Array) -> Array:
        """In parts: few units may hold many rows, and each resample needs a weight for every row."""
        step = max(1, CELLS // len(self.unit))
        parts = (weights[start : start + step] for start in range(0, len(weights), step))
        return np.concatenate([area(self.first, self.second, part[:, self.unit]) for part in parts])

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


def area(scores: Array, positive: Array, weights: Array) -> Array:
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
