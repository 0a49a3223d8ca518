"""The operator: wires everything together and runs it until it is told to stop.

Order of the end: no new pass, running passes finish, the Lease goes back, then the watches and kopf end. kopf is
last because it cancels every task of the event loop that it did not see before.
"""

import asyncio
import contextlib
import gc
import logging
import random
import signal
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from modelwright import __version__
from modelwright.cluster import credentials
from modelwright.cluster.apply import Applier
from modelwright.cluster.cache import Cache
from modelwright.cluster.census import Census
from modelwright.cluster.client import Client
from modelwright.cluster.events import EventWriter
from modelwright.cluster.gate import Gate
from modelwright.cluster.kinds import Key
from modelwright.cluster.observe import Observer
from modelwright.cluster.owned import Models, Policies
from modelwright.cluster.store import Group
from modelwright.core.decide import decide
from modelwright.errors import ModelwrightError
from modelwright.runtime import handlers, health, logs
from modelwright.runtime import settings as settings_module
from modelwright.runtime.feed import Feed
from modelwright.runtime.frame import Frame
from modelwright.runtime.leader import Leader
from modelwright.runtime.queue import Priority
from modelwright.runtime.reconcile import Reconciler
from modelwright.runtime.settings import Settings
from modelwright.runtime.sweep import Sweep
from modelwright.runtime.telemetry import Telemetry
from modelwright.runtime.workers import Workers

PASSES_SECONDS = 20.0
"""How long running passes may take to end; the pod has 30 s in all."""

log = logging.getLogger(__name__)


class Operator:
    """All parts, wired."""

    def __init__(self, settings: Settings, client: Client, telemetry: Telemetry) -> None:
        self.settings = settings
        self.client = client
        self.telemetry = telemetry
        self.workers = Workers(self._pass, settings.workers, telemetry)
        self.queue = self.workers.queue
        self.models = Models(self._model_changed)
        self.policies = Policies(self._policy_changed)
        self.cache = Cache(client, settings.namespaces, self._child_changed)
        self.feed = Feed(self.models, self.policies)
        census = Census(client, self.models, self.policies, settings.namespaces)
        self.sweep = Sweep(census, self.cache, self.feed, self.queue, settings.resync)
        self.leader = self._leader() if settings.leader_election else None
        self.reconcile = Reconciler(
            observer=Observer(self.models, self.policies, self.cache, settings.images, self.queue.add_after),
            decide=decide,
            applier=Applier(client, self.cache),
            client=client,
            models=self.models,
            events=EventWriter(client, settings.identity, time.monotonic, _now),
            telemetry=telemetry,
            now=_now,
            queue=self.queue,
        )
        self.primed = False

    async def prime(self) -> None:
        """Fill the caches."""
        await self.sweep.prime()
        await self.cache.start()
        # What lives now lives long: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self.primed = True
        log.info("caches are filled: %d models", len(self.models))

    async def lead(self) -> None:
        """Reconcile while the Lease is ours; raises when it is lost."""
        if self.leader:
            await self.leader.acquire()
        self.telemetry.leading(leads=True)
        self.cache.trust_everything()
        self.sweep.queue_all()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.workers.run(), name="workers")
            if self.leader:
                group.create_task(self.leader.keep(), name="lease")

    async def stop(self) -> None:
        """End in order."""
        await self.workers.stop(PASSES_SECONDS)
        self.telemetry.leading(leads=False)
        if self.leader:
            await self.leader.release()
        await self.cache.stop()

    def alive(self) -> Iterable[str]:
        """What is wrong with us."""
        for reflector in self.cache.reflectors:
            yield from health.stale(f"watch of {reflector.name}", reflector.age)
        yield from health.stale("sweep", self.sweep.overdue)
        yield from health.stale("event feed", self.feed.overdue)
        if self.telemetry.lag > health.LAG_SECONDS:
            yield f"event loop: late by {self.telemetry.lag:.1f} s"

    def ready(self) -> Iterable[str]:
        """What is still missing."""
        if not self.primed:
            yield "caches are not filled yet"

    def measure(self) -> None:
        """Count what is only counted when somebody asks."""
        self.telemetry.objects({"OptimizedModel": len(self.models), **self.cache.sizes()})

    def _leader(self) -> Leader:
        namespace = self.settings.lease_namespace or self.client.namespace
        leader = Leader(self.client, self.settings.lease_name, namespace, self.settings.identity)
        self.client.fence = leader.holds
        return leader

    async def _pass(self, key: Key) -> None:
        await self.reconcile(key)

    def _model_changed(self, key: Key, *, by_person: bool) -> None:
        self.queue.add(key, Priority.SPEC if by_person else Priority.EVENT)

    def _policy_changed(self) -> None:
        for key in self.models.keys():  # noqa: SIM118 - a method of ours, not a mapping's
            self.queue.add(key, Priority.SPEC)

    def _child_changed(self, group: Group) -> None:
        if key := self.models.key_of(group):
            self.queue.add(key)


async def operate(settings: Settings) -> int:
    """Run until a signal, 0, or until a part ends that must not, 1."""
    telemetry = Telemetry()
    stop = asyncio.Event()
    _on_signals(stop)
    gate = Gate(time.monotonic, random.random)
    agent = f"modelwright/{__version__}"
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            Client(credentials.load, user_agent=agent, gate=gate, meter=telemetry.request)
        )
        operator = Operator(settings, client, telemetry)
        for port, routes in (
            (settings.health_port, health.probes(operator.alive, operator.ready)),
            (settings.metrics_port, health.metrics(telemetry, operator.measure)),
        ):
            stack.push_async_callback((await health.serve(port, routes)).cleanup)
        return await _supervise(operator, stop)


async def _supervise(operator: Operator, stop: asyncio.Event) -> int:
    """Live until told to stop or until a part ends; then end in order."""
    registry = handlers.build_registry(operator.feed, credentials.load)
    frame = Frame(registry, operator.settings.namespaces, spawned=lambda: _on_signals(stop))
    life = asyncio.create_task(_live(operator, frame), name="operator")
    stopping = asyncio.create_task(stop.wait(), name="signal")
    await asyncio.wait({life, stopping}, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping")
    await operator.stop()
    life.cancel()
    stopping.cancel()
    (error,) = await asyncio.gather(life, return_exceptions=True)
    await frame.stop()
    for cause in _causes(error):
        log.error("%s", cause, exc_info=None if isinstance(cause, ModelwrightError) else cause)
    return 0 if stop.is_set() else 1


async def _live(operator: Operator, frame: Frame) -> None:
    """All parts, until the first ends."""
    async with asyncio.TaskGroup() as parts:
        parts.create_task(operator.telemetry.watch_loop(), name="loop lag")
        parts.create_task(operator.cache.supervise(), name="watches")
        await operator.prime()
        parts.create_task(frame.run(), name="event feed")
        parts.create_task(operator.sweep.run(), name="sweep")
        parts.create_task(operator.lead(), name="leader")


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    """What really happened, out of nested groups; a cancellation is none."""
    match error:
        case None | asyncio.CancelledError():
            return
        case BaseExceptionGroup(exceptions=inner):
            for one in inner:
                yield from _causes(one)
        case _:
            yield error


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _now() -> datetime:
    return datetime.now(UTC)


def main() -> int:
    """Run the operator; returns its exit code."""
    try:
        settings = settings_module.load()
        logs.configure(settings.log_format, settings.log_level)
        return asyncio.run(operate(settings))
    except ModelwrightError as error:
        logging.basicConfig()
        log.critical("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
