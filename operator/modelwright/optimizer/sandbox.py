"""Runs a task in a subprocess with a memory limit and a deadline.

A crash, a timeout and an out-of-memory kill are values (`Crash`), because they are expected of a model nobody has
checked yet. A refusal (`InputError`) is raised again in the parent. The child gets no environment but what Python and
the numeric libraries need. It runs as the Job's own user: this bounds what a model can break, not what code that got
control of the child could read.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from modelwright.errors import InputError
from modelwright.optimizer.tasks import Answer, Question, Task

WORKER: Final = "modelwright.optimizer.worker"
KEPT_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
TAIL_BYTES: Final = 400
MEMORY_WORDS: Final = (
    "bad_alloc",
    "MemoryError",
    "Failed to allocate memory",
    "bfc_arena",
    "mmap failed",
)


@dataclass(frozen=True)
class Limits:
    """Bounds of one task.

    Attributes:
        memory_bytes: Address space of the child.
        seconds: Wall time.
    """

    memory_bytes: int
    seconds: float


@dataclass(frozen=True)
class Crash:
    """A task that gave no answer.

    Attributes:
        task: Its name.
        error: ``Timeout``, ``OutOfMemory``, ``Signal<N>`` or the class of the exception.
        detail: One line: the exception's text or the end of its output.
    """

    task: str
    error: str
    detail: str

    def __str__(self) -> str:
        return f"{self.task}: {self.error}: {self.detail}" if self.detail else f"{self.task}: {self.error}"


class Sandbox(Protocol):
    """Where tasks run."""

    def call(self, task: Task[Question, Answer], question: Question, seconds: float) -> Answer | Crash:
        """Run `task` for at most `seconds`.

        Raises:
            InputError: What the user gave cannot work.
        """
        ...


@dataclass(frozen=True)
class Subprocess:
    """A fresh Python a task.

    Attributes:
        folder: Scratch space; the child's home and working folder.
        memory_bytes: Address space a child may use.
    """

    folder: Path
    memory_bytes: int

    def call(self, task: Task[Question, Answer], question: Question, seconds: float) -> Answer | Crash:
        """See `Sandbox.call`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{task.name}-") as scratch:
            place = Path(scratch)
            (place / "question.json").write_text(question.to_json(), encoding="utf-8")
            limits = Limits(self.memory_bytes, seconds)
            code, output = _spawn(task.target, place, limits)
            answer = place / "answer.json"
            reply: dict[str, Any] = json.loads(answer.read_bytes()) if answer.exists() else {}
        return read_reply(task, reply, code, output)


def is_out_of_memory(text: str) -> bool:
    """Whether an error's text says that memory was refused; the libraries have no common class for it."""
    return any(word in text for word in MEMORY_WORDS)


def _spawn(target: str, place: Path, limits: Limits) -> tuple[int | None, str]:
    """Exit code, None after a timeout, and the end of the child's output."""
    environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    environment |= {"HOME": str(place), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", WORKER, target, str(place), str(limits.memory_bytes)]
    with (place / "output").open("wb+") as output:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            code: int | None = child.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            # Also on SIGTERM of the Job: no grandchild may outlive it.
            _kill_group(child)
        output.seek(max(0, output.tell() - TAIL_BYTES))
        return code, output.read().decode(errors="replace")


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def read_reply(task: Task[Question, Answer], reply: Mapping[str, Any], code: int | None, output: str) -> Answer | Crash:
    """What a child's reply, exit code and last output mean.

    Args:
        task: That was asked.
        reply: Of the child; empty if it wrote none.
        code: Its exit code; None after a timeout.
        output: The end of what it printed.

    Raises:
        InputError: The child refused what the user gave.
    """
    if "answer" in reply:
        return task.answer.model_validate(reply["answer"])
    if "refused" in reply:
        raise InputError(**reply["refused"])
    if code is None:
        return Crash(task.name, "Timeout", "")
    tail = " ".join(output.split())[-TAIL_BYTES:]
    detail = str(reply.get("detail", tail))
    if is_out_of_memory(detail) or code == -signal.SIGKILL:
        return Crash(task.name, "OutOfMemory", detail)
    if "error" in reply:
        return Crash(task.name, str(reply["error"]), detail)
    return Crash(task.name, f"Signal{-code}" if code < 0 else f"Exit{code}", tail)
