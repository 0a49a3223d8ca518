"""Looks at every model now and then, whatever events there were: what was missed is found within one round."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from modelwright.cluster.backoff import Backoff
from modelwright.cluster.cache import Cache
from modelwright.cluster.census import Census
from modelwright.cluster.classify import NOT_FOUND
from modelwright.cluster.kinds import Key
from modelwright.errors import ClusterError
from modelwright.runtime.feed import Feed
from modelwright.runtime.queue import KeyedQueue, Priority

log = logging.getLogger(__name__)
RETRY = Backoff(1.0, 15.0)


class Sweep:
    """Takes a census, looks for new kinds, and queues everything."""

    def __init__(
        self,
        census: Census,
        cache: Cache,
        feed: Feed,
        queue: KeyedQueue[Key],
        every: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._census = census
        self._cache = cache
        self._feed = feed
        self._queue = queue
        self._every = every
        self._clock = clock
        self._alive_at = clock()
        self._waiting = 0.0

    @property
    def overdue(self) -> float:
        """Seconds since it should have given a sign of life."""
        return self._clock() - self._alive_at - self._waiting

    async def prime(self) -> None:
        """Read our own kinds for the first time, however long that takes."""
        failures = 0
        while True:
            try:
                self._feed.expect(await self._census.prime())
            except ClusterError as error:
                failures += 1
                what = "the CRDs are not installed" if error.status == NOT_FOUND else str(error)
                log.warning("waiting for the API server: %s", what)
                await self._rest(RETRY.delay(failures))
            else:
                return

    async def run(self) -> None:
        """Sweep for ever."""
        failures = 0
        while True:
            # Spread, so that replicas and their models do not all move at once; never later than asked.
            spread = random.uniform(0.8, 1.0)  # noqa: S311 - spreads load
            await self._rest(RETRY.delay(failures) if failures else self._every * spread)
            try:
                await self._sweep()
            except ClusterError as error:
                failures += 1
                log.warning("sweep: %s", error)
            else:
                failures = 0

    def queue_all(self) -> None:
        """Let every model be looked at."""
        for key in self._census.models.keys():  # noqa: SIM118 - a method of ours, not a mapping's
            self._queue.add(key, Priority.RESYNC)

    async def _sweep(self) -> None:
        missed = await self._census.take()
        if missed:
            log.info("the event feed had not told of %d objects", len(missed))
        self._feed.expect(missed)
        await self._cache.discover()
        self.queue_all()

    async def _rest(self, seconds: float) -> None:
        self._alive_at, self._waiting = self._clock(), seconds
        await asyncio.sleep(seconds)
        self._alive_at, self._waiting = self._clock(), 0.0
