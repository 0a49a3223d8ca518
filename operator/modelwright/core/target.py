"""The revision that a generation asks for: an artifact, served as spec and policy say."""

from modelwright.api.conditions import Finding, Reason
from modelwright.api.model import ModelSpec
from modelwright.api.status import OptimizationStatus, SourceStatus
from modelwright.core import optimization
from modelwright.core.jobs import store_secret
from modelwright.core.resolve import Resolved
from modelwright.render.revision import Revision


def unservable(spec: ModelSpec, optimized: OptimizationStatus) -> Finding | None:
    """Why the artifact cannot be served as the spec asks, though nothing is wrong with either alone."""
    recommended = optimization.recommendation(optimized)
    asked = spec.serving.max_batch_size
    if asked and not recommended.batching:
        return Finding(
            Reason.NO_BATCH_AXIS,
            f"spec.serving.maxBatchSize is {asked}, but the model has no batch axis: the first axes of its inputs and "
            "outputs are not one dynamic size.",
            "Leave maxBatchSize unset or 0, or export the model with a dynamic first axis.",
        )
    return None


def target_revision(
    spec: ModelSpec, resolved: Resolved, found: SourceStatus | None, optimized: OptimizationStatus | None
) -> Revision | None:
    """The revision asked for; None while source or artifact is not known."""
    if found is None or optimized is None:
        return None
    return Revision(
        model_name=resolved.model_name,
        artifact=optimized.artifact,
        source=found.digest,
        recommendation=optimization.recommendation(optimized),
        serving=spec.serving,
        pool=resolved.pool,
        store=resolved.store,
        store_secret=store_secret(resolved),
    )
