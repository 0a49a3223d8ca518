"""The child of `sandbox`: limits itself, runs one task, writes its answer. Not for use by hand."""

import importlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

from modelwright.errors import InputError
from modelwright.optimizer.tasks import BY_TARGET

DETAIL_CHARS = 300


def main(target: str, place: Path, memory_bytes: int) -> int:
    """Run the task `target` on ``place/question.json``; write ``place/answer.json``.

    Returns:
        0 with an answer or a refusal, 1 with an error.
    """
    _limit(memory_bytes)
    reply = _run(target, (place / "question.json").read_text(encoding="utf-8"))
    (place / "answer.json").write_text(json.dumps(reply), encoding="utf-8")
    return 1 if "error" in reply else 0


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _run(target: str, question: str) -> dict[str, Any]:
    task = BY_TARGET[target]
    try:
        module, _, function = target.partition(":")
        run = getattr(importlib.import_module(f"modelwright.optimizer.{module}"), function)
        answer = run(task.question.model_validate_json(question))
        return {"answer": json.loads(answer.to_json())}
    except InputError as refusal:
        return {"refused": {"reason": refusal.reason, "message": refusal.message, "hint": refusal.hint}}
    except Exception as error:  # noqa: BLE001 - whatever a hostile model raises is this task's recorded result
        detail = f"{type(error).__name__}: {error}" if isinstance(error, MemoryError) else str(error)
        detail = " ".join(detail.split())[:DETAIL_CHARS]
        return {"error": type(error).__name__, "detail": detail or type(error).__name__}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
