"""The hash of an object as we want it, kept on the object itself.

`core` compares it with what it renders now, so an unchanged child costs no request; `cluster` sends only
stamped bodies. The hash says what we wanted. What others did since is `ObservedChild.drifted`.
"""

from collections.abc import Mapping
from typing import Any

from modelwright import naming
from modelwright.contract import digest

LENGTH = 16


def hash_of(body: Mapping[str, Any]) -> str:
    """Hash of `body`, whatever stamp it carries."""
    return digest.short(digest.of_json(_without_stamp(body)), LENGTH)


def stamped(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with its hash in `naming.ANNOTATION_APPLIED`."""
    metadata = body.get("metadata", {})
    annotations = {**metadata.get("annotations", {}), naming.ANNOTATION_APPLIED: hash_of(body)}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def _without_stamp(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` without the stamp, and without the empty map it may leave behind."""
    metadata = dict(body.get("metadata", {}))
    annotations = {k: v for k, v in metadata.pop("annotations", {}).items() if k != naming.ANNOTATION_APPLIED}
    return {**body, "metadata": {**metadata, "annotations": annotations} if annotations else metadata}
