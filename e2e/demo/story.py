"""What a person sees while models make their way: one line a transition, with the time since the demo began."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from e2e.scenarios.kube import GROUP, MODELS, Kube, KubectlError, Obj
from e2e.scenarios.operators import IN_CLUSTER_SELECTOR
from e2e.scenarios.place import condition, is_ready, is_stalled
from e2e.scenarios.watching import Watch

Say = Callable[[str], None]

HEARTBEAT_SECONDS: Final = 10.0
_EVENTS: Final = 5


class DemoError(Exception):
    """The demo cannot go on; the text starts with the first cause."""


@dataclass
class Story:
    """Tells the transitions of some models until all of them are ready."""

    kube: Kube
    namespace: str
    say: Say
    _told: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    _began: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    _spoke: float = field(default_factory=time.monotonic)

    def until_ready(self, names: Iterable[str], timeout: float) -> dict[str, Obj]:
        """Follow models until each of them is Ready in its newest generation.

        Raises:
            DemoError: One is stalled, or time is up.
        """
        wanted, self._spoke = tuple(names), time.monotonic()
        with Watch(self.kube, MODELS, self.namespace) as watch:
            told = 0

            def settled() -> bool:
                nonlocal told
                news, told = watch.changes[told:], len(watch.changes)
                for change in news:
                    if change.object["metadata"]["name"] in wanted:
                        self._tell(change.object)
                models = [watch.latest(name) for name in wanted]
                self._heartbeat(
                    name for name, model in zip(wanted, models, strict=True) if not (model and is_ready(model))
                )
                return any(m and is_stalled(m) for m in models) or all(m and is_ready(m) for m in models)

            watch.until(settled, timeout)
            models = {name: watch.latest(name) for name in wanted}
        late = {name: model for name, model in models.items() if model is None or not is_ready(model)}
        for name, model in sorted(late.items(), key=lambda pair: not (pair[1] and is_stalled(pair[1]))):
            raise DemoError(self.cause(name, model))
        return {name: model for name, model in models.items() if model is not None}

    def cause(self, name: str, model: Obj | None) -> str:
        """Why a model is not ready: its own words first, then its warnings."""
        if model is None:
            return f"{name}: it does not exist in the namespace {self.namespace}"
        ready = condition(model, "Ready")
        if ready.get("observedGeneration") != model["metadata"]["generation"]:
            return f"{name}: the operator does not see it: kubectl get pods -A -l {IN_CLUSTER_SELECTOR}"
        lines = [f"{name}: {ready['reason']}: {ready.get('message', '')}"]
        failure: Obj = model.get("status", {}).get("failure") or {}
        if failure and failure["message"] not in lines[0]:
            lines.append(f"  {failure['stage']}: {failure['reason']}: {failure['message']} {failure.get('hint', '')}")
        if failure.get("logTail"):
            lines.append("  " + failure["logTail"].replace("\n", "\n  "))
        for event in self._warnings(name):
            if event.get("message", "") not in "".join(lines):
                lines.append(f"  event: {event['reason']}: {event['message']}")
        return "\n".join(lines)

    def _tell(self, model: Obj) -> None:
        """Say what is new about a model: first what its Job found, then where it is."""
        name = model["metadata"]["name"]
        for about, line in (("Optimized", found(model)), ("Ready", tell(model))):
            word = line if about == "Optimized" else line.partition("  ")[0]
            if word and word != self._told.get((name, about)):
                self._told[name, about], self._spoke = word, time.monotonic()
                self.say(f"{name:<12} {line}")

    def _heartbeat(self, waiting: Iterable[str]) -> None:
        if time.monotonic() - self._spoke >= HEARTBEAT_SECONDS:
            self._spoke = time.monotonic()
            words = ", ".join(f"{name} {self._told.get((name, 'Ready'), 'is asked for')}" for name in waiting)
            self.say(f"still at it: {words}" if words else "all are ready")

    def _warnings(self, name: str) -> list[Obj]:
        try:
            found = self.kube.list("events", self.namespace)
        except KubectlError:
            return []
        ours = [
            event
            for event in found
            if event.get("type") == "Warning"
            and event["involvedObject"].get("name", "").startswith(name)
            and event["involvedObject"].get("apiVersion", "").startswith((GROUP, "v1", "apps/", "batch/"))
            and _last_seen(event) >= self._began
        ]
        return ours[-_EVENTS:]


def _last_seen(event: Obj) -> str:
    """When an event happened last; both generations of the API are in use."""
    series: Obj = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def found(model: Obj) -> str:
    """What the optimization found, in one line; empty while there is nothing."""
    optimized = condition(model, "Optimized")
    return f"{optimized['reason']}  {optimized['message']}" if optimized.get("status") == "True" else ""


def tell(model: Obj) -> str:
    """Where a model is, in one line: the word of Ready, and its sentence."""
    ready = condition(model, "Ready")
    current = ready.get("observedGeneration") == model["metadata"]["generation"]
    if not current:
        return "Changed  waiting for the operator to see it"
    mark = "Ready" if ready.get("status") == "True" else ready.get("reason", "Pending")
    return f"{mark}  {ready.get('message', '')[:140]}".rstrip()
