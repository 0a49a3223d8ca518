"""Random users, failing Jobs, broken pods, lost children and stale steps: invariants hold after every pass."""

import os
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelwright import naming
from modelwright.contract import digest
from modelwright.contract.result import EXIT_RETRIABLE, EXIT_TERMINAL, Failure, OptimizeResult, ResolveResult
from modelwright.core.snapshot import ObservedContainer
from modelwright.core.trouble import GIVE_UP_RESTARTS
from tests.builders import RECOMMENDATION, make_model, optimize_answer, resolve_answer
from tests.simulation.toycluster import ToyCluster

EXAMPLES = int(os.environ.get("MODELWRIGHT_EXAMPLES", "60"))
"""The sweep of `make soak` sets more."""

CRASHING = ObservedContainer("triton", False, False, GIVE_UP_RESTARTS, "CrashLoopBackOff", exit_code=1)
PULLING = ObservedContainer("triton", False, False, 0, "ImagePullBackOff", "no such tag")
FAILURES = st.sampled_from(["none", "passing", "final"])


class Line(RuleBasedStateMachine):
    """One model in a world that misbehaves."""

    def __init__(self) -> None:
        super().__init__()
        self.failure = "none"
        self.cluster = ToyCluster(make_model(), words=self.words)
        self.tokens = 0

    def words(self, job: str) -> tuple[int, str]:
        """What Jobs say, by the failure of the day."""
        resolving = f"-{naming.STAGE_RESOLVE}-" in job
        if self.failure != "none":
            retriable = self.failure == "passing"
            failure = Failure(reason="SourceUnreachable", message="no answer", retriable=retriable)
            result = ResolveResult if resolving else OptimizeResult
            return (EXIT_RETRIABLE if retriable else EXIT_TERMINAL), result(failure=failure).to_json()
        if resolving:
            return 0, resolve_answer(source=digest.of_bytes(job.encode()))
        return 0, optimize_answer(digest.of_bytes(job.encode()), recommendation=RECOMMENDATION)

    @rule(failure=FAILURES)
    def jobs_fail(self, failure: str) -> None:
        self.failure = failure

    @rule(trouble=st.sampled_from([None, CRASHING, PULLING]))
    def pods_break(self, trouble: ObservedContainer | None) -> None:
        self.cluster.pod_trouble = trouble

    @rule(version=st.integers(1, 4))
    def user_changes_the_source(self, version: int) -> None:
        self.cluster.model = self.cluster.model.with_spec(model={"uri": f"s3://models/ranker/{version}/"})

    @rule(size=st.sampled_from([0, 8, 16]))
    def user_changes_serving(self, size: int) -> None:
        self.cluster.model = self.cluster.model.with_spec(serving={"maxBatchSize": size} if size else {})

    @rule(count=st.integers(0, 3))
    def user_scales(self, count: int) -> None:
        self.cluster.model = self.cluster.model.with_replicas(count)

    @rule(suspend=st.booleans())
    def user_suspends(self, suspend: bool) -> None:
        self.cluster.model = self.cluster.model.with_spec(suspend=suspend)

    @rule(pool=st.sampled_from(["cpu", "gpu", "none-such"]))
    def user_changes_the_pool(self, pool: str) -> None:
        self.cluster.model = self.cluster.model.with_spec(serving={"pool": pool})

    @rule()
    def user_retries(self) -> None:
        self.tokens += 1
        status = self.cluster.model.status
        subject = status.rejected[0].hash if status.rejected else "nothing"
        if status.attempt:
            subject = status.attempt.work.rpartition("-")[2]
        self.cluster.model = self.cluster.model.with_action(f"retry@{subject}/{self.tokens}")

    @precondition(lambda self: bool(self.cluster.children))
    @rule(index=st.integers(0, 100))
    def somebody_deletes_a_child(self, index: int) -> None:
        keys = sorted(self.cluster.children)
        kind, name = keys[index % len(keys)]
        self.cluster.lose(kind, name)

    @rule(kinds=st.sets(st.sampled_from(["HTTPRoute", "Service", "Deployment", "ConfigMap", "Job"])))
    def the_server_refuses(self, kinds: set[str]) -> None:
        self.cluster.refuses = frozenset(kinds)

    @rule(served=st.booleans())
    def the_gateway_api_comes_and_goes(self, served: bool) -> None:
        self.cluster.gateway_api = served

    @rule(seconds=st.sampled_from([1, 20, 700]))
    def time_passes(self, seconds: int) -> None:
        self.cluster.now += timedelta(seconds=seconds)

    @rule(passes=st.integers(1, 6))
    def operator_works(self, passes: int) -> None:
        for _ in range(passes):
            self.cluster.step()

    @invariant()
    def kstatus_is_never_both(self) -> None:
        assert not (self.cluster.true("Reconciling") and self.cluster.true("Stalled"))

    @invariant()
    def ready_never_lies(self) -> None:
        status = self.cluster.model.status
        if not self.cluster.true("Ready") or status.observed_generation != self.cluster.model.generation:
            return
        assert status.stable
        assert status.candidate is None
        assert set(self.cluster.leads.values()) <= {status.stable.hash}

    @invariant()
    def every_kept_deployment_has_a_role(self) -> None:
        status = self.cluster.model.status
        named = (status.stable, status.candidate, *status.rejected, *status.history)
        kept = {revision.hash for revision in named if revision}
        running = {revision for revision, count in self.cluster.replicas().items() if count}
        just_left = len(running - kept)
        assert just_left <= 1

    @invariant()
    def status_is_bounded(self) -> None:
        running = len([count for count in self.cluster.replicas().values() if count])
        assert len(self.cluster.model.status.history) <= self.cluster.model.spec.revision_history_limit + running

    def teardown(self) -> None:
        """The world heals, a person retries what was given up: the model serves."""
        self.failure, self.cluster.pod_trouble = "none", None
        self.cluster.refuses, self.cluster.gateway_api = frozenset(), True
        self.cluster.model = self.cluster.model.with_spec(suspend=False, replicas=1, serving={})
        self.cluster.settle(limit=200)
        while self.cluster.model.status.rejected or self.cluster.model.status.attempt:
            self.user_retries()
            self.cluster.settle(limit=200)
        assert self.cluster.true("Ready"), self.cluster.model.status
        stable = self.cluster.model.status.stable
        assert stable
        assert {r for r, count in self.cluster.replicas().items() if count} == {stable.hash}


Line.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLine = Line.TestCase


def test_the_machine_can_see_a_lie() -> None:
    """The invariants are worth something: a status that claims Ready without a stable revision is caught."""
    machine = Line()
    machine.cluster.settle()
    lying = machine.cluster.model.status.model_copy(update={"stable": None})
    machine.cluster.model = replace(machine.cluster.model, status=lying)
    try:
        machine.ready_never_lies()
    except AssertionError:
        return
    raise AssertionError("a lie went unnoticed")
