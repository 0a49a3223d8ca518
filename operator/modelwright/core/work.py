"""One unit of work done by a Job: which Job it is, how far it came, and when to try again.

The same work has the same key and so the same Job name, attempt by attempt: whoever starts it twice starts it once.
A finished work's answer is copied into status before the Job may vanish; a failed one is remembered in
`status.attempt`, so that neither a restart nor a vanished Job repeats it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from modelwright import naming
from modelwright.api.conditions import Finding, Reason, reason_of
from modelwright.api.status import AttemptStatus
from modelwright.contract import digest
from modelwright.core import times, trouble
from modelwright.core.snapshot import ObservedContainer, ObservedJob, ObservedPod, Snapshot
from modelwright.core.trouble import Trouble

FIRST_BACKOFF_SECONDS = 15.0
LONGEST_BACKOFF_SECONDS = 600.0
DEADLINE_EXCEEDED = "DeadlineExceeded"
NEVER_STARTED = {Reason.IMAGE_PULL_FAILED, Reason.UNSCHEDULABLE, Reason.CONTAINER_CONFIG_ERROR}


@dataclass(frozen=True)
class Work:
    """What a Job shall do.

    Attributes:
        stage: `naming.STAGE_RESOLVE` or `naming.STAGE_OPTIMIZE`.
        key: Digest that is the same for the same work.
        unanswered: Reason to give if the Job ends without a word.
        terms: Hash of how the Job is run. A failure under other terms (less memory, another Secret) is no reason not
            to try again.
    """

    stage: str
    key: str
    unanswered: Reason
    terms: str = ""

    @property
    def identity(self) -> str:
        """Stage and key, as `status.attempt` remembers them."""
        return f"{self.stage}-{digest.short(self.key)}"

    def job_name(self, model: str, attempt: int) -> str:
        """Name of the Job of that attempt."""
        return naming.job_name(model, self.stage, self.key, attempt)


@dataclass(frozen=True)
class Start:
    """The Job does not exist yet and shall."""

    job: str


@dataclass(frozen=True)
class Running:
    """The Job is at work; `trouble` is what keeps its pod from starting, if anything."""

    job: str
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Done:
    """The Job succeeded and left these last words."""

    job: str
    message: str


@dataclass(frozen=True)
class Failed:
    """The Job failed just now."""

    job: str
    trouble: Trouble
    attempt: AttemptStatus


@dataclass(frozen=True)
class Remembered:
    """The Job failed before; `until` is when it is tried again, None if never."""

    job: str
    until: datetime | None


Progress = Start | Running | Done | Failed | Remembered


def progress(work: Work, snapshot: Snapshot, now: datetime) -> Progress:
    """How far the work came."""
    attempt = remembered_attempt(work, snapshot)
    count = attempt.count if attempt else 0
    name = work.job_name(snapshot.model.name, count)
    job = next((job for job in snapshot.jobs if job.name == name), None)
    if job is None and attempt and attempt.terms == work.terms:
        until = times.parsed(attempt.retry_at)
        if until is None or until > now:
            return Remembered(work.job_name(snapshot.model.name, count - 1), until)
    if job is None:
        return Start(name)
    pods = tuple(pod for pod in snapshot.pods if pod.job == name)
    if job.failed:
        return _failed(work, snapshot, job, count, now)
    if job.succeeded:
        message = _last_words(pods)
        return Done(name, message) if message else _failed(work, snapshot, job, count, now)
    return Running(name, trouble.of_pods(pods))


def remembered_attempt(work: Work, snapshot: Snapshot) -> AttemptStatus | None:
    """What status remembers of failed attempts at this very work."""
    attempt = snapshot.model.status.attempt
    return attempt if attempt and attempt.work == work.identity else None


def next_attempt(work: Work, count: int, now: datetime, *, retriable: bool) -> AttemptStatus:
    """What to remember after attempt number `count` (from 0) failed: exponential back-off, capped."""
    backoff = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**count)
    retry_at = times.stamp(now + timedelta(seconds=backoff)) if retriable else ""
    return AttemptStatus(work=work.identity, terms=work.terms, count=count + 1, retry_at=retry_at)


def refuse(work: Work, snapshot: Snapshot, job: str, finding: Finding, now: datetime) -> Failed:
    """A Job that succeeded with an answer that is itself a failure."""
    attempt = remembered_attempt(work, snapshot)
    count = attempt.count if attempt else 0
    return Failed(job, Trouble(finding), next_attempt(work, count, now, retriable=not finding.terminal))


def _failed(work: Work, snapshot: Snapshot, job: ObservedJob, count: int, now: datetime) -> Failed:
    found = _cause(work, snapshot, job)
    return Failed(job.name, found, next_attempt(work, count, now, retriable=not found.finding.terminal))


def _cause(work: Work, snapshot: Snapshot, job: ObservedJob) -> Trouble:
    """Why the Job failed: its deadline, its own words, the kernel, or nothing that anyone knows."""
    pods = tuple(pod for pod in snapshot.pods if pod.job == job.name)
    if job.failed_reason == DEADLINE_EXCEEDED:
        return Trouble(_deadline(work, trouble.of_pods(pods) or _remembered_trouble(work, snapshot)))
    said = _said(pods)
    if said:
        return said
    seen = trouble.of_pods(pods)
    if seen:
        return seen
    ended = next(((pod, c) for pod in pods for c in pod.containers if c.exit_code), None)
    if ended is None:
        hint = "It is tried again."
        return Trouble(Finding(work.unanswered, f"Job {job.name} ended without a pod's answer.", hint, terminal=False))
    pod, container = ended
    finding = Finding(
        work.unanswered,
        f"container {container.name} of Job {job.name} ended with exit code {container.exit_code}.",
        "See status.failure.logTail.",
    )
    return Trouble(
        finding,
        pod.name,
        container.name,
        container.exit_code,
        container.termination_message[-trouble.LOG_TAIL_LIMIT :],
    )


def _said(pods: tuple[ObservedPod, ...]) -> Trouble | None:
    for pod in pods:
        for container in pod.containers:
            finding = said_finding(container)
            if finding:
                return Trouble(finding, pod.name, container.name, container.exit_code)
    return None


def said_finding(container: ObservedContainer) -> Finding | None:
    """The failure inside a result, as a finding."""
    failure = trouble.failure_in_result(container.termination_message)
    if failure is None:
        return None
    reason = reason_of(failure.reason, Reason.OPTIMIZATION_FAILED)
    return Finding(reason, failure.message, failure.hint, terminal=not failure.retriable)


def _deadline(work: Work, seen: Trouble | None) -> Finding:
    """A Job past its deadline; what kept its pod from starting says more than the clock, and may pass."""
    if seen and seen.finding.reason in NEVER_STARTED:
        return seen.finding
    optimizing = work.stage == naming.STAGE_OPTIMIZE
    hint = (
        "Raise spec.optimization.job.activeDeadlineSeconds or lower spec.optimization.budget.maxDuration."
        if optimizing
        else "Check that the source answers."
    )
    message = f"the {work.stage} Job exceeded its deadline."
    return Finding(Reason.JOB_DEADLINE_EXCEEDED, message, hint, terminal=optimizing)


def _remembered_trouble(work: Work, snapshot: Snapshot) -> Trouble | None:
    """What status says of this stage: at its deadline a Job's pod is gone before it can be asked."""
    failure = snapshot.model.status.failure
    if failure is None or failure.stage != work.stage:
        return None
    reason = reason_of(failure.reason, work.unanswered)
    return Trouble(Finding(reason, failure.message, failure.hint, terminal=False), failure.pod, failure.container)


def _last_words(pods: tuple[ObservedPod, ...]) -> str:
    """Termination message of the container that succeeded."""
    words = (c.termination_message for pod in pods for c in pod.containers if c.exit_code == 0 and not c.init)
    return next((text for text in words if text), "")
