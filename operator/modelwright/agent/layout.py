"""An OCI image layout on disk: the artifact store of the command line.

``oci-layout``, ``index.json`` with one entry a tag, and ``blobs/sha256/<hex>``; `oras`, `skopeo` and `crane`
read it.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from modelwright.agent.manifest import MEDIA_TYPE, Blob, hash_stream
from modelwright.contract import digest
from modelwright.errors import StoreError

REF_NAME = "org.opencontainers.image.ref.name"
_INDEX_MEDIA_TYPE = "application/vnd.oci.image.index.v1+json"


class Layout:
    """One folder; a lock file keeps two writers of the index apart."""

    def __init__(self, root: Path) -> None:
        """Create nothing yet.

        Args:
            root: Folder of one namespace.
        """
        self.name = str(root)
        self._root = root

    def manifest(self, reference: str) -> bytes | None:
        """Bytes of the manifest under a tag or digest, verified; None if there is none."""
        name = reference if reference.startswith(digest.PREFIX) else self._tags().get(reference)
        if name is None or not self._blob(name).exists():
            return None
        data = self._blob(name).read_bytes()
        if digest.of_bytes(data) != name:
            raise self._corrupt(name)
        return data

    def put_manifest(self, reference: str, data: bytes) -> None:
        """Store a manifest under a tag, replacing what the tag named."""
        with self._locked():
            self._put(reference, data)

    def put_first(self, reference: str, data: bytes) -> bytes:
        """Store a manifest under a tag that names none; the bytes of the one it names now."""
        with self._locked():
            found = self.manifest(reference)
            if found is None:
                self._put(reference, data)
            return found or data

    def read(self, blob: Blob) -> bytes:
        """A small blob, verified."""
        with self._open(blob) as stream:
            data = stream.read(blob.size + 1)
        if digest.of_bytes(data) != blob.digest:
            raise self._corrupt(blob.digest)
        return data

    def copy(self, blob: Blob, target: Path) -> None:
        """Write a blob to the new file `target`; what was written is what is verified."""
        with self._open(blob) as stream, target.open("xb") as out:
            shutil.copyfileobj(stream, out)
        with target.open("rb") as written:
            if hash_stream(written) != blob.digest:
                raise self._corrupt(blob.digest)

    def put_blob(self, blob: Blob, content: Path | bytes) -> None:
        """Store a blob, unless it is there."""
        target = self._blob(blob.digest)
        if target.exists() and target.stat().st_size == blob.size:
            return
        self._write(target, content)

    def _put(self, reference: str, data: bytes) -> None:
        blob = Blob(digest.of_bytes(data), len(data), MEDIA_TYPE)
        self.put_blob(blob, data)
        entries = [entry for entry in self._entries() if _tag(entry) != reference]
        named = {"mediaType": MEDIA_TYPE, "digest": blob.digest, "size": blob.size}
        entries.append({**named, "annotations": {REF_NAME: reference}})
        index = {"schemaVersion": 2, "mediaType": _INDEX_MEDIA_TYPE, "manifests": entries}
        self._write(self._root / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        self._write(self._root / "index.json", json.dumps(index, indent=1).encode())

    def _blob(self, name: str) -> Path:
        return self._root / "blobs" / "sha256" / name.removeprefix(digest.PREFIX)

    def _open(self, blob: Blob) -> BinaryIO:
        try:
            return self._blob(blob.digest).open("rb")
        except FileNotFoundError:
            raise self._corrupt(blob.digest) from None

    def _tags(self) -> dict[str, str]:
        return {_tag(entry): entry["digest"] for entry in self._entries()}

    def _entries(self) -> list[dict[str, Any]]:
        try:
            return json.loads((self._root / "index.json").read_bytes())["manifests"]
        except FileNotFoundError:
            return []

    @contextmanager
    def _locked(self) -> Generator[None]:
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, target: Path, content: Path | bytes) -> None:
        """Write `target` whole or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                if isinstance(content, bytes):
                    out.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, out)
            Path(name).chmod(0o644)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _corrupt(self, name: str) -> StoreError:
        return StoreError(
            "ArtifactFetchFailed",
            f"In {self.name}, {digest.short(name)} is missing or is not what its digest says.",
            "Remove the folder and optimize again.",
        )


def _tag(entry: dict[str, Any]) -> str:
    """Tag of an index entry; other tools may leave entries without one."""
    return entry.get("annotations", {}).get(REF_NAME, "")
