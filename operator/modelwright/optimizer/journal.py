"""What a run has finished so far, kept in the store so that a killed Job goes on where it was.

Only results are kept, never models: a model is made again from its steps, which are deterministic, and only if it is
needed. A journal of another machine or another library version is not continued, because times would not compare.
"""

import json
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from modelwright.contract.base import Message
from modelwright.errors import StoreError
from modelwright.optimizer.host import Host

VERSION: Final = 1

Answer = TypeVar("Answer", bound=Message)


def _always(_: object) -> bool:
    return True


class JournalStore(Protocol):
    """Where journals live."""

    def load_journal(self, key: str) -> bytes | None:
        """The journal of an unfinished key, if there is one."""
        ...

    def save_journal(self, key: str, data: bytes) -> None:
        """Keep a journal."""
        ...


class Journal:
    """Results by name.

    Attributes:
        reused: How many results were found instead of made.
        fault: Why the journal could not be kept, if it could not; the run itself goes on.
    """

    def __init__(self, store: JournalStore, key: str, host: Host) -> None:
        self._store, self._key = store, key
        self._identity = {"version": VERSION, "host": json.loads(host.to_json())}
        self.reused = 0
        self.fault = ""
        self._items: dict[str, Any] = self._load()

    def once(
        self, name: str, kind: type[Answer], make: Callable[[], Answer], is_worth: Callable[[Answer], bool] = _always
    ) -> Answer:
        """The recorded result called `name`, or the one that `make` gives now, recorded if it is worth it."""
        if name in self._items:
            self.reused += 1
            return kind.model_validate(self._items[name])
        answer = make()
        if not is_worth(answer):
            return answer
        self._items[name] = json.loads(answer.to_json())
        self._save()
        return answer

    def _load(self) -> dict[str, Any]:
        try:
            data = self._store.load_journal(self._key)
        except StoreError as error:
            self.fault = str(error)
            return {}
        if data is None:
            return {}
        try:
            document: dict[str, Any] = json.loads(data)
        except ValueError:
            return {}  # half written by a killed Job
        return document.get("items", {}) if document.get("identity") == self._identity else {}

    def _save(self) -> None:
        data = json.dumps({"identity": self._identity, "items": self._items}, separators=(",", ":")).encode()
        try:
            self._store.save_journal(self._key, data)
        except StoreError as error:
            # Without a journal a kill costs time, nothing else; the run is worth more than its insurance.
            self.fault = str(error)
