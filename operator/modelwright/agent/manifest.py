"""The manifest of an artifact: building it, reading it, and what in it is trusted.

Bytes are deterministic: the same config and files give the same manifest, hence the same digest, in every store.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from modelwright.agent.locations import is_safe_relative
from modelwright.contract import artifact, digest

MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
JOURNAL_TYPE = "application/vnd.modelwright.journal.v1"
EMPTY_CONFIG = b"{}"
EMPTY_MEDIA_TYPE = "application/vnd.oci.empty.v1+json"
MAX_BYTES = 4 * 1024 * 1024
"""Largest manifest that is read; registries cap theirs at the same size."""
CHUNK = 1024 * 1024

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Blob:
    """Content of a known digest and size in bytes."""

    digest: str
    size: int
    media_type: str = artifact.FILE_MEDIA_TYPE


@dataclass(frozen=True)
class Manifest:
    """An artifact's table of contents.

    Attributes:
        digest: Of the manifest itself.
        config: The `Recommendation`.
        files: Path (``model/model.onnx``) to its content.
    """

    digest: str
    config: Blob
    files: Mapping[str, Blob]


def build(config: Blob, files: Mapping[str, Blob], artifact_type: str = artifact.ARTIFACT_TYPE) -> bytes:
    """The manifest's bytes.

    Args:
        config: Descriptor of the config blob.
        files: Title to content; laid down sorted by title.
        artifact_type: OCI artifact type.
    """
    layers = [{**_descriptor(blob), "annotations": {artifact.TITLE: title}} for title, blob in sorted(files.items())]
    document = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "artifactType": artifact_type,
        "config": _descriptor(config),
        "layers": layers,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def parse(data: bytes, titles: Iterable[str] = (artifact.TITLE,)) -> Manifest:
    """Read a manifest.

    Args:
        data: Its bytes.
        titles: Annotations that may hold a layer's path, the first present one counts.

    Raises:
        ValueError: For anything but a manifest whose layers have safe and distinct titles.
    """
    wanted = tuple(titles)
    try:
        document: dict[str, Any] = json.loads(data)
        files: dict[str, Blob] = {}
        for layer in document["layers"]:
            title = next((layer["annotations"][key] for key in wanted if key in layer.get("annotations", {})), "")
            _check_title(title, files)
            files[title] = _blob(layer)
        return Manifest(digest.of_bytes(data), _blob(document["config"]), files)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no manifest of files: {error!r}") from None


def describe_file(path: Path, media_type: str = artifact.FILE_MEDIA_TYPE) -> Blob:
    """Digest and size of a file, read as a stream."""
    with path.open("rb") as stream:
        return Blob(hash_stream(stream), path.stat().st_size, media_type)


def describe_bytes(data: bytes, media_type: str) -> Blob:
    """Digest and size of `data`."""
    return Blob(digest.of_bytes(data), len(data), media_type)


def hash_stream(stream: BinaryIO) -> str:
    """``sha256:<hex>`` of what is left in `stream`."""
    return digest.PREFIX + hashlib.file_digest(stream, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]


def _descriptor(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def _blob(descriptor: Mapping[str, Any]) -> Blob:
    name, size = descriptor["digest"], descriptor["size"]
    if not _DIGEST.fullmatch(name) or not isinstance(size, int) or size < 0:
        raise ValueError(f"bad descriptor {name!r}, {size!r}")
    return Blob(name, size, descriptor["mediaType"])


def _check_title(title: str, taken: Mapping[str, Blob]) -> None:
    if not is_safe_relative(title):
        raise ValueError(f"the layer title {title!r} is no path below its folder")
    if title in taken:
        raise ValueError(f"the layer title {title!r} occurs twice")
