"""kopf as the frame around the event feed, with everything switched off that we do not need.

Why each:

* State lives in our status, so the storages keep nothing; without that, kopf copies and compares whole bodies at
  every event.
* Nothing that kopf could write is left: no Events, no finalizers (there are only `on.event` handlers), no peering
  (leadership is the Lease's).
* Retries go on for ever, with jitter; kopf's default gives up after a minute and ends the process.
* Resources are looked up once. Nothing then needs the right to list namespaces or CRDs.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any

import kopf

from modelwright.cluster import client
from modelwright.cluster.backoff import Backoff
from modelwright.errors import ModelwrightError

EXIT_SECONDS = 25.0
STREAM_SECONDS = 300
STOP_SECONDS = 3.0
RETRIES = Backoff(0.5, 10.0)

log = logging.getLogger(__name__)


class FeedEnded(ModelwrightError):
    """kopf stopped on its own: an error that it cannot recover from. A new process can."""


class Frame:
    """Runs kopf beside our own tasks.

    Args:
        registry: What it calls.
        namespaces: What it serves; empty for all.
        spawned: Called when kopf has put its signal handlers in place. They would cancel running passes.
    """

    def __init__(
        self, registry: kopf.OperatorRegistry, namespaces: tuple[str, ...], spawned: Callable[[], None]
    ) -> None:
        self._registry = registry
        self._namespaces = namespaces
        self._spawned = spawned
        self._stop = asyncio.Event()
        self._tasks: Collection[asyncio.Task[Any]] = ()

    async def run(self) -> None:
        """Run kopf.

        Raises:
            FeedEnded: kopf ended, which it never should.
        """
        # Without one, kopf asks for the user's name, and a pod's user has none.
        identity: Any = "modelwright"
        self._tasks = await kopf.spawn_tasks(
            registry=self._registry,
            identity=identity,
            settings=build_settings(),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            standalone=True,
            stop_flag=self._stop,
        )
        self._spawned()
        ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        task = ended.pop()
        raise FeedEnded(f"kopf's {task.get_name()} ended") from task.exception()

    async def stop(self) -> None:
        """End kopf. It cancels every task it does not know, so ours are declared as not its business."""
        if not self._tasks:
            return
        self._stop.set()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await kopf.run_tasks(self._tasks, ignored=asyncio.all_tasks() - set(self._tasks))
        except Exception as error:  # noqa: BLE001 - why it ended was told before; now it only has to be gone
            log.debug("kopf ended with %r", error)


def build_settings() -> kopf.OperatorSettings:
    """Settings as the module explains them."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = STREAM_SECONDS
    settings.watching.connect_timeout = client.CONNECT_SECONDS
    settings.watching.inactivity_timeout = client.INACTIVITY_SECONDS
    settings.watching.chunk_size = client.CHUNK
    settings.networking.connect_timeout = client.CONNECT_SECONDS
    settings.networking.request_timeout = client.REQUEST_SECONDS
    settings.networking.error_backoffs = _ForEver(RETRIES)
    settings.networking.enforce_retry_after = True
    # A worker per object stays for so long after each event; the feed needs none to stay.
    settings.queueing.idle_timeout = 0.1
    settings.process.ultimate_exiting_timeout = EXIT_SECONDS
    return settings


class _ForEver:
    """Delays without an end. A new iteration, which is a new request, starts from the shortest."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff

    def __iter__(self) -> Iterator[float]:
        failures = 0
        while True:
            failures += 1
            yield self._backoff.delay(failures)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Remembers no former version of an object."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        del body, extra_fields
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        del body

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        del body, patch, essence


class _NoProgress(kopf.ProgressStorage):
    """Remembers no progress of handlers; `on.event` handlers have none."""

    def fetch(self, *, key: Any, body: kopf.Body) -> Any:
        del key, body

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        del key, record, body, patch

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        del key, body, patch

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: Any) -> None:
        del body, patch, value

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence
