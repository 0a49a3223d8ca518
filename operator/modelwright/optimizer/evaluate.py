"""Runs a model over rows and compares it with the source model's outputs on the same rows."""

import time
from pathlib import Path
from typing import Final

import numpy as np

from modelwright.optimizer import likeness, metrics
from modelwright.optimizer.data import row_hashes
from modelwright.optimizer.engines import Session
from modelwright.optimizer.engines.onnxruntime import OnnxRuntime
from modelwright.optimizer.metrics import Truth
from modelwright.optimizer.rows import Array, Rows, stack
from modelwright.optimizer.tasks import Batch, EvaluateQuestion, Evaluation

SPLIT_ROWS: Final = 8
"""Rows that are also run one by one: a model must give a row the same answer in any company."""


def evaluate(question: EvaluateQuestion) -> Evaluation:
    """Run, compare, score.

    Raises:
        InputError: InvalidData if the metric does not fit the data.
    """
    started = time.perf_counter()
    session = OnnxRuntime().load(Path(question.model), question.graph_level)
    rows = Rows.load(question.rows)
    outputs = run(session, rows, question.batch, question.batch_size)
    if question.outputs is not None:
        save_outputs(outputs, Path(question.outputs))
    reference = load_outputs(Path(question.reference)) if question.reference is not None else outputs
    mismatch = _mismatch(outputs, reference)
    answer = Evaluation(rows=rows.count, nonfinite=_nonfinite(outputs), mismatch=mismatch)
    if not mismatch:
        changes = _compare(outputs, reference) | {"split_error": _split_error(session, rows, question.batch, outputs)}
        answer = answer.model_copy(update=changes)
    if question.scores is not None and not mismatch and not answer.nonfinite:
        truth = Truth(rows.labels, rows.groups, reference, question.binary, row_hashes(rows, 0))
        metric = metrics.choose(question.metric, truth)
        score = metrics.score(metric, outputs, truth)
        if question.reference is None:
            metrics.check_baseline(metric, float(score.value()[0]))
        score.save(Path(question.scores))
        other, alike = likeness.unjudged(outputs, reference, metrics.judged(metric, outputs))
        found = {"metric": metric, "value": float(score.value()[0]), "unjudged": other, "unjudged_alike": alike}
        answer = answer.model_copy(update=found)
    return answer.model_copy(update={"seconds": time.perf_counter() - started})


def run(session: Session, rows: Rows, batch: Batch, size: int) -> dict[str, Array]:
    """Outputs of every row, rows first."""
    parts: list[dict[str, Array]] = []
    for feeds, kept in rows.batches(size, batch):
        outputs = session.run(feeds)
        if batch.kind != "none":
            outputs = {name: values[:kept] for name, values in outputs.items()}
        parts.append(outputs)
    return stack(parts, batch)


def save_outputs(outputs: dict[str, Array], path: Path) -> None:
    """Write an npz; outputs are numbered, for their names may hold any character."""
    named: dict[str, Array] = {}
    for position, (name, values) in enumerate(outputs.items()):
        named[f"name_{position}"] = np.array(name)
        named[f"output_{position}"] = values.astype(np.str_) if values.dtype == np.object_ else values
    np.savez(path, allow_pickle=False, **named)


def load_outputs(path: Path) -> dict[str, Array]:
    """Read what `save_outputs` wrote."""
    with np.load(path, allow_pickle=False) as file:
        count = len(file.files) // 2
        return {str(file[f"name_{position}"]): file[f"output_{position}"] for position in range(count)}


def _nonfinite(outputs: dict[str, Array]) -> int:
    return sum(int((~np.isfinite(values)).sum()) for values in outputs.values() if values.dtype.kind == "f")


def _mismatch(outputs: dict[str, Array], reference: dict[str, Array]) -> str:
    if list(outputs) != list(reference):
        return f"outputs are {', '.join(outputs)[:60]}, not {', '.join(reference)[:60]}"
    for name, values in outputs.items():
        wanted = reference[name]
        same_kind = values.dtype == wanted.dtype or {values.dtype.kind, wanted.dtype.kind} <= {"O", "U"}
        if not same_kind:
            return f"output {name[:40]} is {values.dtype}, not {wanted.dtype}"
        if values.shape != wanted.shape:
            return f"output {name[:40]} has shape {values.shape}, not {wanted.shape}"
    return ""


def _compare(outputs: dict[str, Array], reference: dict[str, Array]) -> dict[str, float]:
    errors, cosines, differing = [0.0], [1.0], [0.0]
    for name, values in outputs.items():
        wanted = reference[name]
        if values.dtype.kind != "f":
            differing.append(float((values.astype(wanted.dtype) != wanted).mean()))
            continue
        errors.append(relative_error(values, wanted))
        flat = [np.nan_to_num(array.reshape(len(array), -1)) for array in (values, wanted)]
        if flat[0].shape[1] > 1:
            cosines.append(float(likeness.cosines(flat[0], flat[1]).min()))
    return {"max_error": max(errors), "worst_cosine": min(cosines), "differing": max(differing)}


def relative_error(values: Array, wanted: Array) -> float:
    """Largest absolute difference over the root mean square of `wanted`; NaN in the same place is no difference."""
    wide, right = values.astype(np.float64), wanted.astype(np.float64)
    if not np.array_equal(np.isnan(wide), np.isnan(right)):
        return float(np.finfo(np.float32).max)
    with np.errstate(invalid="ignore"):
        difference = np.where(wide == right, 0.0, np.abs(wide - right))
    rms = float(np.sqrt(np.mean(np.square(np.nan_to_num(right, posinf=0.0, neginf=0.0)))))
    return float(min(np.nan_to_num(difference).max(initial=0.0) / max(rms, 1e-12), np.finfo(np.float32).max))


def _split_error(session: Session, rows: Rows, batch: Batch, outputs: dict[str, Array]) -> float:
    if batch.kind != "dynamic":
        return 0.0
    few = rows.take(np.arange(min(SPLIT_ROWS, rows.count)))
    alone = run(session, few, batch, 1)
    pairs = [(alone[name], outputs[name][: few.count]) for name in outputs if outputs[name].dtype.kind == "f"]
    return max((relative_error(one, together) for one, together in pairs), default=0.0)
