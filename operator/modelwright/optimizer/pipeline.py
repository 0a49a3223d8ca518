"""A run from the fetched source to the pushed artifact. It orchestrates; whatever opens a model is a sandboxed task."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from modelwright.contract.request import Data, Location, OptimizeRequest
from modelwright.contract.result import OptimizeResult
from modelwright.errors import InputError
from modelwright.optimizer import package, serving, tasks
from modelwright.optimizer.answer import fail, shorten
from modelwright.optimizer.bench import Bench, Budget, Effort
from modelwright.optimizer.candidates import SOURCE
from modelwright.optimizer.host import MEMORY_SHARE, Host, observe_host
from modelwright.optimizer.intake.files import find_model
from modelwright.optimizer.journal import Journal
from modelwright.optimizer.ports import Ports, Store
from modelwright.optimizer.progress import Event, Listener
from modelwright.optimizer.proof import Proof, prove
from modelwright.optimizer.report import Ending, make_report
from modelwright.optimizer.sandbox import Crash, Sandbox, Subprocess
from modelwright.optimizer.search import Found, batch_sizes, search
from modelwright.optimizer.tasks import Answer, Contender, Inspection, Question, Splits, Table, Task

INTAKE_SECONDS: Final = 120.0
CLOSING_SECONDS: Final = 120.0
"""For the last tasks, which run even when the budget is spent: without them nothing could be served."""
FOLDERS: Final = ("fetched", "source", "bench", "package", "sandbox")
QUANTIZED: Final = frozenset({"dynamic-int8", "static-int8"})

Outcome = Literal["Optimized", "OptimizedLossless", "NoImprovement", "Skipped", "ServingSource"]


@dataclass
class Pipeline:
    """One run.

    Attributes:
        clock: Monotonic seconds; injected so that tests need not wait for a budget to end.
    """

    request: OptimizeRequest
    store: Store
    ports: Ports
    listener: Listener
    effort: Effort = field(default_factory=Effort)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.host: Host = observe_host()
        memory = int(self.host.memory_bytes * MEMORY_SHARE)
        place = self.ports.folder / "sandbox"
        self.sandbox: Sandbox = self.ports.open_sandbox(place) if self.ports.open_sandbox else Subprocess(place, memory)
        self.started = self.clock()
        for name in FOLDERS:
            # A container that was restarted finds the files of its first life; only the journal is trusted.
            shutil.rmtree(self.ports.folder / name, ignore_errors=True)
        self.digests: dict[str, str] = {}

    def run(self) -> OptimizeResult:
        """Everything.

        Raises:
            InputError: What the user gave cannot work.
            StoreError: A source cannot be read or the store cannot be written.
        """
        bench = self.prepare()
        found = Found() if self.request.mode == "Skip" else search(bench)
        proof = prove(bench, found)
        shown = proof.failure
        # What another try may answer is never pushed: the key would keep today's noise for good.
        if shown is not None and (shown.retriable or self.request.on_failure == "Fail"):
            return fail(shown.reason, shown.message, shown.hint, retriable=shown.retriable)
        return self.close(bench, found, proof)

    def prepare(self) -> Bench:
        """Intake, data and the source model's own quality."""
        path = self._fetch("source", self.request.source)
        model = find_model(path)
        tables = {
            "calibration": self._table("calibration", self.request.calibration),
            "evaluation": self._table("evaluation", self.request.evaluation),
        }
        inspection, source = self._take_in(model, tuple(table for table in tables.values() if table is not None))
        splits = self._split(inspection, tables)
        bench = Bench(
            request=self.request,
            inspection=inspection,
            splits=splits,
            source=source,
            folder=self.ports.folder / "bench",
            sandbox=self.sandbox,
            journal=Journal(self.store, self.request.key, self.host),
            budget=Budget(self.started + self.request.max_seconds, self.clock),
            listener=self.listener,
            effort=self.effort,
        )
        self._evaluate_source(bench)
        return bench

    def close(self, bench: Bench, found: Found, proof: Proof) -> OptimizeResult:
        """Measure serving, make the golden pair and the report, push."""
        winner, path = proof.winner, bench.build(proof.winner)
        if isinstance(path, Crash):
            raise _broken(path)
        contender = Contender(id=winner.id, model=str(path), graph_level=winner.graph_level)
        question = tasks.ServingQuestion(
            model=contender,
            rows=bench.splits.probe,
            batch=bench.inspection.batch,
            batch_sizes=batch_sizes(bench),
            round_seconds=self.effort.round_seconds,
        )
        load = self._call(tasks.MEASURE_LOAD, question, CLOSING_SECONDS)
        isa = self.host.int8_features if QUANTIZED & set(winner.techniques) else ()
        recommendation = serving.recommend(
            bench.inspection, load, winner.graph_level, package.served_files(path), isa, batch_sizes(bench)
        )
        self._say("serving", f"max batch {recommendation.max_batch_size}, loads in {load.load_seconds:.2f} s")
        asked = tasks.GoldenQuestion(inspection=bench.inspection, model=contender, lossy=winner.lossy, seed=bench.seed)
        golden = self._call(tasks.MAKE_GOLDEN, asked, CLOSING_SECONDS).golden
        outcome, note = describe(self.request, bench, found, proof)
        ending = Ending(
            bench, found, proof, self.host, self.digests["source"], self.digests, outcome, note, self._elapsed()
        )
        parts = package.Parts(recommendation, path, golden, make_report(ending, recommendation))
        digest = package.push(self.store, self.request.key, parts, self.ports.folder / "package")
        self._say("package", f"{outcome}: {digest}")
        return OptimizeResult(
            digest=digest, outcome=outcome, recommendation=recommendation, summary=ending.summary(), note=note
        )

    def _take_in(self, model: Path, tables: tuple[Table, ...]) -> tuple[Inspection, Path]:
        target = self.ports.folder / "source" / "model.onnx"
        question = tasks.InspectQuestion(
            folder=str(model.parent),
            source=str(model),
            target=str(target),
            max_opset=self.request.max_opset,
            max_ir_version=self.request.max_ir_version,
            tables=tables,
        )
        inspection = self._call(tasks.INSPECT, question, INTAKE_SECONDS)
        operators = ", ".join(f"{count} {name}" for name, count in list(inspection.operators.items())[:4])
        self._say(
            "intake", f"opset {inspection.opset}, {inspection.parameters} parameters, "
            f"batch {inspection.batch.kind}; {operators}",
        )  # fmt: skip
        return inspection, target

    def _split(self, inspection: Inspection, tables: dict[str, Table | None]) -> Splits:
        question = tasks.PrepareQuestion(
            inspection=inspection,
            folder=str(self.ports.folder / "bench"),
            calibration=tables["calibration"],
            evaluation=tables["evaluation"],
        )
        splits = self._call(tasks.PREPARE, question, INTAKE_SECONDS)
        shown = ", ".join(f"{count} {name}" for name, count in splits.rows.items() if name != "probe")
        self._say("data", shown or "none: only lossless techniques run, on generated inputs")
        return splits

    def _table(self, name: str, data: Data | None) -> Table | None:
        if data is None:
            return None
        path = self._fetch(name, data.location)
        return Table(path=str(_only_file(path, name)), shown=name, max_samples=data.max_samples, seed=data.seed)

    def _evaluate_source(self, bench: Bench) -> None:
        """The source model must be able to answer, on the data it will be judged by."""
        for split in ("probe", "select", "confirm"):
            if getattr(bench.splits, split) is None:
                continue
            evaluation = bench.evaluate(SOURCE, split)
            if isinstance(evaluation, Crash):
                raise _broken(evaluation)
            if evaluation.nonfinite:
                raise InputError(
                    "NonFiniteOutput",
                    f"The source model gives {evaluation.nonfinite} NaN or infinite values on {evaluation.rows} rows.",
                    "Check the model and the evaluation data: a model that answers NaN is not served.",
                )
            if evaluation.metric:
                self._say("baseline", f"{evaluation.metric} {evaluation.value:.4f} on {evaluation.rows} {split} rows")

    def _fetch(self, name: str, location: Location) -> Path:
        fetched = self.ports.fetch(location, self.ports.folder / "fetched" / name, self.request.fetching)
        if location.digest is not None and fetched.digest != location.digest:
            raise InputError(
                "SourceDigestMismatch",
                f"{name} has digest {fetched.digest[:19]}…, not {location.digest[:19]}… as required.",
                "Pin the digest of what is there, or restore what was pinned.",
            )
        self.digests[name] = fetched.digest
        return fetched.path

    def _call(self, task: Task[Question, Answer], question: Question, least: float) -> Answer:
        left = self.started + self.request.max_seconds - self.clock()
        answer = self.sandbox.call(task, question, max(least, left) if task is not tasks.INSPECT else least)
        if isinstance(answer, Crash):
            raise _broken(answer)
        return answer

    def _say(self, stage: str, text: str) -> None:
        self.listener(Event(stage, text))

    def _elapsed(self) -> float:
        return round(self.clock() - self.started, 1)


