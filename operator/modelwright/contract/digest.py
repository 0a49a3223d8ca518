r"""What a digest is made of, so that a user can compute it with coreutils.

* One file: the SHA-256 of its bytes (``sha256sum model.onnx``).
* A folder: the SHA-256 of the lines ``<sha256>  <relative path>\\n`` of its files, sorted by path in byte order
  (``find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum``).
  Files of types that are not taken (see `modelwright.agent.sources`) do not count.
* ``oci://``: the digest of the manifest, as the registry names it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

PREFIX = "sha256:"


def of_bytes(data: bytes) -> str:
    """``sha256:<hex>`` of `data`."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def of_tree(files: Mapping[str, str]) -> str:
    """Digest of a folder.

    Args:
        files: Relative path (with ``/``) to the hex SHA-256 of the file, with or without the ``sha256:`` prefix.
    """
    lines = (f"{digest.removeprefix(PREFIX)}  {path}\n" for path, digest in sorted(files.items(), key=_by_bytes))
    return of_bytes("".join(lines).encode())


def of_json(value: Any) -> str:
    """Digest of a JSON value, independent of key order."""
    return of_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def short(digest: str, length: int = 8) -> str:
    """The first hex digits of a digest, for names and messages."""
    return digest.removeprefix(PREFIX)[:length]


def _by_bytes(item: tuple[str, str]) -> bytes:
    return item[0].encode()
