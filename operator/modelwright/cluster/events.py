"""Kubernetes Events: told once, bounded per object, and never a reason for a pass to fail."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from modelwright import naming
from modelwright.cluster import kinds
from modelwright.cluster.client import Body, Client
from modelwright.contract import digest
from modelwright.core.plan import Event
from modelwright.core.snapshot import ObservedModel
from modelwright.errors import ClusterError

REPEAT_SECONDS = 600.0
BURST = 20.0
REFILL_SECONDS = 30.0
NOTE_LIMIT = 1024
"""Bytes that the API server takes."""

REMEMBERED = 8192

log = logging.getLogger(__name__)


@dataclass
class Allowance:
    """Events that one object may still have, refilled over time."""

    left: float = BURST
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        self.left = min(BURST, self.left + (now - self.at) / REFILL_SECONDS)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass
class EventWriter:
    """Posts Events about models.

    Attributes:
        client: Writes.
        instance: Which replica of the operator reports.
        clock: Monotonic.
        now: The time of day.
    """

    client: Client
    instance: str
    clock: Callable[[], float]
    now: Callable[[], datetime]
    _told: OrderedDict[tuple[str, str, str], float] = field(default_factory=OrderedDict[tuple[str, str, str], float])
    _allowances: dict[str, Allowance] = field(default_factory=dict[str, Allowance])

    async def emit(self, model: ObservedModel, events: tuple[Event, ...]) -> None:
        """Post those that were not told lately. A failure is logged and forgotten."""
        for event in events:
            if not self._worth_telling(model.uid, event):
                continue
            try:
                path = kinds.EVENT.collection(model.namespace)
                await self.client.request("POST", path, body=self._body(model, event))
            except ClusterError as error:
                log.warning("event %s could not be posted: %s", event.reason, error)

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._allowances.pop(uid, None)

    def _worth_telling(self, uid: str, event: Event) -> bool:
        now, told = self.clock(), (uid, event.reason, event.message)
        if self._told.get(told, -REPEAT_SECONDS) > now - REPEAT_SECONDS:
            return False
        if not self._allowances.setdefault(uid, Allowance(at=now)).take(now):
            return False
        self._told[told] = now
        self._told.move_to_end(told)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return True

    def _body(self, model: ObservedModel, event: Event) -> Body:
        moment = self.now()
        time = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mark = digest.short(digest.of_json([model.uid, event.reason, event.message, time]), 16)
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{naming.label_value(model.name)}.{mark}", "namespace": model.namespace},
            "eventTime": time,
            "type": event.type,
            "reason": event.reason,
            "action": "Reconcile",
            "note": _note(event.message),
            "regarding": {
                "apiVersion": naming.API_VERSION,
                "kind": naming.MODEL_KIND,
                "namespace": model.namespace,
                "name": model.name,
                "uid": model.uid,
                "resourceVersion": model.resource_version,
            },
            "reportingController": f"{naming.GROUP}/operator",
            "reportingInstance": self.instance,
        }


def _note(message: str) -> str:
    """As much of the message as fits, cut between characters."""
    data = message.encode()
    if len(data) <= NOTE_LIMIT:
        return message
    return data[: NOTE_LIMIT - 3].decode(errors="ignore") + "…"
