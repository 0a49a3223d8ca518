"""Putting sources where the cluster can fetch them: pushed to the registry, as `oras push` does."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oras.client  # pyright: ignore[reportMissingTypeStubs]

REPOSITORY = "e2e/sources"


@dataclass(frozen=True)
class Registry:
    """The registry that nodes and tests reach under the same address."""

    address: str
    insecure: bool = True

    def push(self, tag: str, files: Sequence[Path]) -> "Pushed":
        """Push files as one artifact, one layer a file, titled with its name."""
        target = f"{self.address}/{REPOSITORY}:{tag}"
        client: Any = oras.client.OrasClient(insecure=self.insecure)
        answer = client.push(target=target, files=list(map(str, files)), disable_path_validation=True, quiet=True)
        return Pushed(f"oci://{target}", answer.headers["Docker-Content-Digest"])


@dataclass(frozen=True)
class Pushed:
    """A source: where it is, and the digest that names it."""

    uri: str
    digest: str


def sha256(path: Path) -> str:
    """Digest of a file as `spec.model.digest` wants it."""
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
