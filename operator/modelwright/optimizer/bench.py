"""The bench a run works at: where its files are, and how candidates are built, checked and timed on it.

Everything that opens a model goes to the sandbox; what comes back is recorded in the journal.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelwright.contract import digest
from modelwright.contract.request import OptimizeRequest
from modelwright.optimizer import graph, tasks
from modelwright.optimizer.candidates import SOURCE, Candidate
from modelwright.optimizer.journal import Journal
from modelwright.optimizer.progress import Event, Listener
from modelwright.optimizer.sandbox import Crash, Sandbox
from modelwright.optimizer.scores import Score
from modelwright.optimizer.tasks import Benchmark, Contender, Evaluation, Inspection, Splits, TransformReport

MIN_SECONDS: Final = 60.0
"""Time a task gets even when the budget is nearly spent: what was begun should end in an answer."""


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: Of a benchmark during the search.
        round_seconds: CPU time of one contender in one round.
        final_rounds: Of the benchmark whose numbers are reported.
    """

    rounds: int = 10
    round_seconds: float = 0.008
    final_rounds: int = 24


@dataclass(frozen=True)
class Budget:
    """Time that is left.

    Attributes:
        ends: On `clock`, seconds.
        clock: Monotonic.
    """

    ends: float
    clock: Callable[[], float] = time.monotonic

    def left(self, share: float = 1.0, total: float = 0.0) -> float:
        """Seconds left of the first `share` of a budget of `total` seconds."""
        return self.ends - (1.0 - share) * total - self.clock()


@dataclass(frozen=True)
class Bench:
    """Everything a run knows once the model and the data are in.

    Attributes:
        source: The normalized source model.
        folder: For candidates' models and row files.
    """

    request: OptimizeRequest
    inspection: Inspection
    splits: Splits
    source: Path
    folder: Path
    sandbox: Sandbox
    journal: Journal
    budget: Budget
    listener: Listener
    effort: Effort = field(default_factory=Effort)
    _reports: dict[str, TransformReport] = field(default_factory=dict[str, TransformReport])

    def say(self, stage: str, text: str) -> None:
        """Report progress."""
        self.listener(Event(stage, text))

    def seconds(self) -> float:
        """Time a task may take now."""
        return max(MIN_SECONDS, self.budget.left())

    def build(self, candidate: Candidate) -> Path | Crash:
        """The candidate's model file, made step by step if it is not there yet."""
        path = self.source
        for count, step in enumerate(candidate.steps, start=1):
            name = Candidate(candidate.steps[:count]).model_id
            target = self.folder / "models" / digest.short(digest.of_bytes(name.encode()), 16)
            if name not in self._reports:
                question = tasks.TransformQuestion(
                    step=step,
                    source=str(path),
                    target=str(target),
                    inspection=self.inspection,
                    splits=self.splits,
                    seed=self.seed,
                )
                report = self.sandbox.call(tasks.TRANSFORM, question, self.seconds())
                if isinstance(report, Crash):
                    return report
                self._reports[name] = report
            path = target / "model.onnx"
        return path

    def reports(self, candidate: Candidate) -> tuple[TransformReport, ...]:
        """What each step of a built candidate did."""
        names = [Candidate(candidate.steps[: count + 1]).model_id for count in range(len(candidate.steps))]
        return tuple(self._reports[name] for name in names)

    def contender(self, candidate: Candidate, path: Path) -> Contender:
        """The candidate as a benchmark knows it."""
        return Contender(id=candidate.id, model=str(path), graph_level=candidate.graph_level)

    @property
    def seed(self) -> int:
        """Of everything random in this run: the calibration data's, so that a user can vary it."""
        return self.request.calibration.seed if self.request.calibration else 0

    def evaluate(self, candidate: Candidate, split: str) -> Evaluation | Crash:
        """Run a candidate over a split and compare it with the source model there."""
        if not candidate.is_source and not self._outputs(SOURCE, split).exists():
            base = self.evaluate(SOURCE, split)
            if isinstance(base, Crash):
                return base
        path = self.build(candidate)
        if isinstance(path, Crash):
            return path
        question = tasks.EvaluateQuestion(
            model=str(path),
            graph_level=candidate.graph_level,
            rows=getattr(self.splits, split),
            batch=self.inspection.batch,
            labels=self.splits.labels,
            binary=self.splits.binary,
            groups=self.splits.groups,
            outputs=str(self._outputs(SOURCE, split)) if candidate.is_source else None,
            reference=None if candidate.is_source else str(self._outputs(SOURCE, split)),
            metric=self.metric,
            scores=None if split == "probe" else str(self._scores(candidate, split)),
        )
        return self.sandbox.call(tasks.EVALUATE, question, self.seconds())

    def score(self, candidate: Candidate, split: str) -> Score | None:
        """Per-row scores of an evaluated candidate; None without data or after a failed evaluation."""
        path = self._scores(candidate, split)
        return Score.load(path) if path.exists() else None

    @property
    def metric(self) -> str | None:
        """The metric asked for."""
        return self.request.evaluation.metric if self.request.evaluation else None

    def time(
        self, candidates: Sequence[Candidate], batch_sizes: tuple[int, ...], *, final: bool = False
    ) -> Benchmark | Crash:
        """Time candidates against the source model."""
        contenders: list[Contender] = []
        for candidate in candidates:
            path = self.build(candidate)
            if isinstance(path, Crash):
                return path
            contenders.append(self.contender(candidate, path))
        question = tasks.BenchmarkQuestion(
            baseline=Contender(id="source", model=str(self.source)),
            contenders=tuple(contenders),
            rows=self.splits.probe,
            batch=self.inspection.batch,
            batch_sizes=batch_sizes,
            rounds=self.effort.final_rounds if final else self.effort.rounds,
            round_seconds=self.effort.round_seconds,
            seconds=max(5.0, self.budget.left() / (8 * len(batch_sizes))),
            seed=self.seed,
        )
        return self.sandbox.call(tasks.BENCHMARK, question, self.seconds())

    def size(self, candidate: Candidate) -> int:
        """Bytes of a built candidate's weights."""
        path = self.build(candidate)
        return 0 if isinstance(path, Crash) else graph.size_of(path)

    def _outputs(self, candidate: Candidate, split: str) -> Path:
        return self.folder / f"outputs-{_slug(candidate)}-{split}.npz"

    def _scores(self, candidate: Candidate, split: str) -> Path:
        return self.folder / f"scores-{_slug(candidate)}-{split}.npz"


def _slug(candidate: Candidate) -> str:
    return digest.short(digest.of_bytes(candidate.id.encode()), 16)
