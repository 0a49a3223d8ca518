"""A watch as kubectl shows it: every change of every object of a kind in one namespace, with the time it was seen."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Self

from e2e.scenarios.kube import Kube, Obj


@dataclass(frozen=True)
class Change:
    """One event of the watch. `at` is monotonic."""

    at: float
    type: str
    object: Obj


@dataclass
class Watch:
    """Follows a kind until closed; a watch that the server ends is taken up again."""

    kube: Kube
    kind: str
    namespace: str
    changes: list[Change] = field(default_factory=list[Change])
    _latest: dict[str, Obj] = field(default_factory=dict[str, Obj])
    _news: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False
    _process: "subprocess.Popen[str] | None" = None

    def __enter__(self) -> Self:
        """Start following."""
        threading.Thread(target=self._follow, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop following."""
        self._closed = True
        if self._process:
            self._process.kill()

    def latest(self, name: str) -> Obj | None:
        """The object as it was seen last; None before it exists and once it is gone."""
        return self._latest.get(name)

    def of(self, name: str) -> list[Change]:
        """All that was seen of one object."""
        return [change for change in list(self.changes) if change.object["metadata"]["name"] == name]

    def until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until `condition` holds, asked again at every change; whether it did within `timeout` seconds."""
        end = time.monotonic() + timeout
        with self._news:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._news.wait(min(left, 5.0))
        return True

    def _follow(self) -> None:
        words = ("get", self.kind, f"--namespace={self.namespace}", "--watch", "--output-watch-events", "-o", "json")
        while not self._closed:
            self._process = subprocess.Popen(
                self.kube.command(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert self._process.stdout
            for event in _documents(self._process.stdout):
                self._take(event)
            self._process.wait()
            time.sleep(0.2)

    def _take(self, event: dict[str, Any]) -> None:
        found: Obj = event["object"]
        if event["type"] not in {"ADDED", "MODIFIED", "DELETED"}:
            return
        name = found["metadata"]["name"]
        with self._news:
            self.changes.append(Change(time.monotonic(), event["type"], found))
            if event["type"] == "DELETED":
                self._latest.pop(name, None)
            else:
                self._latest[name] = found
            self._news.notify_all()


def _documents(stream: IO[str]) -> Iterator[dict[str, Any]]:
    """JSON documents one after the other: one a line, or printed over many lines that end with a lone brace."""
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if line.startswith(("{", "}")) and line.rstrip().endswith("}"):
            yield json.loads("".join(lines))
            lines = []
