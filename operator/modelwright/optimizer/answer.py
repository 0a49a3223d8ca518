"""The result as the kubelet keeps it: at most 4096 bytes."""

from typing import Final

from modelwright.contract import words
from modelwright.contract.artifact import Signature
from modelwright.contract.result import EXIT_DONE, EXIT_RETRIABLE, EXIT_TERMINAL, Failure, OptimizeResult

MESSAGE_CHARS: Final = 250


def fail(reason: str, message: str, hint: str = "", *, retriable: bool = False) -> OptimizeResult:
    """A failure with bounded texts."""
    failure = Failure(reason=reason, message=shorten(message), hint=shorten(hint), retriable=retriable)
    return OptimizeResult(failure=failure)


def shorten(text: str) -> str:
    """One line of at most `MESSAGE_CHARS` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARS else line[: MESSAGE_CHARS - 1] + "…"


def encode(result: OptimizeResult) -> bytes:
    """The result as last words; a model whose description does not fit even compressed is not supported."""
    return words.packed(result) or fail(*_too_many(result)).to_json().encode()


def exit_code(result: OptimizeResult) -> int:
    """What the Job's process ends with."""
    if result.failure is None:
        return EXIT_DONE
    return EXIT_RETRIABLE if result.failure.retriable else EXIT_TERMINAL


def _too_many(result: OptimizeResult) -> tuple[str, str, str]:
    signature = result.recommendation.signature if result.recommendation else Signature(inputs=(), outputs=())
    count = len(signature.inputs) + len(signature.outputs)
    message = f"the model has {count} inputs and outputs; their description does not fit a Job's answer."
    return "UnsupportedModel", message, "Join inputs into fewer tensors before the export."
