"""The event feed of our own kinds: what kopf hears goes into the caches, and nothing else happens here.

The census finds what the feed should have told. What it does not tell within a while means that the feed is dead,
which no error would say.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelwright.cluster.census import Missed
from modelwright.cluster.kinds import Key
from modelwright.cluster.owned import Models, Policies
from modelwright.cluster.store import version_of


@dataclass
class Feed:
    """Takes events in.

    Attributes:
        models: Where OptimizedModels go.
        policies: Where ServingPolicies go.
        clock: Monotonic.
    """

    models: Models
    policies: Policies
    clock: Callable[[], float] = time.monotonic
    _owed: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])

    def take(self, kept: Models | Policies, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        body: Mapping[str, Any] = event["object"]
        metadata = body["metadata"]
        uid = metadata["uid"]
        if event.get("type") == "DELETED":
            self._owed.pop(uid, None)
            kept.remove(Key(metadata.get("namespace", ""), metadata["name"]), uid)
            return
        if uid in self._owed and self._owed[uid][0] <= version_of(body):
            del self._owed[uid]
        kept.upsert(body)

    def expect(self, missed: Iterable[Missed]) -> None:
        """Remember what the feed owes; what it told of meanwhile, or what is gone, it owes no longer."""
        known = {seen.uid for kept in (self.models, self.policies) for seen in kept.versions().values()}
        for uid in [uid for uid in self._owed if uid not in known]:
            del self._owed[uid]
        for one in missed:
            self._owed.setdefault(one.uid, (one.version, self.clock()))

    @property
    def overdue(self) -> float:
        """Seconds for which the feed has owed something."""
        oldest = min((since for _, since in self._owed.values()), default=None)
        return 0.0 if oldest is None else self.clock() - oldest
