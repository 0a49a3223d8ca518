"""Times models honestly.

All contenders live in one process and take turns in rounds of shuffled order, so that what disturbs one disturbs all.
The baseline runs twice, as itself and as a twin: their ratio (A/A) shows what the machine adds. A repetition whose A/A
lies outside 0.95-1.05 is void and is repeated with twice the rounds; if none holds, the result says ``reliable: false``
and nobody may claim a gain from it.

Cost and speed-up are CPU time on one thread (wall time on shared cores lies: with a load of 5 on 2 cores an A/A of 1.73
was seen where CPU time gave 1.00); latency is wall time of single calls in the same rounds. The baseline is ONNX
Runtime's default, never a handicapped setting.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from modelwright.optimizer.engines import Session
from modelwright.optimizer.engines.onnxruntime import OnnxRuntime
from modelwright.optimizer.rows import Feeds, Rows
from modelwright.optimizer.tasks import Batch, Benchmark, BenchmarkQuestion, Contender, Timing

BASELINE: Final = "baseline"
TWIN: Final = "baseline-twin"
AA_BOUNDS: Final = (0.95, 1.05)
FEEDS: Final = 8
"""Different inputs a contender cycles through, the same for all."""
WARM_UP_CALLS: Final = 11
WARM_UP_SECONDS: Final = 0.5
"""CPU time after which even a slow model is warm."""
MAX_CALLS: Final = 2000
MIN_ROUNDS: Final = 5


@dataclass
class Runner:
    """A loaded contender and what was measured of it at one batch size.

    Attributes:
        calls: Calls in a round.
        each: CPU seconds a call, estimated.
        cpu: CPU seconds a call, by round.
        walls: Wall seconds of single calls.
    """

    id: str
    session: Session
    calls: int = 1
    each: float = 0.0
    cpu: list[float] = field(default_factory=list[float])
    walls: list[float] = field(default_factory=list[float])

    def play(self, feeds: list[Feeds]) -> None:
        """One round."""
        clock = time.perf_counter
        before, run, count = time.process_time(), self.session.run, len(feeds)
        for call in range(self.calls):
            started = clock()
            run(feeds[call % count])
            self.walls.append(clock() - started)
        self.cpu.append((time.process_time() - before) / self.calls)

    def prepare(self, feeds: list[Feeds], seconds: float) -> None:
        """Warm up, then choose the number of calls that takes about `seconds` of CPU."""
        spent: list[float] = []
        while len(spent) < WARM_UP_CALLS and sum(spent) < WARM_UP_SECONDS:
            before = time.process_time()
            self.session.run(feeds[len(spent) % len(feeds)])
            spent.append(time.process_time() - before)
        self.each = max(float(np.median(spent)), 1e-7)
        self.calls = int(np.clip(round(seconds / self.each), 1, MAX_CALLS))
        self.cpu, self.walls = [], []


def benchmark(question: BenchmarkQuestion) -> Benchmark:
    """Time every contender at every batch size."""
    rows = Rows.load(question.rows)
    runners = _load(question.baseline, question.contenders)
    timings: dict[str, list[Timing]] = {runner.id: [] for runner in runners if runner.id != TWIN}
    aa: list[float] = []
    repetitions = 1
    for batch in question.batch_sizes:
        feeds = feeds_of(rows, batch, question.batch)
        ratio, tries = _measure(runners, feeds, question)
        aa.append(ratio)
        repetitions = max(repetitions, tries)
        for runner in runners:
            if runner.id != TWIN:
                timings[runner.id].append(_timing(runner, runners[0], batch))
    return Benchmark(
        timings={name: tuple(values) for name, values in timings.items()},
        aa=tuple(aa),
        reliable=all(is_quiet(ratio) for ratio in aa),
        repetitions=repetitions,
    )


def is_quiet(aa: float) -> bool:
    """Whether an A/A ratio allows a comparison."""
    return AA_BOUNDS[0] <= aa <= AA_BOUNDS[1]


def feeds_of(rows: Rows, size: int, batch: Batch) -> list[Feeds]:
    """The inputs of a few calls of `size` rows."""
    return [rows.feeds(call * size, size, batch) for call in range(FEEDS)]


def ratio_of_rounds(one: Iterable[float], other: Iterable[float]) -> tuple[float, float, float]:
    """Median and quartiles of ``one / other`` round by round; a round's disturbance meets both."""
    ratios = np.array(list(one)) / np.maximum(np.array(list(other)), 1e-12)
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return float(middle), float(low), float(high)


def _load(baseline: Contender, contenders: tuple[Contender, ...]) -> list[Runner]:
    engine = OnnxRuntime()
    named = [(BASELINE, baseline), (TWIN, baseline), *((contender.id, contender) for contender in contenders)]
    return [Runner(name, engine.load(Path(model.model), model.graph_level)) for name, model in named]


def _measure(runners: list[Runner], feeds: list[Feeds], question: BenchmarkQuestion) -> tuple[float, int]:
    """Measure until A/A is quiet or repetitions end; returns A/A and the repetitions it took."""
    random = np.random.default_rng(question.seed)
    rounds, aa = question.rounds, 0.0
    for repetition in range(1, question.repeats + 1):
        for runner in runners:
            runner.prepare(feeds, question.round_seconds)
        runners[1].calls = runners[0].calls
        round_seconds = sum(runner.calls * runner.each for runner in runners)
        for _ in range(min(rounds, max(MIN_ROUNDS, int(question.seconds / round_seconds)))):
            for position in random.permutation(len(runners)):
                runners[int(position)].play(feeds)
        aa, _, _ = ratio_of_rounds(runners[0].cpu, runners[1].cpu)
        if is_quiet(aa):
            return aa, repetition
        rounds *= 2
    return aa, question.repeats


def _timing(runner: Runner, baseline: Runner, batch: int) -> Timing:
    ratio, low, high = ratio_of_rounds(baseline.cpu, runner.cpu)
    p50, p99 = np.quantile(runner.walls, (0.5, 0.99))
    return Timing(
        batch=batch,
        cpu_us=float(np.median(runner.cpu)) * 1e6,
        wall_p50_us=float(p50) * 1e6,
        wall_p99_us=float(p99) * 1e6,
        ratio=ratio,
        low=low,
        high=high,
    )
