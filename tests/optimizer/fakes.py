"""A store in memory, a fetcher of local files and a sandbox in this process."""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelwright.contract.request import Fetching, Location, OptimizeRequest, Store
from modelwright.errors import InputError
from modelwright.optimizer.bench import Effort
from modelwright.optimizer.ports import Ports
from modelwright.optimizer.sandbox import Crash
from modelwright.optimizer.tasks import Answer, Question, Task

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
    """Runs tasks here and now, and counts them: for tests of what happens around them."""

    calls: list[str] = field(default_factory=list[str])

    def call(self, task: Task[Question, Answer], question: Question, seconds: float) -> Answer | Crash:
        self.calls.append(task.name)
        module, _, function = task.target.partition(":")
        run = getattr(importlib.import_module(f"modelwright.optimizer.{module}"), function)
        try:
            answer = run(task.question.model_validate_json(question.to_json()))
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - as the worker does
            return Crash(task.name, type(error).__name__, str(error))
        return task.answer.model_validate_json(answer.to_json())


def ports(folder: Path, store: MemoryStore, sandbox: InProcess | None = None) -> Ports:
    """Everything a run needs, without a network."""
    return Ports(
        open_store=lambda: store,
        fetch=fetch,
        folder=folder,
        open_sandbox=(lambda _: sandbox) if sandbox is not None else None,
    )


def request_for(source: Path, **changes: object) -> OptimizeRequest:
    """A request for a file, small enough for a test."""
    fields: dict[str, object] = {
        "model": "sample",
        "key": "key-1",
        "source": Location(uri=f"file://{source}"),
        "store": Store(uri="file:///unused", namespace="tests"),
        "batch_sizes": (1, 8),
    }
    return OptimizeRequest.model_validate(fields | changes)
