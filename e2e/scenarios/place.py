"""A namespace in which models live: apply one, follow its story, and say what became of it."""

import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from e2e.scenarios.kube import GROUP, MODELS, Kube, Obj
from e2e.scenarios.watching import Watch

READY_SECONDS = 300.0
"""Far above what anything here takes, for machines slower than any: a bound on hanging, not a promise."""


@dataclass
class Place:
    """A namespace.

    Attributes:
        began: When a model was applied last.
        told: Lines of its story that were printed.
    """

    kube: Kube
    namespace: str
    models: Watch
    began: dict[str, float] = field(default_factory=dict[str, float])
    told: dict[str, int] = field(default_factory=dict[str, int])

    def apply(self, name: str, spec: Mapping[str, Any]) -> None:
        """`kubectl apply` of one model."""
        self.began[name] = time.monotonic()
        self.kube.apply(model_object(self.namespace, name, spec))

    def model(self, name: str) -> Obj:
        """The model as it is now, read and not remembered."""
        return self.kube.get(MODELS, name, self.namespace)

    def wait(self, name: str, condition: Callable[[Obj], bool], what: str, timeout: float = READY_SECONDS) -> Obj:
        """Wait until the model as watched fulfils `condition`, telling its story meanwhile.

        Raises:
            AssertionError: It did not in time; the message says where it stands.
        """

        def fulfilled() -> bool:
            self._tell(name)
            latest = self.models.latest(name)
            return latest is not None and condition(latest)

        if not self.models.until(fulfilled, timeout):
            latest = self.models.latest(name)
            raise AssertionError(f"{name}: {what} not within {timeout:.0f} s; {_where(latest)}")
        found = self.models.latest(name)
        assert found is not None
        return found

    def wait_ready(self, name: str, timeout: float = READY_SECONDS) -> Obj:
        """Wait until the newest generation serves; a model that stalls ends the wait at once."""
        found = self.wait(name, lambda m: is_ready(m) or is_stalled(m), "Ready", timeout)
        assert is_ready(found), f"{name} stalled: {_where(found)}"
        return found

    def story(self, name: str) -> list[str]:
        """The model's transitions so far, one line each."""
        return list(_lines(self, name))

    def _tell(self, name: str) -> None:
        """Print what is new in the model's story."""
        lines = self.story(name)
        for line in lines[self.told.get(name, 0) :]:
            print(line, file=sys.stderr, flush=True)
        self.told[name] = len(lines)

    def events(self, name: str, kind: str = "") -> list[Obj]:
        """Events about a model, oldest first; `kind` is Normal or Warning."""
        found = self.kube.list("events", self.namespace)
        about = [
            e
            for e in found
            if e["involvedObject"]["name"] == name and e["involvedObject"]["apiVersion"].startswith(GROUP)
        ]
        return [event for event in about if not kind or event["type"] == kind]

    def wait_events(self, name: str, kind: str, seconds: float = 20.0) -> list[Obj]:
        """Events about a model once there is one: they are told after the status that they tell of."""
        end = time.monotonic() + seconds
        while not (found := self.events(name, kind)) and time.monotonic() < end:
            time.sleep(0.5)
        return found

    def children(self, name: str, kind: str) -> list[Obj]:
        """Objects of a kind that belong to a model."""
        return self.kube.list(kind, self.namespace, f"{GROUP}/model={name}")

    def replicas(self, name: str) -> dict[str, int]:
        """Wanted replicas by revision."""
        found = self.children(name, "deployments")
        return {d["metadata"]["labels"][f"{GROUP}/revision"]: d["spec"].get("replicas", 1) for d in found}


@contextmanager
def open_place(kube: Kube, namespace: str) -> Generator[Place]:
    """A new namespace, removed afterwards."""
    kube.delete("namespace", namespace)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    try:
        with Watch(kube, MODELS, namespace) as watch:
            yield Place(kube, namespace, watch)
    finally:
        kube.delete("namespace", namespace, wait=False)


def model_object(namespace: str, name: str, spec: Mapping[str, Any]) -> Obj:
    """An OptimizedModel as a user writes it."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": "OptimizedModel", "metadata": metadata, "spec": dict(spec)}


def condition(model: Obj, kind: str) -> Obj:
    """One condition; empty if there is none."""
    found: list[Obj] = model.get("status", {}).get("conditions", [])
    empty: Obj = {}
    return next((c for c in found if c["type"] == kind), empty)


def is_ready(model: Obj) -> bool:
    """Whether the newest generation fully serves."""
    return _holds(model, "Ready")


def is_stalled(model: Obj) -> bool:
    """Whether nothing more happens without a person."""
    return _holds(model, "Stalled")


def _holds(model: Obj, kind: str) -> bool:
    found = condition(model, kind)
    return found.get("status") == "True" and found.get("observedGeneration") == model["metadata"]["generation"]


def _where(model: Obj | None) -> str:
    if model is None:
        return "it does not exist"
    ready = condition(model, "Ready")
    return f"Ready is {ready.get('status')}/{ready.get('reason')}: {ready.get('message')}"


def _lines(place: Place, name: str) -> Iterator[str]:
    before = ""
    for change in place.models.of(name):
        ready = condition(change.object, "Ready")
        word = f"{ready.get('status', '-')}/{ready.get('reason', 'no status')}"
        if word != before:
            elapsed = change.at - place.began.get(name, change.at)
            yield f"  {elapsed:6.1f}s {name}: {word}  {ready.get('message', '')[:120]}"
            before = word
