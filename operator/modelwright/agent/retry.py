"""Trying again after what may pass: a few attempts with growing, jittered pauses."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from modelwright.errors import StoreError

T = TypeVar("T")

PAUSES: tuple[float, ...] = (0.5, 1.0, 2.0)
"""Seconds before each further attempt. Longer outages are for the operator to wait out."""


class Silence(StoreError):
    """Nothing answered, or not to the end; worth another try within seconds."""

    def __init__(self, reason: str, message: str, hint: str) -> None:
        super().__init__(reason, message, hint, retriable=True)


def retrying(call: Callable[[], T]) -> T:
    """The result of `call`, tried again while nothing answers.

    An absent object or a refused login may be worth another try as well, but not within seconds.

    Raises:
        StoreError: Of the last attempt.
    """
    for pause in PAUSES:
        try:
            return call()
        except Silence:
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
    return call()
