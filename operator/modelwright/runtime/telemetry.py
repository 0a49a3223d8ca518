"""The operator's own metrics. Series of a model go when the model goes."""

import asyncio
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from modelwright import __version__
from modelwright.cluster.kinds import Key
from modelwright.core.snapshot import ObservedModel

_PASS_SECONDS = (0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 30.0)
_WAIT_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
_REQUEST_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0)
LAG_EVERY_SECONDS = 1.0

Conditions = dict[str, tuple[str, str]]


class Timer:
    """How one pass went."""

    error = ""

    def failed(self, error: Exception) -> None:
        """It ended with this."""
        self.error = type(error).__name__


class _ConditionCollector(Collector):
    """Makes the series of conditions when they are asked for: kept ones would be most of a large operator's memory."""

    def __init__(self, conditions: Mapping[Key, Conditions]) -> None:
        self._conditions = conditions

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "modelwright_model_condition",
            "1 for the status and reason that a condition of a model has.",
            labels=["namespace", "name", "type", "status", "reason"],
        )
        for key, conditions in self._conditions.items():
            for kind, (status, reason) in conditions.items():
                family.add_metric([key.namespace, key.name, kind, status, reason], 1)
        yield family


class Telemetry:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        # A `_created` series beside each counter would double what is scraped, and nobody reads it.
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.lag = 0.0
        """Seconds by which the event loop was late last."""
        self._conditions: dict[Key, Conditions] = {}
        registry.register(_ConditionCollector(self._conditions))
        self._reconciles = Counter("modelwright_reconcile", "Passes over a model.", registry=registry)
        self._errors = Counter("modelwright_reconcile_errors", "Passes that failed.", ["error"], registry=registry)
        self._seconds = Histogram(
            "modelwright_reconcile_duration_seconds", "Time of a pass.", buckets=_PASS_SECONDS, registry=registry
        )
        self._depth = Gauge("modelwright_queue_depth", "Models that wait for a pass.", registry=registry)
        self._waits = Histogram(
            "modelwright_queue_wait_seconds", "Time a model waited.", buckets=_WAIT_SECONDS, registry=registry
        )
        self._requests = Counter(
            "modelwright_api_requests", "Requests to the API server.", ["verb", "code"], registry=registry
        )
        self._request_seconds = Histogram(
            "modelwright_api_request_duration_seconds",
            "Time of a request to the API server.",
            ["verb"],
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self._transitions = Counter(
            "modelwright_transitions",
            "Changes of a condition's status or reason.",
            ["type", "status", "reason"],
            registry=registry,
        )
        self._leading = Gauge("modelwright_leader", "1 while this replica reconciles.", registry=registry)
        self._lag = Gauge("modelwright_event_loop_lag_seconds", "Lateness of the event loop.", registry=registry)
        self._objects = Gauge("modelwright_cached_objects", "Objects in the caches.", ["kind"], registry=registry)
        build = Gauge("modelwright_build_info", "1 for the version that runs.", ["version"], registry=registry)
        build.labels(__version__).set(1)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    @contextmanager
    def timed(self) -> Generator[Timer]:
        """Measure a pass."""
        timer, started = Timer(), time.perf_counter()
        try:
            yield timer
        finally:
            self._reconciles.inc()
            self._seconds.observe(time.perf_counter() - started)
            if timer.error:
                self._errors.labels(timer.error).inc()

    def waited(self, seconds: float) -> None:
        """A key waited so long."""
        self._waits.observe(seconds)

    def depth(self, keys: int) -> None:
        """So many keys wait now."""
        self._depth.set(keys)

    def request(self, verb: str, code: int, seconds: float) -> None:
        """The API server answered."""
        self._requests.labels(verb, str(code)).inc()
        if seconds:
            self._request_seconds.labels(verb).observe(seconds)

    def leading(self, *, leads: bool) -> None:
        """Whether this replica reconciles."""
        self._leading.set(leads)

    def objects(self, sizes: Mapping[str, int]) -> None:
        """Objects in the caches, by kind."""
        for kind, size in sizes.items():
            self._objects.labels(kind).set(size)

    def status(self, model: ObservedModel, status: Mapping[str, Any]) -> None:
        """The model's status is this now."""
        key = Key(model.namespace, model.name)
        conditions: list[dict[str, str]] = status.get("conditions") or []
        new: Conditions = {c["type"]: (c["status"], c["reason"]) for c in conditions}
        old = self._conditions.get(key, {})
        if new == old:
            return
        for kind, now in new.items():
            # What a restarted operator finds is no transition.
            if old and old.get(kind) != now:
                self._transitions.labels(kind, *now).inc()
        self._conditions[key] = new

    def forget(self, key: Key) -> None:
        """The model is gone."""
        self._conditions.pop(key, None)

    async def watch_loop(self) -> None:
        """Measure for ever how late the event loop is."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(LAG_EVERY_SECONDS)
            self.lag = max(0.0, time.monotonic() - before - LAG_EVERY_SECONDS)
            self._lag.set(self.lag)
