"""A comparison counts only if the baseline, compared with itself, comes out even."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelwright.optimizer import benchmark as bench
from modelwright.optimizer.rows import Rows
from modelwright.optimizer.tasks import Batch, BenchmarkQuestion, Contender
from tests.optimizer import samples


class Clock:
    """CPU time that passes only as sessions say."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeSession:
    """Takes as long as `costs` says, call by call."""

    def __init__(self, clock: Clock, costs: Iterator[float]) -> None:
        self.clock, self.costs, self.calls = clock, costs, 0

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        self.clock.now += next(self.costs)
        return {}


def steady(cost: float, seed: int = 0, noise: float = 0.0) -> Iterator[float]:
    random = np.random.default_rng(seed)
    while True:
        yield cost * (1 + noise * random.standard_normal())


def _next_of(sessions: Iterator[FakeSession]) -> Callable[..., FakeSession]:
    def load(*_: object) -> FakeSession:
        return next(sessions)

    return load


@pytest.fixture
def question(tmp_path: Path) -> BenchmarkQuestion:
    Rows({"x": np.zeros((16, 4), np.float32)}).save(tmp_path / "rows.npz")
    return BenchmarkQuestion(
        baseline=Contender(id="source", model="base"),
        contenders=(Contender(id="fast", model="fast"),),
        rows=str(tmp_path / "rows.npz"),
        batch=Batch(kind="dynamic"),
        batch_sizes=(1, 8),
        rounds=6,
    )


def run_with(monkeypatch: pytest.MonkeyPatch, question: BenchmarkQuestion, *costs: Iterator[float]) -> Any:
    clock = Clock()
    sessions = iter([FakeSession(clock, cost) for cost in costs])
    monkeypatch.setattr(bench.OnnxRuntime, "load", _next_of(sessions))
    monkeypatch.setattr(bench.time, "process_time", clock)
    monkeypatch.setattr(bench.time, "perf_counter", clock)
    return bench.benchmark(question)


def test_ratios_are_the_baseline_s_time_over_the_candidate_s(
    monkeypatch: pytest.MonkeyPatch, question: BenchmarkQuestion
) -> None:
    result = run_with(monkeypatch, question, steady(3e-3), steady(3e-3), steady(1e-3))
    assert result.reliable
    assert result.aa == pytest.approx((1.0, 1.0))
    timing = result.timings["fast"][0]
    assert (timing.batch, timing.ratio) == (1, pytest.approx(3.0))
    assert timing.cpu_us == pytest.approx(1000.0)
    assert [timing.batch for timing in result.timings[bench.BASELINE]] == [1, 8]
    assert bench.TWIN not in result.timings


def test_an_uneven_twin_voids_the_result_after_bounded_repetition(
    monkeypatch: pytest.MonkeyPatch, question: BenchmarkQuestion
) -> None:
    result = run_with(monkeypatch, question, steady(3e-3), steady(2e-3), steady(1e-3))
    assert not result.reliable
    assert result.repetitions == question.repeats
    assert result.aa[0] == pytest.approx(1.5)


def test_a_disturbance_that_passes_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, question: BenchmarkQuestion
) -> None:
    def disturbed() -> Iterator[float]:
        for _ in range(40):
            yield 6e-3
        yield from steady(3e-3)

    result = run_with(monkeypatch, question, disturbed(), steady(3e-3), steady(1e-3))
    assert result.reliable
    assert result.repetitions > 1
    assert result.timings["fast"][0].ratio == pytest.approx(3.0, rel=0.2)


def test_noise_that_meets_everybody_cancels(monkeypatch: pytest.MonkeyPatch, question: BenchmarkQuestion) -> None:
    costs = [steady(cost, seed, noise=0.02) for seed, cost in enumerate((3e-3, 3e-3, 1.5e-3))]
    result = run_with(monkeypatch, question.model_copy(update={"rounds": 20}), *costs)
    assert result.timings["fast"][0].ratio == pytest.approx(2.0, rel=0.05)
    assert result.timings["fast"][0].low <= result.timings["fast"][0].ratio <= result.timings["fast"][0].high


def test_slow_models_get_fewer_rounds(monkeypatch: pytest.MonkeyPatch, question: BenchmarkQuestion) -> None:
    slow = question.model_copy(update={"rounds": 1000, "seconds": 10.0, "batch_sizes": (1,)})
    clock = Clock()
    made = [FakeSession(clock, steady(0.5)) for _ in range(3)]
    waiting = iter(made)
    monkeypatch.setattr(bench.OnnxRuntime, "load", _next_of(waiting))
    monkeypatch.setattr(bench.time, "process_time", clock)
    monkeypatch.setattr(bench.time, "perf_counter", clock)
    bench.benchmark(slow)
    assert made[0].calls < 30


@pytest.mark.parametrize(("ratio", "quiet"), [(1.0, True), (0.95, True), (1.05, True), (0.949, False), (1.06, False)])
def test_the_bounds_of_a_quiet_machine(ratio: float, quiet: bool) -> None:
    assert bench.is_quiet(ratio) == quiet


def test_real_models_are_timed_at_every_batch_size(tmp_path: Path) -> None:
    small = samples.write(samples.mlp(32, 1), tmp_path / "small.onnx")
    large = samples.write(samples.mlp(1024, 3), tmp_path / "large.onnx")
    Rows({"x": np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32)}).save(tmp_path / "rows.npz")
    result = bench.benchmark(
        BenchmarkQuestion(
            baseline=Contender(id="source", model=str(large)),
            contenders=(Contender(id="small", model=str(small)),),
            rows=str(tmp_path / "rows.npz"),
            batch=Batch(kind="dynamic"),
            batch_sizes=(1, 4),
            rounds=5,
            round_seconds=0.002,
        )
    )
    # Two hundred times the work: true on any machine, however busy.
    assert all(timing.ratio > 5 for timing in result.timings["small"])
