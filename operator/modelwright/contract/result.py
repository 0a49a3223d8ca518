"""What a Job answers: one JSON document in the termination message, at most `paths.TERMINATION_LIMIT` bytes.

Exit codes repeat the verdict for whoever sees nothing else (the Job's podFailurePolicy):
0 done, 10 failed for good, 11 failed but worth another try.
"""

from typing import Literal

from modelwright.contract.artifact import Recommendation
from modelwright.contract.base import Message

EXIT_DONE = 0
EXIT_TERMINAL = 10
EXIT_RETRIABLE = 11


class Failure(Message):
    """Why a Job could not do its work.

    Attributes:
        reason: A word of `modelwright.api.conditions.Reason`.
        message: What was found, naming the field or file.
        hint: The remedy.
        retriable: Whether the same request may succeed later.
    """

    reason: str
    message: str
    hint: str = ""
    retriable: bool = False


class ResolveResult(Message):
    """Digests of what the request named; exactly one of `source` and `failure` is set."""

    source: str | None = None
    calibration: str | None = None
    evaluation: str | None = None
    size_bytes: int = 0
    failure: Failure | None = None


class Figures(Message):
    """Cost of one inference at the batch size that decides, one thread (first; largest for Throughput, Cost).

    Attributes:
        latency_p50_us: Wall time, median, microseconds.
        latency_p99_us: Wall time, 99th percentile, microseconds.
        cpu_us: CPU time per request, microseconds.
        size_bytes: Weights on disk.
    """

    latency_p50_us: float
    latency_p99_us: float
    cpu_us: float
    size_bytes: int


class Quality(Message):
    """Outcome of the quality gate.

    Attributes:
        metric: Name (``accuracy``, ``auc``, ``ndcg@10``, ``cosine``, ``agreement``, ``none``).
        baseline: Value of the source model on the confirm rows.
        optimized: Value of the winner on the same rows.
        change: Relative change, negative is a loss.
        lower: Lower confidence bound of `change`.
        upper: Upper confidence bound of `change`.
        rows: Rows it was proved on.
        verdict: What the gate said. Only ``Pass`` serves a lossy artifact.
    """

    metric: str
    baseline: float
    optimized: float
    change: float
    lower: float
    upper: float
    rows: int
    verdict: Literal["Pass", "Fail", "Inconclusive", "Lossless"]


class Summary(Message):
    """The report in the few numbers that status shows.

    `speedup` is the median over rounds of baseline CPU time divided by the winner's, `speedup_low` and `speedup_high`
    its quartiles; `aa_ratio` is the baseline against itself in the same run.
    """

    winner: str
    techniques: tuple[str, ...]
    speedup: float
    speedup_low: float
    speedup_high: float
    aa_ratio: float
    reliable: bool
    before: Figures
    after: Figures
    quality: Quality | None = None
    candidates: int = 0
    seconds: float = 0.0


class OptimizeResult(Message):
    """Outcome of an optimize Job.

    Attributes:
        digest: Artifact digest; None if `failure` is set.
        outcome: What `Optimized` says: ``Optimized``, ``OptimizedLossless`` (no data: nothing lossy was tried),
            ``NoImprovement`` (the source model is served, measured), ``Skipped``, ``ServingSource`` (a gate failed and
            the user chose to serve the source).
        reused: The key was in the store already; nothing was run.
        note: One sentence on why the outcome is not more than it is (what was rejected, which gate failed).
    """

    digest: str | None = None
    outcome: Literal["Optimized", "OptimizedLossless", "NoImprovement", "Skipped", "ServingSource"] | None = None
    reused: bool = False
    recommendation: Recommendation | None = None
    summary: Summary | None = None
    note: str = ""
    failure: Failure | None = None
