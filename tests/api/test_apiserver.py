"""The CRDs on a real API server: what it fills in, what it refuses and in which words."""

import json
from typing import Any

import pytest
import yaml

from e2e.cluster.apiserver import LocalApiServer
from e2e.cluster.shell import ClusterError
from modelwright.api import schema
from tests.api.samples import MODEL, POLICY, Body, changed

pytestmark = pytest.mark.apiserver

LONG = "a" * 60
RULES: list[tuple[Body, str, Any, str]] = [
    (MODEL, "metadata.name", "9ranker", "must consist of lower case letters"),
    (MODEL, "metadata.name", "team.ranker", "must consist of lower case letters"),
    (MODEL, "metadata.name", "r" * 51, "must have at most 50 characters"),
    (MODEL, "metadata.name", "r" * 253, "must have at most 50 characters"),
    (MODEL, "spec.model.uri", "file:///etc/passwd", "must not use `file:`"),
    (MODEL, "spec.model.uri", "s3://models/../secrets", "must not contain `..`"),
    (MODEL, "spec.model.uri", "pvc://../etc", "must be `pvc://claim/path`"),
    (MODEL, "spec.optimization.evaluation.uri", "pvc://Claim/x", "must be `pvc://claim/path`"),
    (MODEL, "spec.optimization.calibration.uri", "file:///x", "must not use `file:`"),
    (
        MODEL,
        "spec.serving.resources",
        {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
        "`requests` must be at most `limits`",
    ),
    (
        MODEL,
        "spec.serving.resources",
        {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}},
        "`requests` must be at most",
    ),
    (MODEL, "spec.optimization.job.resources.requests", {"x" * 254: "1"}, "names in `requests` must be short"),
    (MODEL, "spec.optimization.job.resources.limits", {"x" * 254: "1"}, "names in `limits` must be short"),
    (
        MODEL,
        "spec.optimization",
        {"budget": {"maxDuration": "2h"}, "job": {"activeDeadlineSeconds": 3600}},
        "`budget.maxDuration` must be at most",
    ),
    (MODEL, "spec.serving", {"maxBatchSize": 0, "dynamicBatching": {}}, "`dynamicBatching` must be unset"),
    (
        MODEL,
        "spec.serving",
        {"maxBatchSize": 4, "dynamicBatching": {"preferredBatchSizes": [8]}},
        "`dynamicBatching.preferredBatchSizes` must be at most",
    ),
    (
        MODEL,
        "spec.rollout.trafficRouting.gateway.hostnames",
        [f"{LONG}.example.com"],
        "the first label of `hostnames` must have at most 58",
    ),
    (POLICY, "spec.domain", ".".join([LONG] * 3), "`domain` must have at most 133 characters"),
]

BOUNDS: list[tuple[Body, str, Any, str]] = [
    (MODEL, "spec.model.uri", "gopher://x/y", "should match"),
    (MODEL, "spec.model.uri", "s3://user:password@models/x", "should match"),
    (MODEL, "spec.model.uri", "s3://models/a b", "should match"),
    (MODEL, "spec.model.uri", "s3://models/a\r\nX-Header: 1", "should match"),
    (MODEL, "spec.model.uri", "s3://" + "x" * 1_000_000, "may not be more than 2048"),
    (MODEL, "spec.model.digest", "sha256:abc", "should match"),
    (MODEL, "spec.model.name", "../escape", "should match"),
    (MODEL, "spec.model.storage.secretRef.name", "a..b", "should match"),
    (MODEL, "spec.optimization.techniques", [f"t{i}" for i in range(10_000)], "must have at most 32 items"),
    (MODEL, "spec.optimization.techniques", ["a", "a"], "Duplicate value"),
    (MODEL, "spec.optimization.gates.quality.confidence", 1.0, "should be less than"),
    (MODEL, "spec.optimization.gates.quality.maxDrop", -0.1, "should be greater than or equal to 0"),
    (MODEL, "spec.optimization.gates.performance.minSpeedup", 0.5, "should be greater than or equal to 1"),
    (MODEL, "spec.optimization.mode", "auto", "Unsupported value"),
    (MODEL, "spec.optimization.workload.batchSizes", [], "should have at least 1 items"),
    (MODEL, "spec.optimization.workload.batchSizes", [0], "should be greater than or equal to 1"),
    (MODEL, "spec.serving.drainSeconds", 0, "should be greater than or equal to 1"),
    (MODEL, "spec.serving.resources.requests", {"cpu": "one"}, "should match"),
    (MODEL, "spec.serving.resources.requests", {"cpu": -1}, "should be greater than or equal to 0"),
    (MODEL, "spec.replicas", -1, "should be greater than or equal to 0"),
    (MODEL, "spec.replicas", "NaN", "must be of type integer"),
    (MODEL, "spec.rollout.progressDeadline", "10", "should match"),
    (MODEL, "spec", {}, "spec.model: Required value"),
    (POLICY, "spec.pools", [], "should have at least 1 items"),
    (POLICY, "spec.pools", POLICY["spec"]["pools"] * 2, "Duplicate value"),
    (POLICY, "spec.sources.schemes", ["file"], "Unsupported value"),
    (POLICY, "spec.optimization.artifactStore.uri", "oci://user@registry/x", "should match"),
]


