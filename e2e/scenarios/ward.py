"""Treats illnesses side by side, a handful at a time, and notes what became of each."""

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from e2e.scenarios.illnesses import Illness, Ward
from e2e.scenarios.kube import Obj
from e2e.scenarios.place import Place, condition, is_ready, is_stalled

AT_A_TIME = 4
SETTLED_SECONDS = 90.0
ENDED = {"Succeeded", "Failed"}
LONG = 400.0
"""A store that says nothing is asked four times, 30 s each."""


@dataclass
class Outcome:
    """What became of one case."""

    seconds: float
    ready: Obj
    warnings: list[Obj]
    pods: list[Obj] = field(default_factory=list[Obj])
    replicas: dict[str, int] = field(default_factory=dict[str, int])


def treat_all(place: Place, ward: Ward, cases: Iterable[Illness]) -> dict[str, "Future[Outcome]"]:
    """Start all cases; the pool takes as many at a time as two cores bear."""
    pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="ward")
    return {case.name: pool.submit(treat, place, ward, case) for case in cases}


def treat(place: Place, ward: Ward, case: Illness) -> Outcome:
    """Apply the model, wait until the reason is told for good, and look at what is left running."""
    place.apply(case.name, case.spec(ward))
    started = time.monotonic()
    found = place.wait(case.name, lambda m: _is_told(m, case), case.reason, LONG)
    seconds = time.monotonic() - started
    pods = _settled_pods(place, case)
    warnings = place.wait_events(case.name, "Warning")
    return Outcome(seconds, condition(found, "Ready"), warnings, pods, place.replicas(case.name))


def _is_told(model: Obj, case: Illness) -> bool:
    """A passing illness is told while the work goes on; any other ends in Stalled, or was none."""
    if is_stalled(model) or is_ready(model):
        return True
    ready = condition(model, "Ready")
    return case.retried and ready.get("reason") == case.reason


def _settled_pods(place: Place, case: Illness) -> list[Obj]:
    """The model's pods once none of them runs any more; a retry at work may run."""
    end = time.monotonic() + SETTLED_SECONDS
    while True:
        pods = place.children(case.name, "pods")
        if all(pod["status"].get("phase") in ENDED for pod in pods) or case.retried or time.monotonic() > end:
            return pods
        time.sleep(1)
