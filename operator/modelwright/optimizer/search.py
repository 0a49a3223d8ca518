"""Finds candidates worth proving, in stages, so that nothing expensive is done for what is cheaply excluded.

1. Lossless: each technique on top of those before it, then graph levels; the fastest becomes the ground to build on.
2. Lossy, on that ground: built, checked on the select rows. What clearly fails there is never timed.
3. Timing: all that is left, interleaved; the best few once more with fresh rounds, since the best of many noisy
   numbers is partly luck.

Ends early when the trials or the time are spent; what has been found so far is the result. "No change" is a legal one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from modelwright.contract import digest
from modelwright.errors import InputError
from modelwright.optimizer.bench import Bench
from modelwright.optimizer.candidates import Candidate, Trial
from modelwright.optimizer.sandbox import Crash
from modelwright.optimizer.screening import check
from modelwright.optimizer.tasks import Benchmark, GraphLevel, Step
from modelwright.optimizer.transforms import GRAPH_LEVEL, REGISTRY, names
from modelwright.optimizer.transforms.base import Context, Transform

SEARCH_SHARE: Final = 0.7
"""Part of the time that the search may use; the rest is for proof and packaging."""
GROUP: Final = 6
"""Candidates timed together: more would thrash the caches that one served model has to itself."""
FINALISTS: Final = 4
CLEAR_GAIN: Final = 1.02
"""Ratio below which a longer chain of steps, or another graph level, is not worth having."""


@dataclass
class Found:
    """What the search knows.

    Attributes:
        trials: By candidate id, in the order they were tried.
        skipped: Techniques that were not tried, with the reason.
        stopped: Why the search ended early; empty if it did not.
        void: Candidates that could not be timed, because the machine was too noisy.
    """

    trials: dict[str, Trial] = field(default_factory=dict[str, Trial])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    stopped: str = ""
    void: list[str] = field(default_factory=list[str])

    def competing(self) -> list[Trial]:
        """Trials that are sound and timed."""
        return [trial for trial in self.trials.values() if trial.status == "ok" and trial.timings]


def deciding_batch(bench: Bench) -> int:
    """The batch size whose times decide: the first for Latency and Memory, the largest for Throughput and Cost."""
    sizes = batch_sizes(bench)
    return max(sizes) if bench.request.target in {"Throughput", "Cost"} else sizes[0]


def batch_sizes(bench: Bench) -> tuple[int, ...]:
    """The batch sizes that can be measured on this model."""
    batch = bench.inspection.batch
    return bench.request.batch_sizes if batch.kind == "dynamic" else (batch.size,)


def gain(bench: Bench, trial: Trial) -> float:
    """What the target counts: times faster at the deciding batch, or times smaller."""
    if bench.request.target == "Memory":
        return bench.inspection.size_bytes / max(1, trial.size_bytes)
    return next(timing.ratio for timing in trial.timings if timing.batch == deciding_batch(bench))


def search(bench: Bench) -> Found:
    """Run the stages.

    Raises:
        InputError: OptimizationFailed if the request names a technique that does not exist.
    """
    unknown = sorted(set(bench.request.techniques) - set(names()))
    if unknown:
        raise InputError(
            "OptimizationFailed", f"Unknown technique {unknown[0][:40]!r}.", f"One of: {', '.join(names())}."
        )
    found = Found()
    ground = _search_lossless(bench, found)
    _search_lossy(bench, found, ground)
    _time(bench, found, found_ids(found, timed=False), "search")
    worth = [trial.id for trial in ranked(bench, found) if gain(bench, trial) >= CLEAR_GAIN]
    _time(bench, found, worth[:FINALISTS], "final")
    return found


def ranked(bench: Bench, found: Found) -> list[Trial]:
    """Candidates that may compete, the best first; of equally good ones the simpler, then the smaller."""

    def rank(trial: Trial) -> tuple[int, bool, int, int]:
        clear_steps = math.floor(math.log(max(gain(bench, trial), 1e-9)) / math.log(CLEAR_GAIN))
        return -clear_steps, trial.lossy, len(trial.candidate.techniques), trial.size_bytes

    return sorted(found.competing(), key=rank)


def found_ids(found: Found, *, timed: bool) -> list[str]:
    """Sound candidates that have, or have not, been timed."""
    return [trial.id for trial in found.trials.values() if trial.status == "ok" and bool(trial.timings) == timed]


def _search_lossless(bench: Bench, found: Found) -> tuple[Step, ...]:
    """Try lossless techniques; returns the steps of the fastest chain."""
    context = _context(bench)
    chain: tuple[Step, ...] = ()
    chains: list[tuple[Step, ...]] = [()]
    for transform in _allowed(bench, found, lossy=False):
        for step in transform.propose(context):
            trial = _try(bench, found, Candidate((*chain, step)))
            if trial is not None and trial.status == "ok":
                chain = (*chain, step)
                chains.append(chain)
    if _is_allowed(bench, GRAPH_LEVEL):
        levels: tuple[GraphLevel, ...] = ("basic", "extended")
        for level in levels:
            for steps in [()] if not chain else [(), chain]:
                _try(bench, found, Candidate(steps, level))
    _time(bench, found, found_ids(found, timed=False), "lossless")
    return _fastest(bench, found, chains)


def _search_lossy(bench: Bench, found: Found, ground: tuple[Step, ...]) -> None:
    """Try lossy techniques on the ground, each file under the graph levels that pay there."""
    transforms = _allowed(bench, found, lossy=True)
    if bench.splits.select is None:
        found.skipped |= {transform.name: "NoCalibrationData" for transform in transforms}
        return
    context = _context(bench)
    levels = _levels_worth_trying(bench, found, ground)
    for transform in transforms:
        steps = tuple(transform.propose(context))
        if not steps:
            found.skipped[transform.name] = "no operator of this model is one it changes"
        for step in steps:
            candidate = Candidate((*ground, step), lossy=True)
            trial = _try(bench, found, candidate)
            if trial is not None and trial.status == "ok":
                for level in transform.levels:
                    if level in levels:
                        _try(bench, found, Candidate(candidate.steps, level, lossy=True))


def _levels_worth_trying(bench: Bench, found: Found, ground: tuple[Step, ...]) -> list[GraphLevel]:
    """Graph levels under which the ground itself is clearly faster than under the default."""
    default = next((gain(bench, trial) for trial in found.competing() if trial.candidate == Candidate(ground)), 1.0)
    return [
        trial.graph_level
        for trial in found.competing()
        if trial.steps == ground and trial.graph_level != "all" and gain(bench, trial) >= CLEAR_GAIN * default
    ]


def _try(bench: Bench, found: Found, candidate: Candidate) -> Trial | None:
    """Check one candidate, unless trials or time are spent."""
    if found.stopped or candidate.id in found.trials:
        return found.trials.get(candidate.id)
    if len(found.trials) >= bench.request.max_trials:
        found.stopped = f"all {bench.request.max_trials} trials are spent"
        return None
    if _is_late(bench):
        found.stopped = f"{SEARCH_SHARE:.0%} of {bench.request.max_seconds:g} s are spent"
        return None
    trial = bench.journal.once(f"trial:{candidate.id}", Trial, lambda: check(bench, candidate))
    found.trials[candidate.id] = trial
    shown = f" {trial.quality.metric} {trial.quality.change:+.2%}" if trial.quality else ""
    bench.say("search", f"{candidate.id}: {trial.status}{shown} {trial.why}".rstrip())
    return trial


def _time(bench: Bench, found: Found, ids: Sequence[str], stage: str) -> None:
    """Time candidates in groups at the deciding batch and write it to their trials."""
    for start in range(0, len(ids), GROUP):
        _time_group(bench, found, ids[start : start + GROUP], stage)


def _time_group(bench: Bench, found: Found, group: Sequence[str], stage: str) -> None:
    """Time one group; if it crashes, its members alone, since one of them must not cost the others their chance."""
    if _is_late(bench):
        found.stopped = found.stopped or f"{SEARCH_SHARE:.0%} of {bench.request.max_seconds:g} s are spent"
        return
    candidates = [found.trials[name].candidate for name in group]
    name = f"timing:{stage}:{digest.short(digest.of_json(list(group)), 12)}"
    timed = bench.journal.once(name, Timed, lambda: _timed(bench, candidates), Timed.is_final)
    if timed.crash and len(group) > 1:
        bench.say("search", f"{len(group)} candidates crashed together; each is timed alone: {timed.crash}")
        for member in group:
            _time_group(bench, found, [member], stage)
        return
    for member in group:
        _note_timing(bench, found, member, timed)


class Timed(Benchmark):
    """A benchmark, or why there is none. Recorded, so that a group that crashes is not tried again after a kill."""

    crash: str = ""

    def is_final(self) -> bool:
        """Whether another try would say the same; noise passes."""
        return self.reliable or bool(self.crash)


def _timed(bench: Bench, candidates: Sequence[Candidate]) -> Timed:
    result = bench.time(candidates, (deciding_batch(bench),))
    if isinstance(result, Crash):
        return Timed(timings={}, aa=(), reliable=False, crash=str(result))
    return Timed(**result.model_dump())


def _note_timing(bench: Bench, found: Found, name: str, timed: Timed) -> None:
    trial = found.trials[name]
    if timed.crash or not timed.reliable:
        noisy = f"timing was void: A/A {', '.join(f'{ratio:.2f}' for ratio in timed.aa)}"
        if not timed.crash:
            found.void.append(name)
        if not trial.timings:
            failed: Literal["failed", "rejected"] = "failed" if timed.crash else "rejected"
            found.trials[name] = trial.model_copy(update={"status": failed, "why": timed.crash or noisy})
        bench.say("search", f"{name}: {timed.crash or noisy}")
        return
    timings = timed.timings[name]
    found.trials[name] = trial.model_copy(update={"timings": timings})
    shown = timings[0]
    bench.say(
        "search", f"{name}: {shown.ratio:.2f}x [{shown.low:.2f}, {shown.high:.2f}] at batch {shown.batch}, "
        f"{shown.cpu_us:.0f} us, A/A {timed.aa[0]:.3f}",
    )  # fmt: skip


def _fastest(bench: Bench, found: Found, chains: Sequence[tuple[Step, ...]]) -> tuple[Step, ...]:
    """The fastest chain; a longer one must be clearly faster than the best shorter one."""
    best, best_gain = chains[0], 1.0
    for chain in chains[1:]:
        trials = [trial for trial in found.competing() if trial.steps == chain]
        fastest = max((gain(bench, trial) for trial in trials), default=0.0)
        if fastest > best_gain * CLEAR_GAIN:
            best, best_gain = chain, fastest
    return best


def _allowed(bench: Bench, found: Found, *, lossy: bool) -> list[Transform]:
    kind = [transform for transform in REGISTRY if transform.lossy == lossy]
    allowed = [transform for transform in kind if _is_allowed(bench, transform.name)]
    found.skipped |= {
        transform.name: "not among spec.optimization.techniques" for transform in kind if transform not in allowed
    }
    return allowed


def _is_allowed(bench: Bench, name: str) -> bool:
    return not bench.request.techniques or name in bench.request.techniques


def _is_late(bench: Bench) -> bool:
    return bench.budget.left(SEARCH_SHARE, bench.request.max_seconds) <= 0


def _context(bench: Bench) -> Context:
    return Context(bench.inspection, bench.splits, bench.seed)
