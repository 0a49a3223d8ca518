"""The whole interface between the search and a technique."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from modelwright.optimizer.tasks import GraphLevel, Inspection, Splits, Step, TransformReport

ALL_LEVELS: Final[tuple[GraphLevel, ...]] = ("basic", "extended", "all")


@dataclass(frozen=True)
class Context:
    """What a technique may know.

    Attributes:
        inspection: Of the source model.
        splits: Row files; `calibration` is None without data.
        seed: Of everything random.
    """

    inspection: Inspection
    splits: Splits
    seed: int = 0


class Transform(Protocol):
    """A technique.

    Attributes:
        name: As users write it in ``spec.optimization.techniques``.
        lossy: Whether outputs may change, so that the quality gate must judge.
        levels: Graph levels under which its result can be fast at all.
    """

    name: str
    lossy: bool
    levels: tuple[GraphLevel, ...]

    def propose(self, context: Context) -> Iterable[Step]:
        """Variants worth trying on this model; none if the technique does not apply. Opens no model."""
        ...

    def apply(self, step: Step, source: Path, target: Path, context: Context) -> TransformReport:
        """Read the model at `source`, write the changed one to `target`.

        A step that finds nothing to do reports ``nodes_changed=0`` or `skipped_because`; it does not fail.
        """
        ...
