"""Ranking quality by group, safe against ties.

Quantized models give equal scores more often, and duplicates give equal scores always; what float noise makes of their
order must not count. Tied rows therefore share what their places are worth.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TIE: Final = 1e-6
"""Part of a group's range of scores below which two scores are one."""


def ndcg(scores: Array, gains: Array, groups: Array, depth: int) -> Array:
    """Normalized discounted cumulative gain of each group (linear gains, log2 discount).

    Args:
        scores: Shape ``(rows,)``.
        gains: Relevance, shape ``(rows,)``.
        groups: Index of each row's group, shape ``(rows,)``.
        depth: Places that count.

    Returns:
        Shape ``(groups,)``; a group without gain counts 0 for every model.
    """
    return _by_group(scores, gains, groups, lambda s, g: _ndcg(s, g, depth))


def mean_reciprocal_rank(scores: Array, gains: Array, groups: Array, depth: int) -> Array:
    """One over the place of the first row with gain, 0 below `depth`. Arguments as of `ndcg`."""
    return _by_group(scores, gains, groups, lambda s, g: _reciprocal(s, g, depth))


def _by_group(scores: Array, gains: Array, groups: Array, value: Callable[[Array, Array], float]) -> Array:
    order = np.argsort(groups, kind="stable")
    borders = np.flatnonzero(np.diff(groups[order])) + 1
    pairs = zip(np.split(scores[order], borders), np.split(gains[order], borders), strict=True)
    return np.array([value(np.asarray(s, dtype=np.float64), g) for s, g in pairs])


def _tied(scores: Array) -> Array:
    """Index of the tie each row belongs to, the best tie being 0."""
    order = np.argsort(-scores, kind="stable")
    width = max(float(np.ptp(scores)) * TIE, 1e-12)
    ties = np.empty(len(scores), dtype=np.int64)
    ties[order] = np.concatenate(([0], np.cumsum(-np.diff(scores[order]) > width)))
    return ties


def _ndcg(scores: Array, gains: Array, depth: int) -> float:
    discounts = np.zeros(len(scores))
    shown = min(depth, len(scores))
    discounts[:shown] = 1.0 / np.log2(np.arange(2, shown + 2))
    best = float((np.sort(gains)[::-1] * discounts).sum())
    if best == 0.0:
        return 0.0
    ties = _tied(scores)
    places = np.sort(ties)
    worth = np.bincount(places, discounts) / np.bincount(places)
    return float((worth[ties] * gains).sum() / best)


def _reciprocal(scores: Array, gains: Array, depth: int) -> float:
    hits = gains > 0
    if not hits.any():
        return 0.0
    ties = _tied(scores)
    first = ties[hits].min()
    before, among = int((ties < first).sum()), int((ties == first).sum())
    wanted = int((hits & (ties == first)).sum())
    # Mean place of the first of `wanted` among `among` rows in random order.
    place = before + (among + 1) / (wanted + 1)
    return 1.0 / place if place <= depth else 0.0
