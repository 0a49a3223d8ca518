"""Counts our own objects: finds what the event feed did not tell, deletions above all.

A census lists metadata only, and reads just the objects that differ from what is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelwright.cluster import kinds
from modelwright.cluster.classify import NOT_FOUND
from modelwright.cluster.client import METADATA_LIST, Client
from modelwright.cluster.kinds import Key, Kind
from modelwright.cluster.owned import Models, Policies, Seen, gone
from modelwright.cluster.project import Body
from modelwright.cluster.store import version_of
from modelwright.errors import ClusterError

_EVERYWHERE: tuple[str | None, ...] = (None,)


@dataclass(frozen=True)
class Missed:
    """An object whose newest version the feed had not told of."""

    uid: str
    version: int


@dataclass(frozen=True)
class Census:
    """Compares the cluster with what is known of our kinds."""

    client: Client
    models: Models
    policies: Policies
    namespaces: tuple[str, ...]

    async def prime(self) -> tuple[Missed, ...]:
        """Read everything in full, for the start."""
        missed: list[Missed] = []
        for kind, places, kept in (
            (kinds.POLICY, _EVERYWHERE, self.policies),
            (kinds.MODEL, self._places, self.models),
        ):
            for place in places:
                async for items, _ in self.client.pages(kind.collection(place)):
                    for body in items:
                        kept.upsert(body)
                        missed.append(_missed(body))
        return tuple(missed)

    async def take(self) -> tuple[Missed, ...]:
        """Bring what is known up to date; returns what the feed had not told of."""
        policies = await self._compare(kinds.POLICY, _EVERYWHERE, self.policies)
        return (*policies, *await self._compare(kinds.MODEL, self._places, self.models))

    @property
    def _places(self) -> tuple[str | None, ...]:
        return self.namespaces or _EVERYWHERE

    async def _compare(self, kind: Kind, places: Iterable[str | None], kept: Models | Policies) -> list[Missed]:
        listed, version = await self._listed(kind, places)
        known = kept.versions()
        for key in gone(known, listed, version):
            kept.remove(key, known[key].uid)
        bodies = await self._read(kind, _newer(known, listed))
        for body in bodies:
            kept.upsert(body)
        return [_missed(body) for body in bodies]

    async def _listed(self, kind: Kind, places: Iterable[str | None]) -> tuple[dict[Key, Seen], int]:
        """Who is there, and the oldest version of the lists that said so."""
        listed: dict[Key, Seen] = {}
        versions: list[int] = []
        for place in places:
            async for items, version in self.client.pages(kind.collection(place), accept=METADATA_LIST):
                versions.append(int(version or 0))
                for item in items:
                    metadata = item["metadata"]
                    key = Key(metadata.get("namespace", ""), metadata["name"])
                    listed[key] = Seen(metadata["uid"], version_of(item))
        return listed, min(versions, default=0)

    async def _read(self, kind: Kind, keys: Iterable[Key]) -> list[Body]:
        bodies: list[Body] = []
        for key in keys:
            try:
                path = kind.path(key.namespace or None, key.name)
                bodies.append(await self.client.request("GET", path, urgent=True))
            except ClusterError as error:
                if error.status != NOT_FOUND:
                    raise
        return bodies


def _newer(known: Mapping[Key, Seen], listed: Mapping[Key, Seen]) -> list[Key]:
    """What is unknown, or known only at an older version."""
    nothing = Seen("", -1)
    return [key for key, seen in listed.items() if seen.version > known.get(key, nothing).version]


def _missed(body: Body) -> Missed:
    return Missed(body["metadata"]["uid"], version_of(body))
