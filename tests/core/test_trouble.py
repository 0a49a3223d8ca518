"""What pods say, in the words of the API: every cause, and which one comes first."""

from typing import Any

import pytest

from modelwright import naming
from modelwright.api.conditions import Reason
from modelwright.contract.result import Failure
from modelwright.core import trouble
from modelwright.core.snapshot import ObservedContainer, ObservedPod


def container(**parts: Any) -> ObservedContainer:
    found: dict[str, Any] = {"name": "triton", "init": False, "ready": False, "restarts": 0} | parts
    return ObservedContainer(**found)


def pod(*containers: ObservedContainer, **parts: Any) -> ObservedPod:
    found: dict[str, Any] = {
        "name": "p", "uid": "u", "stage": naming.STAGE_SERVE, "revision": "r", "job": "", "phase": "Pending",
        "ready": False, "deleting": False, "unschedulable": "", "containers": containers,
    } | parts  # fmt: skip
    return ObservedPod(**found)


CASES = [
    ("image", container(waiting_reason="ErrImagePull", waiting_message="no tag"), Reason.IMAGE_PULL_FAILED, False),
    ("config", container(waiting_reason="CreateContainerConfigError"), Reason.CONTAINER_CONFIG_ERROR, False),
    ("killed once", container(exit_reason="OOMKilled", exit_code=137), Reason.OUT_OF_MEMORY, False),
    ("killed thrice", container(exit_reason="OOMKilled", exit_code=137, restarts=3), Reason.OUT_OF_MEMORY, True),
    (
        "load",
        container(exit_code=1, restarts=2, termination_message="E: failed to load 'm': bad graph"),
        Reason.MODEL_LOAD_FAILED,
        True,
    ),
    (
        "golden",
        container(exit_code=0, restarts=2, termination_message="GoldenMismatch: y[0] is 3, expected 1"),
        Reason.GOLDEN_MISMATCH,
        True,
    ),
    ("crash", container(exit_code=139, restarts=1), Reason.CONTAINER_CRASHED, False),
]


@pytest.mark.parametrize(("case", "shown", "reason", "terminal"), CASES, ids=[case[0] for case in CASES])
def test_each_cause_has_its_reason(case: str, shown: ObservedContainer, reason: Reason, terminal: bool) -> None:
    del case
    found = trouble.of_pods([pod(shown)])
    assert found is not None
    assert found.finding.reason == reason
    assert found.finding.terminal == terminal
    assert found.finding.hint
    assert found.container == "triton"


def test_starting_is_no_trouble() -> None:
    assert trouble.of_pods([pod(container(waiting_reason="ContainerCreating"))]) is None


def test_a_container_that_runs_again_is_no_trouble() -> None:
    assert trouble.of_pods([pod(container(ready=True, exit_code=1, restarts=4))]) is None


def test_a_pod_that_is_going_is_no_trouble() -> None:
    assert trouble.of_pods([pod(container(exit_code=1, restarts=3), deleting=True)]) is None


def test_what_a_program_said_comes_before_what_the_kubelet_says() -> None:
    said = Failure(reason="HardwareMismatch", message="no avx512_vnni", hint="Another pool.").to_json()
    fetch = container(name="fetch", init=True, exit_code=10, restarts=1, termination_message=said)
    found = trouble.of_pods([pod(fetch, container(waiting_reason="ImagePullBackOff"))])
    assert found is not None
    assert found.finding.reason == Reason.HARDWARE_MISMATCH
    assert found.finding.terminal


def test_the_second_pod_is_looked_at_too() -> None:
    found = trouble.of_pods([pod(container(ready=True)), pod(container(exit_code=1, restarts=1), name="q")])
    assert found is not None
    assert found.pod == "q"


def test_a_pod_that_no_node_takes_is_told_with_the_schedulers_words() -> None:
    found = trouble.of_pods([pod(unschedulable="0/2 nodes are available: Insufficient memory")])
    assert found is not None
    assert found.finding.reason == Reason.UNSCHEDULABLE
    assert "Insufficient memory" in found.finding.message


def test_a_jobs_container_out_of_memory_is_final_and_names_the_jobs_field() -> None:
    found = trouble.of_pods([pod(container(exit_reason="OOMKilled", exit_code=137), job="j")])
    assert found is not None
    assert found.finding.reason == Reason.OPTIMIZER_OUT_OF_MEMORY
    assert found.finding.terminal
    assert "spec.optimization.job.resources" in found.finding.hint


def test_the_log_tail_is_bounded_to_its_end() -> None:
    found = trouble.of_pods([pod(container(exit_code=1, restarts=1, termination_message="x" * 5000 + "end"))])
    assert found is not None
    assert len(found.log_tail) == trouble.LOG_TAIL_LIMIT
    assert found.log_tail.endswith("end")