def describe(request: OptimizeRequest, bench: Bench, found: Found, proof: Proof) -> tuple[Outcome, str]:
    """The outcome's word and one sentence on why it is not more."""
    if request.mode == "Skip":
        return "Skipped", ""
    if proof.failure is not None:
        return "ServingSource", shorten(f"{proof.failure.reason}: {proof.failure.message}")
    if not proof.winner.is_source:
        lossless = bench.splits.select is None
        return ("OptimizedLossless" if lossless else "Optimized"), shorten(found.stopped)
    if proof.void or not proof.benchmark.reliable:
        ratios = ", ".join(f"{ratio:.2f}" for ratio in proof.benchmark.aa)
        text = f"the machine was too noisy to compare (A/A {ratios}, {len(proof.void)} candidates void)"
        return "NoImprovement", f"{text}; the source is kept for this spec, a changed one measures anew"
    failed = {trial.id: trial.why for trial in found.trials.values() if trial.status in {"rejected", "failed"}}
    why = next((f"{name}: {reason}" for name, reason in (proof.rejected | failed).items()), "")
    return "NoImprovement", shorten(why or "no candidate was clearly faster")


def _only_file(path: Path, name: str) -> Path:
    if not path.is_dir():
        return path
    files = [file for file in sorted(path.rglob("*")) if file.suffix in {".parquet", ".npz"}]
    if len(files) != 1:
        raise InputError("InvalidData", f"{name} has {len(files)} tables (.parquet or .npz).", "Point at one file.")
    return files[0]


def _broken(crash: Crash) -> InputError:
    """A crash of a task that the run cannot go on without."""
    match crash.error:
        case "Timeout" if crash.task == "inspect":
            return InputError(
                "BudgetExhausted", f"The model could not be inspected within {INTAKE_SECONDS:.0f} s.",
                "Give the Job more CPU, or export a smaller model: the budget does not bound intake.",
            )  # fmt: skip
        case "Timeout":
            return InputError(
                "BudgetExhausted", f"{crash.task} did not end in time.", "Raise spec.optimization.budget.maxDuration."
            )
        case "OutOfMemory":
            return InputError(
                "OptimizerOutOfMemory", f"{crash.task} needs more memory than the Job has.",
                "Raise spec.optimization.job.resources.limits.memory.",
            )  # fmt: skip
        case _ if crash.task == "inspect":
            return InputError("InvalidModel", f"The model cannot be read: {crash}"[:250], "Export the model again.")
        case _:
            return InputError("OptimizationFailed", str(crash)[:250], "")
