"""Runs passes: a bounded number at a time, one per key, until asked to stop."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from modelwright.cluster.kinds import Key
from modelwright.runtime.queue import KeyedQueue

log = logging.getLogger(__name__)


class QueueMeter(Protocol):
    """Where waiting is measured."""

    def waited(self, seconds: float) -> None:
        """A key waited so long."""

    def depth(self, keys: int) -> None:
        """So many keys wait now."""


class Workers:
    """Takes keys from its queue and hands them to `work`.

    Args:
        work: One pass over a key; it sees to its own failures.
        count: Passes at a time.
        meter: Where waiting is measured.
    """

    def __init__(self, work: Callable[[Key], Awaitable[None]], count: int, meter: QueueMeter) -> None:
        self._woken = asyncio.Event()
        self.queue: KeyedQueue[Key] = KeyedQueue(time.monotonic, self._woken.set)
        self._work = work
        self._count = count
        self._meter = meter
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run(self) -> None:
        """Work until `stop`."""
        while not self._stopping:
            self._woken.clear()
            self._start()
            self._meter.depth(len(self.queue))
            due = self.queue.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def stop(self, grace: float) -> None:
        """Take no more keys, let running passes end within the grace, and cancel the rest."""
        self._stopping = True
        self._woken.set()
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=grace)
        for task in late:
            log.warning("%s did not end in time", task.get_name())
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _start(self) -> None:
        while len(self._running) < self._count and (handed := self.queue.take()):
            self._meter.waited(handed.waited)
            task = asyncio.create_task(self._pass(handed.key), name=f"pass {handed.key}")
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A pass ended and left its place; waking any earlier would find the place still taken."""
        self._running.discard(task)
        self._woken.set()

    async def _pass(self, key: Key) -> None:
        try:
            await self._work(key)
        except Exception:
            log.exception("a pass over %s failed and did not see to it", key)
        finally:
            self.queue.done(key)
