"""Confidence bounds on how much a candidate lost.

Two methods, because each fails where the other works:

* The **paired percentile bootstrap** resamples rows (or groups) with both models' results together. It is sharp, but
  with few rows that differ it is blind: if none of 50 rows differs it says "no loss, certainly".
* The **betting bound** for the mean of bounded differences (Waudby-Smith & Ramdas, "Estimating means of bounded random
  variables by betting", 2024, hedged capital with predictable plug-in bets). It holds for every sample size: with no
  row in n differing it still allows a loss of about 4/n. It is used where few rows differ.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

RESAMPLES: Final = 2000
CHUNK_CELLS: Final = 1_000_000
BET_CAP: Final = 0.75
"""Largest bet as a part of the whole capital, the value of the paper."""


def bootstrap(
    change: Callable[[Array], Array], counts: npt.NDArray[Any], alpha: float, seed: int
) -> tuple[float, float]:
    """One-sided bounds of a statistic.

    Args:
        change: Weights ``(resamples, kinds)``, how often a unit of each kind is drawn, to the statistic
            ``(resamples,)``.
        counts: Units of each kind: ones for units that are all different; right and wrong answers are four kinds.
        alpha: Chance of each bound to be wrong.
        seed: Of the resampling; the same seed draws the same resamples for every candidate.

    Returns:
        Lower and upper bound.
    """
    random = np.random.default_rng(seed)
    rows = max(1, CHUNK_CELLS // len(counts))
    values = [change(_draw(random, min(rows, RESAMPLES - start), counts)) for start in range(0, RESAMPLES, rows)]
    drawn = np.concatenate(values)
    return float(np.quantile(drawn, alpha)), float(np.quantile(drawn, 1.0 - alpha))


def betting(differences: npt.NDArray[Any], reach: float, alpha: float, seed: int) -> tuple[float, float]:
    """One-sided bounds of the mean of bounded differences.

    Args:
        differences: One per unit, each within ``[-reach, reach]``.
        reach: Largest possible difference.
        alpha: Chance of each bound to be wrong.
        seed: Of the order of the bets; the bound holds for any order fixed beforehand.

    Returns:
        Lower and upper bound.
    """
    order = np.random.default_rng(seed).permutation(len(differences))
    unit = (np.asarray(differences, dtype=np.float64)[order] / reach + 1.0) / 2.0
    lower = _lower(unit, alpha)
    upper = 1.0 - _lower(1.0 - unit, alpha)
    return (2.0 * lower - 1.0) * reach, (2.0 * upper - 1.0) * reach


def _draw(random: np.random.Generator, resamples: int, counts: npt.NDArray[Any]) -> Array:
    units, kinds = int(counts.sum()), len(counts)
    if kinds < units:
        return random.multinomial(units, counts / units, size=resamples).astype(np.float64)
    # Drawing indices and counting them flat is several times faster than a multinomial of many kinds.
    drawn = random.integers(0, units, size=(resamples, units)) + units * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * units).reshape(resamples, units).astype(np.float64)


def _lower(values: Array, alpha: float) -> float:
    """Largest mean in ``[0, mean(values)]`` below which every mean is rejected, for values in ``[0, 1]``."""
    count = len(values)
    steps = np.arange(1, count + 1)
    means = (0.5 + np.cumsum(values)) / (steps + 1)
    spread = (0.25 + np.cumsum((values - means) ** 2)) / (steps + 1)
    known = np.concatenate(([0.25], spread[:-1]))  # a bet may use only what was seen before it
    bets = np.sqrt(2.0 * np.log(1.0 / alpha) / (known * count))
    low, high = 0.0, float(values.mean())
    # The capital against a mean falls as the mean rises, so the border is found by halving.
    for _ in range(40):
        middle = (low + high) / 2.0
        if _capital(values, bets, middle) >= 1.0 / alpha:
            low = middle
        else:
            high = middle
    return low


def _capital(values: Array, bets: Array, mean: float) -> float:
    """Best capital on the way of betting that the mean is larger; exceeds 1/alpha with chance alpha at most."""
    stake = np.minimum(bets, BET_CAP / max(mean, 1e-12))
    logs = np.cumsum(np.log1p(stake * (values - mean)))
    return float(np.exp(min(700.0, float(logs.max()))))
