"""What the cluster looks like, as far as decisions need it: children and pods by model, kept true by reflectors."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from modelwright import naming
from modelwright.cluster import drift, kinds
from modelwright.cluster.client import Client
from modelwright.cluster.drift import Baselines
from modelwright.cluster.kinds import Kind
from modelwright.cluster.reflector import BACKOFF, PACE, Pace, Reflector
from modelwright.cluster.store import Entry, Group, Ident, Store, version_of
from modelwright.core.snapshot import ObservedChild
from modelwright.errors import ClusterError

log = logging.getLogger(__name__)


class Cache:
    """Stores and reflectors of all kinds that we make, and of pods.

    Args:
        client: Reads.
        namespaces: Where to look; empty for everywhere.
        changed: Told of a model whose children or pods changed.
        pace: How long things may take.
    """

    def __init__(
        self,
        client: Client,
        namespaces: tuple[str, ...],
        changed: Callable[[Group], None],
        *,
        pace: Pace = PACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._changed = changed
        self._pace = pace
        self._clock = clock
        self._baselines = Baselines()
        self._stores: dict[str, Store] = {}
        self._reflectors: dict[str, list[Reflector]] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._ended: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        self._missed = 0

    @property
    def gateway_api(self) -> bool:
        """Whether routes are watched."""
        return all(kind.name in self._stores for kind in kinds.ROUTES)

    @property
    def reflectors(self) -> Iterable[Reflector]:
        """All of them."""
        return [reflector for group in self._reflectors.values() for reflector in group]

    async def start(self) -> None:
        """Watch all kinds, and wait until each was listed."""
        for kind in kinds.ALWAYS:
            self._watch(kind)
        attempt = 0
        while not await self.discover():
            # Without an answer, a pass would take the routes for unwanted.
            attempt += 1
            await asyncio.sleep(BACKOFF.delay(attempt))
        await self.synced()

    async def stop(self) -> None:
        """Watch nothing any more."""
        for name in list(self._tasks):
            await self._unwatch(name)

    async def supervise(self) -> None:
        """Wait until a watch ends for good, and raise what ended it."""
        while True:
            task = await self._ended.get()
            if not task.cancelled():
                task.result()

    async def synced(self) -> None:
        """Return once every kind was listed."""
        for reflector in self.reflectors:
            await reflector.synced.wait()

    async def discover(self) -> bool:
        """Watch routes if the Gateway API is served, stop if it no longer is; False if the server did not say."""
        served = await self._served_routes()
        if served is None:
            return False
        self._missed = 0 if served else self._missed + 1
        # A server that starts may answer before it knows all kinds: once missing proves nothing.
        if served == self.gateway_api or self._missed == 1:
            return True
        log.info("the Gateway API is %s", "served" if served else "no longer served")
        for kind in kinds.ROUTES:
            if served:
                self._watch(kind)
            else:
                await self._unwatch(kind.name)
        return True

    def of(self, kind: str, group: Group) -> tuple[Entry, ...]:
        """The objects of a kind that belong to one model."""
        store = self._stores.get(kind)
        return store.of(group) if store else ()

    def children(self, kind: str, group: Group) -> tuple[ObservedChild, ...]:
        """The children of a kind, with what others did to them."""
        return tuple(self._with_drift(entry) for entry in self.of(kind, group))

    def find(self, kind: str, namespace: str, name: str) -> Entry | None:
        """One object."""
        store = self._stores.get(kind)
        return store.find(namespace, name) if store else None

    def wrote(self, kind: str, body: Mapping[str, Any]) -> None:
        """Take in the answer to a write of our own: what it shows is nobody's drift."""
        store = self._stores.get(kind)
        if store is None:
            return
        store.upsert(body)
        metadata = body["metadata"]
        entry = store.find(metadata.get("namespace", ""), metadata["name"])
        same = entry is not None and entry.version == version_of(body)
        # Somebody may have written since; then his token must differ from ours.
        ours = entry.token if entry and same else drift.token(kind, body)
        self._baselines.trust(metadata["uid"], ours)

    def scaled(self, namespace: str, name: str, replicas: int) -> None:
        """Take in that we scaled a Deployment, before its watch tells."""
        self._stores[kinds.DEPLOYMENT.name].amend(Ident(namespace, name), desired=replicas, settled=False)

    def deleted(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Take in that we deleted an object, before its watch tells."""
        if store := self._stores.get(kind):
            store.discard(Ident(namespace, name), uid)

    def trust_everything(self) -> None:
        """Take what is now for what we wrote: another replica of us did, until this one took over."""
        self._baselines.clear()

    def sizes(self) -> dict[str, int]:
        """Objects known, by kind."""
        return {name: len(store) for name, store in self._stores.items()}

    def _with_drift(self, entry: Entry) -> ObservedChild:
        child = cast("ObservedChild", entry.facts)
        drifted = bool(entry.token) and self._baselines.drifted(entry.uid, entry.token)
        return replace(child, drifted=True) if drifted else child

    def _watch(self, kind: Kind) -> None:
        store = Store(kind.name, self._changed, self._baselines.forget, self._clock)
        reflectors = [
            Reflector(
                self._client,
                kind,
                store,
                namespace=namespace,
                selector=naming.SELECTOR,
                pace=self._pace,
                clock=self._clock,
            )
            for namespace in self._namespaces
        ]
        self._stores[kind.name] = store
        self._reflectors[kind.name] = reflectors
        self._tasks[kind.name] = [asyncio.create_task(r.run(), name=f"watch {r.name}") for r in reflectors]
        for task in self._tasks[kind.name]:
            task.add_done_callback(self._ended.put_nowait)

    async def _unwatch(self, name: str) -> None:
        tasks = self._tasks.pop(name)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        del self._reflectors[name]
        self._stores.pop(name).clear()

    async def _served_routes(self) -> bool | None:
        """Whether both kinds of route are served; None if the server did not say."""
        try:
            answer = await self._client.request("GET", kinds.HTTP_ROUTE.root, urgent=True)
        except ClusterError as error:
            return False if error.status == 404 else None
        plurals = {resource["name"] for resource in answer.get("resources", [])}
        return all(kind.plural in plurals for kind in kinds.ROUTES)
