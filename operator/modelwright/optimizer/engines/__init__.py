"""What runs a model. One module an engine; a second engine is one more file."""

from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from modelwright.optimizer.tasks import GraphLevel


class Session(Protocol):
    """A loaded model."""

    def run(self, feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name.

        Args:
            feeds: Input name to array, of the type and rank the graph declares.
        """
        ...


class Engine(Protocol):
    """A runtime. `name` is Triton's backend name."""

    name: str

    def load(self, model: Path, graph_level: GraphLevel = "all", threads: int = 1) -> Session:
        """Load a model for inference on `threads` threads."""
        ...
