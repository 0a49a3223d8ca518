"""The keyed queue: which model is looked at next.

* A key waits at most once, however often it is added, with the most urgent priority it was added with.
* A key is never handed out twice at a time. Added while it is worked on, it waits again as soon as that is done.
* An appointment in the future is one per key, the earliest; a pass over the key makes it obsolete, for the pass
  decides anew when to come back.
* What fails comes back after an exponential back-off with jitter, each key for itself.

Within a priority, first come, first served. Nothing here knows of tasks or of the real clock: `Workers` does.
"""

import heapq
import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from modelwright.cluster.backoff import Backoff

K = TypeVar("K", bound=Hashable)


class Priority(IntEnum):
    """What goes first."""

    SPEC = 0
    """A person changed something."""
    EVENT = 1
    """A child or a pod changed, or an appointment came."""
    RESYNC = 2
    """Nothing is known to have changed."""


@dataclass
class _Wish:
    """What is known of one key."""

    priority: Priority | None = None
    """It waits, this urgently; None if it does not."""
    ticket: int = -1
    """Its valid entry in the heap of those that wait."""
    since: float = 0.0
    due: float | None = None
    """Its appointment."""
    running: bool = False
    failures: int = 0

    @property
    def idle(self) -> bool:
        """Whether nothing about it is worth remembering."""
        return self.priority is None and self.due is None and not self.running and not self.failures


@dataclass(frozen=True)
class Handed(Generic[K]):
    """A key to work on, and how long it waited."""

    key: K
    waited: float


class KeyedQueue(Generic[K]):
    """See the module."""

    def __init__(self, clock: Callable[[], float], wake: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._wake = wake
        self._wishes: dict[K, _Wish] = {}
        self._waiting: list[tuple[Priority, int, K]] = []
        self._appointments: list[tuple[float, int, K]] = []
        self._tickets = itertools.count()
        self._depth = 0

    def __len__(self) -> int:
        """Keys that wait now, appointments in the future not counted."""
        return self._depth

    @property
    def remembered(self) -> int:
        """Keys of which anything is remembered: those that wait, run, failed or have an appointment."""
        return len(self._wishes)

    def add(self, key: K, priority: Priority = Priority.EVENT) -> None:
        """Let the key be worked on as soon as possible."""
        wish = self._wishes.setdefault(key, _Wish())
        if wish.priority is None:
            wish.since = self._clock()
            self._depth += 1
        elif wish.priority <= priority:
            return
        wish.priority = priority
        if not wish.running:
            self._line_up(key, wish)
        self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Let the key be worked on in so many seconds, unless that happens earlier anyway."""
        due = self._clock() + max(0.0, seconds)
        wish = self._wishes.setdefault(key, _Wish())
        if wish.due is None or due < wish.due:
            wish.due = due
            heapq.heappush(self._appointments, (due, next(self._tickets), key))
            self._wake()

    def retry(self, key: K, backoff: Backoff, at_least: float = 0.0) -> float:
        """Let a key that failed come back after its back-off; returns the seconds."""
        wish = self._wishes.setdefault(key, _Wish())
        wish.failures += 1
        delay = max(at_least, backoff.delay(wish.failures))
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: K) -> None:
        """Forget former failures of the key."""
        if wish := self._wishes.get(key):
            wish.failures = 0
            self._tidy(key, wish)

    def take(self) -> Handed[K] | None:
        """The key to work on now, if there is one; `done` must follow."""
        self._keep_appointments()
        while self._waiting:
            _, ticket, key = heapq.heappop(self._waiting)
            wish = self._wishes.get(key)
            if wish is None or wish.ticket != ticket or wish.priority is None:
                continue  # It was lined up again, more urgently, and this is what is left of its former place.
            wish.priority, wish.ticket, wish.due, wish.running = None, -1, None, True
            self._depth -= 1
            return Handed(key, self._clock() - wish.since)
        return None

    def done(self, key: K) -> None:
        """The work on a key that was handed out has ended."""
        wish = self._wishes[key]
        wish.running = False
        if wish.priority is not None:
            self._line_up(key, wish)
            self._wake()
        self._tidy(key, wish)

    def next_due(self) -> float | None:
        """When the earliest appointment is, on the clock."""
        while self._appointments:
            due, _, key = self._appointments[0]
            wish = self._wishes.get(key)
            if wish and wish.due == due:
                return due
            heapq.heappop(self._appointments)
        return None

    def _keep_appointments(self) -> None:
        now = self._clock()
        while (due := self.next_due()) is not None and due <= now:
            _, _, key = heapq.heappop(self._appointments)
            self._wishes[key].due = None
            self.add(key)

    def _line_up(self, key: K, wish: _Wish) -> None:
        assert wish.priority is not None
        wish.ticket = next(self._tickets)
        heapq.heappush(self._waiting, (wish.priority, wish.ticket, key))

    def _tidy(self, key: K, wish: _Wish) -> None:
        if wish.idle:
            del self._wishes[key]
