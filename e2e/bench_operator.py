"""What the operator costs and how fast it is, on the cluster that KUBECONFIG or CONTEXT names: `make bench-operator`.

Each figure stands beside its bound. A bound that is missed makes the exit code 1: no figure here is for show.
"""

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from e2e import suite
from e2e.scenarios import tiny
from e2e.scenarios.illnesses import quick
from e2e.scenarios.kube import MODELS, Kube, KubectlError
from e2e.scenarios.operators import InCluster, find_deployment, pods
from e2e.scenarios.place import Place, condition, is_ready, open_place
from e2e.scenarios.policies import installed
from e2e.scenarios.pushing import Pushed, Registry
from modelwright.core.decide import decide
from tests.builders import make_model
from tests.simulation.toycluster import ToyCluster

NAMES = ("one", "two", "three")
IDLE_SECONDS = 60.0
SETTLE_SECONDS = 20.0
CHANGES = 5
DECIDING_SECONDS = 2.0
METRICS_PORT = 8080


@dataclass(frozen=True)
class Figure:
    """One measured value and its bound; `good` says whether it holds."""

    what: str
    value: str
    bound: str
    good: bool = True


@dataclass(frozen=True)
class Bench:
    """Measures, one thing at a time, on three served models."""

    kube: Kube
    place: Place
    operator: InCluster
    sources: dict[str, Pushed]

    def spec(self, name: str) -> dict[str, object]:
        """The smallest search."""
        return {"model": {"uri": self.sources[name].uri}, "optimization": quick()}

    def serve_all(self) -> None:
        """Three models, served."""
        for name in NAMES:
            self.place.apply(name, self.spec(name))
        for name in NAMES:
            self.place.wait_ready(name)

    def known_artifact(self) -> list[Figure]:
        """From apply to Ready once more, for a model whose artifact is in the store already."""
        self.kube.delete(MODELS, "one", self.place.namespace)
        self.kube.run("wait", "--for=delete", "pods", "--selector=modelwright.dev/model=one",
                      f"--namespace={self.place.namespace}", "--timeout=120s", timeout=130)  # fmt: skip
        self.place.models.changes.clear()
        self.place.apply("one", self.spec("one"))
        self.place.wait_ready("one")
        reached = self._reached("one")
        total = reached["Serving"]
        steps = [("Resolving", "Optimizing", "resolving"), ("Optimizing", "Deploying", "artifact from the store"),
                 ("Deploying", "Serving", "Triton")]  # fmt: skip
        parts = [
            Figure(f"  of it {label}", f"{reached[end] - reached[begin]:.1f} s", "")
            for begin, end, label in steps
            if begin in reached and end in reached
        ]
        return [Figure("apply → Ready, artifact known, image there", f"{total:.1f} s", "≤ 15 s", total <= 15), *parts]

    def change_seen(self) -> list[Figure]:
        """From a patched spec to its generation in status."""
        times: list[float] = []
        for limit in range(4, 4 + CHANGES):
            began = time.monotonic()
            patched = self.kube.patch(MODELS, "two", {"spec": {"revisionHistoryLimit": limit}}, self.place.namespace)
            generation = patched["metadata"]["generation"]
            self.place.wait("two", lambda m, g=generation: m["status"]["observedGeneration"] >= g, "the change seen")
            times.append(time.monotonic() - began)
        text = f"{statistics.median(times):.2f} s, worst of {CHANGES} {max(times):.2f} s"
        return [Figure("change of spec seen in status", text, "≤ 1 s", max(times) <= 1)]

    def idle(self) -> list[Figure]:
        """Memory and CPU while nothing happens."""
        time.sleep(SETTLE_SECONDS)
        before, began = self._metrics(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        after, took = self._metrics(), time.monotonic() - began
        share = (after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]) / took
        memory = after["process_resident_memory_bytes"] / 1e6
        return [
            Figure("resident memory, 3 models", f"{memory:.0f} MB", "≤ 120 MB", memory <= 120),
            Figure(f"CPU when idle, {IDLE_SECONDS:.0f} s", f"{share:.2%} of a core", "≤ 1 %", share <= 0.01),
        ]

    def restart(self) -> list[Figure]:
        """Writes of a new process that finds everything as it shall be; its Lease is not counted."""
        for pod in pods(self.kube, self.operator):
            self.kube.delete("pod", pod["metadata"]["name"], self.operator.namespace)
        status = ("rollout", "status", f"deployment/{self.operator.name}", f"--namespace={self.operator.namespace}")
        self.kube.run(*status, "--timeout=120s", timeout=130)
        _until(lambda: self._metrics().get("modelwright_leader", 0) == 1)
        _until(lambda: self._metrics().get("modelwright_reconcile_total", 0) >= len(NAMES))
        time.sleep(SETTLE_SECONDS)
        metrics = self._metrics()
        writes = sum(
            value
            for series, value in metrics.items()
            if series.startswith("modelwright_api_requests_total") and re.search(r'verb="(PATCH|DELETE|POST)"', series)
        )
        return [Figure("writes on restart", f"{writes:.0f}", "0", writes == 0)]

    def _reached(self, name: str) -> dict[str, float]:
        """When each reason of Ready was seen first, in seconds since the apply."""
        reached: dict[str, float] = {}
        for change in self.place.models.of(name):
            reason = condition(change.object, "Ready").get("reason", "")
            if reason != "Serving" or is_ready(change.object):
                reached.setdefault(reason, change.at - self.place.began[name])
        return reached

    def _metrics(self) -> dict[str, float]:
        """The operator's own metrics, through the API server."""
        running = [pod for pod in pods(self.kube, self.operator) if not pod["metadata"].get("deletionTimestamp")]
        pod = running[0]["metadata"]["name"]
        path = f"/api/v1/namespaces/{self.operator.namespace}/pods/{pod}:{METRICS_PORT}/proxy/metrics"
        try:
            lines = self.kube.run("get", "--raw", path).splitlines()
        except KubectlError:
            return {}
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {series: float(value) for series, _, value in pairs}


