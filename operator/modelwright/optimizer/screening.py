"""Whether a candidate may compete: does it build, is its output sound, does it look good enough on the select rows.

Passing here proves nothing yet; only the gate on the confirm rows does.
"""

from typing import Final, Literal

from modelwright.optimizer import gates, graph
from modelwright.optimizer.bench import Bench
from modelwright.optimizer.candidates import SOURCE, Candidate, Trial
from modelwright.optimizer.sandbox import Crash
from modelwright.optimizer.tasks import Evaluation

LOSSLESS_ERROR: Final = 1e-3
"""Largest output difference of a lossless candidate, in parts of the source output's RMS."""
LOSSLESS_DIFFERING: Final = 1e-3
"""Largest share of labels that may differ: a tie decided by the last bit."""
SPLIT_ERROR: Final = 5e-2
LOSSY_SPLIT_ERROR: Final = 0.2
"""Largest difference of a row's outputs alone and in a batch, in parts of their RMS. Dynamic int8 reads its ranges from
the whole batch and so rounds a row otherwise in other company; more than rounding is a fault."""
WORST_COSINE: Final = 0.5
"""A lossy candidate may not turn the output of any row further than this (60 degrees): that is no rounding either."""
UNJUDGED_ALIKE: Final = 0.99
"""Least mean similarity, with the source's, of an output that a lossy candidate's metric does not read."""


def output_fault(evaluation: Evaluation, *, lossy: bool) -> str:
    """Why outputs disqualify a candidate whatever its quality; empty if they do not."""
    found = evaluation
    split = LOSSY_SPLIT_ERROR if lossy else SPLIT_ERROR
    always = (
        (bool(found.mismatch), found.mismatch),
        (found.nonfinite > 0, f"{found.nonfinite} NaN or infinite outputs"),
        (found.split_error > split, f"a row's outputs depend on its batch (by {found.split_error:.2g} of RMS)"),
    )
    checks = always + (_lossy_checks(found) if lossy else _lossless_checks(found))
    return next((text for is_fault, text in checks if is_fault), "")


def _lossless_checks(found: Evaluation) -> tuple[tuple[bool, str], ...]:
    return (
        (
            found.max_error > LOSSLESS_ERROR,
            f"outputs differ by {found.max_error:.2g} of their RMS; lossless allows {LOSSLESS_ERROR:g}",
        ),
        (found.differing > LOSSLESS_DIFFERING, f"{found.differing:.2%} of labels differ"),
    )


def _lossy_checks(found: Evaluation) -> tuple[tuple[bool, str], ...]:
    turned = f"one row's outputs have a cosine of {found.worst_cosine:.2f} with the source's; at least {WORST_COSINE:g}"
    other = (
        f"output {found.unjudged[:40]!r}, not read by {found.metric}, differs: similarity {found.unjudged_alike:.3f}"
    )
    return (
        (found.worst_cosine < WORST_COSINE, turned),
        (found.unjudged_alike < UNJUDGED_ALIKE, f"{other}; at least {UNJUDGED_ALIKE:g}"),
    )


def check(bench: Bench, candidate: Candidate) -> Trial:
    """Build and evaluate a candidate: lossless ones against the source's outputs, lossy ones by the metric."""
    trial = Trial(
        id=candidate.id, lossy=candidate.lossy, status="ok", steps=candidate.steps, graph_level=candidate.graph_level
    )
    built = bench.build(candidate)
    if isinstance(built, Crash):
        return _ended(trial, "failed", str(built))
    reports = bench.reports(candidate)
    trial = trial.model_copy(update={"reports": reports, "size_bytes": graph.size_of(built)})
    if reports and not reports[-1].nodes_changed:
        return _ended(trial, "skipped", reports[-1].skipped_because or "no node changed")
    evaluation = bench.evaluate(candidate, "select" if candidate.lossy else "probe")
    if isinstance(evaluation, Crash):
        return _ended(trial, "failed", str(evaluation))
    trial = trial.model_copy(update={"evaluation": evaluation})
    fault = output_fault(evaluation, lossy=candidate.lossy)
    if fault:
        return _ended(trial, "rejected", fault)
    return _judge_on_select(bench, trial, evaluation.metric) if candidate.lossy else trial


def _judge_on_select(bench: Bench, trial: Trial, metric: str) -> Trial:
    before, after = bench.score(SOURCE, "select"), bench.score(trial.candidate, "select")
    if before is None or after is None:
        return _ended(trial, "failed", "the source model could not be scored")
    judgment = gates.judge(metric, before, after, bench.request.quality, seed=bench.seed)
    judged = trial.model_copy(update={"quality": judgment.quality})
    if judgment.quality.verdict == "Fail":
        return _ended(judged, "rejected", judgment.explain(bench.request.quality))
    return judged


def _ended(trial: Trial, status: Literal["skipped", "failed", "rejected"], why: str) -> Trial:
    return trial.model_copy(update={"status": status, "why": why})
