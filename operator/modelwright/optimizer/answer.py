"""The result as the kubelet keeps it: one JSON document of at most 4096 bytes."""

from typing import Final

from modelwright.contract.artifact import Recommendation, Signature
from modelwright.contract.paths import TERMINATION_LIMIT
from modelwright.contract.result import EXIT_DONE, EXIT_RETRIABLE, EXIT_TERMINAL, Failure, OptimizeResult

MESSAGE_CHARS: Final = 250
NO_SIGNATURE: Final = Signature(inputs=(), outputs=())


def fail(reason: str, message: str, hint: str = "", *, retriable: bool = False) -> OptimizeResult:
    """A failure with bounded texts."""
    failure = Failure(reason=reason, message=shorten(message), hint=shorten(hint), retriable=retriable)
    return OptimizeResult(failure=failure)


def shorten(text: str) -> str:
    """One line of at most `MESSAGE_CHARS` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARS else line[: MESSAGE_CHARS - 1] + "…"


def encode(result: OptimizeResult) -> bytes:
    """The document, fitted into the termination message.

    A model with hundreds of inputs has a signature that does not fit: it is left empty, and stays whole in the
    artifact, from where the pod reads it.
    """
    for candidate in (result, _without_signature(result), result.model_copy(update={"recommendation": None})):
        data = candidate.to_json().encode()
        if len(data) <= TERMINATION_LIMIT:
            return data
    return fail("OptimizationFailed", "The result does not fit the termination message.").to_json().encode()


def exit_code(result: OptimizeResult) -> int:
    """What the Job's process ends with."""
    if result.failure is None:
        return EXIT_DONE
    return EXIT_RETRIABLE if result.failure.retriable else EXIT_TERMINAL


def _without_signature(result: OptimizeResult) -> OptimizeResult:
    recommendation = result.recommendation
    if recommendation is None:
        return result
    bare: Recommendation = recommendation.model_copy(update={"signature": NO_SIGNATURE})
    return result.model_copy(update={"recommendation": bare})
