"""Every error of the project, in one tree.

::

    ModelwrightError
    ├── InputError              what a user gave cannot work: reason, message and remedy
    ├── ClusterError            the API server
    │   ├── Conflict            somebody wrote first: observe again, now
    │   ├── Unavailable         no answer, 429 or 5xx: back off
    │   ├── Forbidden           a right is missing: back off slowly and say which
    │   └── Rejected            the object itself was refused: pointless until it changes
    └── StoreError              the artifact store or a source: retriable or not

Expected outcomes (a failed gate, a model that does not load) are values, never exceptions.
"""


class ModelwrightError(Exception):
    """Base of everything raised on purpose."""


class InputError(ModelwrightError):
    """What the user gave cannot work.

    Attributes:
        reason: PascalCase word of the API (see `modelwright.api.conditions.Reason`).
        message: What was found, and where.
        hint: What to do about it.
    """

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(f"{reason}: {message}" + (f" {hint}" if hint else ""))
        self.reason = reason
        self.message = message
        self.hint = hint


class ClusterError(ModelwrightError):
    """The API server did not do what was asked."""

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class Conflict(ClusterError):
    """The object changed since it was observed."""


class Unavailable(ClusterError):
    """No connection, 429 or 5xx."""


class Forbidden(ClusterError):
    """The operator lacks a right."""


class Rejected(ClusterError):
    """The request can never succeed as it is (400, 404 of a kind, 422)."""


class StoreError(ModelwrightError):
    """The artifact store or a source could not be read or written."""

    def __init__(self, reason: str, message: str, hint: str = "", *, retriable: bool = False) -> None:
        super().__init__(f"{reason}: {message}" + (f" {hint}" if hint else ""))
        self.reason = reason
        self.message = message
        self.hint = hint
        self.retriable = retriable
