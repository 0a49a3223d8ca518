"""Running commands so that a failure says what ran, why it failed and what to do about it."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_TAIL_LINES = 15


class ClusterError(Exception):
    """Something that a person has to know about: the first cause, and the remedy if one is known."""

    def __init__(self, cause: str, remedy: str = "", log: Path | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.log = log


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    remedy: str = "",
    timeout: float | None = None,
) -> str:
    """Run a command to its end and return its standard output; anything but exit 0 is a ClusterError."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as missing:
        raise ClusterError(f"{words[0]}: not found", remedy) from missing
    except subprocess.TimeoutExpired as late:
        raise ClusterError(f"{summary(words)}: no end after {timeout:.0f} s", remedy) from late
    if done.returncode != 0:
        said = tail_of(done.stderr.strip() or done.stdout.strip())
        raise ClusterError(f"{summary(words)}: exit {done.returncode}\n{said}", remedy)
    return done.stdout


def succeeds(command: Sequence[str | Path], timeout: float = 30) -> bool:
    """Whether a command exits 0; for questions, where a failure is an answer."""
    try:
        run(command, timeout=timeout)
    except ClusterError:
        return False
    return True


def summary(words: Sequence[str]) -> str:
    """A command short enough for one line of an error."""
    line = " ".join(words)
    return line if len(line) <= 160 else line[:157] + "..."


def tail_of(text: str, lines: int = _TAIL_LINES) -> str:
    """The last lines, where the cause usually stands."""
    return "\n".join(text.splitlines()[-lines:])


def tail_of_file(path: Path, lines: int = _TAIL_LINES) -> str:
    """The end of a log, or a line that says there is none."""
    try:
        return tail_of(path.read_text(errors="replace"), lines)
    except OSError as error:
        return f"({path}: {error.strerror})"