def decisions() -> list[Figure]:
    """How often a settled model can be looked at, in one thread of this machine."""
    snapshot, now = ToyCluster(make_model()).settle().snapshot(), datetime(2026, 1, 2, tzinfo=UTC)
    assert not decide(snapshot, now).actions
    count, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < DECIDING_SECONDS:
        decide(snapshot, now)
        count += 1
    return [Figure("decisions a second, settled model", f"{count / took:,.0f}", "")]


def main(words: Sequence[str]) -> int:
    """Measure everything and print it; 1 if a bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m e2e.bench_operator", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    asked = parser.parse_args(words)
    if not (os.environ.get("CONTEXT") or os.environ.get("KUBECONFIG")):
        os.environ.update(suite.local_cluster())
    figures = decisions()
    kube = Kube.from_environment()
    operator = find_deployment(kube)
    if operator is None or not os.environ.get("REGISTRY"):
        print("error: no operator in the cluster, or REGISTRY is not set\nremedy: `make demo` first", file=sys.stderr)
        return 1
    with open_place(kube, "e2e-bench") as place, tempfile.TemporaryDirectory() as folder:
        bench = Bench(kube, place, operator, push_sources(kube, Path(folder)))
        bench.serve_all()
        for part in (bench.known_artifact, bench.change_seen, bench.idle, bench.restart):
            figures += part()
    print(as_markdown(figures) if asked.markdown else as_text(figures))
    return 0 if all(figure.good for figure in figures) else 1


def push_sources(kube: Kube, folder: Path) -> dict[str, Pushed]:
    """Three tiny models in the registry."""
    address = os.environ["REGISTRY"]
    registry = Registry(address, insecure=address in installed(kube)["spec"]["sources"].get("insecureRegistries", []))
    return {
        name: registry.push(f"bench-{name}", [tiny.save(tiny.classifier(20 + seed), folder / name)])
        for seed, name in enumerate(NAMES)
    }


def as_text(figures: Sequence[Figure]) -> str:
    """The table for a terminal."""
    return "\n".join(
        f"{figure.what:<46} {figure.value:<32} {figure.bound:<10} {'' if figure.good else 'MISSED'}".rstrip()
        for figure in figures
    )


def as_markdown(figures: Sequence[Figure]) -> str:
    """The table for a page."""
    rows = (f"| {figure.what.strip()} | {figure.value} | {figure.bound} |" for figure in figures)
    return "\n".join(("| What | Measured | Bound |", "|---|---|---|", *rows))


def _until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("the new operator did not come to work")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
