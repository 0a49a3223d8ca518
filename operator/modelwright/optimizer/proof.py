"""Takes the search's candidates, best first, until one has proved itself; or none has, which is an answer too.

A candidate proves its quality on the confirm rows (lossy) or its sameness there (lossless), then its speed in a fresh
benchmark over every batch size. Both may throw it out, and the next one is tried.
"""

from dataclasses import dataclass, field
from typing import Final

from modelwright.contract import digest
from modelwright.contract.base import Message
from modelwright.contract.result import Failure, Quality
from modelwright.errors import InputError
from modelwright.optimizer import gates
from modelwright.optimizer.bench import Bench
from modelwright.optimizer.benchmark import BASELINE
from modelwright.optimizer.candidates import SOURCE, Candidate, Trial
from modelwright.optimizer.sandbox import Crash
from modelwright.optimizer.screening import output_fault
from modelwright.optimizer.search import Found, batch_sizes, deciding_batch, gain, ranked
from modelwright.optimizer.tasks import Benchmark, Timing
from modelwright.optimizer.transforms import GRAPH_LEVEL, REGISTRY

CLEAR_GAIN: Final = 1.03
"""Lower quartile of the speed-up (or the ratio of sizes) below which a change is not worth its risk."""
SLOWER: Final = 0.97
"""A candidate that wins on size must not be slower than this."""
MAX_FINALS: Final = 3


class Judged(Message):
    """The gate's word on a candidate, as the journal keeps it. `fault` stands where outputs disqualify it."""

    fault: str = ""
    explanation: str = ""
    quality: Quality | None = None


@dataclass
class Proof:
    """The outcome.

    Attributes:
        winner: The source if nothing proved itself.
        benchmark: Of the winner against the source, at every batch size.
        quality: Of the winner.
        rejected: Candidate id to the reason.
        judged: Quality on the confirm rows by candidate id.
        failure: Set if a bound that the user set was missed, or could not be judged.
        void: Candidates whose speed could not be judged, because the machine was too noisy.
    """

    winner: Candidate
    benchmark: Benchmark
    quality: Quality | None = None
    rejected: dict[str, str] = field(default_factory=dict[str, str])
    judged: dict[str, Quality] = field(default_factory=dict[str, Quality])
    failure: Failure | None = None
    void: list[str] = field(default_factory=list[str])

    def timing(self, batch: int) -> Timing:
        """Of the winner."""
        name = BASELINE if self.winner.is_source else self.winner.id
        return next(timing for timing in self.benchmark.timings[name] if timing.batch == batch)

    def baseline(self, batch: int) -> Timing:
        """Of the source model, in the same rounds."""
        return next(timing for timing in self.benchmark.timings[BASELINE] if timing.batch == batch)


def prove(bench: Bench, found: Found) -> Proof:
    """Judge candidates in the order of their gain.

    Raises:
        InputError: BudgetExhausted or OptimizationFailed if not even the source model can be timed.
    """
    rejected: dict[str, str] = {}
    judged: dict[str, Quality] = {}
    void = list(found.void)
    looks = finals = 0
    for trial in ranked(bench, found):
        if finals >= MAX_FINALS:
            break
        if gain(bench, trial) < CLEAR_GAIN:
            continue  # ranks are steps of gain: one that is simpler may stand before one that is faster
        if trial.lossy and looks == gates.MAX_LOOKS:
            rejected[trial.id] = f"not judged: {looks} candidates were judged on these rows already"
            continue
        looks += trial.lossy
        verdict = _verdict(bench, trial)
        if verdict.quality:
            judged[trial.id] = verdict.quality
        bench.say("gate", f"{trial.id}: {verdict.fault or verdict.explanation or 'same outputs as the source'}")
        if verdict.fault:
            rejected[trial.id] = verdict.fault
            continue
        finals += 1
        benchmark = _time(bench, (trial.candidate,))
        fault = _speed_fault(bench, trial, benchmark)
        bench.say("gate", f"{trial.id}: {fault or _shown(benchmark, trial.id)}")
        if not fault:
            return Proof(trial.candidate, benchmark, verdict.quality, rejected, judged)
        rejected[trial.id] = fault
        if benchmark.timings and not benchmark.reliable:
            void.append(trial.id)
    proof = Proof(SOURCE, _time(bench, ()), None, rejected, judged, void=void)
    proof.failure = _unjudged_bound(bench, proof) or _missed_bound(bench, found, proof)
    return proof


def _verdict(bench: Bench, trial: Trial) -> Judged:
    """The recorded judgment of these very weights; a model that a resumed run made differently is judged anew."""
    path = bench.build(trial.candidate)
    if isinstance(path, Crash):
        return Judged(fault=str(path))
    name = f"confirm:{trial.id}:{digest.short(digest.of_bytes(path.read_bytes()), 16)}"
    return bench.journal.once(name, Judged, lambda: _judge(bench, trial))


def _judge(bench: Bench, trial: Trial) -> Judged:
    """Quality on the confirm rows; without data, what the probe rows said stands."""
    if bench.splits.confirm is None:
        return Judged()
    evaluation = bench.evaluate(trial.candidate, "confirm")
    if isinstance(evaluation, Crash):
        return Judged(fault=str(evaluation))
    fault = output_fault(evaluation, lossy=trial.lossy)
    before, after = bench.score(SOURCE, "confirm"), bench.score(trial.candidate, "confirm")
    if fault or before is None or after is None:
        return Judged(fault=fault or "the source model could not be scored")
    gate = bench.request.quality
    if not trial.lossy:
        return Judged(quality=gates.lossless(evaluation.metric, before, after))
    judgment = gates.judge(evaluation.metric, before, after, gate, looks=gates.MAX_LOOKS, seed=bench.seed)
    text = f"{judgment.quality.verdict}: {judgment.explain(gate)}"
    passed = judgment.quality.verdict == "Pass"
    return Judged(fault="" if passed else text, explanation=text, quality=judgment.quality)


