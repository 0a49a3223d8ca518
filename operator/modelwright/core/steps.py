"""The two steps before a revision: resolving the source and optimizing it. Each ends in one `Step`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from modelwright.api.conditions import Finding, Reason, reason_of
from modelwright.api.model import ModelSpec
from modelwright.api.status import AttemptStatus, OptimizationStatus, SourceStatus
from modelwright.contract import digest, words
from modelwright.contract.result import ResolveResult
from modelwright.core import optimization, source, work
from modelwright.core.jobs import optimize_job, resolve_job
from modelwright.core.resolve import Resolved
from modelwright.core.snapshot import Snapshot
from modelwright.core.trouble import Trouble
from modelwright.core.work import Done, Failed, Remembered, Running, Start, Work


@dataclass(frozen=True)
class Step:
    """Where a step stands.

    Attributes:
        state: ``done``, ``working``, ``failed`` (now) or ``waiting`` (failed before; the old condition stands).
        reason: Reason of the step's condition.
        message: Message of the step's condition.
        trouble: What is in the way.
        job: Job to create, rendered.
        current: Names of the Jobs that belong to the work as it stands.
        attempt: What to remember of failed attempts; None forgets them.
        retry_at: When the work is tried again.
    """

    state: Literal["done", "working", "failed", "waiting"]
    reason: Reason
    message: str = ""
    trouble: Trouble | None = None
    job: Mapping[str, Any] | None = None
    current: tuple[str, ...] = ()
    attempt: AttemptStatus | None = None
    retry_at: datetime | None = None


def resolve_source(
    snapshot: Snapshot, spec: ModelSpec, resolved: Resolved, now: datetime
) -> tuple[Step, SourceStatus | None]:
    """Digests of everything the spec names."""
    todo = source.work(spec)
    known = source.known(spec, snapshot.model.status.source)
    if known:
        message = f"{spec.model.uri} is {known.digest}"
        return Step("done", Reason.RESOLVED, message, current=_current(todo, snapshot)), known
    progress = work.progress(todo, snapshot, now)
    if isinstance(progress, Done):
        answer = _resolve_answer(progress.message, spec)
        if isinstance(answer, SourceStatus):
            message = f"{spec.model.uri} is {answer.digest}"
            return Step("done", Reason.RESOLVED, message, current=(progress.job,)), answer
        progress = work.refuse(todo, snapshot, progress.job, answer, now)
    job = resolve_job(snapshot, spec, resolved, progress.job) if isinstance(progress, Start) else None
    return _unfinished(progress, todo, snapshot, Reason.RESOLVING, f"resolving {spec.model.uri}", job), None


def optimize(
    snapshot: Snapshot, spec: ModelSpec, resolved: Resolved, found: SourceStatus, now: datetime
) -> tuple[Step, OptimizationStatus | None]:
    """The artifact of this source under this spec."""
    inputs = optimization.inputs_hash(spec, resolved, found)
    key = optimization.key(inputs, snapshot.images.optimizer)
    todo = optimization.work(spec, resolved, key)
    known = optimization.known(snapshot.model.status.optimization, inputs)
    if known:
        return _optimized(known, _current(todo, snapshot)), known
    progress = work.progress(todo, snapshot, now)
    if isinstance(progress, Done):
        answer = optimization.answered(progress.message, key, inputs)
        if isinstance(answer, OptimizationStatus):
            return _optimized(answer, (progress.job,)), answer
        progress = work.refuse(todo, snapshot, progress.job, answer, now)
    job = None
    if isinstance(progress, Start):
        job = optimize_job(snapshot, spec, resolved, optimization.request(spec, resolved, found, key), progress.job)
    message = f"optimizing {digest.short(found.digest, 12)} for {resolved.optimization_pool.hardware_class}"
    return _unfinished(progress, todo, snapshot, Reason.OPTIMIZING, message, job), None


def _unfinished(
    progress: Start | Running | Failed | Remembered,
    todo: Work,
    snapshot: Snapshot,
    reason: Reason,
    message: str,
    job: Mapping[str, Any] | None,
) -> Step:
    """A step that is not done, with what its Job shows."""
    attempt = work.remembered_attempt(todo, snapshot)
    match progress:
        case Failed():
            finding = progress.trouble.finding
            return Step(
                "failed", finding.reason, finding.text, progress.trouble, current=(progress.job,),
                attempt=progress.attempt,
            )  # fmt: skip
        case Remembered():
            return Step("waiting", reason, current=(progress.job,), attempt=attempt, retry_at=progress.until)
        case Running(trouble=trouble) if trouble:
            finding = trouble.finding
            return Step("working", finding.reason, finding.text, trouble, current=(progress.job,), attempt=attempt)
        case _:
            # An earlier failure stands until this attempt succeeds, or the story would flicker.
            state = "waiting" if attempt else "working"
            current = (progress.job, *_previous(todo, snapshot, attempt))
            return Step(state, reason, message, job=job, current=current, attempt=attempt)


def _previous(todo: Work, snapshot: Snapshot, attempt: AttemptStatus | None) -> tuple[str, ...]:
    """The Job before this one is kept until this one exists, for its logs."""
    return (todo.job_name(snapshot.model.name, attempt.count - 1),) if attempt else ()


def _current(todo: Work, snapshot: Snapshot) -> tuple[str, ...]:
    """Every attempt's Job of finished work: the last one stays for its logs until its time to live is over."""
    prefix = todo.job_name(snapshot.model.name, 0)
    return tuple(job.name for job in snapshot.jobs if job.name == prefix or job.name.startswith(f"{prefix}-"))


def _optimized(known: OptimizationStatus, current: tuple[str, ...]) -> Step:
    reason = reason_of(known.outcome, Reason.OPTIMIZED)
    return Step("done", reason, _told(known, reason), current=current)


def _told(known: OptimizationStatus, reason: Reason) -> str:
    """What the Job found, in numbers."""
    tried = f"{known.candidates} candidates in {known.seconds:.0f} s"
    if reason not in {Reason.OPTIMIZED, Reason.OPTIMIZED_LOSSLESS}:
        said = {
            Reason.NO_IMPROVEMENT: f"nothing of {tried} was provably better",
            Reason.SERVING_SOURCE: "a gate failed",
        }.get(reason, "optimization is turned off")
        return f"{said}; the source model is served"
    quality = known.quality
    proof = ""
    if quality:
        proof = f"; {quality.metric} {quality.change:+.2%}, at worst {quality.lower:+.2%}, on {quality.rows} rows"
    return f"{known.winner}: {known.speedup:.2f} times less CPU time per inference, best of {tried}{proof}"


def _resolve_answer(message: str, spec: ModelSpec) -> SourceStatus | Finding:
    try:
        result = ResolveResult.model_validate_json(words.unpacked(message))
    except ValidationError as error:
        return Finding(Reason.RESOLVE_FAILED, f"the resolve Job's answer cannot be read: {error.error_count()} errors.")
    if result.failure:
        reason = reason_of(result.failure.reason, Reason.RESOLVE_FAILED)
        return Finding(reason, result.failure.message, result.failure.hint, terminal=not result.failure.retriable)
    return source.answered(spec, result) or Finding(Reason.RESOLVE_FAILED, "the resolve Job named no digest.")
