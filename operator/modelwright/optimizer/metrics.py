"""Quality of a model on rows, by a metric that the data suggest or the user names.

Each metric turns outputs into a `Score`; scores of two models on the same rows are paired unit by unit.

Without labels the source model is the truth: ``cosine`` of each row's output with the source's, ``agreement`` of the
decision, ``fidelity`` (R² against the source's outputs) for single numbers. Of several outputs the worst one counts:
no label says that another does not matter.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from modelwright.errors import InputError
from modelwright.optimizer import likeness
from modelwright.optimizer.ranking import mean_reciprocal_rank, ndcg
from modelwright.optimizer.rows import Array
from modelwright.optimizer.scores import Score

NAMES: Final = ("accuracy", "auc", "ndcg@10", "mrr@10", "r2", "mse", "cosine", "agreement", "fidelity")
WITHOUT_LABELS: Final = frozenset({"cosine", "agreement", "fidelity"})
CHANCE: Final = {"auc": 0.55, "r2": 0.0}
"""Values that a source model must exceed: of one that knows nothing, a relative loss means nothing."""
SMALLER_IS_BETTER: Final = frozenset({"mse"})
REACH: Final = {"accuracy": 1.0, "agreement": 1.0, "ndcg@10": 1.0, "mrr@10": 1.0, "cosine": 2.0}
"""Largest possible difference of one row between two models, where there is one."""


@dataclass(frozen=True)
class Truth:
    """What a metric compares with.

    Attributes:
        labels: Of the rows, or None.
        groups: Of the rows, or None.
        source: Outputs of the source model on the rows.
        binary: Whether labels are 0 and 1 only.
        same: Alike for rows with identical inputs; such rows are one unit where there are no groups.
    """

    labels: Array | None
    groups: Array | None
    source: dict[str, Array]
    binary: bool = False
    same: Array | None = None


def choose(name: str | None, truth: Truth) -> str:
    """The metric to use: the one asked for, or what labels and outputs suggest.

    Raises:
        InputError: InvalidData if the one asked for is unknown, or needs labels or groups that are not there.
    """
    chosen = name or _suggested(truth)
    _check_name(chosen, truth)
    return chosen


def check_baseline(metric: str, value: float) -> None:
    """Refuse a source model that is no better than chance.

    Raises:
        InputError: InvalidData, with what to look at.
    """
    limit = CHANCE.get(metric)
    if limit is not None and value <= limit:
        raise InputError(
            "InvalidData",
            f"The source model has {metric} {value:.3g} on the evaluation data; it must be above {limit:g}: a loss of "
            "what is no better than chance cannot be judged.",
            "Check that 'labels' belong to these rows and to this output, or name another evaluation.metric.",
        )


def _suggested(truth: Truth) -> str:
    if truth.labels is None:
        widths = [likeness.flat(truth.source[name]).shape[1] for name in likeness.floats_of(truth.source)]
        return "cosine" if max(widths) > 1 else "fidelity"
    if truth.groups is not None:
        return "ndcg@10"
    if truth.labels.ndim > 1 or truth.labels.dtype.kind == "f":
        return "auc" if truth.binary and truth.labels.ndim == 1 else "r2"
    if _decision(truth.source) is None and _main(truth.source).shape[1] == 1:
        return "auc" if truth.binary else "r2"
    return "accuracy"


def score(metric: str, outputs: dict[str, Array], truth: Truth) -> Score:
    """What `metric` needs of each row.

    Args:
        metric: One of `NAMES`.
        outputs: Of the model, rows first.
        truth: What to compare with.
    """
    rows = len(next(iter(outputs.values())))
    alike = truth.same if truth.same is not None else np.arange(rows)
    unit = truth.groups if truth.groups is not None else alike
    unit = np.unique(unit, return_inverse=True)[1].reshape(-1)
    match metric:
        case "auc":
            return Score("auc", _positive(outputs), _labels(truth).astype(np.float64), unit)
        case "ndcg@10" | "mrr@10":
            by_group = ndcg if metric == "ndcg@10" else mean_reciprocal_rank
            values = by_group(_positive(outputs), _labels(truth).astype(np.float64), unit, 10)
            return Score("mean", values, np.zeros(0), np.arange(len(values)))
        case "r2":
            return _regression(_main(outputs), _labels(truth).reshape(rows, -1), unit)
        case "fidelity":
            return _fidelity(outputs, truth.source, unit)
        case _:
            return Score("mean", _row_values(metric, outputs, truth), np.zeros(0), unit)


def _row_values(metric: str, outputs: dict[str, Array], truth: Truth) -> Array:
    match metric:
        case "accuracy":
            return (_decide(outputs, truth.source) == _decide_labels(truth, outputs)).astype(np.float64)
        case "agreement":
            return _agreement(outputs, truth.source)
        case "mse":
            return ((_main(outputs) - _labels(truth).reshape(len(_main(outputs)), -1)) ** 2).mean(axis=1)
        case "cosine":
            return likeness.worst(outputs, truth.source, likeness.floats_of(truth.source))
        case _:
            raise InputError("InvalidData", f"Unknown metric {metric!r}.", f"One of: {', '.join(NAMES)}.")


def judged(metric: str, outputs: dict[str, Array]) -> frozenset[str]:
    """Names of the outputs that `metric` reads."""
    match metric:
        case "agreement":
            return frozenset(outputs)
        case "cosine" | "fidelity":
            return frozenset(likeness.floats_of(outputs))
        case "accuracy":
            named = (name for name, values in outputs.items() if _is_decision(values))
            return frozenset({next(named, likeness.floats_of(outputs)[0])})
        case _:
            return frozenset(likeness.floats_of(outputs)[:1])


def _check_name(name: str, truth: Truth) -> None:
    if name not in NAMES:
        raise InputError("InvalidData", f"Unknown metric {name!r}.", f"One of: {', '.join(NAMES)}.")
    if truth.labels is None and name not in WITHOUT_LABELS:
        raise InputError(
            "InvalidData", f"Metric {name} needs a column 'labels'.", f"Add it, or use {', '.join(WITHOUT_LABELS)}."
        )
    if truth.labels is not None and name == "auc" and not np.isin(truth.labels, (0, 1)).all():
        raise InputError(
            "InvalidData", "Metric auc needs labels 0 and 1; there are others.", "Use accuracy, or label one class 1."
        )
    if truth.labels is not None and name in {"ndcg@10", "mrr@10"} and float(np.min(truth.labels)) < 0:
        raise InputError(
            "InvalidData", f"Metric {name} needs labels of 0 and above; there are negative ones.", "Shift the grades."
        )
    if truth.groups is None and name in {"ndcg@10", "mrr@10"}:
        raise InputError("InvalidData", f"Metric {name} needs a column 'groups'.", "Add one: the query of each row.")


def _main(outputs: dict[str, Array]) -> Array:
    """The output that carries scores: the first of floats, flattened to ``(rows, values)``."""
    return likeness.flat(outputs[likeness.floats_of(outputs)[0]])


def _is_decision(values: Array) -> bool:
    """Whether an output is of labels (whole numbers or text, one a row), as classifiers of scikit-learn have."""
    return values.dtype.kind in "iuUO" and values.size == len(values)


def _decision(outputs: dict[str, Array]) -> Array | None:
    for values in outputs.values():
        if _is_decision(values):
            return values.reshape(-1).astype(np.str_) if values.dtype.kind in "UO" else values.reshape(-1)
    return None


def _agreement(outputs: dict[str, Array], source: dict[str, Array]) -> Array:
    """1 for the rows on which every output decides as the source's does."""
    agrees = np.ones(len(next(iter(source.values()))), dtype=np.bool_)
    for name, wanted in source.items():
        if wanted.dtype.kind != "f" and not _is_decision(wanted):
            agrees &= likeness.similarity(outputs[name], wanted) == 1.0
        else:
            alone = {name: wanted}
            agrees &= _decide({name: outputs[name]}, alone) == _decide(alone, alone)
    return agrees.astype(np.float64)


