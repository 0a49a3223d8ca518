"""Workers: bounded, one pass per key at a time, nothing lost, an orderly end."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.cluster.kinds import Key
from modelwright.runtime.workers import Workers
from tests.cluster.scripted import until

KEYS = [Key("n", name) for name in "abcdef"]


class Meter:
    def waited(self, seconds: float) -> None:
        assert seconds >= 0

    def depth(self, keys: int) -> None:
        assert keys >= 0


class Works:
    """Counts passes, and holds them until they may end."""

    def __init__(self, *, hold: bool = False) -> None:
        self.passes: Counter[Key] = Counter()
        self.running: Counter[Key] = Counter()
        self.most = 0
        self.may_end = asyncio.Event()
        if not hold:
            self.may_end.set()

    async def __call__(self, key: Key) -> None:
        self.passes[key] += 1
        self.running[key] += 1
        assert self.running[key] == 1, "twice at a time"
        self.most = max(self.most, self.running.total())
        try:
            await asyncio.sleep(0)
            await self.may_end.wait()
        finally:
            self.running[key] -= 1


async def test_no_more_than_so_many_at_a_time_and_all_in_the_end() -> None:
    works = Works(hold=True)
    workers = Workers(works, 3, Meter())
    running = asyncio.create_task(workers.run())
    for key in KEYS:
        workers.queue.add(key)
    await until(lambda: works.running.total() == 3)
    works.may_end.set()
    await until(lambda: set(works.passes) == set(KEYS))
    assert works.most == 3
    await workers.stop(1)
    await running


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3)), max_size=40), st.integers(1, 4))
def test_the_last_wish_for_a_key_is_always_granted(wishes: list[tuple[Key, int]], count: int) -> None:
    async def play() -> None:
        seen: Counter[Key] = Counter()
        wanted: Counter[Key] = Counter()

        async def work(key: Key) -> None:
            found = wanted[key]
            await asyncio.sleep(0)
            seen[key] = found

        workers = Workers(work, count, Meter())
        running = asyncio.create_task(workers.run())
        for key, pauses in wishes:
            wanted[key] += 1
            workers.queue.add(key)
            for _ in range(pauses):
                await asyncio.sleep(0)
        await until(lambda: seen == wanted)
        await workers.stop(1)
        await running

    asyncio.run(play())


async def test_an_appointment_wakes_them() -> None:
    works = Works()
    workers = Workers(works, 1, Meter())
    running = asyncio.create_task(workers.run())
    await asyncio.sleep(0)
    workers.queue.add_after(KEYS[0], 0.02)
    await until(lambda: works.passes[KEYS[0]] == 1)
    await workers.stop(1)
    await running


async def test_a_pass_that_raises_ends_no_worker() -> None:
    async def work(key: Key) -> None:
        seen.append(key)
        if len(seen) == 1:
            raise RuntimeError("a bug")

    seen: list[Key] = []
    workers = Workers(work, 1, Meter())
    running = asyncio.create_task(workers.run())
    workers.queue.add(KEYS[0])
    workers.queue.add(KEYS[1])
    await until(lambda: len(seen) == 2)
    await workers.stop(1)
    await running


async def test_stopping_takes_no_new_key_and_lets_a_running_pass_end() -> None:
    works = Works(hold=True)
    workers = Workers(works, 1, Meter())
    running = asyncio.create_task(workers.run())
    workers.queue.add(KEYS[0])
    workers.queue.add(KEYS[1])
    await until(lambda: works.running.total() == 1)
    stopping = asyncio.create_task(workers.stop(10))
    await running
    works.may_end.set()
    await stopping
    assert works.passes == {KEYS[0]: 1}


async def test_a_pass_that_does_not_end_is_cancelled() -> None:
    works = Works(hold=True)
    workers = Workers(works, 1, Meter())
    running = asyncio.create_task(workers.run())
    workers.queue.add(KEYS[0])
    await until(lambda: works.running.total() == 1)
    await workers.stop(0.01)
    assert works.running.total() == 0
    await running
