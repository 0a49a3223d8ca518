"""What is known of one kind: small facts per object, indexed by model, never older than what was known before.

Three sources feed it, in any order: lists, watch events, and the answers to our own writes. resourceVersions
decide which is newer (they are ordered numbers since Kubernetes 1.35, and always were with etcd). Whoever
listens is told only of objects whose facts changed.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from modelwright import naming
from modelwright.cluster import drift
from modelwright.cluster.project import Observed, part, project

TOMBSTONES = 1024


class Group(NamedTuple):
    """The children of one model: its namespace, and its name as a label value."""

    namespace: str
    label: str


class Ident(NamedTuple):
    """An object by name."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One object.

    Attributes:
        uid: Its UID.
        version: Its resourceVersion.
        generation: Its generation; 0 for kinds that have none.
        group: Whose it is.
        facts: What decisions see.
        token: See `drift.token`.
        since: When these facts came to be known, on the monotonic clock.
    """

    uid: str
    version: int
    generation: int
    group: Group
    facts: Observed
    token: str
    since: float


Listener = Callable[[Group], None]


class Store:
    """All objects of one kind that carry our labels."""

    def __init__(
        self, kind: str, changed: Listener, gone: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.kind = kind
        self.newest = 0
        """The highest resourceVersion seen."""
        self._changed = changed
        self._gone = gone
        self._clock = clock
        self._entries: dict[Ident, Entry] = {}
        self._groups: dict[Group, dict[str, Entry]] = {}
        self._buried: OrderedDict[Ident, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def of(self, group: Group) -> tuple[Entry, ...]:
        """The objects of one model."""
        return tuple(self._groups.get(group, {}).values())

    def find(self, namespace: str, name: str) -> Entry | None:
        """One object."""
        return self._entries.get(Ident(namespace, name))

    def upsert(self, body: Mapping[str, Any]) -> None:
        """Take in what an object looks like at some version, unless a newer one is known."""
        ident, version = _ident(body), version_of(body)
        self.newest = max(self.newest, version)
        known = self._entries.get(ident)
        if version <= (known.version if known else self._buried.get(ident, -1)):
            return
        group = _group(body)
        if group is None:
            return
        entry = self._entry(body, version, group, known)
        if known and (known.uid != entry.uid or known.group != group):
            self._drop(ident, known)
        self._buried.pop(ident, None)
        self._entries[ident] = entry
        self._groups.setdefault(group, {})[ident.name] = entry
        if not known or known.facts != entry.facts or known.token != entry.token:
            self._changed(group)

    def remove(self, body: Mapping[str, Any]) -> None:
        """Take in that an object is gone, unless it was made anew since."""
        ident, version = _ident(body), version_of(body)
        self.newest = max(self.newest, version)
        known = self._entries.get(ident)
        if known and known.version > version:
            return
        self._bury(ident, version)
        if known:
            self._drop(ident, known)
            self._changed(known.group)

    def amend(self, ident: Ident, **facts: Any) -> None:
        """Know better than the last event, until the next one."""
        if known := self._entries.get(ident):
            amended = replace(known, facts=replace(known.facts, **facts))
            self._entries[ident] = self._groups[known.group][ident.name] = amended
            self._changed(known.group)

    def discard(self, ident: Ident, uid: str) -> None:
        """Know that an object is gone, unless another has its name by now."""
        known = self._entries.get(ident)
        if known and known.uid == uid:
            self._bury(ident, known.version)
            self._drop(ident, known)
            self._changed(known.group)

    def retain(self, listed: Iterable[Ident], version: int, namespace: str | None = None) -> None:
        """Take in that a list of this version held only `listed`: whatever else is older than it is gone.

        Args:
            listed: What the list held.
            version: The list's resourceVersion.
            namespace: Where it looked; None for everywhere.
        """
        kept = set(listed)
        for ident, entry in list(self._entries.items()):
            here = namespace is None or ident.namespace == namespace
            if here and ident not in kept and entry.version <= version:
                self._bury(ident, version)
                self._drop(ident, entry)
                self._changed(entry.group)
        self.newest = max(self.newest, version)

    def clear(self) -> None:
        """Forget everything: the kind is no longer served."""
        for ident, entry in list(self._entries.items()):
            self._drop(ident, entry)
            self._changed(entry.group)

    def _entry(self, body: Mapping[str, Any], version: int, group: Group, known: Entry | None) -> Entry:
        metadata = body["metadata"]
        uid, generation = metadata.get("uid", ""), metadata.get("generation", 0)
        # An unchanged generation means an unchanged spec: status updates, the most frequent events, hash nothing.
        same = known is not None and generation > 0 and (known.uid, known.generation) == (uid, generation)
        token = known.token if known and same else drift.token(self.kind, body)
        facts = project(self.kind, body)
        if known and known.facts == facts:
            facts = known.facts
        since = known.since if known and known.facts is facts else self._clock()
        return Entry(uid, version, generation, group, facts, token, since)

    def _drop(self, ident: Ident, entry: Entry) -> None:
        del self._entries[ident]
        members = self._groups[entry.group]
        del members[ident.name]
        if not members:
            del self._groups[entry.group]
        self._gone(entry.uid)

    def _bury(self, ident: Ident, version: int) -> None:
        """Remember when an object went, for an older event of it may still come."""
        self._buried[ident] = max(version, self._buried.pop(ident, 0))
        while len(self._buried) > TOMBSTONES:
            self._buried.popitem(last=False)


def version_of(body: Mapping[str, Any]) -> int:
    """The resourceVersion of an object or of a list."""
    try:
        return int(body["metadata"].get("resourceVersion") or 0)
    except ValueError:
        return 0


def _ident(body: Mapping[str, Any]) -> Ident:
    metadata = body["metadata"]
    return Ident(metadata.get("namespace", ""), metadata["name"])


def _group(body: Mapping[str, Any]) -> Group | None:
    metadata = body["metadata"]
    label: str = part(metadata, "labels").get(naming.LABEL_MODEL, "")
    return Group(metadata.get("namespace", ""), label) if label else None
