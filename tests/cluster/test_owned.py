"""Our own kinds: parsed once, never older than what was known, and gone for good when gone."""

from typing import Any

import pytest

from modelwright import naming
from modelwright.api.conditions import Reason
from modelwright.cluster.kinds import Key
from modelwright.cluster.owned import Models, Policies, group_of
from tests.builders import make_policy

KEY = Key("vision", "ranker")


def body(version: int, *, uid: str = "u-1", generation: int = 1, **parts: Any) -> dict[str, Any]:
    metadata = {
        "name": "ranker",
        "namespace": "vision",
        "uid": uid,
        "generation": generation,
        "resourceVersion": str(version),
        **parts.pop("metadata", {}),
    }
    spec = {"model": {"uri": "s3://models/ranker/7/"}}
    return {"metadata": metadata, "spec": spec, "status": {}, **parts}


class Told:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.changes: list[tuple[Key, bool]] = []

    def __call__(self, key: Key, *, by_person: bool) -> None:
        self.changes.append((key, by_person))

    def last(self) -> bool:
        return self.changes[-1][1]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def models(told: Told) -> Models:
    return Models(told)


def test_it_says_whether_a_person_changed_something(models: Models, told: Told) -> None:
    models.upsert(body(1))
    assert told.last()
    models.upsert(body(2, status={"url": "x"}))
    assert not told.last()
    models.upsert(body(3, metadata={"labels": {"a": "b"}, "annotations": {"kubectl.kubernetes.io/x": "y"}}))
    assert not told.last()
    models.upsert(body(4, metadata={"annotations": {naming.ANNOTATION_ACTION: "retry@1/2"}}))
    assert told.last()
    models.upsert(body(5, generation=2))
    assert told.last()
    models.upsert(body(6, generation=3, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    assert told.last()
    model = models.get(KEY)
    assert model
    assert model.deleting


def test_what_is_not_newer_is_not_news(models: Models, told: Told) -> None:
    models.upsert(body(5))
    models.upsert(body(5))
    models.upsert(body(4, generation=7))
    assert len(told.changes) == 1
    model = models.get(KEY)
    assert model
    assert model.generation == 1


def test_a_spec_is_parsed_once_per_generation(models: Models) -> None:
    models.upsert(body(1))
    first = models.get(KEY)
    models.upsert(body(2, status={"url": "x"}))
    second = models.get(KEY)
    assert first
    assert second
    assert second.spec is first.spec
    assert second.status.url == "x"
    assert models.get(KEY) is second


def test_an_invalid_spec_is_a_finding_that_names_the_field(models: Models) -> None:
    models.upsert({**body(1), "spec": {"model": {"uri": "ftp://x"}, "replicas": -1}})
    model = models.get(KEY)
    assert model
    assert model.spec is None
    assert model.invalid
    assert model.invalid.reason == Reason.INVALID_SPEC
    assert "`spec.model.uri`" in model.invalid.message
    assert "`spec.replicas`" in model.invalid.message


def test_a_spoilt_status_counts_as_lost(models: Models) -> None:
    models.upsert(body(1, status={"replicas": "many"}))
    model = models.get(KEY)
    assert model
    assert model.status.replicas == 0
    assert model.status_json == {"replicas": "many"}


def test_what_is_gone_stays_gone_but_may_be_made_anew(models: Models) -> None:
    models.upsert(body(1))
    models.remove(KEY, "another")
    assert models.get(KEY)
    models.remove(KEY, "u-1")
    models.upsert(body(9))
    assert models.get(KEY) is None
    models.upsert(body(10, uid="u-2"))
    model = models.get(KEY)
    assert model
    assert model.uid == "u-2"


def test_children_find_their_model_by_label(models: Models) -> None:
    long = Key("vision", "a" * 50 + ".dotted")
    models.upsert(body(1, metadata={"name": long.name}))
    assert models.key_of(group_of(long)) == long
    assert models.key_of(group_of(KEY)) is None


def policy(name: str, version: int, priority: int = 0, **parts: Any) -> dict[str, Any]:
    spec = {
        **make_policy().spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "priority": priority,
        **parts,
    }
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}, "spec": spec}


def test_policies_are_sorted_and_told_of_when_their_spec_changes() -> None:
    told: list[None] = []
    policies = Policies(lambda: told.append(None))
    policies.upsert(policy("b", 1))
    policies.upsert(policy("a", 2))
    policies.upsert(policy("c", 3, priority=10))
    assert [p.name for p in policies.all()] == ["c", "a", "b"]
    assert len(told) == 3
    policies.upsert(policy("c", 4, priority=10))
    assert len(told) == 3
    policies.upsert(policy("c", 5, priority=-10))
    assert [p.name for p in policies.all()] == ["a", "b", "c"]
    policies.remove(Key("", "a"), "a")
    assert [p.name for p in policies.all()] == ["b", "c"]
    assert len(told) == 5


def test_a_policy_that_cannot_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    policies = Policies(lambda: None)
    policies.upsert(policy("a", 1, pools=[]))
    assert policies.all() == ()
    assert "spec.pools" in caplog.text
    policies.upsert(policy("a", 2))
    assert [p.name for p in policies.all()] == ["a"]
