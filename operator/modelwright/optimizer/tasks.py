"""What the Job's process asks of the sandbox: a table of tasks, each with its question and its answer.

A task's function lives where its subject does (``target``); this module imports none of them, so that the parent
needs neither onnx nor onnxruntime. Messages cross a process border as JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from pydantic import Field

from modelwright.contract.artifact import Golden
from modelwright.contract.base import Message

Question = TypeVar("Question", bound=Message)
Answer = TypeVar("Answer", bound=Message)

GraphLevel = Literal["basic", "extended", "all"]
Scalar = str | int | float | bool


class TensorInfo(Message):
    """An input or output of a graph.

    Attributes:
        name: As in the graph.
        data_type: Triton's word (``FP32``).
        dims: All axes, the batch axis included: a size, or the name of a dynamic one.
    """

    name: str
    data_type: str
    dims: tuple[int | str, ...]


class Batch(Message):
    """How rows of data become inputs of the model.

    Attributes:
        kind: ``dynamic``: the first axis of every input and output is a batch of any size. ``fixed``: it is a batch
            of exactly `size`. ``none``: the model has no batch axis; one row is one call.
        size: Of a fixed batch; 1 otherwise.
    """

    kind: Literal["dynamic", "fixed", "none"]
    size: int = 1


class Generator(Message):
    """How inputs are made where there are no data; found at intake to run and to give finite outputs.

    Attributes:
        style: Distribution of floats: ``normal``, ``unit`` (uniform in 0..1), ``ones``.
        sizes: Size given to each dynamic axis, by its name.
        index_bounds: Exclusive upper bound of an integer input that indexes a table.
    """

    style: Literal["normal", "unit", "ones"] = "normal"
    sizes: dict[str, int] = Field(default_factory=dict[str, int])
    index_bounds: dict[str, int] = Field(default_factory=dict[str, int])


class Inspection(Message):
    """What intake learned about a model.

    Attributes:
        operators: Count of nodes by type; other domains as ``domain:Type``.
        notes: What was changed or is worth knowing, for the report.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    batch: Batch
    generator: Generator
    opset: int
    ir_version: int
    operators: dict[str, int]
    parameters: int
    size_bytes: int
    notes: tuple[str, ...] = ()


class InspectQuestion(Message):
    """Check `source` (in `folder`), write the normalized model to `target`.

    `tables` are the user's: their columns tell the sizes of dynamic axes.
    """

    folder: str
    source: str
    target: str
    max_opset: int
    max_ir_version: int
    tables: tuple["Table", ...] = ()
    seed: int = 0


class Table(Message):
    """A fetched table. `shown` names it in messages."""

    path: str
    shown: str
    max_samples: int
    seed: int


class PrepareQuestion(Message):
    """Turn tables, or nothing, into the row files of a run below `folder`."""

    inspection: Inspection
    folder: str
    calibration: Table | None = None
    evaluation: Table | None = None
    seed: int = 0
    generated_rows: int = 64


class Splits(Message):
    """Row files. `probe` is always there; the others only with data.

    Attributes:
        probe: A few rows on which lossless candidates must agree and on which timing runs.
        calibration: Rows that quantization reads.
        select: Rows that choose between candidates.
        confirm: Rows that only gates read.
        rows: Number of rows of each file.
        labels: Kind of the labels.
        binary: Whether labels are 0 and 1 only.
        groups: Whether rows belong to groups.
    """

    probe: str
    calibration: str | None = None
    select: str | None = None
    confirm: str | None = None
    rows: dict[str, int] = Field(default_factory=dict[str, int])
    labels: Literal["none", "integer", "float", "text"] = "none"
    binary: bool = False
    groups: bool = False
    notes: tuple[str, ...] = ()


class Step(Message):
    """One technique with its parameters."""

    technique: str
    params: dict[str, Scalar] = Field(default_factory=dict[str, Scalar])

    @property
    def label(self) -> str:
        """``int8-static(minmax)``."""
        values = ",".join(str(value) for value in self.params.values())
        return f"{self.technique}({values})" if values else self.technique


class TransformReport(Message):
    """What one step did to a graph.

    Attributes:
        nodes_changed: Nodes added, removed or replaced; 0 means the step did nothing here.
        per_layer_error: Relative error by layer (weights: RMS of the difference over RMS).
        skipped_because: Why the step does not apply.
    """

    technique: str
    nodes_changed: int = 0
    per_layer_error: dict[str, float] = Field(default_factory=dict[str, float])
    seconds: float = 0.0
    skipped_because: str = ""


class TransformQuestion(Message):
    """Apply `step` to the model at `source`, writing ``model.onnx`` into `target`."""

    step: Step
    source: str
    target: str
    inspection: Inspection
    splits: Splits
    seed: int = 0


class EvaluateQuestion(Message):
    """Run a model over rows; compare with the source model's outputs and score against labels.

    Attributes:
        outputs: Where this model's outputs are written; None keeps nothing.
        reference: Outputs of the source model on the same rows; None for the source model itself.
        metric: Name to use, or None to choose one by the data.
        scores: Where per-row scores for the gate are written; None computes no metric.
    """

    model: str
    graph_level: GraphLevel
    rows: str
    batch: Batch
    labels: str = "none"
    binary: bool = False
    groups: bool = False
    outputs: str | None = None
    reference: str | None = None
    metric: str | None = None
    scores: str | None = None
    batch_size: int = 64


