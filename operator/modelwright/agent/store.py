"""The artifact store: an OCI registry, or an OCI image layout on disk for the CLI.

Both hold the same bytes under the same names (see `modelwright.contract.artifact`). An artifact is immutable;
what moves is tags. ``key-<hex>`` is written once: who comes second with the same key gets the first one's
digest. A registry has no compare-and-set, so two Jobs that finish within the same moment may each write the
tag; both artifacts stay whole and named by a tag of their own (``artifact-<hex>``), so that no clean-up of
untagged manifests takes the loser from under a revision that serves it.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from modelwright.agent import manifest as manifests
from modelwright.agent.locations import is_safe_relative, redacted
from modelwright.agent.manifest import Blob, Manifest
from modelwright.contract import artifact, digest
from modelwright.contract.request import Store
from modelwright.errors import InputError, StoreError

JOURNAL_TITLE = "journal"
_TAG_PART = re.compile(r"[A-Za-z0-9._-]{1,110}")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class ArtifactStore(Protocol):
    """Where artifacts and journals live. Every read is verified against its digest.

    All methods raise StoreError: StoreUnavailable when the store does not answer (retriable) or refuses the
        login, ArtifactFetchFailed when content is missing or is not what its digest says.
    """

    def find(self, key: str) -> str | None:
        """Digest of the artifact that an optimization key made, or None."""
        ...

    def read_config(self, digest: str) -> bytes:
        """The `Recommendation` of an artifact, as JSON."""
        ...

    def read_file(self, digest: str, title: str) -> bytes:
        """One small file of an artifact (``report.json``)."""
        ...

    def pull(self, digest: str, dest: Path) -> Manifest:
        """Lay all files of an artifact down as the new folder `dest`: whole and verified, or not at all."""
        ...

    def push(self, key: str, config: bytes, files: Mapping[str, Path]) -> str:
        """Store an artifact under a key.

        Args:
            key: Optimization key. If it has an artifact already, that one stays.
            config: A `Recommendation` as JSON.
            files: Title (``model/model.onnx``) to file.

        Returns:
            Digest of the artifact that the key names now.
        """
        ...

    def load_journal(self, key: str) -> bytes | None:
        """The journal of an unfinished optimization, or None."""
        ...

    def save_journal(self, key: str, data: bytes) -> None:
        """Replace the journal of an optimization."""
        ...


class Medium(Protocol):
    """What a store is written on: manifests by digest or tag, blobs by digest."""

    name: str

    def manifest(self, reference: str) -> bytes | None:
        """Bytes of the manifest under a tag or digest, verified; None if there is none."""
        ...

    def put_manifest(self, reference: str, data: bytes) -> None:
        """Store a manifest under a tag, replacing what the tag named."""
        ...

    def put_first(self, reference: str, data: bytes) -> bytes:
        """Store a manifest under a tag that names none; the bytes of the one it names now."""
        ...

    def read(self, blob: Blob) -> bytes:
        """A small blob, verified."""
        ...

    def copy(self, blob: Blob, target: Path) -> None:
        """Write a blob to the new file `target`, verified."""
        ...

    def put_blob(self, blob: Blob, content: Path | bytes) -> None:
        """Store a blob, unless it is there."""
        ...


def open_store(store: Store, secret_dir: Path | None = None, *, timeout: float = 60.0) -> ArtifactStore:
    """Open the artifact store of one namespace. Nothing is contacted yet.

    Args:
        store: Where it is.
        secret_dir: Mounted Secret with a Docker configuration; None for none.
        timeout: Seconds for connecting and for each read.

    Raises:
        InputError: UnsupportedScheme or UnsafePath; SecretMissing if `secret_dir` is empty.
    """
    parts = urlsplit(store.uri)
    if not _NAMESPACE.fullmatch(store.namespace):
        raise InputError("UnsafePath", f"The namespace {store.namespace!r} of the artifact store is no DNS label.")
    if parts.scheme == "oci" and parts.netloc and "@" not in parts.netloc:
        from modelwright.agent import secrets  # noqa: PLC0415 - a store on disk needs neither
        from modelwright.agent.registry import STORE_WORDING, Repository  # noqa: PLC0415

        path = "/".join(part for part in (parts.path.strip("/"), store.namespace) if part)
        secret = secrets.read(secret_dir)
        return _Artifacts(
            Repository(
                parts.netloc,
                path,
                insecure=store.insecure,
                timeout=timeout,
                secret=secret,
                wording=STORE_WORDING,
            )
        )
    if parts.scheme == "file" and not parts.netloc:
        from modelwright.agent.layout import Layout  # noqa: PLC0415

        return _Artifacts(Layout(Path(unquote(parts.path)) / store.namespace))
    raise InputError(
        "UnsupportedScheme",
        f"{redacted(store.uri)} is no artifact store.",
        "Write oci://host[:port]/prefix, or file:///folder on the command line.",
    )


class _Artifacts:
    """`ArtifactStore` on any `Medium`."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium

    def find(self, key: str) -> str | None:
        data = self._medium.manifest(_tag("key", key))
        return None if data is None else digest.of_bytes(data)

    def read_config(self, digest: str) -> bytes:
        return self._medium.read(self._manifest(digest).config)

    def read_file(self, digest: str, title: str) -> bytes:
        found = self._manifest(digest).files.get(title)
        if found is None:
            raise corrupt(f"The artifact {digest} in {self._medium.name} has no file {title!r}.")
        return self._medium.read(found)

    def pull(self, digest: str, dest: Path) -> Manifest:
        found = self._manifest(digest)
        with new_folder(dest) as folder:
            for title, blob in found.files.items():
                target = folder / title
                target.parent.mkdir(parents=True, exist_ok=True)
                self._medium.copy(blob, target)
        return found

    def push(self, key: str, config: bytes, files: Mapping[str, Path]) -> str:
        tag = _tag("key", key)
        if (first := self._medium.manifest(tag)) is not None:
            return digest.of_bytes(first)
        unsafe = [title for title in files if not is_safe_relative(title)]
        if unsafe:
            raise ValueError(f"titles must be paths below the artifact's root: {unsafe}")
        summary = manifests.describe_bytes(config, artifact.CONFIG_MEDIA_TYPE)
        blobs = {title: manifests.describe_file(path) for title, path in files.items()}
        self._medium.put_blob(summary, config)
        for title, path in files.items():
            self._medium.put_blob(blobs[title], path)
        data = manifests.build(summary, blobs)
        self._medium.put_manifest(_tag("artifact", digest.of_bytes(data)), data)
        return digest.of_bytes(self._medium.put_first(tag, data))

    def load_journal(self, key: str) -> bytes | None:
        data = self._medium.manifest(_tag("journal", key))
        if data is None:
            return None
        return self._medium.read(self._parse(data).files[JOURNAL_TITLE])

    def save_journal(self, key: str, data: bytes) -> None:
        config = manifests.describe_bytes(manifests.EMPTY_CONFIG, manifests.EMPTY_MEDIA_TYPE)
        blob = manifests.describe_bytes(data, artifact.FILE_MEDIA_TYPE)
        self._medium.put_blob(config, manifests.EMPTY_CONFIG)
        self._medium.put_blob(blob, data)
        self._medium.put_manifest(
            _tag("journal", key), manifests.build(config, {JOURNAL_TITLE: blob}, manifests.JOURNAL_TYPE)
        )

    def _manifest(self, reference: str) -> Manifest:
        data = self._medium.manifest(reference)
        if data is None:
            raise corrupt(f"There is no artifact {reference} in {self._medium.name}.")
        return self._parse(data)

    def _parse(self, data: bytes) -> Manifest:
        try:
            return manifests.parse(data)
        except ValueError as error:
            name = digest.short(digest.of_bytes(data))
            raise corrupt(f"The manifest {name} in {self._medium.name} is unusable: {error}.") from None


def corrupt(message: str) -> StoreError:
    """The error for an artifact that is missing or is not what its digest says."""
    return StoreError(
        "ArtifactFetchFailed",
        message,
        "Restore the store, or change spec.optimization: a new one is made.",
    )


@contextmanager
def new_folder(dest: Path) -> Generator[Path]:
    """A folder to fill, which takes the name `dest` only when the block ends well.

    Args:
        dest: Must not exist, or be an empty folder that is no mount point.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", dir=dest.parent))
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp's 0700 would hide it from a server of another user
        os.replace(folder, dest)  # noqa: PTH105 - the same call on a folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _tag(kind: str, key: str) -> str:
    part = key.removeprefix(digest.PREFIX)
    if not _TAG_PART.fullmatch(part):
        raise ValueError(f"{key!r} cannot be part of a tag")
    return f"{kind}-{part}"
