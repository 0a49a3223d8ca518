"""The whole line on a toy cluster: stories of a model from apply to serving, and of what can go wrong."""

from dataclasses import replace
from datetime import timedelta

from modelwright import naming
from modelwright.contract import digest
from modelwright.contract.result import EXIT_RETRIABLE, EXIT_TERMINAL, Failure, OptimizeResult, ResolveResult
from modelwright.core.decide import decide
from modelwright.core.snapshot import ObservedContainer, ObservedPod
from tests.builders import ARTIFACT, RECOMMENDATION, make_model, make_policy, optimize_answer
from tests.simulation.toycluster import ToyCluster, Words, all_well


def failing(stage: str, *, retriable: bool, times: int = 10**6) -> Words:
    """Words of Jobs of which those of `stage` fail the first `times` times."""
    left = [times]

    def words(job: str) -> tuple[int, str]:
        if f"-{stage}-" not in job or left[0] == 0:
            return all_well(job)
        left[0] -= 1
        failure = Failure(reason="SourceNotFound", message="nothing at s3://m", hint="Upload it.", retriable=retriable)
        result = ResolveResult if stage == naming.STAGE_RESOLVE else OptimizeResult
        return (EXIT_RETRIABLE if retriable else EXIT_TERMINAL), result(failure=failure).to_json()

    return words


def test_a_model_reads_like_a_story() -> None:
    cluster = ToyCluster(make_model()).settle()
    assert cluster.story == ["Resolving", "Optimizing", "Deploying", "Serving"]
    assert cluster.true("Ready")
    assert cluster.true("Available")
    assert not cluster.true("Reconciling")
    assert not cluster.true("Stalled")


def test_a_pinned_digest_needs_no_resolve_job() -> None:
    cluster = ToyCluster(make_model().with_digest()).settle()
    assert cluster.true("Ready")
    assert not [name for name in cluster.created if naming.STAGE_RESOLVE in name]


def test_nothing_is_written_once_settled() -> None:
    cluster = ToyCluster(make_model()).settle()
    plan = decide(cluster.snapshot(), cluster.now)
    assert plan.actions == ()
    assert plan.status == cluster.model.observed().status_json


def test_each_child_is_created_once() -> None:
    cluster = ToyCluster(make_model()).settle()
    assert len(cluster.created) == len(set(cluster.created))
    kinds = sorted(name.partition("/")[0] for name in cluster.created)
    assert kinds == ["ConfigMap", "Deployment", "GRPCRoute", "HTTPRoute", "Job", "Job", "Service", "Service"]


def test_a_change_of_serving_makes_a_new_revision_without_a_new_job() -> None:
    cluster = ToyCluster(make_model()).settle()
    first = cluster.model.status.stable
    jobs = [name for name in cluster.created if name.startswith("Job/")]
    cluster.model = cluster.model.with_spec(serving={"maxBatchSize": 8})
    cluster.settle()
    assert first and cluster.model.status.stable and cluster.model.status.stable.hash != first.hash
    assert [name for name in cluster.created if name.startswith("Job/")] == jobs
    assert cluster.replicas() == {first.hash: 0, cluster.model.status.stable.hash: 1}
    assert [revision.hash for revision in cluster.model.status.history] == [first.hash]


def test_the_former_revision_keeps_its_pods_until_the_new_one_is_ready() -> None:
    cluster = ToyCluster(make_model()).settle()
    first = cluster.model.status.stable
    assert first
    cluster.pod_trouble = ObservedContainer("triton", False, False, 0)
    cluster.model = cluster.model.with_spec(serving={"maxBatchSize": 8})
    for _ in range(8):
        cluster.step()
    assert cluster.model.status.stable == first
    assert cluster.replicas()[first.hash] == 1
    assert cluster.reason("Available") == "Serving"


def test_going_back_takes_the_old_revision_from_history() -> None:
    cluster = ToyCluster(make_model()).settle()
    first = cluster.model.status.stable
    cluster.model = cluster.model.with_spec(serving={"maxBatchSize": 8})
    cluster.settle()
    cluster.model = cluster.model.with_spec(serving={})
    cluster.settle()
    assert first and cluster.model.status.stable and cluster.model.status.stable.hash == first.hash
    assert cluster.replicas()[first.hash] == 1
    assert cluster.true("Ready")


