"""Exponential back-off with jitter and a cap; it never gives up."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """How long to wait before attempt number `failures`.

    Attributes:
        first: Seconds after the first failure.
        longest: Seconds that are never exceeded.
        jitter: Random number in [0, 1).
    """

    first: float
    longest: float
    jitter: Callable[[], float] = random.random

    def delay(self, failures: int) -> float:
        """Between half and the whole of the exponential delay, so that many waiters spread out."""
        whole = min(self.longest, self.first * 2.0 ** min(max(failures - 1, 0), 32))
        return whole * (0.5 + self.jitter() / 2)
