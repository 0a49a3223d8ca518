"""What is not accepted, and that the message names the field and the remedy."""

import pytest

from modelwright.api.conditions import Finding, Reason
from modelwright.core.checks import accepted
from tests.builders import ModelBuilder, make_model, make_policy, make_snapshot


def refused(model: ModelBuilder) -> Finding:
    found = accepted(make_snapshot(model))
    assert found is not None
    return found


def test_the_smallest_model_is_accepted() -> None:
    assert accepted(make_snapshot(make_model())) is None


def test_without_a_policy_nothing_is_accepted_but_a_policy_may_come() -> None:
    found = accepted(make_snapshot(make_model(), policies=()))
    assert found is not None
    assert found.reason == Reason.POLICY_NOT_FOUND
    assert not found.terminal


@pytest.mark.parametrize("field", ["serving", "optimization"])
def test_an_unknown_pool_is_named_with_the_known_ones(field: str) -> None:
    found = refused(make_model().with_spec(**{field: {"pool": "tpu"}}))
    assert found.reason == Reason.POOL_NOT_FOUND
    assert f"spec.{field}.pool names tpu" in found.message
    assert "cpu, gpu" in found.hint


def test_a_scheme_that_the_policy_forbids_is_named_with_its_field() -> None:
    data = {"evaluation": {"uri": "http://data.example/e.npz"}}
    found = refused(make_model().with_spec(optimization=data))
    assert found.reason == Reason.UNSUPPORTED_SCHEME
    assert "spec.optimization.evaluation.uri" in found.message


@pytest.mark.parametrize("name", ["x" * 253, "a.b", "7up"])
def test_a_name_that_children_cannot_carry_is_refused(name: str) -> None:
    found = refused(make_model().named(name))
    assert found.reason == Reason.INVALID_SPEC
    assert "metadata.name" in found.message
    assert found.hint


def test_a_preferred_batch_larger_than_the_largest_is_refused() -> None:
    serving = {"maxBatchSize": 8, "dynamicBatching": {"preferredBatchSizes": [16]}}
    found = refused(make_model().with_spec(serving=serving))
    assert "preferredBatchSizes has 16" in found.message


def test_the_policy_with_the_highest_priority_decides() -> None:
    small = make_policy(priority=1, pools=[{"name": "only", "hardwareClass": "x", "image": "i"}])
    found = accepted(make_snapshot(make_model().with_spec(serving={"pool": "cpu"}), policies=(make_policy(), small)))
    assert found is not None
    assert "only" in found.hint