def test_history_beyond_its_limit_is_deleted() -> None:
    cluster = ToyCluster(make_model().with_spec(revisionHistoryLimit=1)).settle()
    for size in (2, 4, 8):
        cluster.model = cluster.model.with_spec(serving={"maxBatchSize": size})
        cluster.settle()
    assert len(cluster.replicas()) == 2
    assert len(cluster.model.status.history) == 1


def test_a_changed_source_is_optimized_anew() -> None:
    cluster = ToyCluster(make_model().with_digest()).settle()
    other = digest.of_bytes(b"other artifact")
    cluster.words = lambda _: (0, optimize_answer(other))
    cluster.model = cluster.model.with_digest(digest.of_bytes(b"other source"))
    cluster.settle()
    assert cluster.model.status.stable and cluster.model.status.stable.artifact == other


def test_a_new_optimizer_version_redoes_nothing() -> None:
    cluster = ToyCluster(make_model()).settle()
    created = list(cluster.created)
    cluster.settle()
    assert cluster.created == created
    assert cluster.model.status.optimization and cluster.model.status.optimization.artifact == ARTIFACT


def test_a_passing_failure_is_tried_again_later() -> None:
    cluster = ToyCluster(make_model(), words=failing(naming.STAGE_RESOLVE, retriable=True, times=2))
    for _ in range(12):
        cluster.step()
    assert cluster.reason("SourceResolved") == "SourceNotFound"
    assert cluster.true("Reconciling")
    assert cluster.model.status.failure and cluster.model.status.failure.hint == "Upload it."
    for _ in range(80):
        cluster.step()
    assert cluster.true("Ready")
    assert cluster.model.status.failure is None
    assert cluster.model.status.attempt is None
    warnings = [event.reason for event in cluster.events if event.type == "Warning"]
    assert warnings == ["SourceNotFound"]


def test_a_final_failure_is_told_once_and_not_repeated() -> None:
    cluster = ToyCluster(make_model(), words=failing(naming.STAGE_OPTIMIZE, retriable=False)).settle()
    assert cluster.true("Stalled")
    assert not cluster.true("Reconciling")
    assert cluster.reason("Optimized") == cluster.reason("Ready") == "SourceNotFound"
    assert len([name for name in cluster.created if naming.STAGE_OPTIMIZE in name]) == 1
    assert [event.reason for event in cluster.events if event.type == "Warning"] == ["SourceNotFound"]


def test_a_final_failure_leaves_the_running_revision_alone() -> None:
    cluster = ToyCluster(make_model()).settle()
    stable = cluster.model.status.stable
    cluster.words = failing(naming.STAGE_RESOLVE, retriable=False)
    cluster.model = cluster.model.with_spec(model={"uri": "s3://models/ranker/8/"})
    cluster.settle()
    assert cluster.true("Stalled")
    assert cluster.true("Available")
    assert cluster.model.status.stable == stable
    assert stable and cluster.replicas() == {stable.hash: 1}


def test_a_person_can_ask_for_another_try() -> None:
    cluster = ToyCluster(make_model(), words=failing(naming.STAGE_RESOLVE, retriable=False, times=1)).settle()
    attempt = cluster.model.status.attempt
    assert attempt
    cluster.model = cluster.model.with_action(f"retry@{attempt.work.rpartition('-')[2]}/1")
    cluster.settle()
    assert cluster.true("Ready")
    assert cluster.model.status.last_action and cluster.model.status.last_action.result == "Done"


def test_an_action_that_was_there_before_the_model_is_not_done() -> None:
    cluster = ToyCluster(make_model().with_action("retry@abc/1")).settle()
    assert cluster.model.status.last_action
    assert cluster.model.status.last_action.result.startswith("Recorded")


def test_a_model_that_does_not_load_is_given_up_and_nothing_crash_loops() -> None:
    cluster = ToyCluster(make_model())
    words = "E failed to load 'ranker': invalid graph"
    cluster.pod_trouble = ObservedContainer(
        "triton", False, False, 2, "CrashLoopBackOff", exit_code=1, termination_message=words
    )
    cluster.settle()
    assert cluster.reason("Ready") == "ModelLoadFailed"
    assert cluster.true("Stalled")
    assert set(cluster.replicas().values()) == {0}
    assert cluster.model.status.failure and "invalid graph" in cluster.model.status.failure.log_tail
    assert [event.reason for event in cluster.events if event.type == "Warning"] == ["ModelLoadFailed"]


