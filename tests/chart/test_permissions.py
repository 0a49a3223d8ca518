"""What the operator may do: nothing that is not used, and the same everywhere it is written down."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import generate
from modelwright.cluster import kinds, permissions
from tests.chart.rendering import CHART, VARIANTS, objects, of_kind

Body = dict[str, Any]

FORBIDDEN = {"secrets", "pods/log", "pods/exec", "serviceaccounts/token", "roles", "clusterroles", "nodes", "*"}
DANGEROUS = {"*", "escalate", "bind", "impersonate", "deletecollection"}


def operator_rules(bodies: list[Body]) -> Iterator[tuple[str, Body]]:
    bound = {b["roleRef"]["name"] for k in ("RoleBinding", "ClusterRoleBinding") for b in of_kind(bodies, k)}
    for kind in ("Role", "ClusterRole"):
        for role in of_kind(bodies, kind):
            if role["metadata"]["name"] in bound:
                yield from ((kind, rule) for rule in role["rules"])


def test_generated_files_are_what_the_code_says() -> None:
    files = {p.relative_to(generate.FILES).as_posix(): p.read_text() for p in generate.FILES.rglob("*.yaml")}
    assert files == generate.files()


def test_the_script_writes_them(tmp_path: Path) -> None:
    generate.main(tmp_path)
    assert (tmp_path / "permissions.yaml").read_text() == generate.files()["permissions.yaml"]
    assert (tmp_path / "crds" / "optimizedmodels.modelwright.dev.yaml").exists()


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {"without"}))
def test_no_right_is_wild_or_confidential(variant: str) -> None:
    found = list(operator_rules(objects(variant=variant)))
    assert found
    for _, rule in found:
        assert not FORBIDDEN & set(rule["resources"])
        assert not DANGEROUS & set(rule["verbs"])
        assert "*" not in rule["apiGroups"]


def test_with_named_namespaces_the_only_cluster_wide_right_is_to_read_policies() -> None:
    bodies = objects(variant="namespaced")
    cluster_wide = [rule for kind, rule in operator_rules(bodies) if kind == "ClusterRole"]
    assert cluster_wide == permissions.rules("cluster")
    assert {v for rule in cluster_wide for v in rule["verbs"]} == {"get", "list", "watch"}
    roles = {role["metadata"]["namespace"]: role["rules"] for role in of_kind(bodies, "Role")}
    assert roles["team-a"] == roles["team-b"] == permissions.rules("models")
    assert roles["modelwright-system"] == permissions.rules("own")


def test_without_names_one_cluster_role_holds_both() -> None:
    rules = [rule for kind, rule in operator_rules(objects()) if kind == "ClusterRole"]
    assert rules == permissions.rules("cluster") + permissions.rules("models")


def test_every_kind_that_the_operator_knows_can_be_read() -> None:
    readable = {(p.group, resource) for p in permissions.PERMISSIONS for resource in p.resources if "list" in p.verbs}
    known = (*kinds.ALWAYS, *kinds.ROUTES, kinds.MODEL, kinds.POLICY)
    assert {(kind.group, kind.plural) for kind in known} == readable


def test_users_may_not_write_status() -> None:
    for role in of_kind(objects(), "ClusterRole"):
        if role["metadata"]["labels"].get("rbac.authorization.k8s.io/aggregate-to-edit"):
            for rule in role["rules"]:
                writes = set(rule["verbs"]) - {"get", "list", "watch"}
                assert not writes or "optimizedmodels/status" not in rule["resources"]


def test_the_file_says_where_it_comes_from() -> None:
    text = (CHART / "files" / "permissions.yaml").read_text()
    assert text.startswith("# Made by")
    assert set(yaml.safe_load(text)) == {"models", "cluster", "own"}