def _fidelity(outputs: dict[str, Array], source: dict[str, Array], unit: Array) -> Score:
    """Of the output that fits worst."""
    names = likeness.floats_of(source)
    fits = [_regression(likeness.flat(outputs[name]), likeness.flat(source[name]), unit) for name in names]
    return min(fits, key=lambda fit: float(fit.value()[0]))


def _decide(outputs: dict[str, Array], source: dict[str, Array]) -> Array:
    """The class of each row. One number is cut at 0.5 if the source gives probabilities, at 0 if it gives logits."""
    named = _decision(outputs)
    if named is not None:
        return named
    scores, usual = _main(outputs), _main(source)
    if scores.shape[1] > 1:
        return np.argmax(scores, axis=1)
    is_probability = usual.min() >= 0 and usual.max() <= 1
    return (scores[:, 0] > (0.5 if is_probability else 0.0)).astype(np.int64)


def _decide_labels(truth: Truth, outputs: dict[str, Array]) -> Array:
    labels, named = _labels(truth), _decision(outputs)
    if named is not None and named.dtype.kind == "U":
        return labels.astype(np.str_)
    return labels


def _positive(outputs: dict[str, Array]) -> Array:
    """Score of the positive class."""
    scores = _main(outputs)
    return scores[:, 1] if scores.shape[1] == 2 else scores[:, 0]


def _labels(truth: Truth) -> Array:
    assert truth.labels is not None
    return truth.labels


def _regression(predicted: Array, target: Array, unit: Array) -> Score:
    width = min(predicted.shape[1], target.shape[1])
    flat = predicted[:, :width].reshape(-1), target[:, :width].astype(np.float64).reshape(-1)
    return Score("r2", flat[0], flat[1], np.repeat(unit, width))
