"""What an object's owner-controlled part looks like, as a short token, and the token of our own last write.

A token that differs from the baseline means that somebody else changed the object. Where the API server counts
spec changes and nobody but us makes any, its `generation` is the token; elsewhere it is a hash of the content.
Jobs and pods have none: a Job's template never changes and its status is not ours.
"""

from collections.abc import Mapping
from typing import Any

from modelwright.contract import digest

_LENGTH = 16


def token(kind: str, body: Mapping[str, Any]) -> str:
    """The token of an object."""
    match kind:
        case "HTTPRoute" | "GRPCRoute":
            return str(body["metadata"].get("generation", ""))
        case "Deployment":
            # Autoscalers and `kubectl scale` write the replicas, through the scale subresource as we do.
            return _hash({k: v for k, v in body.get("spec", {}).items() if k != "replicas"})
        case "Service":
            return _hash(body.get("spec", {}))
        case "ConfigMap":
            return _hash([body.get("data", {}), body.get("binaryData", {})])
        case _:
            return ""


def _hash(content: Any) -> str:
    return digest.short(digest.of_json(content), _LENGTH)


class Baselines:
    """The token of each object after our own last write, by UID.

    After a start nothing is known of former writes, so the first token seen is trusted; what was changed while
    no operator ran is repaired only if the object's hash differs too.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}

    def trust(self, uid: str, seen: str) -> None:
        """We wrote this."""
        self._tokens[uid] = seen

    def drifted(self, uid: str, seen: str) -> bool:
        """Whether somebody else wrote since."""
        return self._tokens.setdefault(uid, seen) != seen

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._tokens.pop(uid, None)

    def clear(self) -> None:
        """Trust whatever is seen next."""
        self._tokens.clear()
