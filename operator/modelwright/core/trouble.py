"""What is wrong with pods, read from all of them: the first cause, in the words of the API.

The order of `CAUSES` is the order of precedence: what a container itself said comes before what the kubelet says of
it, and that before what the scheduler says.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from modelwright.api.conditions import Finding, Reason, bounded, reason_of
from modelwright.contract import words
from modelwright.contract.result import Failure
from modelwright.core.snapshot import ObservedContainer, ObservedPod

LOG_TAIL_LIMIT = 1024
GIVE_UP_RESTARTS = 3
"""Restarts after which a container that keeps ending is not waited for any more."""

PULL_REASONS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
}
CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
OOM = "OOMKilled"


class Answer(BaseModel):
    """Any Job's result, read for its failure alone."""

    failure: Failure | None = None


@dataclass(frozen=True)
class Trouble:
    """One cause, and where it was seen. `finding.terminal` means that waiting does not help."""

    finding: Finding
    pod: str = ""
    container: str = ""
    exit_code: int | None = None
    log_tail: str = ""


Cause = Callable[[ObservedPod, ObservedContainer], Finding | None]


def of_pods(pods: Iterable[ObservedPod]) -> Trouble | None:
    """The most telling trouble of any of the pods; None if all is well or still starting.

    Serving pods that are going, or were evicted and lie about, are no trouble: others take their place. A Job has
    only the one, and at its deadline that one is going.
    """
    pods = sorted((pod for pod in pods if pod.job or _is_current(pod)), key=lambda pod: pod.name)
    for cause in CAUSES:
        for pod in pods:
            for container in pod.containers:
                finding = cause(pod, container)
                if finding:
                    return _seen(finding, pod, container)
    return next((_unschedulable(pod) for pod in pods if pod.unschedulable), None)


def _is_current(pod: ObservedPod) -> bool:
    return not pod.deleting and pod.phase not in {"Failed", "Succeeded"}


def said_failure(pod: ObservedPod, container: ObservedContainer) -> Finding | None:
    """Our own programs say why they failed."""
    del pod
    failure = parsed_failure(container.termination_message) if container.exit_code else None
    if failure is None:
        return None
    reason = reason_of(failure.reason, Reason.OPTIMIZATION_FAILED)
    given_up = container.restarts >= GIVE_UP_RESTARTS
    return Finding(reason, failure.message, failure.hint, terminal=given_up or not failure.retriable)


def out_of_memory(pod: ObservedPod, container: ObservedContainer) -> Finding | None:
    """The kernel ended a container at its memory limit."""
    if container.exit_reason != OOM or container.ready:
        return None
    job = bool(pod.job)
    where = "spec.optimization.job.resources" if job else "spec.serving.resources"
    return Finding(
        Reason.OPTIMIZER_OUT_OF_MEMORY if job else Reason.OUT_OF_MEMORY,
        f"container {container.name} exceeded its memory limit.",
        f"Raise `limits.memory` in {where}, or in the pool's resources.",
        terminal=job or container.restarts >= GIVE_UP_RESTARTS - 1,
    )


def image_pull(pod: ObservedPod, container: ObservedContainer) -> Finding | None:
    """An image cannot be pulled. It may be pushed later, so the deadline decides, not this."""
    del pod
    if container.waiting_reason not in PULL_REASONS:
        return None
    return Finding(
        Reason.IMAGE_PULL_FAILED,
        bounded(
            f"image of container {container.name}: {container.waiting_message or container.waiting_reason}",
            400,
        ),
        "Check the image's name in the ServingPolicy's pool, the registry and its login.",
        terminal=False,
    )


def bad_config(pod: ObservedPod, container: ObservedContainer) -> Finding | None:
    """The kubelet cannot make the container as it is configured."""
    del pod
    if container.waiting_reason not in CONFIG_REASONS:
        return None
    return Finding(
        Reason.CONTAINER_CONFIG_ERROR,
        bounded(f"container {container.name}: {container.waiting_message or container.waiting_reason}", 400),
        "Check the Secret, ConfigMap or volume that the message names.",
        terminal=False,
    )


def keeps_ending(pod: ObservedPod, container: ObservedContainer) -> Finding | None:
    """A serving container ends again and again: the last words say whether it was the model."""
    if pod.job or container.init or container.ready or container.exit_code is None or container.restarts < 1:
        return None
    text = container.termination_message
    terminal = container.restarts >= GIVE_UP_RESTARTS - 1
    # A failed start-up probe ends Triton by SIGTERM, upon which it exits with 0.
    if "GoldenMismatch" in text:
        hint = "The pool's Triton image computes other values than the Job: check its version."
        return Finding(Reason.GOLDEN_MISMATCH, bounded(_line(text, "GoldenMismatch"), 400), hint, terminal=terminal)
    if "failed to load" in text or "model repository" in text:
        said = bounded(f"Triton refused the model: {_line(text, 'failed to load')}", 400)
        hint = "See status.failure.logTail; check spec.serving and the pool's Triton image."
        return Finding(Reason.MODEL_LOAD_FAILED, said, hint, terminal=terminal)
    ended = f"container {container.name} ended {container.restarts} times, last with exit code {container.exit_code}."
    return Finding(Reason.CONTAINER_CRASHED, ended, "See status.failure.logTail.", terminal=terminal)


CAUSES: tuple[Cause, ...] = (said_failure, out_of_memory, image_pull, bad_config, keeps_ending)


def parsed_failure(message: str) -> Failure | None:
    """The `Failure` that one of our programs left as its last words, alone or inside its result."""
    try:
        return Failure.model_validate_json(words.unpacked(message))
    except ValidationError:
        return None


def failure_in_result(message: str) -> Failure | None:
    """The `Failure` inside a Job's result, or alone."""
    try:
        return Answer.model_validate_json(words.unpacked(message)).failure
    except ValidationError:
        return parsed_failure(message)


def _seen(finding: Finding, pod: ObservedPod, container: ObservedContainer) -> Trouble:
    ours = parsed_failure(container.termination_message) is not None
    tail = "" if ours else container.termination_message[-LOG_TAIL_LIMIT:]
    return Trouble(finding, pod.name, container.name, container.exit_code, tail)


def _unschedulable(pod: ObservedPod) -> Trouble:
    message = bounded(f"pod {pod.name}: {pod.unschedulable}", 400)
    hint = "Free capacity, lower the requests, or add nodes to the pool."
    return Trouble(Finding(Reason.UNSCHEDULABLE, message, hint, terminal=False), pod.name)


def _line(text: str, word: str) -> str:
    """The first line of `text` with `word` in it, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if word in line), lines[-1] if lines else "")