def test_a_rejected_revision_stays_rejected_until_somebody_retries() -> None:
    cluster = ToyCluster(make_model())
    cluster.pod_trouble = ObservedContainer("triton", False, False, 2, "CrashLoopBackOff", exit_code=1)
    cluster.settle()
    rejected = cluster.model.status.rejected
    assert rejected
    cluster.pod_trouble = None
    cluster.model = cluster.model.with_spec(revisionHistoryLimit=5)
    cluster.settle()
    assert cluster.model.status.rejected == rejected
    assert cluster.true("Stalled")
    cluster.model = cluster.model.with_action(f"retry@{rejected[0].hash}/1")
    cluster.settle()
    assert cluster.true("Ready")


def test_an_image_that_cannot_be_pulled_is_told_at_once_and_given_up_at_the_deadline() -> None:
    cluster = ToyCluster(make_model().with_spec(rollout={"progressDeadline": "20s"}))
    cluster.pod_trouble = ObservedContainer("triton", False, False, 0, "ImagePullBackOff", "not found")
    for _ in range(10):
        cluster.step()
    assert cluster.reason("Ready") == "ImagePullFailed"
    assert cluster.true("Reconciling")
    for _ in range(30):
        cluster.step()
    assert cluster.reason("Ready") == "ImagePullFailed"
    assert cluster.true("Stalled")
    assert set(cluster.replicas().values()) == {0}


def test_batching_that_the_model_cannot_do_is_told_before_anything_starts() -> None:
    flat = RECOMMENDATION.model_copy(update={"batching": False, "max_batch_size": 0})
    cluster = ToyCluster(make_model().with_digest().with_spec(serving={"maxBatchSize": 8}))
    cluster.words = lambda _: (0, optimize_answer(recommendation=flat))
    cluster.settle()
    assert cluster.reason("Deployed") == cluster.reason("Ready") == "NoBatchAxis"
    assert cluster.true("Stalled")
    assert cluster.replicas() == {}
    assert [event.reason for event in cluster.events if event.type == "Warning"] == ["NoBatchAxis"]


def test_a_claim_that_is_none_is_not_accepted() -> None:
    cluster = ToyCluster(make_model().with_spec(model={"uri": "pvc://A_B/model.onnx"})).settle()
    assert cluster.reason("Accepted") == "InvalidSpec"
    assert cluster.created == []


def test_two_rejected_revisions_are_both_remembered() -> None:
    cluster = ToyCluster(make_model()).settle()
    stable = cluster.model.status.stable
    cluster.pod_trouble = ObservedContainer("triton", False, False, 2, "CrashLoopBackOff", exit_code=1)
    for size in (2, 4, 2):
        cluster.model = cluster.model.with_spec(serving={"maxBatchSize": size})
        cluster.settle()
        assert cluster.reason("Ready") == "ContainerCrashed"
    assert len(cluster.model.status.rejected) == 2
    assert cluster.model.status.stable == stable
    assert len([event for event in cluster.events if event.reason == "RevisionCreated"]) == 3


def test_the_told_remedy_of_a_final_failure_is_tried() -> None:
    cluster = ToyCluster(make_model().with_digest(), words=failing(naming.STAGE_OPTIMIZE, retriable=False, times=1))
    cluster.settle()
    assert cluster.true("Stalled")
    more = {"job": {"resources": {"limits": {"memory": "4Gi"}}}}
    cluster.model = cluster.model.with_spec(optimization=more)
    cluster.settle()
    assert cluster.true("Ready")


def test_a_former_revision_keeps_its_pods_while_the_routes_cannot_be_moved() -> None:
    cluster = ToyCluster(make_model()).settle()
    first = cluster.model.status.stable
    assert first
    cluster.refuses = frozenset({"HTTPRoute"})
    cluster.model = cluster.model.with_spec(serving={"maxBatchSize": 8})
    for _ in range(60):
        cluster.step()
        cluster.now += timedelta(seconds=5)
    assert cluster.replicas()[first.hash] == 1
    assert not cluster.true("Ready")
    assert cluster.reason("Ready") == "PermissionDenied"
    cluster.refuses = frozenset()
    cluster.settle()
    assert cluster.true("Ready")
    assert cluster.replicas()[first.hash] == 0


def test_no_history_at_all_still_hands_over() -> None:
    cluster = ToyCluster(make_model().with_spec(revisionHistoryLimit=0)).settle()
    for size in (2, 4):
        cluster.model = cluster.model.with_spec(serving={"maxBatchSize": size})
        cluster.settle()
    assert len(cluster.replicas()) == 1
    assert cluster.model.status.history == ()


