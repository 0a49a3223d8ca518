"""The breaker: an outage costs few requests, and its end is noticed by one."""

import pytest

from modelwright.cluster.gate import LONGEST_SECONDS, PROBE_SECONDS, Gate
from tests.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


@pytest.fixture
def gate(clock: FakeClock) -> Gate:
    return Gate(clock, jitter=lambda: 1.0)


def test_it_is_open_while_all_is_well(gate: Gate) -> None:
    assert [gate.wait() for _ in range(100)] == [0.0] * 100


def test_after_a_failure_one_request_probes(gate: Gate, clock: FakeClock) -> None:
    gate.failed()
    assert gate.wait() > 0
    clock.advance(gate.wait())
    assert gate.wait() == 0.0
    assert gate.wait() > 0
    gate.succeeded()
    assert [gate.wait() for _ in range(3)] == [0.0] * 3


def test_pauses_grow_and_are_capped(gate: Gate, clock: FakeClock) -> None:
    pauses: list[float] = []
    for _ in range(10):
        gate.failed()
        pauses.append(gate.wait())
        clock.advance(pauses[-1])
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_SECONDS


def test_a_retry_after_is_obeyed(gate: Gate, clock: FakeClock) -> None:
    gate.failed(retry_after=42.0)
    clock.advance(41.0)
    assert gate.wait() == pytest.approx(1.0)


def test_a_probe_that_never_answered_does_not_close_it_for_ever(gate: Gate, clock: FakeClock) -> None:
    gate.failed()
    clock.advance(1)
    assert gate.wait() == 0.0
    clock.advance(PROBE_SECONDS)
    assert gate.wait() == 0.0
