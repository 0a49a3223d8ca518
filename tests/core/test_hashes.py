"""What changes a key or a revision, and what must not."""

from typing import Any

import pytest

from modelwright.contract.request import Store
from modelwright.core import optimization, source
from modelwright.core.resolve import Resolved, resolved
from modelwright.core.target import target_revision
from modelwright.render.revision import Revision
from tests.builders import RECOMMENDATION, ModelBuilder, make_model, make_policy, optimize_answer


def walked(model: ModelBuilder, **policy: Any) -> tuple[str, Revision]:
    """Inputs hash and revision of a model whose Job answered."""
    model = model.with_digest()
    found: Resolved | None = resolved(model.observed(), model.spec, make_policy(**policy))
    assert found is not None
    known = source.given(model.spec)
    assert known is not None
    inputs = optimization.inputs_hash(model.spec, found, known)
    optimized = optimization.answered(optimize_answer(), optimization.key(inputs, "optimizer:1"), inputs)
    assert not hasattr(optimized, "hint")
    revision = target_revision(model.spec, found, known, optimized)  # pyright: ignore[reportArgumentType]
    assert revision is not None
    return inputs, revision


BASE = make_model()


@pytest.mark.parametrize(
    ("change", "new_key", "new_revision"),
    [
        ({"replicas": 3}, False, False),
        ({"revisionHistoryLimit": 1}, False, False),
        ({"rollout": {"progressDeadline": "1m"}}, False, False),
        ({"serving": {"drainSeconds": 30}}, False, False),
        ({"optimization": {"job": {"activeDeadlineSeconds": 60}}}, False, False),
        ({"optimization": {"mode": "Auto"}}, False, False),
        ({"serving": {"maxBatchSize": 8}}, False, True),
        ({"serving": {"drainSeconds": 31}}, False, True),
        ({"serving": {"pool": "gpu"}}, True, True),
        ({"optimization": {"gates": {"quality": {"maxDrop": 0.02}}}}, True, False),
        ({"optimization": {"techniques": ["static-int8"]}}, True, False),
    ],
)
def test_what_a_change_moves(change: dict[str, Any], new_key: bool, new_revision: bool) -> None:
    before, after = walked(BASE), walked(BASE.with_spec(**change))
    assert (before[0] != after[0]) == new_key
    assert (before[1].hash != after[1].hash) == new_revision


def test_the_optimizers_version_moves_the_key_and_not_the_inputs() -> None:
    inputs, _ = walked(BASE)
    assert optimization.key(inputs, "optimizer:1") != optimization.key(inputs, "optimizer:2")


def test_a_pools_price_moves_nothing() -> None:
    pools = [{"name": "cpu", "hardwareClass": "cpu", "image": "triton:1", "pricePerHour": 1.5}]
    assert walked(BASE)[1].hash == walked(BASE, pools=pools)[1].hash


def test_a_revision_survives_its_template() -> None:
    revision = walked(BASE.with_spec(serving={"maxBatchSize": 8, "pool": "gpu"}))[1]
    again = Revision.from_template(revision.template())
    assert again == revision
    assert again.hash == revision.hash


def test_the_artifact_moves_the_revision() -> None:
    pool = make_policy().spec.pools[0]
    store = Store(uri="oci://r/m", namespace="n")
    made = [
        Revision("m", artifact, "s", RECOMMENDATION, BASE.spec.serving, pool, store)
        for artifact in ("sha256:a", "sha256:b")
    ]
    assert made[0].hash != made[1].hash
