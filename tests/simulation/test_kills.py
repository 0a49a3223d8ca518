"""The operator killed after its k-th write, for every k: the line converges, and nothing is done twice."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from modelwright.core.plan import Action, Plan
from tests.builders import make_model
from tests.simulation.toycluster import ToyCluster

WRITES_OF_A_LIFE = 30
"""More than a first deployment and one update need; a kill after the last write changes nothing."""


class Killed(Exception):
    """The process is gone."""


class MortalCluster(ToyCluster):
    """A toy cluster whose operator dies right after one of its writes."""

    dies_after: int = -1

    def act(self, action: Action) -> None:
        super().act(action)
        self.count()

    def write_status(self, plan: Plan, status: Mapping[str, Any]) -> None:
        super().write_status(plan, status)
        self.count()

    def count(self) -> None:
        if self.writes == self.dies_after:
            raise Killed


def live(dies_after: int) -> MortalCluster:
    """A first deployment and an update; the operator is killed once and comes back."""
    cluster = MortalCluster(make_model())
    cluster.dies_after = dies_after
    for model in (make_model(), make_model().with_spec(serving={"maxBatchSize": 8})):
        cluster.model = model.with_status(cluster.model.status)
        while True:
            try:
                cluster.settle()
            except Killed:
                # The next operator comes up later than any grace that was running.
                cluster.move()
                cluster.now += timedelta(minutes=15)
                continue
            break
    return cluster


@pytest.mark.parametrize("dies_after", range(1, WRITES_OF_A_LIFE))
def test_a_kill_after_any_write_changes_nothing_in_the_end(dies_after: int) -> None:
    undisturbed, killed = live(-1), live(dies_after)
    assert killed.true("Ready")
    assert killed.model.status.stable and undisturbed.model.status.stable
    assert killed.model.status.stable.hash == undisturbed.model.status.stable.hash
    assert sorted(killed.children) == sorted(undisturbed.children)
    assert killed.replicas() == undisturbed.replicas()
    assert len(killed.created) == len(set(killed.created))


def test_the_sweep_covers_a_whole_life() -> None:
    assert live(-1).writes < WRITES_OF_A_LIFE
