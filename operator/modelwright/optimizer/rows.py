"""Rows of inputs: a file of arrays, one per model input, and how they are fed batch by batch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from modelwright.optimizer.tasks import Batch

Array = npt.NDArray[Any]
Feeds = dict[str, Array]

NUMPY_TYPES: Final[Mapping[str, Any]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "STRING": np.object_,
}


@dataclass(frozen=True)
class Rows:
    """Rows of data.

    Attributes:
        inputs: Input name to an array whose first axis counts rows.
        labels: One per row, or None.
        groups: Integer group of each row, or None.
    """

    inputs: Feeds
    labels: Array | None = None
    groups: Array | None = None
    count: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", len(next(iter(self.inputs.values()))))

    def take(self, index: Array) -> "Rows":
        """The rows at `index`."""
        return Rows(
            {name: values[index] for name, values in self.inputs.items()},
            None if self.labels is None else self.labels[index],
            None if self.groups is None else self.groups[index],
        )

    def save(self, path: Path) -> None:
        """Write one npz; strings become fixed-width text, for nothing here is ever pickled."""
        named: Feeds = {}
        for position, (name, values) in enumerate(self.inputs.items()):
            named[f"name_{position}"] = np.array(name)
            named[f"input_{position}"] = values.astype(np.str_) if values.dtype == np.object_ else values
        if self.labels is not None:
            named["labels"] = self.labels
        if self.groups is not None:
            named["groups"] = self.groups
        np.savez(path, allow_pickle=False, **named)

    @staticmethod
    def load(path: str | Path) -> "Rows":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            inputs: Feeds = {}
            while f"name_{len(inputs)}" in file:
                position = len(inputs)
                values = file[f"input_{position}"]
                inputs[str(file[f"name_{position}"])] = (
                    values.astype(np.object_) if values.dtype.kind == "U" else values
                )
            return Rows(
                inputs,
                file.get("labels"),
                file.get("groups"),
            )

    def feeds(self, start: int, size: int, batch: Batch) -> Feeds:
        """Inputs of one call on the rows from `start` on, repeated from the first one at the end.

        Args:
            start: First row.
            size: Rows wanted; a model without a free batch axis takes its own number.
            batch: How rows become inputs.
        """
        if batch.kind == "none":
            return {name: values[start % self.count] for name, values in self.inputs.items()}
        wanted = size if batch.kind == "dynamic" else batch.size
        index = np.arange(start, start + wanted) % self.count
        return {name: values[index] for name, values in self.inputs.items()}

    def batches(self, size: int, batch: Batch) -> Iterator[tuple[Feeds, int]]:
        """Every row once, in calls of `size`; with each, how many of its rows count (the rest is padding)."""
        step = {"none": 1, "fixed": batch.size, "dynamic": size}[batch.kind]
        for start in range(0, self.count, step):
            left = min(step, self.count - start)
            yield self.feeds(start, left, batch), left


def stack(parts: list[dict[str, Array]], batch: Batch) -> dict[str, Array]:
    """Outputs of consecutive calls as one array a name, rows first."""
    if batch.kind == "none":
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
