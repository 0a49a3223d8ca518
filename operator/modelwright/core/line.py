"""How far a model came on its way from spec to revision: what one pass found, step by step."""

from dataclasses import dataclass

from modelwright.api.conditions import Finding
from modelwright.api.model import ModelSpec
from modelwright.api.status import OptimizationStatus, SourceStatus
from modelwright.core.resolve import Resolved
from modelwright.core.roles import Turn
from modelwright.core.steps import Step


@dataclass(frozen=True)
class Line:
    """How far a model came on its way from spec to revision.

    Attributes:
        turn: The next roles.
        refused: Why the spec is not accepted.
        spec: The spec, if it can be read.
        resolved: What it resolved to.
        source_step: Where resolving stands.
        source: The source, once it has a digest.
        optimize_step: Where optimizing stands.
        optimized: The artifact, once there is one.
        unservable: Why the artifact cannot be served as the spec asks.
        target: Hash of the revision asked for; empty while it is not known.
    """

    turn: Turn
    refused: Finding | None = None
    spec: ModelSpec | None = None
    resolved: Resolved | None = None
    source_step: Step | None = None
    source: SourceStatus | None = None
    optimize_step: Step | None = None
    optimized: OptimizationStatus | None = None
    unservable: Finding | None = None
    target: str = ""
