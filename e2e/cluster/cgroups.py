"""The cgroups (v1) under which everything of the cluster runs: made first, emptied and removed last."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from e2e.cluster.topology import CGROUP_ROOT

_MOUNT = Path("/sys/fs/cgroup")
# Single processes of the host compete with the whole cluster as equals; four shares keep it responsive.
_CPU_SHARES = "4096"


def hierarchies() -> list[Path]:
    """The mounted hierarchies: one per v1 controller, and the empty unified one that runc fills in as well."""
    return [path for path in sorted(_MOUNT.iterdir()) if (path / "cgroup.procs").exists()]


def make(cgroup: str) -> None:
    """Make a cgroup in every hierarchy; a cpuset is useless until it has CPUs and memory nodes."""
    for hierarchy in hierarchies():
        path = hierarchy
        for part in Path(cgroup).parts:
            parent, path = path, path / part
            path.mkdir(exist_ok=True)
            if hierarchy.name == "cpuset":
                for setting in ("cpuset.cpus", "cpuset.mems"):
                    (path / setting).write_text((parent / setting).read_text())
    shares = _MOUNT / "cpu" / CGROUP_ROOT / "cpu.shares"
    if shares.exists():
        shares.write_text(_CPU_SHARES)


def within(cgroup: str, command: Sequence[str | Path]) -> list[str]:
    """Turn a command into one that runs there, not in the cgroups of whoever runs this: those may be limited or killed.

    A shell moves itself and then becomes the command: a program with threads, such as this one, cannot do that safely
    between fork and exec.
    """
    move = 'until [ "$1" = -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'
    entrances = [str(hierarchy / cgroup / "cgroup.procs") for hierarchy in hierarchies()]
    return ["/bin/sh", "-c", move, "within", *entrances, "--", *(str(word) for word in command)]


def members(cgroup: str) -> set[int]:
    """Every process at or below a cgroup, in any hierarchy."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for procs in (hierarchy / cgroup).rglob("cgroup.procs"):
            try:
                found |= {int(pid) for pid in procs.read_text().split()}
            except OSError:
                continue
    return found


def is_empty(cgroup: str) -> bool:
    """Whether no process is left there."""
    return not members(cgroup)


def kill_all(cgroup: str) -> None:
    """Kill what is left in a cgroup of ours: only the cluster puts processes there."""
    for pid in members(cgroup) - {os.getpid()}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def remove(cgroup: str, patience: float = 5) -> None:
    """Remove a cgroup and all below it; the kernel refuses for a moment while the last processes end."""
    deadline = time.monotonic() + patience
    for hierarchy in hierarchies():
        top = hierarchy / cgroup
        while top.exists():
            for path in sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True):
                _try_rmdir(path)
            _try_rmdir(top)
            if not top.exists() or time.monotonic() > deadline:
                break
            kill_all(cgroup)
            time.sleep(0.05)


def _try_rmdir(path: Path) -> None:
    with suppress(OSError):
        path.rmdir()