def dry_run(server: LocalApiServer, body: Body) -> str:
    return server.kubectl("create", "--dry-run=server", "--output=yaml", "--filename=-", stdin=json.dumps(body))


def refusal(server: LocalApiServer, body: Body) -> str:
    with pytest.raises(ClusterError) as refused:
        dry_run(server, body)
    return refused.value.cause


@pytest.mark.parametrize(("body", "path", "value", "words"), RULES, ids=[f"{r[1]}={str(r[2])[:30]}" for r in RULES])
def test_a_rule_refuses_its_bad_example(server: LocalApiServer, body: Body, path: str, value: Any, words: str) -> None:
    assert words in refusal(server, changed(body, path, value))


@pytest.mark.parametrize(("body", "path", "value", "words"), BOUNDS, ids=[f"{b[1]}={str(b[2])[:30]}" for b in BOUNDS])
def test_a_bound_holds(server: LocalApiServer, body: Body, path: str, value: Any, words: str) -> None:
    assert words in refusal(server, changed(body, path, value))


def test_every_rule_has_a_bad_example() -> None:
    tried = [words for _, _, _, words in RULES]
    messages = {rule["message"] for crd in (schema.model_crd(), schema.policy_crd()) for rule in rules_in(crd)}
    assert messages
    assert [message for message in messages if not any(words in message for words in tried)] == []


