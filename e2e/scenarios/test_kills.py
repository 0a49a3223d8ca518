"""`kill -9` at random moments of the line: the next operator brings it to its end, and nothing is done twice."""

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import pytest

from e2e.scenarios import tiny
from e2e.scenarios.conftest import Figures
from e2e.scenarios.illnesses import quick
from e2e.scenarios.kube import GROUP, MODELS, Kube
from e2e.scenarios.operators import OperatorProcess, asleep
from e2e.scenarios.place import Place, is_ready
from e2e.scenarios.pushing import Pushed, Registry
from e2e.scenarios.watching import Watch

pytestmark = pytest.mark.cluster

SEED = 20240611
KILLS, MANY_KILLS = 3, 20


@dataclass
class Mortal:
    """An operator that may be killed, and the Jobs that were ever made under it."""

    process: OperatorProcess
    jobs: Watch
    line_seconds: float = 0.0

    def jobs_made(self, model: str) -> dict[str, int]:
        """How many Jobs of each stage were ever made for a model."""
        found: dict[str, set[str]] = {}
        for change in list(self.jobs.changes):
            meta = change.object["metadata"]
            if meta["labels"].get(f"{GROUP}/model") == model:
                found.setdefault(meta["labels"][f"{GROUP}/stage"], set()).add(meta["uid"])
        return {stage: len(uids) for stage, uids in found.items()}


@pytest.fixture(scope="module")
def mortal(place: Place, kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Generator[Mortal]:
    """The operator of the cluster asleep, and one of our own for the namespace instead."""
    folder = tmp_path_factory.mktemp("operator")
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(kube.run("config", "view", "--raw", "--minify", "--flatten"))
    with asleep(kube) as there, Watch(kube, "jobs", place.namespace) as jobs:
        process = OperatorProcess(
            str(kubeconfig), (place.namespace,), there.images, folder / "operator.log", place.namespace
        )
        with process:
            yield Mortal(process, jobs)
        print(process.tail())


@pytest.fixture(scope="module")
def source(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Pushed]:
    """A new model for each life, so that its Job has work to do."""
    folder = tmp_path_factory.mktemp("kills")

    def make(seed: int) -> Pushed:
        path = tiny.save(tiny.classifier(1000 + seed), folder / str(seed))
        return registry.push(f"kill-{seed}", [path])

    return make


def live(place: Place, mortal: Mortal, name: str, source: Pushed, kill_after: float | None = None) -> float:
    """From apply to Ready, the operator killed on the way; seconds it took."""
    began = time.monotonic()
    place.apply(name, {"model": {"uri": source.uri}, "optimization": quick()})
    if kill_after is not None:
        time.sleep(kill_after)
        mortal.process.kill()
        mortal.process.start()
    place.wait_ready(name)
    return time.monotonic() - began


def check(place: Place, mortal: Mortal, name: str) -> None:
    """One Job per work, one revision, no object too many."""
    assert mortal.jobs_made(name) == {"resolve": 1, "optimize": 1}
    model = place.model(name)
    stable = model["status"]["stable"]["hash"]
    # The client Service and the route carry the revision they lead to.
    expected = {"deployments": [stable], "configmaps": [stable], "services": [stable] * 2, "httproutes": [stable]}
    for kind, revisions in expected.items():
        found = place.children(name, kind)
        assert sorted(c["metadata"]["labels"].get(f"{GROUP}/revision", "") for c in found) == revisions, kind
        assert {c["metadata"]["ownerReferences"][0]["uid"] for c in found} == {model["metadata"]["uid"]}, kind
    assert place.replicas(name) == {stable: 1}


def kill_often(
    place: Place, mortal: Mortal, source: Callable[[int], Pushed], figures: Figures, rounds: range, seed: int
) -> None:
    """Lives with one kill each, at seeded random moments of the line's length."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    if not mortal.line_seconds:
        mortal.line_seconds = live(place, mortal, "undisturbed", source(0))
        figures.add("kills", "undisturbed", "-", f"{mortal.line_seconds:.1f} s")
        check(place, mortal, "undisturbed")
        place.kube.delete(MODELS, "undisturbed", place.namespace)
    for number in rounds:
        name, moment = f"killed-{number}", rng.uniform(0, mortal.line_seconds)
        took = live(place, mortal, name, source(number), moment)
        reason = next((line.split()[2] for line in reversed(place.story(name)) if _before(line, moment)), "no status")
        figures.add("kills", name, f"{moment:.1f} s ({reason})", f"{took:.1f} s")
        check(place, mortal, name)
        assert is_ready(place.model(name))
        place.kube.delete(MODELS, name, place.namespace)


def test_a_killed_operator_is_replaced_and_nothing_is_done_twice(
    place: Place, kube: Kube, mortal: Mortal, source: Callable[[int], Pushed], figures: Figures
) -> None:
    """Three kills, each of a life of its own."""
    del kube
    kill_often(place, mortal, source, figures, range(1, KILLS + 1), SEED)


@pytest.mark.soak
def test_a_killed_operator_is_replaced_however_often(
    place: Place, kube: Kube, mortal: Mortal, source: Callable[[int], Pushed], figures: Figures
) -> None:
    """Twenty kills."""
    del kube
    kill_often(place, mortal, source, figures, range(101, 101 + MANY_KILLS), SEED + 1)


def _before(line: str, moment: float) -> bool:
    return float(line.split(maxsplit=1)[0].rstrip("s")) <= moment
