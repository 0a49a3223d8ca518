"""Services and routes."""

from typing import Any

import pytest

from modelwright import naming
from modelwright.api.model import ParentRef
from modelwright.render import meta, route, service
from modelwright.render.revision import Owner
from tests.render import samples

Body = dict[str, Any]


def backends(body: Body) -> list[Body]:
    (rule,) = body["spec"]["rules"]
    return rule["backendRefs"]


def test_a_service_selects_the_pods_of_its_revision() -> None:
    pod_labels = samples.deployment_of(samples.revision())["spec"]["template"]["metadata"]["labels"]
    for body in (samples.OBJECTS["revision-service"](), samples.OBJECTS["client-service"]()):
        assert body["spec"]["selector"].items() <= pod_labels.items()


def test_the_client_service_has_the_models_name_and_says_where_it_leads() -> None:
    body = samples.OBJECTS["client-service"]()
    assert body["metadata"]["name"] == "ranker"
    assert body["metadata"]["labels"][naming.LABEL_REVISION] == body["spec"]["selector"][naming.LABEL_REVISION]


def test_grpc_is_announced_as_http2_in_clear_text() -> None:
    ports = {port["name"]: port for port in samples.OBJECTS["revision-service"]()["spec"]["ports"]}
    assert ports["http"]["appProtocol"] == "http"
    assert ports["grpc"]["appProtocol"] == "kubernetes.io/h2c"
    assert {port["port"] for port in ports.values()} == {naming.PORT_HTTP, naming.PORT_GRPC}


@pytest.mark.parametrize("which", [0, 1], ids=["http", "grpc"])
def test_backends_keep_their_order_and_each_says_who_answers(which: int) -> None:
    found = backends(samples.routes()[which])
    assert [(b["name"], b["weight"]) for b in found] == [("ranker-r1a2b3c4d", 900), ("ranker-r5e6f7a8b", 100)]
    headers = [b["filters"][0]["responseHeaderModifier"]["set"] for b in found]
    assert headers == [[{"name": "modelwright-revision", "value": f"r{h}"}] for h in ("1a2b3c4d", "5e6f7a8b")]


def test_a_parent_without_a_namespace_is_in_the_models_own() -> None:
    body = route.render_http_route(samples.OWNER, (ParentRef(name="edge"),), ("a.b",), (route.Slot("1a2b3c4d", 1000),))
    assert body["spec"]["parentRefs"] == [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}]


def test_grpc_routes_carry_inference_and_health_only() -> None:
    (rule,) = samples.routes()[1]["spec"]["rules"]
    assert {m["method"]["service"] for m in rule["matches"]} == {
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
    }


@pytest.mark.parametrize("name", ["", "A", "a.b", "-a", "a" * 64, "a_b"])
def test_a_name_that_is_no_dns_label_is_a_bug_and_not_a_request(name: str) -> None:
    with pytest.raises(ValueError, match="DNS label"):
        meta.metadata(samples.OWNER, name)


def test_a_label_value_that_the_api_would_refuse_is_a_bug_and_not_a_request() -> None:
    with pytest.raises(ValueError, match="label value"):
        meta.labels(Owner("ns", "ok", "u"), "serve", "no label!")


def test_a_long_name_with_dots_still_makes_a_service_name() -> None:
    name = service.service_name(Owner("ns", "a." * 100 + "b", "u"))
    assert len(name) <= 63
    assert "." not in name
