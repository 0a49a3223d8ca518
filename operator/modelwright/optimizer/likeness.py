"""How alike two models' outputs are, row by row, over all outputs: one that nobody looks at may break unseen.

Every function takes outputs by name, rows first, of two models on the same rows.
"""

from collections.abc import Collection, Iterable
from typing import Final

import numpy as np

from modelwright.optimizer.rows import Array

OPPOSITE: Final = 2.0
"""Distance of outputs that point in opposite directions: 1 - cosine."""


def floats_of(outputs: dict[str, Array]) -> list[str]:
    """Names of the float outputs; of every output where there are none."""
    return [name for name, values in outputs.items() if values.dtype.kind == "f"] or list(outputs)


def flat(values: Array) -> Array:
    """As ``(rows, values)`` of float64."""
    return values.reshape(len(values), -1).astype(np.float64)


def cosines(one: Array, other: Array) -> Array:
    """Cosine similarity row by row; two zero rows are alike."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    dots = np.einsum("ij,ij->i", one, other)
    both_zero = (np.abs(one).sum(axis=1) == 0) & (np.abs(other).sum(axis=1) == 0)
    return np.where(both_zero, 1.0, dots / np.maximum(norms, 1e-30))


def similarity(values: Array, wanted: Array) -> Array:
    """Of each row of one output, 1 for the same.

    The cosine of vectors. Single numbers have no angle: theirs is ``1 - e²/2`` of the error in parts of the root mean
    square of `wanted`, which is what a cosine is for small errors. Of whole numbers and text, the part that is equal.
    """
    if wanted.dtype.kind != "f":
        same = values.astype(wanted.dtype) == wanted
        return same.reshape(len(same), -1).mean(axis=1) if same.size else np.ones(len(same))
    one, other = flat(values), flat(wanted)
    if other.shape[1] == 0:
        return np.ones(len(other))
    if other.shape[1] > 1:
        return cosines(one, other)
    scale = max(float(np.sqrt(np.mean(other**2))), 1e-12)
    return 1.0 - np.minimum(OPPOSITE, 0.5 * ((one - other)[:, 0] / scale) ** 2)


def worst(outputs: dict[str, Array], wanted: dict[str, Array], names: Iterable[str]) -> Array:
    """Of each row, the similarity of the output that is least alike."""
    return np.min([similarity(outputs[name], wanted[name]) for name in names], axis=0)


def unjudged(outputs: dict[str, Array], wanted: dict[str, Array], judged: Collection[str]) -> tuple[str, float]:
    """The output outside `judged` that is least alike on average, and its mean similarity; ``("", 1)`` without any."""
    means = {name: float(similarity(outputs[name], wanted[name]).mean()) for name in outputs if name not in judged}
    return min(means.items(), key=lambda item: item[1], default=("", 1.0))
