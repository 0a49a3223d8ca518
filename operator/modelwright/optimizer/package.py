"""Lays the winner down as an artifact and pushes it under the request's key."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from modelwright.contract.artifact import Golden, Recommendation
from modelwright.optimizer.graph import files_of

MODEL: Final = "model"
GOLDEN: Final = "golden.json"
REPORT: Final = "report.json"


class ArtifactStore(Protocol):
    """Where artifacts live. Implemented by `modelwright.agent.store`."""

    def push(self, key: str, config: bytes, files: Mapping[str, Path]) -> str:
        """Store an artifact under a key that is written once; returns the digest the key names now."""
        ...


@dataclass(frozen=True)
class Parts:
    """What an artifact is made of.

    Attributes:
        model: The graph; weights beside it come along.
    """

    recommendation: Recommendation
    model: Path
    golden: Golden
    report: bytes


def served_files(model: Path) -> tuple[str, ...]:
    """Paths below ``model/``."""
    return tuple(file.name for file in files_of(model))


def push(store: ArtifactStore, key: str, parts: Parts, folder: Path) -> str:
    """Write ``golden.json`` and ``report.json`` into `folder`, then push all.

    Raises:
        StoreError: The store cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GOLDEN).write_text(parts.golden.to_json(), encoding="utf-8")
    (folder / REPORT).write_bytes(parts.report)
    files = {f"{MODEL}/{file.name}": file for file in files_of(parts.model)}
    files |= {GOLDEN: folder / GOLDEN, REPORT: folder / REPORT}
    return store.push(key, parts.recommendation.to_json().encode(), files)
