"""What a run needs from outside, as the optimizer sees it. Implemented by `modelwright.agent`, or by a test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelwright.contract.request import Fetching, Location
from modelwright.optimizer.sandbox import Sandbox


class Fetched(Protocol):
    """What was fetched: a file or a folder, and its digest."""

    @property
    def path(self) -> Path:
        """Where it lies now."""
        ...

    @property
    def digest(self) -> str:
        """Of what was fetched."""
        ...


class Fetch(Protocol):
    """`modelwright.agent.sources.fetch`, its Secret already bound."""

    def __call__(self, location: Location, dest: Path, fetching: Fetching, /) -> Fetched:
        """Fetch into `dest`, verified against the location's digest.

        Raises:
            StoreError: SourceNotFound, SourceAccessDenied, SourceUnreachable.
            InputError: SourceDigestMismatch, SecretMissing.
        """
        ...


class Store(Protocol):
    """`modelwright.agent.store.ArtifactStore`, as far as a run needs it."""

    def find(self, key: str) -> str | None:
        """Digest of a finished key."""
        ...

    def read_config(self, digest: str) -> bytes:
        """The `Recommendation` of an artifact."""
        ...

    def read_file(self, digest: str, title: str) -> bytes:
        """One small file of an artifact."""
        ...

    def push(self, key: str, config: bytes, files: Mapping[str, Path]) -> str:
        """Store an artifact under a key."""
        ...

    def load_journal(self, key: str) -> bytes | None:
        """Of an unfinished key."""
        ...

    def save_journal(self, key: str, data: bytes) -> None:
        """Of an unfinished key."""
        ...


@dataclass(frozen=True)
class Ports:
    """All of it.

    Attributes:
        open_store: Called once; a closure over the request's store and its Secret.
        fetch: For source and data.
        open_sandbox: Makes the sandbox in a scratch folder; None takes a subprocess with this container's memory.
        folder: Scratch space of the run.
    """

    open_store: Callable[[], Store]
    fetch: Fetch
    folder: Path
    open_sandbox: Callable[[Path], Sandbox] | None = None
