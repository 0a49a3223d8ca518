"""Trying again after what may pass: a few attempts with growing, jittered pauses."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from modelwright.errors import StoreError

T = TypeVar("T")

PAUSES: tuple[float, ...] = (0.5, 1.0, 2.0)
"""Seconds before each further attempt. Longer outages are for the operator to wait out."""

_PASSING = ("SourceUnreachable", "StoreUnavailable")


def retrying(call: Callable[[], T]) -> T:
    """The result of `call`, tried again while it raises a StoreError for want of an answer.

    Only silence is worth an immediate second try: an absent object or a refused login is retriable too, but
        not within seconds.

    Raises:
        StoreError: Of the last attempt.
    """
    for pause in PAUSES:
        try:
            return call()
        except StoreError as error:
            if error.reason not in _PASSING or not error.retriable:
                raise
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
    return call()
