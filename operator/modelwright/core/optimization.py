"""Does an optimize Job need to run, what is it asked, and what did it say."""

from pydantic import ValidationError

from modelwright import naming
from modelwright.api.conditions import Finding, Reason, reason_of
from modelwright.api.model import ModelSpec, Serving
from modelwright.api.status import FiguresStatus, OptimizationStatus, QualityStatus, SourceStatus
from modelwright.contract import digest, words
from modelwright.contract.artifact import Recommendation
from modelwright.contract.asking import Place, optimize_request
from modelwright.contract.request import OptimizeRequest
from modelwright.contract.result import Figures, OptimizeResult
from modelwright.core.resolve import Resolved
from modelwright.core.source import fetching
from modelwright.core.work import Work
from modelwright.errors import InputError
from modelwright.render.triton import render_config

NOT_WORK = {"job", "pool"}
"""Fields of `spec.optimization` that change where the Job runs, not what it finds."""


def inputs_hash(spec: ModelSpec, resolved: Resolved, source: SourceStatus) -> str:
    """Identity of the work without the optimizer's version, which is pinned until something else changes."""
    asked = spec.optimization.model_dump(mode="json", exclude=NOT_WORK, exclude_defaults=True)
    for data in ("calibration", "evaluation"):
        if data in asked:
            asked[data].pop("uri", None)
            asked[data]["digest"] = getattr(source, data)
    return digest.of_json(
        {
            "source": source.digest,
            "optimization": asked,
            "hardware": resolved.optimization_pool.hardware_class,
            "image": resolved.pool.image,
            "store": resolved.store.model_dump(mode="json"),
        }
    )


def key(inputs: str, optimizer_image: str) -> str:
    """Identity of the work: its inputs and the optimizer that does it."""
    return digest.of_json({"inputs": inputs, "optimizer": optimizer_image})


def known(previous: OptimizationStatus | None, inputs: str) -> OptimizationStatus | None:
    """The artifact, if this very work was done before."""
    return previous if previous and previous.inputs_hash == inputs else None


def work(spec: ModelSpec, resolved: Resolved, work_key: str) -> Work:
    """The optimize Job's work, and the terms on which it is run: what the remedy of a failure may change."""
    pool, storage = resolved.optimization_pool, spec.model.storage
    terms = {
        "job": spec.optimization.job.model_dump(mode="json", exclude_defaults=True),
        "pool": pool.model_dump(mode="json", exclude_defaults=True),
        "secret": storage.model_dump(mode="json") if storage else None,
    }
    return Work(naming.STAGE_OPTIMIZE, work_key, Reason.OPTIMIZATION_FAILED, digest.short(digest.of_json(terms)))


def request(spec: ModelSpec, resolved: Resolved, source: SourceStatus, work_key: str) -> OptimizeRequest:
    """What the optimize Job is asked."""
    place = Place(
        model=resolved.model_name,
        hardware_class=resolved.optimization_pool.hardware_class,
        store=resolved.store,
        fetching=fetching(resolved),
        price_per_hour=resolved.pool.price_per_hour,
    )
    digests = {"source": source.digest, "calibration": source.calibration, "evaluation": source.evaluation}
    return optimize_request(spec, place, digests, work_key.removeprefix(digest.PREFIX))


def answered(message: str, work_key: str, inputs: str) -> OptimizationStatus | Finding:
    """The Job's last words as status, or what is wrong with them."""
    try:
        result = OptimizeResult.model_validate_json(words.unpacked(message))
    except ValidationError as error:
        return Finding(
            Reason.OPTIMIZATION_FAILED,
            f"the optimize Job's answer cannot be read: {error.error_count()} errors.",
        )
    if result.failure:
        reason = reason_of(result.failure.reason, Reason.OPTIMIZATION_FAILED)
        return Finding(reason, result.failure.message, result.failure.hint, terminal=not result.failure.retriable)
    if result.digest is None or result.recommendation is None or result.outcome is None:
        return Finding(Reason.OPTIMIZATION_FAILED, "the optimize Job named no artifact.")
    try:
        # What cannot be rendered must not be remembered: every later pass would stumble over it.
        render_config("probe", result.recommendation, Serving())
    except InputError as error:
        return Finding(reason_of(error.reason, Reason.INVALID_MODEL), error.message, error.hint)
    return _status(result, result.digest, result.recommendation, work_key, inputs)


def recommendation(status: OptimizationStatus) -> Recommendation:
    """The measured recommendation as status keeps it."""
    return Recommendation.model_validate(status.recommendation)


def _status(
    result: OptimizeResult, artifact: str, recommended: Recommendation, work_key: str, inputs: str
) -> OptimizationStatus:
    summary = result.summary
    base = OptimizationStatus(
        key=digest.short(work_key, 16),
        inputs_hash=inputs,
        artifact=artifact,
        outcome=result.outcome or "",
        speedup=1.0,
        recommendation=recommended.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    )
    if summary is None:
        return base
    quality = summary.quality
    return base.model_copy(
        update={
            "winner": summary.winner,
            "techniques": summary.techniques,
            "speedup": round(summary.speedup, 3),
            "speedup_range": f"{summary.speedup_low:.2f}-{summary.speedup_high:.2f}",
            "reliable": summary.reliable,
            "candidates": summary.candidates,
            "seconds": round(summary.seconds, 1),
            "before": _figures(summary.before),
            "after": _figures(summary.after),
            "quality": quality
            and QualityStatus(
                metric=quality.metric,
                baseline=round(quality.baseline, 6),
                optimized=round(quality.optimized, 6),
                change=round(quality.change, 6),
                lower=round(quality.lower, 6),
                rows=quality.rows,
                verdict=quality.verdict,
            ),
        }
    )


def _figures(figures: Figures) -> FiguresStatus:
    return FiguresStatus(
        latency_p50=round(figures.latency_p50_us, 1),
        latency_p99=round(figures.latency_p99_us, 1),
        cpu=round(figures.cpu_us, 1),
        size_bytes=figures.size_bytes,
    )
