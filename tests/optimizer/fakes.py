"""A store in memory, a fetcher of local files and a sandbox in this process."""

import hashlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.contract.base import Message
from modelwright.contract.request import Data, Fetching, Location, OptimizeRequest, Store
from modelwright.errors import InputError
from modelwright.optimizer.bench import Effort
from modelwright.optimizer.ports import Ports
from modelwright.optimizer.sandbox import Crash
from modelwright.optimizer.tasks import Answer, Benchmark, BenchmarkQuestion, Question, Task, Timing, TransformQuestion

QUICK = Effort(rounds=5, round_seconds=0.001, final_rounds=7)


@dataclass
class MemoryStore:
    """Artifacts and journals in dicts."""

    artifacts: dict[str, tuple[bytes, dict[str, bytes]]] = field(
        default_factory=dict[str, tuple[bytes, dict[str, bytes]]]
    )
    keys: dict[str, str] = field(default_factory=dict[str, str])
    journals: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def find(self, key: str) -> str | None:
        return self.keys.get(key)

    def read_config(self, digest: str) -> bytes:
        return self.artifacts[digest][0]

    def read_file(self, digest: str, title: str) -> bytes:
        return self.artifacts[digest][1][title]

    def push(self, key: str, config: bytes, files: Mapping[str, Path]) -> str:
        contents = {title: path.read_bytes() for title, path in files.items()}
        digest = "sha256:" + hashlib.sha256(config + b"".join(contents.values())).hexdigest()
        self.artifacts[digest] = (config, contents)
        return self.keys.setdefault(key, digest)

    def load_journal(self, key: str) -> bytes | None:
        return self.journals.get(key)

    def save_journal(self, key: str, data: bytes) -> None:
        self.journals[key] = data


@dataclass(frozen=True)
class LocalFile:
    path: Path
    digest: str


def fetch(location: Location, dest: Path, fetching: Fetching, /) -> LocalFile:
    """The path of a ``file:`` URI, where it lies."""
    path = Path(location.uri.removeprefix("file://"))
    data = path.read_bytes() if path.is_file() else b""
    return LocalFile(path, "sha256:" + hashlib.sha256(data).hexdigest())


@dataclass
class InProcess:
    """Runs tasks here and now, and counts them: for tests of what happens around them.

    Attributes:
        calls: Names of the tasks, in order; a transform with its technique.
        scripted: Task name to what it answers instead of running.
        before: Called with each task's name before it runs; may raise what a test wants to see.
    """

    calls: list[str] = field(default_factory=list[str])
    scripted: dict[str, Callable[[Any], Message | Crash]] = field(
        default_factory=dict[str, Callable[[Any], Message | Crash]]
    )
    before: Callable[[str], None] = lambda _: None

    def call(self, task: Task[Question, Answer], question: Question, seconds: float) -> Answer | Crash:
        name = f"{task.name}:{question.step.label}" if isinstance(question, TransformQuestion) else task.name
        self.before(name)
        self.calls.append(name)
        module, _, function = task.target.partition(":")
        run = self.scripted.get(task.name) or getattr(
            importlib.import_module(f"modelwright.optimizer.{module}"), function
        )
        try:
            answer = run(task.question.model_validate_json(question.to_json()))
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - as the worker does
            return Crash(task.name, type(error).__name__, str(error))
        return answer if isinstance(answer, Crash) else task.answer.model_validate_json(answer.to_json())


def speeds(table: Mapping[str, float], aa: float = 1.0) -> Callable[[BenchmarkQuestion], Benchmark]:
    """A benchmark that gives each candidate the speed-up of the first entry that its id contains, else 1."""

    def timing(name: str, batch: int) -> Timing:
        ratio = next((speed for part, speed in table.items() if part in name), 1.0)
        cost = 1000.0 * batch / ratio
        return Timing(
            batch=batch, cpu_us=cost, wall_p50_us=cost, wall_p99_us=2 * cost, ratio=ratio, low=ratio * 0.99, high=ratio
        )

    def answer(question: BenchmarkQuestion) -> Benchmark:
        names = ["baseline", *(contender.id for contender in question.contenders)]
        table = {name: tuple(timing(name, batch) for batch in question.batch_sizes) for name in names}
        return Benchmark(timings=table, aa=tuple(aa for _ in question.batch_sizes), reliable=0.95 <= aa <= 1.05)

    return answer


def ports(folder: Path, store: MemoryStore, sandbox: InProcess | None = None) -> Ports:
    """Everything a run needs, without a network."""
    return Ports(
        open_store=lambda: store,
        fetch=fetch,
        folder=folder,
        open_sandbox=(lambda _: sandbox) if sandbox is not None else None,
    )


def table_at(path: Path, **columns: Any) -> Data:
    """A table on disk, as a request names it."""
    np.savez(path, allow_pickle=False, **columns)
    return Data(location=Location(uri=f"file://{path}"), max_samples=100_000)


def request_for(path: Path, **changes: object) -> OptimizeRequest:
    """A request for a file, small enough for a test."""
    fields: dict[str, object] = {
        "model": "sample",
        "key": "key-1",
        "source": Location(uri=f"file://{path}"),
        "store": Store(uri="file:///unused", namespace="tests"),
        "batch_sizes": (1, 8),
    }
    return OptimizeRequest.model_validate(fields | changes)