class Evaluation(Message):
    """How a model behaved on rows.

    Attributes:
        metric: Name used; empty if none was asked for.
        value: Of the metric.
        nonfinite: Number of NaN or infinite output values.
        mismatch: Why outputs do not even compare (a name, type or shape differs); empty if they do.
        max_error: Largest absolute difference from the reference over the reference's RMS, over float outputs.
        worst_cosine: Smallest cosine similarity of one row with the reference.
        differing: Share of integer or text values that differ from the reference.
        split_error: `max_error` between rows run together and rows run one by one.
        unjudged: The output that the metric does not read and that differs most from the reference; empty if none.
        unjudged_alike: Its mean similarity with the reference, 1 for the same.
    """

    rows: int
    metric: str = ""
    value: float = 0.0
    nonfinite: int = 0
    mismatch: str = ""
    max_error: float = 0.0
    worst_cosine: float = 1.0
    differing: float = 0.0
    split_error: float = 0.0
    unjudged: str = ""
    unjudged_alike: float = 1.0
    seconds: float = 0.0


class Contender(Message):
    """One model in a benchmark."""

    id: str
    model: str
    graph_level: GraphLevel = "all"


class BenchmarkQuestion(Message):
    """Time contenders against `baseline` in one process, interleaved.

    Attributes:
        batch_sizes: Measured one after the other.
        rounds: Of one repetition.
        round_seconds: CPU time aimed at for one contender in one round.
        repeats: How often a void repetition is tried again, each time with twice the rounds.
        seconds: About the most CPU time for one batch size; slow models get fewer rounds, never fewer than 5.
    """

    baseline: Contender
    contenders: tuple[Contender, ...]
    rows: str
    batch: Batch
    batch_sizes: tuple[int, ...]
    rounds: int = 12
    round_seconds: float = 0.01
    repeats: int = 3
    seconds: float = 60.0
    seed: int = 0


class Timing(Message):
    """One contender at one batch size, one thread.

    Attributes:
        batch: Rows in a call.
        cpu_us: CPU time of a call, median over rounds, microseconds.
        wall_p50_us: Wall time of a call, median, microseconds.
        wall_p99_us: Wall time of a call, 99th percentile, microseconds.
        ratio: Baseline's CPU time over this one's in the same round, median over rounds.
        low: Lower quartile of that ratio.
        high: Upper quartile of that ratio.
    """

    batch: int
    cpu_us: float
    wall_p50_us: float
    wall_p99_us: float
    ratio: float
    low: float
    high: float


class Benchmark(Message):
    """Timings by contender, the baseline (``baseline``) included.

    Attributes:
        aa: Baseline against its twin, by batch size in the order asked.
        reliable: Whether every `aa` stayed inside the bounds in the end.
        repetitions: How many repetitions the worst batch size took.
    """

    timings: dict[str, tuple[Timing, ...]]
    aa: tuple[float, ...]
    reliable: bool
    repetitions: int = 1


class ServingQuestion(Message):
    """Load a model once more and find the batch sizes that pay."""

    model: Contender
    rows: str
    batch: Batch
    batch_sizes: tuple[int, ...]
    round_seconds: float = 0.02


class Load(Message):
    """What one loaded instance costs, and its CPU time a call by batch size (ascending)."""

    load_seconds: float
    memory_bytes: int
    batches: tuple[tuple[int, float], ...]


class GoldenQuestion(Message):
    """Make the golden pair of the packaged model from generated inputs."""

    inspection: Inspection
    model: Contender
    lossy: bool
    seed: int = 0


class GoldenAnswer(Message):
    """The pair."""

    golden: Golden


@dataclass(frozen=True)
class Task(Generic[Question, Answer]):
    """A function the sandbox can run.

    Attributes:
        target: ``module:function`` below `modelwright.optimizer`.
        question: Its argument.
        answer: Its result.
    """

    target: str
    question: type[Question]
    answer: type[Answer]

    @property
    def name(self) -> str:
        """The function's name, for messages."""
        return self.target.partition(":")[2]


INSPECT: Final = Task("intake.inspection:inspect", InspectQuestion, Inspection)
PREPARE: Final = Task("data:prepare", PrepareQuestion, Splits)
TRANSFORM: Final = Task("transforms:transform", TransformQuestion, TransformReport)
EVALUATE: Final = Task("evaluate:evaluate", EvaluateQuestion, Evaluation)
BENCHMARK: Final = Task("benchmark:benchmark", BenchmarkQuestion, Benchmark)
MEASURE_LOAD: Final = Task("serving:measure_load", ServingQuestion, Load)
MAKE_GOLDEN: Final = Task("golden:make_golden", GoldenQuestion, GoldenAnswer)

_ALL: Final = (INSPECT, PREPARE, TRANSFORM, EVALUATE, BENCHMARK, MEASURE_LOAD, MAKE_GOLDEN)
BY_TARGET: Final[Mapping[str, Task[Message, Message]]] = {task.target: task for task in _ALL}  # pyright: ignore[reportAssignmentType]
