"""Bad input, case by case: the reason is told once, with what is wrong and what to do, and nothing is left looping."""

import re
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from e2e.scenarios import faults, tiny
from e2e.scenarios.conftest import Figures
from e2e.scenarios.illnesses import (
    ILLNESSES,
    NO_BACKEND_POOL,
    NO_SUCH_IMAGE_POOL,
    VANISHING_POOL,
    Illness,
    Ward,
    pinned,
)
from e2e.scenarios.kube import MODELS, Kube, KubectlError, Obj
from e2e.scenarios.operators import InCluster, restarts
from e2e.scenarios.place import Place, condition, is_stalled, model_object
from e2e.scenarios.policies import installed, pool_like, rewrite, widened
from e2e.scenarios.pushing import Image, Registry
from e2e.scenarios.ward import ENDED, Outcome, treat_all

if TYPE_CHECKING:
    from concurrent.futures import Future

pytestmark = pytest.mark.cluster

BACKEND = "/opt/triton/pytriton/tritonserver/backends/onnxruntime"

Outcomes = dict[str, "Future[Outcome]"]


@pytest.fixture(scope="module")
def restarts_before(kube: Kube, operator: InCluster) -> dict[str, int]:
    """How often the operator was restarted before anything bad came in."""
    return restarts(kube, operator)


@pytest.fixture(scope="module")
def ward(
    place: Place, kube: Kube, operator: InCluster, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Ward]:
    """A failing store, and a policy that allows http and has two pools of ours."""
    store = faults.start(kube, place.namespace, operator.images[0], {})
    pools = (
        pool_like(kube, NO_SUCH_IMAGE_POOL, image=f"{registry.address}/e2e-no-such-image:none"),
        pool_like(kube, VANISHING_POOL),
        pool_like(kube, NO_BACKEND_POOL, image=image_without_backend(kube, registry)),
    )
    with widened(kube, schemes=("http",), pools=pools):
        yield Ward(tmp_path_factory.mktemp("ward"), registry, store)


def image_without_backend(kube: Kube, registry: Registry) -> str:
    """The pool's Triton without the backend of every model here: it runs, and refuses them all."""
    image: str = installed(kube)["spec"]["pools"][0]["image"]
    found = re.fullmatch(r"[^/]+/(?P<repository>[^:@]+)[:@](?P<reference>.+)", image)
    assert found, image
    layers = Image(registry, found["repository"])
    return layers.without(found["reference"], BACKEND, "e2e-no-backend")


@pytest.fixture(scope="module")
def outcomes(place: Place, ward: Ward, restarts_before: dict[str, int]) -> Outcomes:
    """All cases, begun together."""
    del restarts_before
    return treat_all(place, ward, ILLNESSES)


@pytest.mark.parametrize("case", ILLNESSES, ids=lambda case: case.name)
def test_it_is_told_once_with_what_is_wrong_and_what_to_do(
    case: Illness, outcomes: Outcomes, place: Place, kube: Kube, figures: Figures
) -> None:
    """Reason, a message that names field or file and the remedy, one Warning Event, nothing that loops."""
    del kube
    outcome = outcomes[case.name].result()
    ready = outcome.ready
    figures.add("bad input", case.name, ready["reason"], f"{outcome.seconds:.1f} s")
    assert ready["status"] == "False"
    assert ready["reason"] == case.reason, ready["message"]
    assert case.names in ready["message"]
    failure: Obj = place.model(case.name)["status"].get("failure") or {}
    hint: str = case.remedy or failure.get("hint", "")
    assert hint, "there is no remedy"
    assert hint in ready["message"]
    told = [event["reason"] for event in outcome.warnings]
    assert told == [case.reason], [event["message"] for event in outcome.warnings]
    assert not {revision: wanted for revision, wanted in outcome.replicas.items() if wanted}, "pods are still wanted"
    for pod in outcome.pods:
        waiting = [c["state"].get("waiting", {}).get("reason") for c in pod["status"].get("containerStatuses", [])]
        assert "CrashLoopBackOff" not in waiting, pod["metadata"]["name"]
        if not case.retried:
            assert pod["status"]["phase"] in ENDED, pod["metadata"]["name"]


def test_a_pool_that_does_not_exist_is_refused_with_the_pools_that_do(place: Place, kube: Kube, ward: Ward) -> None:
    """At admission, before the operator is asked."""
    source = ward.push_model("no-pool", tiny.classifier())
    model = model_object(place.namespace, "no-pool", pinned(source, serving={"pool": "no-such-pool"}))
    with pytest.raises(KubectlError) as refused:
        kube.apply(model)
    assert "no-such-pool" in refused.value.stderr
    assert "cpu" in refused.value.stderr


def test_a_pool_that_goes_away_is_named_in_the_condition(
    place: Place, kube: Kube, ward: Ward, figures: Figures
) -> None:
    """The policy changes after the model was admitted."""
    source = ward.push_model("pool-gone", tiny.classifier())
    place.apply("pool-gone", pinned(source, serving={"pool": VANISHING_POOL}, replicas=0))
    place.wait("pool-gone", lambda m: condition(m, "Accepted").get("status") == "True", "Accepted")
    policy = installed(kube)["spec"]
    rewrite(kube, {**policy, "pools": [pool for pool in policy["pools"] if pool["name"] != VANISHING_POOL]})
    found = place.wait("pool-gone", is_stalled, "Stalled")
    ready = condition(found, "Ready")
    figures.add("bad input", "pool-gone", ready["reason"], "")
    assert ready["reason"] == "PoolNotFound"
    assert "spec.serving.pool" in ready["message"]
    assert VANISHING_POOL in ready["message"]
    assert "cpu" in ready["message"]
    warnings = place.wait_events("pool-gone", "Warning")
    assert [event["reason"] for event in warnings] == ["PoolNotFound"]


def test_a_megabyte_of_spec_is_refused_at_the_field(place: Place, kube: Kube) -> None:
    """The API server says which field is too long; nothing reaches the operator."""
    model = model_object(place.namespace, "huge", {"model": {"uri": "s3://models/" + "x" * 1_000_000}})
    with pytest.raises(KubectlError) as refused:
        kube.apply_server_side(model)
    assert "spec.model.uri" in refused.value.stderr
    assert kube.find(MODELS, "huge", place.namespace) is None


def test_a_name_of_253_characters_is_refused_with_the_limit(place: Place, kube: Kube) -> None:
    """Children carry the name, so it must be short; the refusal says how short."""
    model = model_object(place.namespace, "n" * 253, {"model": {"uri": "s3://models/x/"}})
    with pytest.raises(KubectlError) as refused:
        kube.apply(model)
    assert "metadata.name" in refused.value.stderr
    assert "at most 50" in refused.value.stderr


def test_the_operator_took_it_all_without_a_restart(
    kube: Kube, operator: InCluster, restarts_before: dict[str, int]
) -> None:
    """The same pods, restarted as often as before."""
    assert restarts(kube, operator) == restarts_before
