"""The one place where an HTTP answer becomes an error of ours."""

import json
from typing import Any, cast

from modelwright.errors import ClusterError, Conflict, Forbidden, Rejected, Unavailable

GONE = 410
NOT_FOUND = 404
_PASSING = frozenset({401, 408, 425, 429})
# RBAC's refusals read `User "…" cannot patch resource "…"`. Quota, admission and terminating namespaces
# answer 403 too, but about the object and not about our rights.
_RBAC = " cannot "


def error_of(status: int, message: str, retry_after: str | None = None) -> ClusterError:
    """The error that an answer with this status means."""
    if status in _PASSING or status >= 500:
        return Unavailable(message, status=status, retry_after=_seconds(retry_after))
    if status in (409, GONE):
        return Conflict(message, status=status)
    if status == 403 and _RBAC in message:
        return Forbidden(message, status=status)
    return Rejected(message, status=status)


def message_of(status: int, body: bytes) -> str:
    """The server's words: a Status object's message, else the beginning of whatever came."""
    try:
        answer: Any = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and (found := cast("dict[str, Any]", answer).get("message")):
        return str(found)
    text = body[:200].decode(errors="replace").strip()
    return f"HTTP {status}: {text}" if text else f"HTTP {status}"


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