def _time(bench: Bench, candidates: tuple[Candidate, ...]) -> Benchmark:
    result = bench.time(candidates, batch_sizes(bench), final=True)
    if not isinstance(result, Crash):
        return result
    if candidates:
        return Benchmark(timings={}, aa=(), reliable=False)
    reason = "BudgetExhausted" if result.error == "Timeout" else "OptimizationFailed"
    raise InputError(reason, f"The source model could not be timed: {result}"[:250], "Raise spec.optimization.budget.")


def _speed_fault(bench: Bench, trial: Trial, benchmark: Benchmark) -> str:
    """Why the fresh benchmark throws the candidate out; empty if it does not."""
    if not benchmark.timings:
        return "it crashed in the final benchmark"
    if not benchmark.reliable:
        return f"timing was void: A/A {', '.join(f'{ratio:.2f}' for ratio in benchmark.aa)}"
    timing = _deciding(bench, benchmark, trial.id)
    # The baseline was this much faster or slower than itself: of a gain, that part may be nothing else.
    noise = _noise(benchmark, timing.batch)
    shown = f"{timing.ratio:.2f}x [{timing.low:.2f}, {timing.high:.2f}], A/A within {noise - 1:.1%}"
    minimum = bench.request.performance.min_speedup
    if minimum is not None and timing.low < minimum * noise:
        return f"speed-up {shown}; minSpeedup is {minimum:g}x"
    if bench.request.target == "Memory":
        return "" if timing.low >= SLOWER else f"smaller, but {timing.ratio:.2f}x as fast"
    return f"the gain did not hold: {shown}" if timing.low < CLEAR_GAIN * noise else ""


def _noise(benchmark: Benchmark, batch: int) -> float:
    """How far the baseline was from itself at a batch size, as a factor of at least 1."""
    sizes = [timing.batch for timing in benchmark.timings[BASELINE]]
    aa = benchmark.aa[sizes.index(batch)]
    return max(aa, 1.0 / aa)


def _deciding(bench: Bench, benchmark: Benchmark, name: str) -> Timing:
    return next(timing for timing in benchmark.timings[name] if timing.batch == deciding_batch(bench))


def _shown(benchmark: Benchmark, name: str) -> str:
    figures = (f"{timing.ratio:.2f}x at batch {timing.batch}" for timing in benchmark.timings[name])
    return f"{', '.join(figures)}; A/A {', '.join(f'{ratio:.3f}' for ratio in benchmark.aa)}"


def _unjudged_bound(bench: Bench, proof: Proof) -> Failure | None:
    """A bound on speed can be neither met nor missed on a machine that cannot measure; another hour may."""
    minimum = bench.request.performance.min_speedup
    if minimum is None or not proof.void:
        return None
    aa = ", ".join(f"{ratio:.2f}" for ratio in proof.benchmark.aa)
    return Failure(
        reason="MeasurementUnreliable",
        message=f"{len(proof.void)} candidates could not be timed: the machine was too noisy "
        f"(A/A of the last benchmark: {aa}), so that minSpeedup {minimum:g}x cannot be judged.",
        hint="It is tried again; a node with less load, or CPU requests of whole cores, measures better.",
        retriable=True,
    )


def _missed_bound(bench: Bench, found: Found, proof: Proof) -> Failure | None:
    """A failure only where the user set a bound that nothing met; otherwise "no change" is the answer."""
    minimum = bench.request.performance.min_speedup
    if minimum is not None and minimum > 1.0:
        best = max(found.competing(), key=lambda trial: gain(bench, trial), default=None)
        seen = f"best: {best.id} at {gain(bench, best):.2f}x" if best else "no candidate could be timed"
        why = f" ({proof.rejected[best.id]})" if best and best.id in proof.rejected else ""
        return Failure(
            reason="PerformanceGateFailed",
            message=f"No candidate proved a speed-up of {minimum:g}x; {seen}{why}.",
            hint="Lower spec.optimization.gates.performance.minSpeedup, or set onFailure: ServeSource.",
        )
    return _missed_quality(bench, found, proof)


def _missed_quality(bench: Bench, found: Found, proof: Proof) -> Failure | None:
    """Only lossy techniques were asked for by name, and the quality gate let none through."""
    free = {GRAPH_LEVEL, *(transform.name for transform in REGISTRY if not transform.lossy)}
    asked = set(bench.request.techniques)
    lossy = [trial for trial in found.trials.values() if trial.lossy and trial.quality is not None]
    if not asked or asked & free or not lossy:
        return None
    closest = max(lossy, key=lambda trial: trial.quality.lower if trial.quality else 0.0)
    quality = proof.judged.get(closest.id, closest.quality)
    if quality is None or quality.verdict == "Pass":
        return None
    inconclusive = quality.verdict == "Inconclusive"
    why = proof.rejected.get(closest.id) or closest.why
    return Failure(
        reason="QualityGateInconclusive" if inconclusive else "QualityGateFailed",
        message=f"{closest.id}: {why}."[:250],
        hint="Give more evaluation rows." if inconclusive else "Allow other techniques, or a larger maxDrop.",
    )
