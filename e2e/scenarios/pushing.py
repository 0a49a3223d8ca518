"""Putting sources where the cluster can fetch them: pushed to the registry, as `oras push` does."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oras.client  # pyright: ignore[reportMissingTypeStubs]

from modelwright.agent.manifest import Blob
from modelwright.agent.registry import STORE_WORDING, Repository
from modelwright.agent.secrets import Secret
from modelwright.contract import digest

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


@dataclass(frozen=True)
class Image:
    """A container image in the registry, changed without a build: one more layer, which is how images change."""

    registry: Registry
    repository: str

    def without(self, reference: str, path: str, tag: str) -> str:
        """Push the image `reference` (tag or digest) as `tag`, with `path` removed; returns its whole name."""
        store = Repository(
            self.registry.address,
            self.repository,
            insecure=self.registry.insecure,
            timeout=60,
            secret=Secret(),
            wording=STORE_WORDING,
        )
        manifest = json.loads(store.manifest(reference) or b"{}")
        described = manifest["config"]
        config = json.loads(store.read(Blob(described["digest"], described["size"])))
        layer = _whiteout(path)
        config["rootfs"]["diff_ids"].append(digest.of_bytes(layer))
        config.setdefault("history", []).append({"created_by": f"rm -r {path}"})
        manifest["config"] = _put(store, json.dumps(config).encode(), described["mediaType"])
        manifest["layers"].append(_put(store, layer, "application/vnd.oci.image.layer.v1.tar"))
        store.put_manifest(tag, json.dumps(manifest).encode())
        return f"{self.registry.address}/{self.repository}:{tag}"


def _put(store: Repository, data: bytes, media_type: str) -> dict[str, Any]:
    blob = Blob(digest.of_bytes(data), len(data), media_type)
    store.put_blob(blob, data)
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _whiteout(path: str) -> bytes:
    """A layer that removes a file or folder."""
    folder, _, name = path.strip("/").rpartition("/")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        layer.addfile(tarfile.TarInfo(f"{folder}/.wh.{name}"))
    return buffer.getvalue()
