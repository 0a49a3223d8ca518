"""How a program of a pod ends: one JSON document as its last words, and an exit code with the same verdict."""

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from modelwright.contract import paths, result
from modelwright.contract.base import Message
from modelwright.contract.result import Failure
from modelwright.errors import InputError, StoreError

_MESSAGE_LIMIT = 1024
"""Characters of a failure's message; with its hint it fits the termination message in any script."""


def give(work: Callable[[], Message | None], failed: Callable[[Failure], Message], fallback: str) -> int:
    """Run `work` and leave its answer, or its failure, as the termination message.

    Args:
        work: What the program is for; None for nothing to say.
        failed: Wraps a failure into the program's kind of answer.
        fallback: Reason of a failure that nobody foresaw.

    Returns:
        Exit code (see `modelwright.contract.result`).
    """
    try:
        done = work()
    except Exception as error:  # noqa: BLE001 - the last word of a program is its answer, whatever happened
        failure = describe(error, fallback)
        _leave(failed(failure))
        return result.EXIT_RETRIABLE if failure.retriable else result.EXIT_TERMINAL
    if done is not None:
        _leave(done)
    return result.EXIT_DONE


def describe(error: Exception, fallback: str) -> Failure:
    """An error as a `Failure`; an unforeseen one is printed with its traceback and may be tried again."""
    match error:
        case InputError():
            return Failure(reason=error.reason, message=_bounded(error.message), hint=error.hint)
        case StoreError():
            message = _bounded(error.message)
            return Failure(reason=error.reason, message=message, hint=error.hint, retriable=error.retriable)
        case _:
            traceback.print_exception(error, file=sys.stderr)
            what = _bounded(f"{type(error).__name__}: {error}")
            return Failure(reason=fallback, message=what, hint="See the pod's log.", retriable=True)


def _bounded(text: str) -> str:
    return text if len(text) <= _MESSAGE_LIMIT else f"{text[: _MESSAGE_LIMIT - 1]}…"


def _leave(answer: Message) -> None:
    text = answer.to_json()
    print(text, flush=True)  # noqa: T201 - the pod's log says the same as its termination message
    Path(paths.TERMINATION_LOG).write_text(text)
