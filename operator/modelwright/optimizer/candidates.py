"""A candidate: steps from the source model, plus session settings. And the record of what became of it."""

from dataclasses import dataclass
from typing import Literal

from modelwright.contract.base import Message
from modelwright.contract.result import Quality
from modelwright.optimizer.tasks import Evaluation, GraphLevel, Step, Timing, TransformReport


@dataclass(frozen=True)
class Candidate:
    """One way to serve the model.

    Attributes:
        steps: Techniques applied in order; none is the source model itself.
        graph_level: ONNX Runtime's optimization level.
        lossy: Whether a step may change outputs.
    """

    steps: tuple[Step, ...] = ()
    graph_level: GraphLevel = "all"
    lossy: bool = False

    @property
    def model_id(self) -> str:
        """Names the model file, whatever session runs it."""
        return "+".join(step.label for step in self.steps) or "source"

    @property
    def id(self) -> str:
        """Names the candidate in reports."""
        return self.model_id if self.graph_level == "all" else f"{self.model_id}@{self.graph_level}"

    @property
    def is_source(self) -> bool:
        """Whether this is the baseline: the source model under the runtime's defaults."""
        return not self.steps and self.graph_level == "all"

    @property
    def techniques(self) -> tuple[str, ...]:
        """Names of the techniques in it."""
        levels = () if self.graph_level == "all" else ("graph-level",)
        return tuple(dict.fromkeys(step.technique for step in self.steps)) + levels


SOURCE = Candidate()


class Trial(Message):
    """What became of a candidate.

    Attributes:
        status: ``ok``: it may compete. ``skipped``: nothing to do here. ``failed``: it crashed. ``rejected``: its
            outputs or its quality are not good enough.
        why: One line for all but ``ok``.
        reports: Of its steps.
        evaluation: On the probe rows (lossless) or the select rows (lossy).
        quality: Judged on the select rows; only the confirm rows decide.
        timings: By batch size, against the source model.
        size_bytes: Weights on disk.
    """

    id: str
    lossy: bool
    status: Literal["ok", "skipped", "failed", "rejected"]
    why: str = ""
    steps: tuple[Step, ...] = ()
    graph_level: GraphLevel = "all"
    reports: tuple[TransformReport, ...] = ()
    evaluation: Evaluation | None = None
    quality: Quality | None = None
    timings: tuple[Timing, ...] = ()
    size_bytes: int = 0

    @property
    def candidate(self) -> Candidate:
        """What was tried."""
        return Candidate(self.steps, self.graph_level, self.lossy)
