"""A pytest plugin for long runs: says what a slow test is, and ends with the time table of the whole suite."""

import json
import os
import sys
import threading
import time
from collections.abc import Generator

import pytest

TIMES = "MODELWRIGHT_SUITE_TIMES"
"""Environment variable with the stages before the tests: JSON, pairs of name and seconds."""
SILENCE_SECONDS = 10.0


class Heartbeat:
    """Names the test at work whenever it has run for a while."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.test, self.since = "", time.monotonic()
        self._ended = threading.Event()

    def begin(self) -> None:
        """Start to watch."""
        threading.Thread(target=self._beat, daemon=True).start()

    def end(self) -> None:
        """Stop."""
        self._ended.set()

    def _beat(self) -> None:
        while not self._ended.wait(SILENCE_SECONDS):
            seconds = time.monotonic() - self.since
            if self.test and seconds >= SILENCE_SECONDS:
                # Past the capture, which replaces only `sys.stderr`.
                print(f"\n… {self.test} ({seconds:.0f} s)", file=sys.__stderr__, flush=True)


_heartbeat = Heartbeat()


def pytest_sessionstart() -> None:
    """Begin."""
    _heartbeat.started = time.monotonic()
    _heartbeat.begin()


def pytest_sessionfinish() -> None:
    """End."""
    _heartbeat.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Note which test is at work."""
    _heartbeat.test, _heartbeat.since = item.nodeid, time.monotonic()
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of stages."""
    stages: list[tuple[str, float]] = [*json.loads(os.environ.get(TIMES, "[]"))]
    stages.append(("tests and scenarios", time.monotonic() - _heartbeat.started))
    terminalreporter.section("stages")
    for name, seconds in [*stages, ("in all", sum(seconds for _, seconds in stages))]:
        terminalreporter.write_line(f"{name:<24} {seconds:8.1f} s")
