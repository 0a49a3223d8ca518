"""What a person sees: one line per stage with the time since the start, and a sign of life every ten seconds."""

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from e2e.cluster.shell import ClusterError, tail_of_file

_HEARTBEAT_S = 10.0


class Stages:
    """Prints the stages of one command. Goes to standard error: standard output belongs to answers."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._detail = ""

    @property
    def elapsed(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        print(stamp(self.elapsed, text), file=sys.stderr, flush=True)

    def detail(self, text: str) -> None:
        """Name what the stage is busy with; shown by the next heartbeat."""
        self._detail = text

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Show that a stage begins, lives and ends; an error passes through, naming its stage."""
        began = time.monotonic()
        self._detail = ""
        self.say(f"{name} …")
        ended = threading.Event()
        pulse = threading.Thread(target=self._pulse, args=(name, began, ended), daemon=True)
        pulse.start()
        try:
            yield
        except ClusterError:
            self.say(f"{name}: FAILED after {time.monotonic() - began:.1f} s")
            raise
        finally:
            ended.set()
            pulse.join()
        took = time.monotonic() - began
        if took >= 1:
            self.say(f"{name}: done in {took:.1f} s")

    def _pulse(self, name: str, began: float, ended: threading.Event) -> None:
        while not ended.wait(_HEARTBEAT_S):
            detail = f": {self._detail}" if self._detail else ""
            self.say(f"{name} … still at it after {time.monotonic() - began:.0f} s{detail}")


def stamp(elapsed: float, text: str) -> str:
    """Put the time before a line."""
    return f"[{elapsed:6.1f}s] {text}"


def explain(error: ClusterError) -> str:
    """A failure in full: cause, the end of the log that tells more, remedy."""
    parts = [f"error: {error.cause}"]
    if error.log is not None:
        parts.append(f"the end of {error.log}:\n{tail_of_file(error.log)}")
    if error.remedy:
        parts.append(f"remedy: {error.remedy}")
    return "\n".join(parts)