def test_a_long_outage_rejects_nothing() -> None:
    cluster = ToyCluster(make_model())
    while cluster.model.status.candidate is None:
        cluster.step()
    cluster.now += timedelta(hours=2)
    cluster.settle()
    assert cluster.true("Ready")


def test_a_model_that_waited_at_zero_replicas_starts_when_it_is_scaled() -> None:
    cluster = ToyCluster(make_model().with_replicas(0)).settle()
    assert cluster.reason("Ready") == "ScaledToZero"
    cluster.now += timedelta(hours=2)
    cluster.model = cluster.model.with_replicas(2)
    cluster.settle()
    assert cluster.true("Ready")
    assert list(cluster.replicas().values()) == [2]


def test_ready_does_not_claim_a_gateway_that_the_cluster_cannot_have() -> None:
    cluster = ToyCluster(make_model(), gateway_api=False).settle()
    assert cluster.reason("Ready") == "RouteNotAccepted"
    assert cluster.true("Available")


def test_an_evicted_pod_that_lies_about_is_no_trouble() -> None:
    cluster = ToyCluster(make_model()).settle()
    stable = cluster.model.status.stable
    assert stable
    ended = ObservedContainer("triton", False, False, 2, exit_code=137)
    cluster.pods.append(
        ObservedPod("old", "u", naming.STAGE_SERVE, stable.hash, "", "Failed", False, False, "", (ended,))
    )
    snapshot = cluster.snapshot()
    plan = decide(snapshot, cluster.now)
    assert plan.status == cluster.model.observed().status_json


def test_a_changed_store_login_is_a_new_revision() -> None:
    cluster = ToyCluster(make_model()).settle()
    first = cluster.model.status.stable
    store = {"uri": "oci://registry.example/modelwright", "secretRef": {"name": "new-login"}}
    cluster.policies = (make_policy(optimization={"artifactStore": store}),)
    cluster.settle()
    assert first and cluster.model.status.stable
    assert cluster.model.status.stable.hash != first.hash
    assert cluster.model.status.stable.template["storeSecret"] == "new-login"


def test_suspend_scales_everything_to_zero_and_back() -> None:
    cluster = ToyCluster(make_model()).settle()
    stable = cluster.model.status.stable
    cluster.model = cluster.model.with_spec(suspend=True)
    cluster.settle()
    assert set(cluster.replicas().values()) == {0}
    assert cluster.reason("Ready") == "Suspended"
    assert cluster.model.status.stable == stable
    cluster.model = cluster.model.with_spec(suspend=False)
    cluster.settle()
    assert cluster.true("Ready")


def test_a_pool_that_does_not_exist_is_named() -> None:
    cluster = ToyCluster(make_model().with_spec(serving={"pool": "tpu"})).settle()
    accepted = next(c for c in cluster.model.status.conditions if c.type == "Accepted")
    assert accepted.reason == "PoolNotFound"
    assert "spec.serving.pool" in accepted.message
    assert "cpu, gpu" in accepted.message
    assert cluster.true("Stalled")
    assert cluster.created == []


def test_status_that_was_lost_is_rebuilt_from_the_children() -> None:
    cluster = ToyCluster(make_model().with_digest()).settle()
    stable, created = cluster.model.status.stable, list(cluster.created)
    assert stable
    cluster.model = cluster.model.with_status(make_model().status)
    cluster.step()
    assert cluster.model.status.stable
    assert cluster.model.status.stable.hash == stable.hash
    cluster.settle()
    assert cluster.model.status.stable and cluster.model.status.stable.hash == stable.hash
    assert cluster.created == created
    assert cluster.true("Ready")


def test_a_deleted_child_comes_back() -> None:
    cluster = ToyCluster(make_model()).settle()
    for key in [key for key in cluster.children if key[0] != "Job"]:
        del cluster.children[key]
        cluster.settle()
        assert key in cluster.children
        assert cluster.true("Ready")


def test_a_model_without_a_gateway_has_no_routes() -> None:
    cluster = ToyCluster(make_model(), policies=(make_policy(rollout={}),)).settle()
    assert cluster.true("Ready")
    assert not [name for name in cluster.created if "Route" in name]
    assert cluster.model.status.url == "http://ranker.vision.svc:8000"


def test_nothing_is_decided_about_a_model_that_is_going() -> None:
    cluster = ToyCluster(make_model()).settle()
    snapshot = cluster.snapshot()
    plan = decide(replace(snapshot, model=replace(snapshot.model, deleting=True)), cluster.now)
    assert plan.actions == ()
    assert plan.status is None
