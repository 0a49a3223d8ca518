"""A process is stopped only if it is the one that was started."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from e2e.cluster import processes
from e2e.cluster.processes import Identity


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(processes, "STATE", tmp_path)
    return tmp_path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_process_name_with_parentheses_does_not_confuse_the_fields() -> None:
    fields = ["S", *(str(number) for number in range(4, 53))]
    assert processes.parse_stat(f"12 (a) b (c)) {' '.join(fields)}") == ("S", 22)


def test_a_remembered_process_is_alive_until_it_ends(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    processes.remember("sleeper", sleeper.pid)
    assert processes.alive("sleeper") == sleeper.pid
    processes.stop("sleeper")
    assert sleeper.wait(timeout=5) != 0
    assert not list(state.iterdir())


def test_a_reused_pid_is_never_stopped(state: Path, sleeper: subprocess.Popen[bytes]) -> None:
    identity = Identity.of(sleeper.pid)
    assert identity is not None
    (state / "sleeper.pid").write_text(json.dumps(asdict(replace(identity, started=identity.started - 1))))
    assert processes.alive("sleeper") is None
    processes.stop("sleeper")
    assert sleeper.poll() is None


def test_a_damaged_record_means_that_nothing_runs(state: Path) -> None:
    (state / "sleeper.pid").write_text('{"pid": ')
    assert processes.alive("sleeper") is None


def test_a_process_that_is_gone_has_no_identity() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert Identity.of(child.pid) is None
    assert Identity.of(os.getpid()) is not None
