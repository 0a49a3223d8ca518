"""The queue: no key is lost, none runs twice at a time, none runs for no reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelwright.cluster.backoff import Backoff
from modelwright.runtime.queue import KeyedQueue, Priority
from tests.clock import FakeClock

KEYS = st.sampled_from("abcde")
PRIORITIES = st.sampled_from(Priority)
SECONDS = st.floats(0, 100, allow_nan=False)
STEADY = Backoff(1.0, 60.0, jitter=lambda: 1.0)


class Believed:
    """What an observer of the queue's callers knows of one key."""

    def agree(self, at: float) -> None:
        """Only the earliest appointment counts: the pass that it brings decides anew when to come back."""
        self.appointment = at if self.appointment is None else min(self.appointment, at)

    def due(self, now: float) -> bool:
        return self.appointment is not None and self.appointment <= now

    def __init__(self) -> None:
        self.wanted: Priority | None = None
        self.appointment: float | None = None
        self.running = False


class QueueMachine(RuleBasedStateMachine):
    """Callers do as they please; a naive model says what must come out."""

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        self.wakes = 0
        self.queue: KeyedQueue[str] = KeyedQueue(self.clock, self._woken)
        self.believed = {key: Believed() for key in "abcde"}

    def _woken(self) -> None:
        self.wakes += 1

    def _ripe(self) -> dict[str, Priority]:
        """Keys that may be handed out now, and how urgently."""
        found: dict[str, Priority] = {}
        for key, believed in self.believed.items():
            wishes = [believed.wanted] if believed.wanted is not None else []
            wishes += [Priority.EVENT] if believed.due(self.clock.now) else []
            if wishes and not believed.running:
                found[key] = min(wishes)
        return found

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: Priority) -> None:
        before, believed = self.wakes, self.believed[key]
        news = believed.wanted is None or priority < believed.wanted
        believed.wanted = priority if believed.wanted is None else min(believed.wanted, priority)
        self.queue.add(key, priority)
        assert not news or believed.running or self.wakes > before or key in self._ripe()

    @rule(key=KEYS, seconds=SECONDS)
    def add_after(self, key: str, seconds: float) -> None:
        self.believed[key].agree(self.clock.now + seconds)
        self.queue.add_after(key, seconds)

    @rule(key=KEYS)
    def retry(self, key: str) -> None:
        delay = self.queue.retry(key, STEADY)
        self.believed[key].agree(self.clock.now + delay)

    @rule(key=KEYS)
    def succeed(self, key: str) -> None:
        self.queue.succeeded(key)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def take(self) -> None:
        ripe = self._ripe()
        handed = self.queue.take()
        for believed in self.believed.values():
            if believed.due(self.clock.now):
                believed.appointment = None
                believed.wanted = min(Priority.EVENT, Priority.RESYNC if believed.wanted is None else believed.wanted)
        if not ripe:
            assert handed is None
            return
        assert handed is not None, f"{ripe} wait and nothing was handed out"
        assert handed.key in ripe, "handed out without a reason, or twice at a time"
        assert ripe[handed.key] == min(ripe.values()), "something more urgent waits"
        assert handed.waited >= 0
        believed = self.believed[handed.key]
        believed.wanted, believed.appointment, believed.running = None, None, True

    @precondition(lambda self: any(b.running for b in self.believed.values()))
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([k for k, b in self.believed.items() if b.running]))
        self.queue.done(key)
        self.believed[key].running = False

    @invariant()
    def the_next_appointment_is_known(self) -> None:
        if not hasattr(self, "queue"):
            return
        due = self.queue.next_due()
        future = [b.appointment for b in self.believed.values() if b.appointment is not None]
        if future:
            assert due is not None
            assert due <= min(future)

    @invariant()
    def the_depth_is_the_number_of_keys_that_wait(self) -> None:
        if hasattr(self, "queue"):
            assert len(self.queue) >= sum(b.wanted is not None for b in self.believed.values())

    def _drain(self) -> None:
        while handed := self.queue.take():
            believed = self.believed[handed.key]
            assert not believed.running
            believed.wanted = believed.appointment = None
            self.queue.done(handed.key)

    def teardown(self) -> None:
        """Let everything end: then nothing waits, nothing is remembered, and each wish was granted."""
        self.clock.advance(1000)
        self._drain()
        for key, believed in self.believed.items():
            if believed.running:
                self.queue.done(key)
                believed.running = False
        self._drain()
        assert not [k for k, b in self.believed.items() if b.wanted is not None or b.appointment is not None]
        assert len(self.queue) == 0
        assert self.queue.next_due() is None
        for key in self.believed:
            self.queue.succeeded(key)
        assert self.queue.remembered == 0


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> KeyedQueue[str]:
    return KeyedQueue(clock)


def keys_of(queue: KeyedQueue[str]) -> list[str]:
    handed: list[str] = []
    while one := queue.take():
        handed.append(one.key)
    return handed


@given(st.lists(st.tuples(KEYS, PRIORITIES)))
def test_a_burst_is_handed_out_once_per_key_by_urgency_then_by_age(adds: list[tuple[str, Priority]]) -> None:
    queue: KeyedQueue[str] = KeyedQueue(FakeClock())
    lined_up: dict[str, tuple[Priority, int]] = {}
    for turn, (key, priority) in enumerate(adds):
        queue.add(key, priority)
        if key not in lined_up or priority < lined_up[key][0]:
            lined_up[key] = (priority, turn)
    assert keys_of(queue) == sorted(lined_up, key=lambda key: lined_up[key])


def test_a_key_added_while_it_runs_runs_again(queue: KeyedQueue[str]) -> None:
    queue.add("a")
    queue.take()
    queue.add("a")
    assert queue.take() is None
    queue.done("a")
    assert keys_of(queue) == ["a"]


def test_a_pass_makes_earlier_appointments_obsolete(queue: KeyedQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 10)
    queue.add("a")
    queue.take()
    queue.done("a")
    clock.advance(60)
    assert queue.take() is None
    assert queue.next_due() is None


def test_an_appointment_made_during_a_pass_is_kept(queue: KeyedQueue[str], clock: FakeClock) -> None:
    queue.add("a")
    queue.take()
    queue.add_after("a", 10)
    queue.done("a")
    assert queue.take() is None
    clock.advance(10)
    assert keys_of(queue) == ["a"]


def test_the_earliest_appointment_wins(queue: KeyedQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 30)
    queue.add_after("a", 5)
    queue.add_after("a", 60)
    assert queue.next_due() == clock.now + 5


def test_failures_back_off_and_success_forgets_them(queue: KeyedQueue[str]) -> None:
    assert [queue.retry("a", STEADY) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    queue.succeeded("a")
    assert queue.retry("a", STEADY) == 1


def test_a_servers_retry_after_is_not_undercut(queue: KeyedQueue[str]) -> None:
    assert queue.retry("a", STEADY, at_least=7.5) == 7.5


def test_one_key_that_fails_delays_no_other(queue: KeyedQueue[str]) -> None:
    queue.retry("a", STEADY)
    queue.add("b")
    assert keys_of(queue) == ["b"]


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 1000))
def test_back_off_is_between_half_and_the_whole_and_capped(jitter: float, failures: int) -> None:
    backoff = Backoff(0.5, 30.0, jitter=lambda: jitter)
    whole = min(30.0, 0.5 * 2.0 ** min(failures - 1, 32))
    assert whole / 2 <= backoff.delay(failures) <= whole
