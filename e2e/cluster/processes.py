"""Long-running processes of ours: started detached, remembered by pid and start time, stopped only if the same."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from e2e.cluster.paths import LOGS, STATE


@dataclass(frozen=True)
class Identity:
    """A process beyond doubt: pids are reused, pids with their start time (and boot) are not."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Read a live process's identity; None for one that is gone or a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, started = parse_stat(stat)
        return None if state == "Z" else cls(pid, started, boot)


def parse_stat(stat: str) -> tuple[str, int]:
    """Take state and start time from /proc/PID/stat, whose second field may hold spaces and parentheses."""
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _record(name: str) -> Path:
    return STATE / f"{name}.pid"


def remember(name: str, pid: int) -> None:
    """Write down which process carries this name, in one step, so that a kill leaves no half file."""
    identity = Identity.of(pid)
    if identity is None:
        raise ProcessLookupError(f"{name} (pid {pid}) is already gone")
    draft = _record(name).with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(identity)))
    draft.replace(_record(name))


def alive(name: str) -> int | None:
    """The pid of the process of this name, if it is still the one that we started."""
    try:
        known = Identity(**json.loads(_record(name).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return known.pid if Identity.of(known.pid) == known else None


def spawn(name: str, command: Sequence[str | Path]) -> int:
    """Start a process in a session of its own, with its output in LOGS/<name>.log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    return child.pid


def stop(name: str, grace: float = 5) -> None:
    """Ask the process of this name to end, insist after the grace, and forget it."""
    if pid := alive(name):
        _signal(pid, signal.SIGTERM)
        if not wait_until(lambda: alive(name) is None, grace):
            _signal(pid, signal.SIGKILL)
            wait_until(lambda: alive(name) is None, grace)
    _record(name).unlink(missing_ok=True)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_until(condition: Callable[[], bool], timeout: float, pause: float = 0.05) -> bool:
    """Poll until the condition holds; False once the time is up."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
