"""What a candidate must prove before it may serve.

The quality gate speaks of the relative change of a metric on rows that nobody tuned on::

    change = (optimized - baseline) / |baseline|        (sign turned for metrics where smaller is better)

    Pass          lower bound of change >= -max_drop
    Fail          upper bound of change <  -max_drop
    Inconclusive  neither: the rows cannot tell. It never serves; the message says how many rows could.

Each bound is one-sided at the asked confidence. When up to k candidates may be tried on the same rows, each is judged
at ``(1 - confidence) / k`` (Bonferroni), so that the chance to serve any that is worse stays below ``1 - confidence``.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from modelwright.contract.request import QualityGate
from modelwright.contract.result import Quality
from modelwright.optimizer import bounds
from modelwright.optimizer.metrics import REACH, SMALLER_IS_BETTER
from modelwright.optimizer.scores import Score

MAX_LOOKS: Final = 3
"""Candidates that may be judged on the confirm rows of one run."""

FEW_DIFFER: Final = 50
"""Differing units below which the bootstrap is not trusted and the betting bound is used."""

MIN_UNITS: Final = 30
"""Units below which a metric without a betting bound proves nothing."""

MIN_OF_CLASS: Final = 50
"""Units of the rarer class below which an AUC proves nothing, and units that carry the variance of a target below which
an R² does not: resampling cannot show the loss of cases that are hardly there."""


@dataclass(frozen=True)
class Judgment:
    """The gate's word on one candidate.

    Attributes:
        quality: Numbers and verdict.
        needed: About how many units would decide, if the verdict is Inconclusive and any number would.
        method: ``bootstrap`` or ``betting``.
    """

    quality: Quality
    needed: int | None
    method: Literal["bootstrap", "betting"]

    def explain(self, gate: QualityGate) -> str:
        """One sentence with the numbers, for messages."""
        found = self.quality
        text = (
            f"{found.metric} {found.baseline:.4g} -> {found.optimized:.4g}: change {found.change:+.2%} "
            f"[{found.lower:+.2%}, {found.upper:+.2%}] on {found.rows} rows; the bound is {-gate.max_drop:+.2%}"
        )
        if found.verdict == "Inconclusive" and self.needed is not None:
            text += f"; about {self.needed} rows would decide"
        return text


def judge(
    metric: str, baseline: Score, candidate: Score, gate: QualityGate, *, looks: int = 1, seed: int = 0
) -> Judgment:
    """Compare a candidate with the source model on the same rows.

    Args:
        metric: One of `metrics.NAMES`.
        baseline: Score of the source model.
        candidate: Score of the candidate, paired with `baseline`.
        gate: Largest drop and confidence.
        looks: Candidates that may be tried on these rows in all.
        seed: Of resampling.
    """
    sign = -1.0 if metric in SMALLER_IS_BETTER else 1.0
    before, after = float(baseline.value()[0]), float(candidate.value()[0])
    scale = max(abs(before), 1e-12)
    change = sign * (after - before) / scale
    alpha = (1.0 - gate.confidence) / looks
    method = _method(metric, baseline, candidate)
    if method == "betting":
        differences = candidate.per_unit() - baseline.per_unit()
        lower, upper = (bound / scale for bound in bounds.betting(differences, REACH[metric], alpha, seed))
    else:
        lower, upper = _bootstrap(baseline, candidate, sign, alpha, seed)
    lower, upper = min(lower, change), max(upper, change)
    present, wanted = _carrying(baseline)
    trusted = method == "betting" or present >= wanted
    verdict = _verdict(lower, upper, gate.max_drop) if trusted else "Inconclusive"
    quality = Quality(
        metric=metric,
        baseline=before,
        optimized=after,
        change=change,
        lower=lower,
        upper=upper,
        rows=baseline.units,
        verdict=verdict,
    )
    needed = _needed(quality, gate.max_drop) if trusted else math.ceil(baseline.units * wanted / max(1, present))
    return Judgment(quality, needed, method)


def lossless(metric: str, baseline: Score | None, candidate: Score | None) -> Quality | None:
    """Quality of a candidate whose outputs are the source's; only reported, for there is nothing to prove."""
    if baseline is None or candidate is None:
        return None
    before, after = float(baseline.value()[0]), float(candidate.value()[0])
    sign = -1.0 if metric in SMALLER_IS_BETTER else 1.0
    change = sign * (after - before) / max(abs(before), 1e-12)
    return Quality(
        metric=metric,
        baseline=before,
        optimized=after,
        change=change,
        lower=change,
        upper=change,
        rows=baseline.units,
        verdict="Lossless",
    )


def _carrying(score: Score) -> tuple[int, int]:
    """Units that carry a metric, and how many of them the bootstrap needs."""
    match score.kind:
        case "mean":
            return score.units, MIN_UNITS
        case "auc":
            sides = (np.unique(score.unit[score.second == side]).size for side in (0, 1))
            return min(sides), MIN_OF_CLASS
        case "r2":
            spread = np.bincount(score.unit, (score.second - score.second.mean()) ** 2, score.units)
            # The effective number of units: all of them if each adds alike to the variance, 1 if one is all of it.
            return int(spread.sum() ** 2 / max(float((spread**2).sum()), 1e-300)), MIN_OF_CLASS


def _method(metric: str, baseline: Score, candidate: Score) -> Literal["bootstrap", "betting"]:
    if metric not in REACH or baseline.kind != "mean":
        return "bootstrap"
    differing = int((np.abs(candidate.per_unit() - baseline.per_unit()) > 1e-9).sum())
    return "betting" if differing < FEW_DIFFER else "bootstrap"


def _bootstrap(baseline: Score, candidate: Score, sign: float, alpha: float, seed: int) -> tuple[float, float]:
    if baseline.kind == "mean":
        return _bootstrap_means(baseline, candidate, sign, alpha, seed)

    def change(weights: bounds.Array) -> bounds.Array:
        before = baseline.value(weights)
        return sign * (candidate.value(weights) - before) / np.maximum(np.abs(before), 1e-12)

    return bounds.bootstrap(change, np.ones(baseline.units), alpha, seed)


def _bootstrap_means(baseline: Score, candidate: Score, sign: float, alpha: float, seed: int) -> tuple[float, float]:
    """Units with the same results in both models are of one kind, which makes right and wrong answers cheap."""
    kinds, counts = np.unique(np.stack([baseline.totals(), candidate.totals()]), axis=1, return_counts=True)

    def change(weights: bounds.Array) -> bounds.Array:
        # Both means have the same number of rows below them, which cancels.
        before, after = weights @ kinds[0], weights @ kinds[1]
        return sign * (after - before) / np.maximum(np.abs(before), 1e-12)

    return bounds.bootstrap(change, counts, alpha, seed)


def _verdict(lower: float, upper: float, max_drop: float) -> Literal["Pass", "Fail", "Inconclusive"]:
    if lower >= -max_drop:
        return "Pass"
    return "Fail" if upper < -max_drop else "Inconclusive"


def _needed(quality: Quality, max_drop: float) -> int | None:
    """Rows at which the bound would clear the limit if the change stayed: width shrinks with the root of the rows."""
    room = quality.change + max_drop
    if quality.verdict != "Inconclusive" or room <= 0:
        return None
    return math.ceil(max(quality.rows * ((quality.change - quality.lower) / room) ** 2, quality.rows + 1))
