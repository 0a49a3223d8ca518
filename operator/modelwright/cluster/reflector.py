"""List, then watch, for ever: keeps a Store true to the cluster for one kind in one namespace or everywhere.

Whatever goes wrong, the loop goes on: an expired version or garbage leads to a new list, a lost connection to a
new watch from the last version. Every turn leaves a sign of life, successful or not, for a loop that hangs is a
bug while a server that does not answer is not. Each list is compared with what is known, so that a deletion that
no event told of is seen; and there is a new list now and then, for even a healthy watch may have lost an event.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from modelwright.cluster.backoff import Backoff
from modelwright.cluster.classify import GONE, error_of
from modelwright.cluster.client import INACTIVITY_SECONDS, Client, Garbage
from modelwright.cluster.kinds import Kind
from modelwright.cluster.store import Ident, Store, version_of
from modelwright.errors import ClusterError, Conflict, ModelwrightError, Unavailable

log = logging.getLogger(__name__)


BACKOFF = Backoff(0.5, 10.0)


@dataclass(frozen=True)
class Pace:
    """How long things may take.

    Attributes:
        stream: Seconds after which the server ends a watch; up to a fifth more, by chance.
        inactivity: Seconds of silence after which a watch is dead.
        relist: Seconds after which everything is listed anew; up to a fifth more, by chance.
        steady: Seconds a watch must last before earlier failures are forgotten.
        backoff: After failures.
    """

    stream: float = 300.0
    inactivity: float = INACTIVITY_SECONDS
    relist: float = 1800.0
    steady: float = 10.0
    backoff: Backoff = BACKOFF


PACE = Pace()

STALE_LISTS = 3
"""So many lists in a row that are older than what is known mean a restored backup and not a lagging server."""


class HistoryLost(ModelwrightError):
    """The cluster was restored from a backup: nothing that is known can be compared with what is now."""


class Reflector:
    """Keeps one Store true. `run` never returns."""

    def __init__(  # noqa: PLR0913 - injected
        self,
        client: Client,
        kind: Kind,
        store: Store,
        *,
        namespace: str | None = None,
        selector: str = "",
        pace: Pace = PACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.synced = asyncio.Event()
        """Set once everything was listed."""
        self._client = client
        self._store = store
        self._selector = selector
        self._pace = pace
        self._clock = clock
        self.alive_at = clock()
        """When it last gave a sign of life."""
        self.version = ""
        """The last version seen; empty if everything must be listed anew."""
        self._listed_at = 0.0
        self._stale_lists = 0
        self.failures = 0
        """Attempts in a row that failed."""
        self._said = ""

    @property
    def name(self) -> str:
        """What it watches."""
        return f"{self.kind.plural} in {self.namespace}" if self.namespace else self.kind.plural

    @property
    def age(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock() - self.alive_at

    async def run(self) -> None:
        """List and watch until cancelled.

        Raises:
            HistoryLost: Only a process that knows nothing can go on.
        """
        while True:
            self.alive_at = self._clock()
            started = self.alive_at
            try:
                await self._turn()
            except ClusterError as error:
                self._failed(error, started)
            except HistoryLost:
                raise
            except Exception as error:
                # An object that we misread must not end the watch of all.
                log.exception("watch of %s: an unforeseen error", self.name)
                self._failed(Garbage(repr(error)), started)
            if self.failures:
                self.alive_at = self._clock()
                await asyncio.sleep(self._pace.backoff.delay(self.failures))

    async def _turn(self) -> None:
        """One list if one is due, and one watch to its end."""
        if not self.version or self._clock() > self._listed_at + self._pace.relist:
            await self._list()
        await self._watch()

    def _failed(self, error: ClusterError, started: float) -> None:
        lasted = self._clock() - started >= self._pace.steady
        self.failures = 1 if lasted else self.failures + 1
        # A lost connection loses no event: the next watch goes on from the last version. All else starts anew.
        if isinstance(error, Garbage) or not isinstance(error, Unavailable):
            self.version = ""
        if str(error) != self._said:
            self._said = str(error)
            log.warning("watch of %s: %s", self.name, error)

    def _worked(self) -> None:
        if self._said:
            log.info("watch of %s: recovered", self.name)
        self.failures, self._said = 0, ""

    async def _list(self) -> None:
        listed: list[Ident] = []
        newest = ""
        known = self._store.newest
        pages = self._client.pages(self.kind.collection(self.namespace), selector=self._selector)
        async with aclosing(pages):
            async for items, newest in pages:
                self.alive_at = self._clock()
                if not listed:
                    self._refuse_stale(int(newest or 0), known)
                for body in items:
                    self._store.upsert(body)
                    metadata = body["metadata"]
                    listed.append(Ident(metadata.get("namespace", ""), metadata["name"]))
                # Lets others run: a page of pods takes tens of milliseconds.
                await asyncio.sleep(0)
        self._store.retain(listed, int(newest or 0), self.namespace)
        self._stale_lists = 0
        self.version = newest
        self._listed_at = self._clock() + random.uniform(0, self._pace.relist / 5)  # noqa: S311 - spreads load
        self.synced.set()

    def _refuse_stale(self, version: int, known: int) -> None:
        """A list from the past would undo what is known; after several it is the server that went back."""
        if version >= known:
            return
        self._stale_lists += 1
        if self._stale_lists < STALE_LISTS:
            raise Conflict(f"list of {self.name} at {version} is older than {known}", status=GONE)
        raise HistoryLost(f"{self.name}: the server's history went back from {known} to {version}")

    async def _watch(self) -> None:
        seconds = self._pace.stream * random.uniform(1.0, 1.2)  # noqa: S311 - spreads load
        params = {"resourceVersion": self.version, "timeoutSeconds": str(max(1, round(seconds)))}
        if self._selector:
            params["labelSelector"] = self._selector
        path = self.kind.collection(self.namespace)
        started = self._clock()
        events = self._client.watch(path, params=params, inactivity=self._pace.inactivity)
        async with aclosing(events):
            async for event in events:
                self.alive_at = self._clock()
                self._take(event)
                if self.failures and self._clock() - started >= self._pace.steady:
                    self._worked()
        if self._clock() - started >= min(self._pace.steady, self._pace.stream / 2):
            self._worked()
        else:
            raise Unavailable("the server ended the watch early")

    def _take(self, event: Mapping[str, Any]) -> None:
        body: Mapping[str, Any] = event.get("object") or {}
        match event.get("type"):
            case "ADDED" | "MODIFIED":
                self._store.upsert(body)
            case "DELETED":
                self._store.remove(body)
            case "BOOKMARK":
                pass
            case "ERROR":
                raise _error(body)
            case unknown:
                raise Garbage(f"an event of type {unknown!r}")
        if version_of(body):
            self.version = body["metadata"]["resourceVersion"]


def _error(status: Mapping[str, Any]) -> ClusterError:
    error = error_of(int(status.get("code") or 500), str(status.get("message", "")))
    # Within a stream even a passing error says that this stream cannot be continued.
    return Garbage(str(error)) if isinstance(error, Unavailable) else error
