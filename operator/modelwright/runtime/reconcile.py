"""One pass over one model: observe, decide, apply, status, events, and when to come back.

Nothing is remembered between passes but what the API server refused last. All else is in the cluster, so that a
killed operator loses nothing. A pass that finds all as it shall be sends no request.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from modelwright.cluster.apply import Applier, Outcome
from modelwright.cluster.backoff import Backoff
from modelwright.cluster.classify import NOT_FOUND
from modelwright.cluster.client import Client
from modelwright.cluster.events import EventWriter
from modelwright.cluster.kinds import Key
from modelwright.cluster.observe import Observer
from modelwright.cluster.owned import Models
from modelwright.cluster.status import patch_status
from modelwright.core.plan import Plan
from modelwright.core.snapshot import ApplyError, ObservedModel, Snapshot
from modelwright.errors import ClusterError, Conflict, Forbidden, Rejected, Unavailable
from modelwright.runtime.logs import speaking_of
from modelwright.runtime.queue import KeyedQueue
from modelwright.runtime.telemetry import Telemetry

log = logging.getLogger(__name__)

BACKOFFS: tuple[tuple[type[Exception], Backoff], ...] = (
    (Conflict, Backoff(0.02, 5.0)),
    (Unavailable, Backoff(0.5, 15.0)),
    (Forbidden, Backoff(2.0, 45.0)),
    (Rejected, Backoff(5.0, 300.0)),
    (Exception, Backoff(1.0, 300.0)),
)
"""How soon to come back after an error: the first type that fits, the most hopeful first."""

RESTLESS = Backoff(0.25, 60.0)
RESTLESS_PASSES = 10
"""So many writing passes in a row are more than any model needs: then it goes on, but slower."""


@dataclass
class Reconciler:
    """Carries out passes.

    Attributes:
        decide: What shall be, from what is.
        now: The time of day, for decisions.
    """

    observer: Observer
    decide: Callable[[Snapshot, datetime], Plan]
    applier: Applier
    client: Client
    models: Models
    events: EventWriter
    telemetry: Telemetry
    now: Callable[[], datetime]
    queue: KeyedQueue[Key]
    _refused: dict[Key, tuple[ApplyError, ...]] = field(default_factory=dict[Key, tuple[ApplyError, ...]])
    _restless: dict[Key, int] = field(default_factory=dict[Key, int])
    _uids: dict[Key, str] = field(default_factory=dict[Key, str])

    async def __call__(self, key: Key) -> None:
        """One pass, measured; what it meets decides when the next one is."""
        with speaking_of(key), self.telemetry.timed() as timer:
            try:
                wrote = await self._pass(key)
            except Exception as error:  # noqa: BLE001 - `_come_back` tells the kinds apart
                timer.failed(error)
                self._come_back(key, error)
            else:
                self.queue.succeeded(key)
                self._settle(key, wrote=wrote)

    async def _pass(self, key: Key) -> bool:
        """Observe, decide, act; whether anything was written."""
        snapshot = self.observer.observe(key, self._refused.get(key, ()))
        if snapshot is None:
            self._forget(key)
            return False
        model = snapshot.model
        self._recognize(key, model.uid)
        plan = self.decide(snapshot, self.now())
        if plan.intent:
            # Written, it is followed by a pass anyway; refused, it has to wait for its back-off.
            return await self._report(model, plan)
        if plan.requeue_after is not None:
            self.queue.add_after(key, plan.requeue_after)
        outcome = await self.applier.carry_out(model, plan.actions)
        news = self._remember(key, outcome)
        wrote = await self._report(model, plan)
        if outcome.errors and not news:
            raise min(outcome.errors, key=_rank)
        return wrote or outcome.wrote or news

    async def _report(self, model: ObservedModel, plan: Plan) -> bool:
        """Write the status if it differs, then tell what happened; a failed write tells nothing."""
        try:
            wrote = await patch_status(self.client, self.models, model, plan.status)
        except ClusterError as error:
            if error.status == NOT_FOUND:
                return False  # Deleted meanwhile; the event of it is on its way.
            raise
        self.telemetry.status(model, plan.status if plan.status is not None else model.status_json)
        await self.events.emit(model, plan.events)
        return wrote

    def _recognize(self, key: Key, uid: str) -> None:
        """Another object of the same name begins with nothing remembered."""
        if self._uids.get(key, uid) != uid:
            self._forget(key)
        self._uids[key] = uid

    def _remember(self, key: Key, outcome: Outcome) -> bool:
        """Keep what was refused, for the next pass to tell; whether that is news."""
        before = self._refused.pop(key, ())
        refused = outcome.refused
        if any(isinstance(error, Unavailable) for error in outcome.errors):
            # No answer takes no former refusal back.
            told = {(one.kind, one.name) for one in refused}
            refused += tuple(one for one in before if (one.kind, one.name) not in told)
        if refused:
            self._refused[key] = refused
        return refused != before

    def _settle(self, key: Key, *, wrote: bool) -> None:
        """A pass that wrote is followed by one that looks at the result."""
        if not wrote:
            self._restless.pop(key, None)
            return
        passes = self._restless[key] = self._restless.get(key, 0) + 1
        if passes < RESTLESS_PASSES:
            self.queue.add(key)
            return
        if passes == RESTLESS_PASSES:
            log.warning("%d passes in a row wrote something; slowing down", passes)
        self.queue.add_after(key, RESTLESS.delay(passes - RESTLESS_PASSES + 1))

    def _come_back(self, key: Key, error: Exception) -> None:
        retry_after = error.retry_after if isinstance(error, ClusterError) else None
        delay = self.queue.retry(key, BACKOFFS[_rank(error)][1], retry_after or 0.0)
        if isinstance(error, Conflict | Unavailable):
            # Conflicts are part of the game, and the watches tell of an outage once for all models.
            log.debug("%s; again in %.1f s", error, delay)
        elif isinstance(error, ClusterError):
            log.warning("%s; again in %.0f s", error, delay)
        else:
            log.error("an unforeseen error; again in %.0f s", delay, exc_info=error)

    def _forget(self, key: Key) -> None:
        """The model is gone, and with it all that was remembered of it."""
        self._refused.pop(key, None)
        self._restless.pop(key, None)
        self.events.forget(self._uids.pop(key, ""))
        self.telemetry.forget(key)


def _rank(error: Exception) -> int:
    return next(rank for rank, (kind, _) in enumerate(BACKOFFS) if isinstance(error, kind))
