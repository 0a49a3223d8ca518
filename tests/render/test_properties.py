"""Whatever a spec says: its children stay in its namespace, restricted, with names that the API server takes."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modelwright.api.model import ModelSpec
from modelwright.api.policy import Pool
from modelwright.api.structural import Schema, structural
from modelwright.contract.request import Data, Location, OptimizeRequest, ResolveRequest, Store
from modelwright.errors import InputError
from modelwright.render import configmap, deployment, job, route, service
from modelwright.render.revision import Owner, Revision
from tests.render import restricted, samples
from tests.render.strategies import from_schema

Body = dict[str, Any]

SPECS = from_schema(structural(ModelSpec)).map(ModelSpec.model_validate)
POOLS = from_schema(structural(Pool)).map(Pool.model_validate)
OWNERS = st.builds(
    Owner,
    namespace=st.just("team"),
    name=st.from_regex(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?", fullmatch=True),
    uid=st.uuids().map(str),
)


def children(owner: Owner, spec: ModelSpec, pool: Pool) -> list[Body]:
    """All that one model can make."""
    store = Store(uri="oci://registry.example.com/modelwright", namespace=owner.namespace)
    what = Revision(
        model_name=spec.model.name or owner.name,
        artifact=samples.ARTIFACT,
        source=samples.SOURCE,
        recommendation=samples.recommendation(),
        serving=spec.serving,
        pool=pool,
        store=store,
    )
    gateway = spec.rollout.traffic_routing.gateway
    parents, hosts = (gateway.parent_refs, gateway.hostnames) if gateway else ((), ())
    slots = (route.Slot(what.hash, 1000),)
    return [
        *_jobs(owner, spec, pool, store),
        deployment.render_deployment(owner, what, operator_image="operator"),
        configmap.render_configmap(owner, what),
        service.render_revision_service(owner, what.hash),
        service.render_client_service(owner, what.hash),
        route.render_http_route(owner, parents, hosts, slots),
        route.render_grpc_route(owner, parents, hosts, slots),
    ]


def _jobs(owner: Owner, spec: ModelSpec, pool: Pool, store: Store) -> Iterator[Body]:
    secret = spec.model.storage.secret_ref if spec.model.storage else None
    source = Location(uri=spec.model.uri, digest=spec.model.digest)
    evaluation = spec.optimization.evaluation
    data = Data(location=Location(uri=evaluation.uri)) if evaluation else None
    resolve = ResolveRequest(source=source, evaluation=data.location if data else None)
    account = spec.optimization.job.service_account_name
    yield job.render_resolve_job(owner, "resolve", resolve, image="operator", secret=secret, service_account=account)
    optimize = OptimizeRequest(model="m", key="k", source=source, evaluation=data, store=store)
    yield job.render_optimize_job(
        owner, "optimize", optimize, image="optimizer", pool=pool, job=spec.optimization.job, secret=secret
    )


def values_of(key: str, node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value under `key`, with its path."""
    match node:
        case dict():
            for name, inner in cast("Body", node).items():
                if name == key:
                    yield path, inner
                yield from values_of(key, inner, f"{path}.{name}")
        case list():
            for inner in cast("list[Any]", node):
                yield from values_of(key, inner, f"{path}[]")
        case _:
            pass


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(OWNERS, SPECS, POOLS)
def test_no_field_leads_out_of_the_models_namespace(owner: Owner, spec: ModelSpec, pool: Pool) -> None:
    try:
        bodies = children(owner, spec, pool)
    except InputError as refused:
        assume(refused.reason != "InvalidSpec")
        raise
    for body in bodies:
        assert body["metadata"]["namespace"] == "team"
        outside = {path for path, value in values_of("namespace", body) if value != "team"}
        assert outside <= {".spec.parentRefs[]"}
        assert len(body["metadata"]["name"]) <= 63
        assert [owned["uid"] for owned in body["metadata"]["ownerReferences"]] == [owner.uid]
        assert not set(values_of("hostPath", body))
        for _, spec_of_pod in values_of("template", body):
            assert restricted.violations(spec_of_pod["spec"]) == []
            assert _secrets(spec_of_pod["spec"]) <= _allowed_secrets(spec)


def _secrets(pod: Body) -> set[str]:
    return {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}


def _allowed_secrets(spec: ModelSpec) -> set[str]:
    storage = spec.model.storage
    return {storage.secret_ref.name} if storage and storage.secret_ref else set()


def test_no_field_of_a_model_but_that_of_a_gateway_names_a_namespace() -> None:
    def paths(schema: Schema, path: str = "spec") -> Iterator[str]:
        for name, inner in schema.get("properties", {}).items():
            if "namespace" in name.lower():
                yield f"{path}.{name}"
            yield from paths(inner, f"{path}.{name}")
        if "items" in schema:
            yield from paths(schema["items"], f"{path}[]")

    assert list(paths(structural(ModelSpec))) == ["spec.rollout.trafficRouting.gateway.parentRefs[].namespace"]


@pytest.mark.parametrize("name", sorted(samples.OBJECTS))
def test_only_the_owner_is_named_as_owner(name: str) -> None:
    (owned,) = samples.OBJECTS[name]()["metadata"]["ownerReferences"]
    assert owned["controller"] is True
    assert owned["blockOwnerDeletion"] is False
