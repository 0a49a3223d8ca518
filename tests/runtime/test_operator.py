"""The whole operator against a real API server: what it asks for is counted from the audit log, not by itself."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelwright.cluster import permissions
from tests.builders import optimize_answer, resolve_answer
from tests.runtime.live import Audit, Live, Replicas, eventually, model_body

pytestmark = pytest.mark.apiserver


def test_each_step_takes_one_write_per_child_and_one_for_status(live: Live, operator: Replicas) -> None:
    replica = operator.start_ready()
    audit = Audit(live.server)
    live.apply(model_body(live.namespace, "ranker"))
    eventually(lambda: live.reason("ranker") == "Resolving", "Resolving")
    eventually(replica.idle)
    assert audit.writes() == {"patch jobs": 1, "patch optimizedmodels/status": 1}

    live.finish_job("resolve", resolve_answer())
    eventually(lambda: live.reason("ranker") == "Optimizing", "Optimizing")
    eventually(replica.idle)
    writes = audit.writes()
    assert writes["patch jobs"] == 1
    assert writes["patch optimizedmodels/status"] <= 2

    live.finish_job("optimize", optimize_answer())
    eventually(lambda: live.all("deployments"), "a Deployment")
    eventually(replica.idle)
    writes = audit.writes()
    assert (writes["patch deployments"], writes["patch services"], writes["patch configmaps"]) == (1, 1, 1)

    revision = live.get("om", "ranker")["status"]["candidate"]["hash"]
    live.start_pods(revision)
    eventually(lambda: live.reason("ranker") == "Serving", "Serving")
    eventually(replica.idle)
    assert audit.writes()["patch services"] == 1
    assert all(request.code < 400 for request in audit.requests())
    assert replica.errors() == []


def test_what_changes_nothing_costs_nothing(live: Live, operator: Replicas) -> None:
    replica = operator.start_ready(MODELWRIGHT_RESYNC_SECONDS="1")
    live.apply(model_body(live.namespace, "ranker"))
    live.serve("ranker")
    eventually(replica.idle)
    audit = Audit(live.server)
    live.kubectl("label", "om", "ranker", "team=search")
    passes = replica.metric("modelwright_reconcile_total")
    eventually(lambda: replica.metric("modelwright_reconcile_total") >= passes + 3, "three sweeps")
    assert audit.writes() == {}


def test_an_update_of_one_child_takes_two_writes(live: Live, operator: Replicas) -> None:
    replica = operator.start_ready()
    live.apply(model_body(live.namespace, "ranker"))
    live.serve("ranker")
    eventually(replica.idle)
    audit = Audit(live.server)
    live.kubectl("scale", "om", "ranker", "--replicas=2")
    eventually(lambda: live.all("deployments")[0]["spec"]["replicas"] == 2, "scaled")
    eventually(replica.idle)
    writes = audit.writes()
    assert writes["patch deployments/scale"] == 1
    assert set(writes) == {"patch deployments/scale", "patch optimizedmodels/status"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_restart_writes_nothing(live: Live, operator: Replicas, number: int) -> None:
    first = operator.start_ready()
    live.apply(model_body(live.namespace, "ranker"))
    live.serve("ranker")
    eventually(first.idle)
    code = first.stop(number)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    audit = Audit(live.server)
    second = operator.start_ready()
    eventually(lambda: second.metric("modelwright_reconcile_total") >= 1, "a first pass")
    eventually(second.idle)
    assert audit.writes() == {}


def test_a_successor_takes_over_at_once_from_one_that_stops(live: Live, operator: Replicas) -> None:
    first = operator.start_ready()
    eventually(lambda: first.metric("modelwright_leader") == 1, "leads")
    second = operator.start_ready()
    assert second.metric("modelwright_leader") == 0
    assert first.stop() == 0
    holder = live.get("lease", "modelwright-operator")["spec"]["holderIdentity"]
    assert holder in ("", second.identity)
    eventually(lambda: second.metric("modelwright_leader") == 1, "took over")
    live.apply(model_body(live.namespace, "ranker"))
    eventually(lambda: live.reason("ranker") == "Resolving", "Resolving")


def test_a_frozen_leader_writes_nothing_when_it_thaws(live: Live, operator: Replicas) -> None:
    first = operator.start_ready()
    eventually(lambda: first.metric("modelwright_leader") == 1, "leads")
    second = operator.start_ready()
    first.process.send_signal(signal.SIGSTOP)
    eventually(lambda: second.metric("modelwright_leader") == 1, "took over")
    live.apply(model_body(live.namespace, "ranker"))
    eventually(lambda: live.reason("ranker") == "Resolving", "Resolving")
    eventually(second.idle)
    audit = Audit(live.server)
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(30) == 1
    assert audit.writes() == {}
    assert "could not be renewed" in first.log.read_text() or "'s now" in first.log.read_text()


def test_a_foreign_object_under_a_childs_name_is_left_alone(live: Live, operator: Replicas) -> None:
    live.kubectl("create", "service", "clusterip", "ranker", "--tcp=80:80")
    before = live.get("service", "ranker")
    operator.start_ready()
    live.apply(model_body(live.namespace, "ranker"))
    live.finish_job("resolve", resolve_answer())
    live.finish_job("optimize", optimize_answer())
    revision = eventually(lambda: live.get("om", "ranker")["status"].get("candidate"), "a candidate")["hash"]
    live.start_pods(revision)
    eventually(lambda: "NameConflict" in json.dumps(live.get("om", "ranker")["status"]), "NameConflict")
    assert live.get("service", "ranker")["spec"] == before["spec"]
    live.kubectl("delete", "service", "ranker")
    eventually(
        lambda: live.get("service", "ranker").get("spec", {}).get("selector", {}).get("modelwright.dev/revision")
    )


def test_drift_is_repaired_and_deleted_children_come_back(live: Live, operator: Replicas) -> None:
    replica = operator.start_ready()
    live.apply(model_body(live.namespace, "ranker"))
    revision = live.serve("ranker")
    eventually(replica.idle)
    audit = Audit(live.server)
    live.kubectl(
        "patch", "service", "ranker", "--type=merge", '--patch={"spec":{"selector":{"modelwright.dev/revision":"x"}}}'
    )
    selector = lambda: live.get("service", "ranker").get("spec", {}).get("selector", {})  # noqa: E731
    eventually(lambda: selector().get("modelwright.dev/revision") == revision, "selector repaired")
    eventually(replica.idle)
    assert audit.writes()["patch services"] == 1
    live.kubectl("delete", "service", "ranker")
    eventually(lambda: selector().get("modelwright.dev/revision") == revision, "made anew")


def test_an_outage_of_the_api_server_is_survived(live: Live, operator: Replicas) -> None:
    replica = operator.start_ready()
    live.apply(model_body(live.namespace, "ranker"))
    eventually(lambda: live.reason("ranker") == "Resolving", "Resolving")
    eventually(replica.idle)
    live.server.stop_apiserver()
    assert replica.probe("healthz") == 200
    eventually(lambda: "watch of jobs" in replica.log.read_text(), "noticed")
    live.server.start_apiserver()
    live.finish_job("resolve", resolve_answer())
    eventually(lambda: live.reason("ranker") == "Optimizing", "went on")
    assert replica.process.poll() is None


def test_a_child_that_is_refused_is_reported_and_made_once_it_is_allowed(live: Live, operator: Replicas) -> None:
    live.apply(
        quota := {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none", "namespace": live.namespace},
            "spec": {"hard": {"count/jobs.batch": "0"}},
        }
    )
    eventually(lambda: live.get("resourcequota", "none").get("status", {}).get("hard"), "quota counts")
    operator.start_ready()
    live.apply(model_body(live.namespace, "ranker"))
    eventually(lambda: live.reason("ranker") == "ObjectRejected", "ObjectRejected")
    assert "quota" in json.dumps(live.get("om", "ranker")["status"])
    live.kubectl("delete", "resourcequota", quota["metadata"]["name"])
    eventually(lambda: live.reason("ranker") == "Resolving", "Resolving")


def test_the_rights_of_the_permissions_table_suffice(live: Live, operator: Replicas, tmp_path: Path) -> None:
    kubeconfig = _kubeconfig_of_a_service_account(live, tmp_path, _rights())
    replica = operator.start_ready(KUBECONFIG=str(kubeconfig))
    audit = Audit(live.server)
    live.apply(model_body(live.namespace, "ranker"))
    live.serve("ranker")
    live.kubectl("scale", "om", "ranker", "--replicas=2")
    eventually(lambda: live.all("deployments")[0]["spec"]["replicas"] == 2, "scaled")
    eventually(lambda: live.all("events.events.k8s.io"), "an Event")
    assert replica.stop() == 0
    assert [request for request in audit.requests() if request.code == 403] == []
    assert "forbidden" not in replica.log.read_text()


def test_a_right_that_is_missing_is_named_and_used_once_it_is_granted(
    live: Live, operator: Replicas, tmp_path: Path
) -> None:
    kubeconfig = _kubeconfig_of_a_service_account(live, tmp_path, _rights(without="patch jobs"))
    operator.start_ready(KUBECONFIG=str(kubeconfig))
    live.apply(model_body(live.namespace, "ranker"))
    eventually(lambda: live.reason("ranker") == "PermissionDenied", "PermissionDenied")
    (ready,) = [c for c in live.get("om", "ranker")["status"]["conditions"] if c["type"] == "Ready"]
    assert 'cannot patch resource "jobs"' in ready["message"]
    live.apply(_role(live, _rights()))
    eventually(lambda: live.reason("ranker") == "Resolving", "Resolving")


def test_nothing_of_kopf_is_left_on_a_model(live: Live, operator: Replicas) -> None:
    replica = operator.start_ready()
    live.apply(model_body(live.namespace, "ranker"))
    eventually(lambda: live.reason("ranker") == "Resolving", "Resolving")
    eventually(replica.idle)
    metadata = live.get("om", "ranker")["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata


def _rights(without: str = "") -> list[dict[str, Any]]:
    """All rights of the table, as the rules of one role; perhaps without one of them."""
    verb, _, resource = without.partition(" ")
    found = [rule for scope in ("models", "cluster", "own") for rule in permissions.rules(scope)]
    for rule in found:
        if resource in rule["resources"]:
            rule["verbs"] = [right for right in rule["verbs"] if right != verb]
    return found


def _kubeconfig_of_a_service_account(live: Live, folder: Path, rules: list[dict[str, Any]]) -> Path:
    """A kubeconfig whose user may do what the rules say, known by a token in a file."""
    live.kubectl("create", "serviceaccount", "operator")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": live.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": live.namespace},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": live.namespace}],
    }
    live.apply(_role(live, rules), binding)
    config = yaml.safe_load(live.server.kubeconfig.read_text())
    (folder / "token").write_text(live.kubectl("create", "token", "operator"))
    config["users"][0]["user"] = {"tokenFile": "token"}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    return kubeconfig


def _role(live: Live, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": live.namespace},
        "rules": rules,
    }