def rules_in(node: Any) -> list[Body]:
    if isinstance(node, dict):
        found: list[Body] = list(node.get("x-kubernetes-validations", []))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        return found + [rule for inner in node.values() for rule in rules_in(inner)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return [rule for inner in node for rule in rules_in(inner)] if isinstance(node, list) else []  # pyright: ignore[reportUnknownVariableType]


def test_both_crds_are_accepted_without_a_word_of_warning(server: LocalApiServer) -> None:
    crds = json.loads(server.kubectl("get", "crd", "--output=json"))["items"]
    assert {crd["metadata"]["name"] for crd in crds} == {
        "optimizedmodels.modelwright.dev",
        "servingpolicies.modelwright.dev",
    }
    for crd in crds:
        conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_the_smallest_model_gets_every_default_and_a_status_that_says_nobody_looked_yet(
    server: LocalApiServer,
) -> None:
    server.kubectl("create", "--filename=-", stdin=json.dumps(changed(MODEL, "metadata.name", "smallest")))
    made = yaml.safe_load(server.kubectl("get", "om", "smallest", "--output=yaml"))
    assert made["spec"]["optimization"]["gates"]["quality"] == {"maxDrop": 0.01, "confidence": 0.95}
    assert made["spec"]["optimization"]["workload"] == {"batchSizes": [1, 8, 32]}
    assert made["spec"]["serving"] == {"drainSeconds": 30}
    (ready,) = made["status"]["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "Unknown", "Pending")
    assert made["status"]["observedGeneration"] == -1
    wide = server.kubectl("get", "om", "smallest", "--output=wide", "--no-headers")
    assert wide.split()[:3] == ["smallest", "Unknown", "Pending"]
    assert "Waiting for controller" in wide


def test_the_smallest_policy_is_accepted(server: LocalApiServer) -> None:
    made = yaml.safe_load(dry_run(server, POLICY))
    assert made["spec"]["sources"]["schemes"] == ["https", "s3", "gs", "az", "oci", "pvc"]
    assert made["spec"]["domain"] == "models.local"


@pytest.mark.parametrize("columns", [["NAME", "READY", "STATUS", "REPLICAS", "SPEEDUP", "AGE"]])
def test_columns_and_short_names(server: LocalApiServer, columns: list[str]) -> None:
    server.kubectl("create", "--filename=-", stdin=json.dumps(changed(MODEL, "metadata.name", "columns")))
    assert server.kubectl("get", "om", "columns").splitlines()[0].split() == columns
    assert server.kubectl("get", "ai").splitlines()[0].split() == columns
    header = server.kubectl("get", "modelwright", "--output=wide").splitlines()[0].split()
    assert header == [*columns, "POOL", "REVISION", "QUALITY", "MESSAGE"]


def test_a_number_is_a_quantity(server: LocalApiServer) -> None:
    resources = {"requests": {"cpu": 1, "memory": "512Mi"}, "limits": {"cpu": "1500m"}}
    made = yaml.safe_load(dry_run(server, changed(MODEL, "spec.serving.resources", resources)))
    assert made["spec"]["serving"]["resources"] == resources


def test_an_unknown_field_is_an_error_and_not_dropped(server: LocalApiServer) -> None:
    assert 'unknown field "spec.model.urii"' in refusal(server, changed(MODEL, "spec.model.urii", "x"))


def test_scale_reaches_spec_replicas_and_reads_status(server: LocalApiServer) -> None:
    server.kubectl("create", "--filename=-", stdin=json.dumps(changed(MODEL, "metadata.name", "scaled")))
    server.kubectl("scale", "om", "scaled", "--replicas=3")
    status = {"status": {"replicas": 2, "selector": "modelwright.dev/model=scaled"}}
    server.kubectl("patch", "om", "scaled", "--subresource=status", "--type=merge", "--patch", json.dumps(status))
    scale = yaml.safe_load(server.kubectl("get", "om", "scaled", "--subresource=scale", "--output=yaml"))
    assert scale["spec"]["replicas"] == 3
    assert scale["status"] == {"replicas": 2, "selector": "modelwright.dev/model=scaled"}


def test_a_cleared_status_falls_back_to_nobody_looked_yet(server: LocalApiServer) -> None:
    server.kubectl("create", "--filename=-", stdin=json.dumps(changed(MODEL, "metadata.name", "cleared")))
    patch = ["patch", "om", "cleared", "--subresource=status", "--type=merge", "--patch"]
    server.kubectl(*patch, '{"status":{"observedGeneration":1,"conditions":[]}}')
    assert yaml.safe_load(server.kubectl("get", "om", "cleared", "--output=yaml"))["status"]["conditions"] == []
    server.kubectl(*patch, '{"status":null}')
    status = yaml.safe_load(server.kubectl("get", "om", "cleared", "--output=yaml"))["status"]
    assert status["observedGeneration"] == -1


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("om.spec.serving.drainSeconds", "Default: 30. Unit: seconds. Example: 30."),
        ("om.spec.model.uri", "Required. Example: s3://models/ranker/7/."),
        ("om.spec.model.name", "Default: the resource's name. Example: ranker."),
        ("sp.spec.pools.pricePerHour", "Unit: currency per hour."),
        ("om.status.optimization.speedup", "Unit: ratio. Example: 2.4."),
    ],
)
def test_explain_says_default_unit_and_example(server: LocalApiServer, path: str, words: str) -> None:
    assert words in " ".join(server.kubectl("explain", path).split())
