"""Whether the API server may be asked now: a circuit breaker, so that an outage costs few requests.

After a lost connection, a 503 or a 429 nothing is sent for a while that grows to `LONGEST_SECONDS`; then one
request probes, and its success lets all others through. A `Retry-After` is never undercut.
"""

from collections.abc import Callable

FIRST_SECONDS = 0.25
LONGEST_SECONDS = 10.0
PROBE_SECONDS = 30.0
"""A probe that gave no answer for so long is forgotten, and the next request probes."""


class Gate:
    """Open, or closed until a time at which one request probes."""

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._closed_until = 0.0
        self._probing_until = 0.0

    def wait(self) -> float:
        """Seconds until it is worth asking again; 0 admits the caller, who must then report how it went."""
        now = self._clock()
        if not self._failures:
            return 0.0
        if now < self._closed_until:
            return self._closed_until - now
        if now < self._probing_until:
            return FIRST_SECONDS
        self._probing_until = now + PROBE_SECONDS
        return 0.0

    def succeeded(self) -> None:
        """The server answered."""
        self._failures = 0
        self._probing_until = 0.0

    def failed(self, retry_after: float | None = None) -> None:
        """The server could not be reached, or asked to be left alone."""
        self._failures += 1
        backoff = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self._failures - 1, 10))
        pause = max(retry_after or 0.0, backoff * (0.5 + self._jitter() / 2))
        self._closed_until = max(self._closed_until, self._clock() + pause)
        self._probing_until = 0.0
